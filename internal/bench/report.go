package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"unicode/utf8"
)

// part is a chapter of the benchmark.
type part struct {
	name string
	// steps is how many runs it has, for the time that is left.
	steps int
	run   func(ctx context.Context) (*table, error)
}

// table is Markdown that is also readable on a terminal.
type table struct {
	columns []string
	rows    [][]string
}

// add adds a row; cells that are missing are empty.
func (t *table) add(cells ...string) {
	row := make([]string, len(t.columns))
	copy(row, cells)
	t.rows = append(t.rows, row)
}

func (t *table) String() string {
	width := make([]int, len(t.columns))
	rule := make([]string, len(t.columns))
	for i := range t.columns {
		for _, row := range append([][]string{t.columns}, t.rows...) {
			width[i] = max(width[i], utf8.RuneCountInString(row[i]))
		}
		rule[i] = strings.Repeat("-", width[i])
	}
	var b strings.Builder
	for _, row := range append([][]string{t.columns, rule}, t.rows...) {
		for i, cell := range row {
			fmt.Fprintf(&b, "| %s%s ", cell, strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)))
		}
		b.WriteString("|\n")
	}
	return b.String()
}

// writeSection replaces what stands in the Markdown file between "<!-- bench:NAME -->" and "<!-- end -->", or adds the
// section to its end. A file that does not exist is made.
func writeSection(path, name, text string) error {
	old, err := os.ReadFile(path) // #nosec G304 -- the caller's
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	begin, end := []byte("<!-- bench:"+name+" -->\n"), []byte("<!-- end -->\n")
	before, rest, found := bytes.Cut(old, begin)
	_, after, closed := bytes.Cut(rest, end)
	if found && !closed {
		return fmt.Errorf("%s: section %s has no %q", path, name, end)
	}
	var b bytes.Buffer
	for _, piece := range [][]byte{before, begin, []byte(text), end, after} {
		b.Write(piece)
	}
	return os.WriteFile(path, b.Bytes(), 0o644) // #nosec G306 -- a document
}

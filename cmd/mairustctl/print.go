package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/spf13/cobra"
	"golang.org/x/text/width"
)

// printer tells results in one form and language.
type printer struct {
	out, notes io.Writer
	json       bool
	lang       string
}

func newPrinter(cmd *cobra.Command, form, lang string) (printer, error) {
	if form != "table" && form != "json" {
		return printer{}, errors.New("--output is table or json")
	}
	if lang == "" {
		lang = "en"
		if strings.HasPrefix(first(os.Getenv("LC_ALL"), os.Getenv("LC_MESSAGES"), os.Getenv("LANG")), "ja") {
			lang = "ja"
		}
	}
	if lang != "en" && lang != "ja" {
		return printer{}, errors.New("--lang is en or ja")
	}
	return printer{out: cmd.OutOrStdout(), notes: cmd.ErrOrStderr(), json: form == "json", lang: lang}, nil
}

// show prints v as JSON, or lets table print it.
func (p printer) show(v any, table func() error) error {
	if !p.json {
		return table()
	}
	e := json.NewEncoder(p.out)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// say chooses the language.
func (p printer) say(en, ja string) string {
	if p.lang == "ja" {
		return ja
	}
	return en
}

func (p printer) line(format string, args ...any) error {
	for i, arg := range args {
		if text, ok := arg.(string); ok {
			args[i] = clean(text)
		}
	}
	_, err := fmt.Fprintf(p.out, format+"\n", args...)
	return err
}

// note tells something beside the result.
func (p printer) note(en, ja string) { fmt.Fprintln(p.notes, p.say(en, ja)) }

// table prints rows below headers, which are words of the catalogue.
func (p printer) table(headers []string, rows [][]string) error {
	lines := make([][]string, 0, len(rows)+1)
	named := make([]string, len(headers))
	for i, h := range headers {
		named[i] = p.header(h)
	}
	lines = append(append(lines, named), rows...)
	widths := make([]int, len(headers))
	for _, cells := range lines {
		for i := range cells {
			cells[i] = oneLine(cells[i])
			widths[i] = max(widths[i], columns(cells[i]))
		}
	}
	for _, cells := range lines {
		var b strings.Builder
		for i, cell := range cells {
			b.WriteString(cell)
			if i < len(cells)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-columns(cell)+2))
			}
		}
		if _, err := fmt.Fprintln(p.out, strings.TrimRight(b.String(), " ")); err != nil {
			return err
		}
	}
	return nil
}

// pairs prints names, which are words of the catalogue, and values; those without a value are left out.
func (p printer) pairs(list [][2]string) error {
	wide := 0
	for _, pair := range list {
		if pair[1] != "" {
			wide = max(wide, columns(p.header(pair[0])))
		}
	}
	for _, pair := range list {
		if pair[1] == "" {
			continue
		}
		name := p.header(pair[0])
		if _, err := fmt.Fprintf(p.out, "%s%s  %s\n", name, strings.Repeat(" ", wide-columns(name)), oneLine(pair[1])); err != nil {
			return err
		}
	}
	return nil
}

// columns is how many columns of a terminal a text takes.
func columns(text string) int {
	n := 0
	for _, r := range text {
		switch width.LookupRune(r).Kind() {
		case width.EastAsianWide, width.EastAsianFullwidth:
			n += 2
		default:
			n++
		}
	}
	return n
}

// clean takes out what could move a terminal's cursor or turn the direction of writing: texts come from strangers.
func clean(text string) string {
	return strings.Map(func(r rune) rune {
		if r != '\n' && (unicode.IsControl(r) || unicode.Is(unicode.Cf, r)) {
			return unicode.ReplacementChar
		}
		return r
	}, text)
}

// oneLine is clean for a cell.
func oneLine(text string) string { return strings.ReplaceAll(clean(text), "\n", " ") }

// local is a time for people; empty for none.
func local(at *time.Time) string {
	if at == nil {
		return ""
	}
	return at.Local().Format("2006-01-02 15:04 MST")
}

// exact is local with seconds, for lines of a log.
func exact(at time.Time) string { return at.Local().Format("2006-01-02 15:04:05 MST") }

func count(n int64) string { return strconv.FormatInt(n, 10) }

// optionalCount is empty for 0.
func optionalCount(n int64) string {
	if n == 0 {
		return ""
	}
	return count(n)
}

package config

import (
	"fmt"
	"slices"
	"strings"
)

// Finding is one thing that is wrong with a configuration.
type Finding struct {
	// File is the path as given to Load, or "embedded defaults".
	File string
	// Line and Col start at 1; both are 0 when the finding concerns a key that the file does not have.
	Line, Col int
	// Key is the path of the key, as "milter.listeners[1].address"; empty when the finding is about the file.
	Key string
	// Problem says what is wrong and what is allowed. It never holds the value of a secret.
	Problem string
}

// String is "FILE:LINE:COL: KEY: PROBLEM", which editors can jump to.
func (f Finding) String() string {
	var b strings.Builder
	b.WriteString(f.File)
	if f.Line > 0 {
		fmt.Fprintf(&b, ":%d:%d", f.Line, f.Col)
	}
	b.WriteString(": ")
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.Problem)
	return b.String()
}

// Findings is the error of Load and Check: everything that is wrong, in the order of the file's lines.
type Findings []Finding

// maxFindings is as many as a person reads; a file with more has one cause, which is among the first.
const maxFindings = 50

// Error has one finding a line.
func (f Findings) Error() string {
	lines := make([]string, 0, len(f))
	for _, one := range f {
		lines = append(lines, one.String())
	}
	return strings.Join(lines, "\n")
}

// err returns nil when nothing was found, else the findings in the order of the file, cut at maxFindings.
func (f Findings) err() error {
	if len(f) == 0 {
		return nil
	}
	slices.SortStableFunc(f, func(a, b Finding) int {
		if a.Line != b.Line {
			return a.Line - b.Line
		}
		return a.Col - b.Col
	})
	if more := len(f) - maxFindings; more > 0 {
		f = append(f[:maxFindings:maxFindings], Finding{File: f[0].File, Problem: fmt.Sprintf("and %d more", more)})
	}
	return f
}

// covers reports whether a finding at or below key exists already, so that what follows from it is not told twice.
func (f Findings) covers(key string) bool {
	return slices.ContainsFunc(f, func(one Finding) bool {
		rest, ok := strings.CutPrefix(one.Key, key)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

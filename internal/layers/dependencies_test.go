package layers_test

import (
	"bufio"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// root is the module's directory, seen from here.
const root = "../.."

func TestEveryDirectDependencyHasItsLineInTheDocument(t *testing.T) {
	need, have := directDependencies(t), documented(t)
	require.NotEmpty(t, need)
	for _, m := range need {
		if !slices.Contains(have, m) {
			t.Errorf("%s is in go.mod, and has no line in docs/dependencies.md", m)
		}
	}
	for _, m := range have {
		if !slices.Contains(need, m) {
			t.Errorf("%s has a line in docs/dependencies.md, and is not in go.mod", m)
		}
	}
}

// directDependencies are the modules that go.mod requires without "// indirect".
func directDependencies(t *testing.T) []string {
	t.Helper()
	var out []string
	inside := false
	for _, line := range lines(t, "go.mod") {
		switch f := strings.Fields(line); {
		case line == "require (":
			inside = true
		case line == ")":
			inside = false
		case inside && len(f) >= 2 && !strings.HasSuffix(line, "// indirect"):
			out = append(out, f[0])
		}
	}
	return out
}

// documented are the modules in the first column of the document's tables: paths with a dot and a slash.
func documented(t *testing.T) []string {
	t.Helper()
	var out []string
	for _, line := range lines(t, "docs/dependencies.md") {
		cells := strings.Split(line, "|")
		if len(cells) < 6 {
			continue
		}
		host, _, found := strings.Cut(strings.TrimSpace(cells[1]), "/")
		if found && strings.Contains(host, ".") {
			out = append(out, strings.TrimSpace(cells[1]))
		}
	}
	return out
}

// lines are the lines of a file of the project.
func lines(t *testing.T, name string) []string {
	t.Helper()
	f, err := os.Open(filepath.Join(root, name))
	require.NoError(t, err)
	defer f.Close()
	var out []string
	s := bufio.NewScanner(f)
	for s.Scan() {
		out = append(out, s.Text())
	}
	require.NoError(t, s.Err())
	return out
}

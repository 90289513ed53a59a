package layers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const module = "github.com/mairust/mairust"

// listed is what we need of `go list -json`.
type listed struct {
	ImportPath string
	Imports    []string
}

// name is the package's path below the module.
func (p listed) name() string { return below(p.ImportPath) }

// ours are the packages of this module that p imports, by their paths below the module.
func (p listed) ours() []string {
	var out []string
	for _, i := range p.Imports {
		if i == module || strings.HasPrefix(i, module+"/") {
			out = append(out, below(i))
		}
	}
	return out
}

func below(path string) string { return strings.TrimPrefix(strings.TrimPrefix(path, module), "/") }

// packages asks the go command for every package of the module.
func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", "list", "-json=ImportPath,Imports", module+"/...")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, "%s", stderr.String())
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all
		}
		require.NoError(t, err)
		all = append(all, p)
	}
}

func TestEveryPackageImportsOnlyWhatTheTableAllows(t *testing.T) {
	for _, p := range packages(t) {
		r, known := table[p.name()]
		if !known {
			t.Errorf("package %s is not in the table: decide what it may import, and add it to table_test.go", p.name())
			continue
		}
		for _, i := range p.ours() {
			if !r.allows(i) {
				t.Errorf("%s imports %s, which the table does not allow", p.name(), i)
			}
			if by, limited := importers[i]; limited && !slices.Contains(by, p.name()) {
				t.Errorf("%s imports %s, which only %q may", p.name(), i, by)
			}
		}
	}
}

func TestFrontsNeverImportOneAnother(t *testing.T) {
	for _, p := range packages(t) {
		from := frontOf(p.name())
		if from == "" {
			continue
		}
		for _, i := range p.ours() {
			if to := frontOf(i); to != "" && to != from && i != "api/wire" { // words that acts take and give, and nothing else
				t.Errorf("%s imports %s: a front imports another", p.name(), i)
			}
		}
	}
}

func TestTheTableHasNoPackageThatIsGone(t *testing.T) {
	have := map[string]bool{}
	for _, p := range packages(t) {
		have[p.name()] = true
	}
	for name := range table {
		if !have[name] {
			t.Errorf("the table has %s, which does not exist", name)
		}
	}
}

func TestRowsKnowPrefixes(t *testing.T) {
	r := may("policy/...", "store")
	for path, want := range map[string]bool{"policy": true, "policy/rule": true, "policyx": false, "store": true, "store/blob": false} {
		require.Equal(t, want, r.allows(path), path)
	}
}

// allows says whether the row has the package.
func (r row) allows(path string) bool {
	return r.everything || slices.ContainsFunc(r.may, func(entry string) bool {
		if tree, ok := strings.CutSuffix(entry, "/..."); ok {
			return path == tree || strings.HasPrefix(path, tree+"/")
		}
		return path == entry
	})
}

// frontOf is the front that a package belongs to, or "".
func frontOf(path string) string {
	for _, f := range fronts {
		if path == f || strings.HasPrefix(path, f+"/") {
			return f
		}
	}
	return ""
}

package bounce

import (
	"cmp"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// rotated is what rotation puts behind the name of a log: ".1", ".0", ".old", "-20261126", ".20261126-031500". Names
// that go on, as ".1.gz" does, are compressed.
var rotated = regexp.MustCompile(`^[.-](\d[\d.T_-]*|old)$`)

// generation is a log file with what sorts it among its rotations.
type generation struct {
	name    string
	changed time.Time
	// number is how often it was rotated, 0 for the newest and for names with dates.
	number int
}

// generations are the file and its rotations that are not compressed, oldest first.
func (f *logFile) generations() []string {
	dir, base := filepath.Split(f.path)
	entries, err := os.ReadDir(cmp.Or(dir, "."))
	if err != nil {
		return nil
	}
	var list []generation
	for _, e := range entries {
		suffix, found := strings.CutPrefix(e.Name(), base)
		if !found || suffix != "" && !rotated.MatchString(suffix) {
			continue
		}
		info, err := os.Stat(dir + e.Name())
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		number, err := strconv.Atoi(strings.TrimLeft(suffix, ".-"))
		if err != nil || len(suffix) > 4 {
			number = 0 // a date
		}
		list = append(list, generation{name: dir + e.Name(), changed: info.ModTime(), number: number})
	}
	slices.SortFunc(list, f.compare)
	names := make([]string, len(list))
	for i, g := range list {
		names[i] = g.name
	}
	return names
}

// compare sorts the file itself last, the others by number where both have one, else by their last change.
func (f *logFile) compare(a, b generation) int {
	isLast := func(g generation) int {
		if g.name == f.path {
			return 1
		}
		return 0
	}
	byNumber := 0
	if a.number > 0 && b.number > 0 {
		byNumber = cmp.Compare(b.number, a.number)
	}
	return cmp.Or(cmp.Compare(isLast(a), isLast(b)), byNumber, a.changed.Compare(b.changed), cmp.Compare(a.name, b.name))
}

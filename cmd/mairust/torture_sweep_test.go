package main

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// sweep has the daemon settle every object that no row speaks of: what was not acknowledged is adopted, or goes when the
// mailbox has it already. It is done to half of the installations, before or after what is in doubt is sent again.
func (r *tortureRig) sweep(t *testing.T, random *rand.Rand) (swept bool) {
	t.Helper()
	how := random.IntN(4)
	if how > 1 {
		return false
	}
	if how == 1 {
		require.NoError(t, r.settle())
	}
	repair := []string{"--repair"}
	if r.bucket == nil {
		r.age(t)
	} else {
		repair = append(repair, "--min-age", "0s") // nobody can make an object of a bucket older
	}
	out, code := r.site.fsck(t, repair...)
	require.LessOrEqual(t, code, 1, "%s", out) // 1 is: found some, and mended all
	return true
}

// inspectSwept is inspect after a sweep of half of the installations, which must leave no object without a row. Before it and after it a
// check finds nothing, but for objects that are too young to be missed.
func (l *tally) inspectSwept(t *testing.T, r *tortureRig, random *rand.Rand, rounds int) {
	t.Helper()
	r.requireClean(t)
	swept := r.sweep(t, random)
	i := l.add(t, r, rounds)
	if swept && i.orphans > 0 {
		t.Errorf("%d objects without a row are left by the sweep", i.orphans)
	}
	require.Contains(t, r.requireClean(t, "--verify-content"), fmt.Sprintf("%d messages compared, %d read whole", len(i.rows), len(i.rows)))
}

// requireClean has fsck find nothing, and gives what it says. A folder that was made a moment ago is described soon.
func (r *tortureRig) requireClean(t *testing.T, args ...string) string {
	t.Helper()
	for began := time.Now(); ; time.Sleep(breather) {
		out, code := r.site.fsck(t, args...)
		if code != 0 && notDescribed.MatchString(out) && time.Since(began) < ackPatience {
			continue
		}
		require.Zero(t, code, "%s", out)
		return out
	}
}

var notDescribed = regexp.MustCompile(`(?m)^LEFT +description `)

// age makes all objects so old that their rows can't be on their way any more.
func (r *tortureRig) age(t *testing.T) {
	t.Helper()
	old := time.Now().Add(-2 * time.Hour)
	err := filepath.WalkDir(filepath.Join(r.site.dir, "data", "mail"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".eml") {
			return err
		}
		return os.Chtimes(path, old, old)
	})
	require.NoError(t, err)
}

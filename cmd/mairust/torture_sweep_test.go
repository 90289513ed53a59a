package main

import (
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	r.age(t)
	out, code := r.site.fsck(t, "--repair")
	require.LessOrEqual(t, code, 1, "%s", out) // 1 is: found some, and mended all
	return true
}

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

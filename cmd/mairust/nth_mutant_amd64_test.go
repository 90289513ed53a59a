package main

import (
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/storetest"
)

// errorMutants are builds that take a flush that failed for one that worked. Short runs take the first, on the first database.
var errorMutants = []struct {
	name, tag string
	sweep     sweep
	size      int
}{
	{"the journal", "mairust_mutant_journal_errors", sweep{"fdatasync", syscall.EIO}, nthSizes[0]},
	{"big objects and their names", "mairust_mutant_objects_errors", sweep{"fsync", syscall.EIO}, nthSizes[1]},
}

// TestBuildsThatForgetErrorsOfFlushesAreNoticed shows that the test of every I/O error can fail: with one recipient, and with several.
func TestBuildsThatForgetErrorsOfFlushesAreNoticed(t *testing.T) {
	for i, backend := range storetest.Backends() {
		for j, m := range errorMutants {
			if i+j > 0 && os.Getenv("MAIRUST_TORTURE") == "" {
				continue
			}
			t.Run(backend+"/"+m.name, func(t *testing.T) {
				t.Parallel()
				n := newNth(t, backend, buildMutant(t, m.tag))
				n.works(t)
				for _, several := range []bool{false, true} {
					t.Logf("errors of the flush of %s, several recipients %t: %v", m.name, several, n.firstWrong(t, m.sweep, m.size, several))
				}
			})
		}
	}
}

// firstWrong lets each call fail until there is something wrong, which there must be.
func (n *nth) firstWrong(t *testing.T, s sweep, size int, several bool) error {
	t.Helper()
	for i := 1; ; i++ {
		rcpts := []string{address(n.mailbox(t, s.call))}
		if several {
			rcpts = n.rcpts(severalOrders - 1)
		}
		a := n.attempt(t, rcpts, size, fault{s.call, s.errno, i})
		if a.wrong != nil {
			return a.wrong
		}
		require.True(t, a.hit(), "every call has failed, and nothing was wrong: the test of every I/O error does not notice")
	}
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// sweep is a system call that fails in a way, at each of its places in a delivery.
type sweep struct {
	call  string
	errno syscall.Errno
}

// sweeps are those of every run; longSweeps are for MAIRUST_TORTURE. There is none of renameat and ftruncate: no delivery makes them (objects
// are renamed when damage is mended or a crash is recovered from, and SQLite's log is cut after a checkpoint). unlinkat is
// made only when a delivery takes back what it did: see rollbacks.
var (
	sweeps = []sweep{
		{"fsync", syscall.EIO}, {"fsync", syscall.ENOSPC}, {"fdatasync", syscall.EIO}, {"fdatasync", syscall.ENOSPC}, {"syncfs", syscall.EIO},
		{"write", syscall.EIO}, {"write", syscall.ENOSPC}, {"pwritev", syscall.EIO}, {"pwrite64", syscall.EIO},
		{"linkat", syscall.EIO}, {"linkat", syscall.ENOSPC}, {"mkdirat", syscall.ENOSPC}, {"openat", syscall.ENOSPC}, {"openat2", syscall.EIO},
	}
	longSweeps = []sweep{
		{"mkdirat", syscall.EIO}, {"pwrite64", syscall.ENOSPC}, {"pwritev", syscall.ENOSPC}, {"openat2", syscall.ENOSPC},
		{"openat", syscall.EIO}, {"openat", syscall.EMFILE}, {"fallocate", syscall.ENOSPC}, {"pread64", syscall.EIO},
	}
)

// nthMailboxes take turns. nthFresh get one message each, which has to make their directories.
const nthMailboxes = 24

func nthFresh() int {
	if os.Getenv("MAIRUST_TORTURE") != "" {
		return 160
	}
	return 24
}

// happens says whether a delivery surely makes the call, so that one which was not there to fail means that nothing was tested. Where it says no,
// the call belongs to another size or database, or to the background; the sweep is made all the same, and claims nothing.
func (s sweep) happens(backend string, size int) bool {
	switch isSmall := size == nthSizes[0]; s.call {
	case "write", "linkat", "openat", "mkdirat":
		return true
	case "fsync":
		return !isSmall
	case "pwritev", "openat2", "syncfs", "fallocate", "pread64": // the journal's
		return isSmall
	case "fdatasync":
		return isSmall || backend == sqldb.SQLite
	case "pwrite64":
		return backend == sqldb.SQLite
	}
	panic("nobody knows whether a delivery makes " + s.call)
}

// nthSizes are a small message, one that is too big for what groups small ones, and one that needs a file on its way.
var nthSizes = []int{100, 300 << 10, 1500 << 10}

func TestEveryIOErrorOfADeliveryEndsInATemporaryReplyOrAWholeMessage(t *testing.T) {
	list, repeat := sweeps, 1
	if os.Getenv("MAIRUST_TORTURE") != "" {
		list, repeat = append(slices.Clone(sweeps), longSweeps...), 3
	}
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			t.Parallel()
			n := newNth(t, backend, "")
			for _, s := range list {
				for _, size := range nthSizes {
					t.Run(fmt.Sprintf("%s %s %d", s.call, s.errno, size), func(t *testing.T) {
						for range repeat {
							n.sweep(t, s, size)
						}
					})
				}
			}
			t.Run("several recipients", func(t *testing.T) { n.several(t, repeat) })
			// What was acknowledged is there after a crash, and whole; what was not may be there too, but whole.
			n.daemon.kill()
			n.acked.check(t, n.site.start(t), n.all...)
		})
	}
}

// nth is a daemon whose system calls fail.
type nth struct {
	backend string
	site    *testSite
	daemon  *process
	tracer  *tracer
	acked   *acknowledged
	all     []string // mailboxes
	turn    int
	fresh   int
}

// newNth starts the program, or this test's own when that is empty.
func newNth(t *testing.T, backend, program string) *nth {
	t.Helper()
	n := &nth{backend: backend, acked: &acknowledged{}}
	var locals []string
	for i := range nthMailboxes {
		locals = append(locals, fmt.Sprintf("u%d", i))
	}
	for i := range nthFresh() {
		locals = append(locals, fmt.Sprintf("fresh%d", i))
	}
	n.site = newTestSite(t, siteOptions{Backend: backend, Program: program, Mailboxes: locals, Extra: "alert: {check_every: 1h}\n"})
	n.site.run(t, "init", "--tenant", "other", "--domain", "other.test", "--mailbox", strings.Join(nthOthers, ","))
	n.all = append(locals, nthOthers...)
	n.daemon = n.site.start(t)
	n.tracer = traceDaemon(t, n.daemon, filepath.Join(n.site.dir, "data"))
	return n
}

// mailbox is the one for a message during which a call fails.
func (n *nth) mailbox(t *testing.T, call string) string {
	t.Helper()
	switch call {
	case "mkdirat":
		require.Less(t, n.fresh, nthFresh())
		n.fresh++
		n.removeEmpty(t)
		return fmt.Sprintf("fresh%d", n.fresh-1)
	case "fallocate":
		n.removeSegments(t)
	}
	n.turn++
	return fmt.Sprintf("u%d", n.turn%nthMailboxes)
}

// sweep lets the first call fail, the second, and so on, each in a delivery of its own, until a delivery has none left
// to fail. Each fails twice: in a daemon that has just delivered, and in one whose last delivery has failed.
func (n *nth) sweep(t *testing.T, s sweep, size int) {
	t.Helper()
	outcomes := map[string]int{}
	for i, more := 1, true; more; i++ {
		require.Less(t, i, 500, "a delivery has no end of calls")
		n.works(t)
		n.rest(s, size)
		more = false
		for range 2 {
			o := n.attempt(t, []string{address(n.mailbox(t, s.call))}, size, fault{s.call, s.errno, i})
			require.NoError(t, o.wrong)
			more = more || o.hit()
			n.count(outcomes, o)
		}
	}
	t.Logf("%s: %v", s.call, outcomes)
	if s.happens(n.backend, size) {
		require.NotEmpty(t, outcomes, "no call has failed")
	}
	n.works(t)
}

func (n *nth) works(t *testing.T) {
	t.Helper()
	waitFor(t, "deliveries to work again", func() bool { return n.acked.send(t, n.site, "u0", nil).Accepted() })
}

// rest lets the second pass for which, after an object has failed, PostgreSQL gets rows only when their objects are stored: then the
// row is written while the object fails. In short runs for the flush of the journal alone.
func (n *nth) rest(s sweep, size int) {
	if n.backend == sqldb.Postgres && size == nthSizes[0] && (s.call == "fdatasync" || os.Getenv("MAIRUST_TORTURE") != "") {
		time.Sleep(1100 * time.Millisecond)
	}
}

// attempt is what became of one delivery.
type attempt struct {
	verdict
	// words are the replies to its recipients.
	words []lab.Reply
	// wrong is what must not be.
	wrong error
}

// hit says whether there were enough calls for the last fault.
func (a attempt) hit() bool { return a.verdict.hit != "" }

// attempt sends a message during which calls fail. A flush that failed and is followed by a 250 needs an explanation: that what it was for has been
// written and flushed again, or that it was for nobody.
func (n *nth) attempt(t *testing.T, rcpts []string, size int, faults ...fault) attempt {
	t.Helper()
	f := faults[len(faults)-1]
	checkpoints := n.checkpoints()
	n.tracer.arm(t, faults...)
	replies := n.acked.sendTo(t, n.site, rcpts, []byte(strings.Repeat("0123456789abcd\r\n", size/16)))
	if f.call == "syncfs" && size == nthSizes[0] {
		waitFor(t, "a checkpoint", func() bool { return n.checkpoints() > checkpoints })
	}
	a := attempt{verdict: n.tracer.disarm(t), words: lastWords(rcpts, replies)}
	for _, r := range a.words {
		if a.hits == 0 {
			require.Equal(t, 250, r.Code, "nothing failed: %s", r)
		}
		require.Contains(t, []int{250, 451, 452}, r.Code, "call %d, on %s: %s", f.n, a.verdict.hit, r)
	}
	// A flush of SQLite's own file is a checkpoint's. What belongs to the last recipient comes last: no other's is written after it.
	flush := a.hit() && strings.HasSuffix(f.call, "sync") && !strings.HasSuffix(a.verdict.hit, "mairust.db") && !a.idle
	if flush && !a.again && a.words[len(rcpts)-1].Code == 250 {
		a.wrong = fmt.Errorf("%s %d: 250 although the flush of %s failed, and nothing was written and flushed after that", f.call, f.n, a.verdict.hit)
	}
	return a
}

// count adds an attempt to the outcomes that are told.
func (n *nth) count(outcomes map[string]int, a attempt) {
	if !a.hit() {
		return
	}
	what := n.shape(a.verdict.hit)
	for _, r := range a.words {
		what += fmt.Sprintf(" %d", r.Code)
	}
	outcomes[what]++
}

// removeEmpty removes the directories in which there is nothing but what describes a mailbox.
func (n *nth) removeEmpty(t *testing.T) {
	t.Helper()
	described, err := filepath.Glob(filepath.Join(n.site.dir, "data", "mail", "*", "*", "mailbox.json"))
	require.NoError(t, err)
	for _, path := range described {
		dir := filepath.Dir(path)
		if entries, err := os.ReadDir(dir); err == nil && len(entries) == 1 {
			require.NoError(t, os.RemoveAll(dir))
		}
	}
}

// checkpoints is how many of the journal have worked or failed.
func (n *nth) checkpoints() float64 {
	return n.daemon.metricOf("mairust_journal_checkpoint_seconds_count") + n.daemon.metricOf("mairust_journal_failed_checkpoints_total")
}

// removeSegments takes the files of the journal away, as a backup does that is put back over them: the next delivery has to make one.
func (n *nth) removeSegments(t *testing.T) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(n.site.dir, "data", "mail", ".journal", "*.seg"))
	require.NoError(t, err)
	for _, path := range segments {
		require.NoError(t, os.Remove(path))
	}
}

// shape is a path without what differs from delivery to delivery.
func (n *nth) shape(path string) string {
	path = strings.TrimPrefix(path, filepath.Join(n.site.dir, "data")+"/")
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if len(p) > 20 || strings.HasPrefix(p, "#") {
			parts[i] = "…"
		}
	}
	return strings.Join(parts, "/")
}

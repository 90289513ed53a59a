package main

import (
	"cmp"
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

// sweeps are those of every run; longSweeps are for MAIRUST_TORTURE.
var (
	sweeps = []sweep{
		{"fsync", syscall.EIO}, {"fsync", syscall.ENOSPC}, {"fdatasync", syscall.EIO}, {"fdatasync", syscall.ENOSPC}, {"syncfs", syscall.EIO},
		{"write", syscall.EIO}, {"write", syscall.ENOSPC}, {"pwritev", syscall.EIO}, {"pwrite64", syscall.EIO},
		{"linkat", syscall.EIO}, {"linkat", syscall.ENOSPC}, {"mkdirat", syscall.ENOSPC}, {"openat", syscall.ENOSPC}, {"openat2", syscall.EIO},
	}
	longSweeps = []sweep{
		{"mkdirat", syscall.EIO}, {"pwrite64", syscall.ENOSPC}, {"pwritev", syscall.ENOSPC}, {"openat2", syscall.ENOSPC},
		{"openat", syscall.EIO}, {"openat", syscall.EMFILE}, {"renameat", syscall.EIO}, {"ftruncate", syscall.EIO},
		{"fallocate", syscall.ENOSPC}, {"unlinkat", syscall.EIO}, {"pread64", syscall.EIO},
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

// happens says whether a delivery surely makes the call, so that one which was not there to fail means that nothing was tested.
func (s sweep) happens(backend string, size int) bool {
	switch isSmall := size == nthSizes[0]; s.call {
	case "write", "linkat", "openat", "mkdirat":
		return true
	case "fsync":
		return !isSmall
	case "pwritev", "openat2", "syncfs": // the journal's
		return isSmall
	case "fdatasync":
		return isSmall || backend == sqldb.SQLite
	case "pwrite64":
		return backend == sqldb.SQLite
	}
	return false
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
			n := newNth(t, backend)
			for _, s := range list {
				for _, size := range nthSizes {
					t.Run(fmt.Sprintf("%s %s %d", s.call, s.errno, size), func(t *testing.T) {
						for range repeat {
							n.sweep(t, s, size)
						}
					})
				}
			}
			// What was acknowledged is there after a crash, and whole; what was not may be there too, but whole.
			n.daemon.kill()
			n.acked.check(t, n.site.start(t), n.mailboxes()...)
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
	turn    int
	fresh   int
}

func newNth(t *testing.T, backend string) *nth {
	t.Helper()
	n := &nth{backend: backend, acked: &acknowledged{}}
	n.site = newTestSite(t, siteOptions{Backend: backend, Mailboxes: n.mailboxes(), Extra: "alert: {check_every: 1h}\n"})
	n.daemon = n.site.start(t)
	n.tracer = traceDaemon(t, n.daemon, filepath.Join(n.site.dir, "data"))
	return n
}

func (n *nth) mailboxes() (list []string) {
	for i := range nthMailboxes {
		list = append(list, fmt.Sprintf("u%d", i))
	}
	for i := range nthFresh() {
		list = append(list, fmt.Sprintf("fresh%d", i))
	}
	return list
}

// mailbox is the one for a message during which a call fails.
func (n *nth) mailbox(t *testing.T, call string) string {
	t.Helper()
	if call == "mkdirat" {
		require.Less(t, n.fresh, nthFresh())
		n.fresh++
		n.removeEmpty(t)
		return fmt.Sprintf("fresh%d", n.fresh-1)
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
		waitFor(t, "deliveries to work again", func() bool { return n.acked.send(t, n.site, "u0", nil).Accepted() })
		n.rest(s, size)
		settled := n.attempt(t, fault{s.call, s.errno, i}, size, outcomes)
		shaken := n.attempt(t, fault{s.call, s.errno, i}, size, outcomes)
		more = settled || shaken
	}
	t.Logf("%s: %v", s.call, outcomes)
	if s.happens(n.backend, size) {
		require.NotEmpty(t, outcomes, "no call has failed")
	}
	waitFor(t, "deliveries to work again", func() bool { return n.acked.send(t, n.site, "u0", nil).Accepted() })
}

// rest lets the second pass for which, after an object has failed, PostgreSQL gets rows only when their objects are stored: then the
// row is written while the object fails. In short runs for the flush of the journal alone.
func (n *nth) rest(s sweep, size int) {
	if n.backend == sqldb.Postgres && size == nthSizes[0] && (s.call == "fdatasync" || os.Getenv("MAIRUST_TORTURE") != "") {
		time.Sleep(1100 * time.Millisecond)
	}
}

// doubts is how often a 250 may follow the failure of a flush: it may have been that of a checkpoint in the background.
const doubts = 3

// attempt sends a message during which a call fails; false when there were not enough calls.
func (n *nth) attempt(t *testing.T, f fault, size int, outcomes map[string]int) bool {
	t.Helper()
	for doubt := 1; ; doubt++ {
		checkpoints := n.checkpoints()
		n.tracer.arm(t, f)
		last := n.send(t, n.mailbox(t, f.call), size)
		if f.call == "syncfs" && size == nthSizes[0] {
			waitFor(t, "a checkpoint", func() bool { return n.checkpoints() > checkpoints })
		}
		v := n.tracer.disarm(t)
		if v.hit == "" {
			require.Equal(t, 250, last.Code, "nothing failed: %s", last)
			return false
		}
		require.Contains(t, []int{250, 451, 452}, last.Code, "call %d, on %s: %s", f.n, v.hit, last)
		outcomes[fmt.Sprintf("%s %d", n.shape(v.hit), last.Code)]++
		flush := strings.HasSuffix(f.call, "sync") && !strings.HasSuffix(v.hit, "mairust.db") // that is a checkpoint's
		if last.Code != 250 || !flush || v.again {
			return true
		}
		require.Less(t, doubt, doubts, "call %d: 250 although the flush of %s failed, and nothing was written and flushed after that", f.n, v.hit)
	}
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

// send sends a message, and gives the last reply.
func (n *nth) send(t *testing.T, mailbox string, size int) (last lab.Reply) {
	t.Helper()
	replies := n.acked.send(t, n.site, mailbox, []byte(strings.Repeat("0123456789abcd\r\n", size/16)))
	for _, list := range [][]lab.Reply{{replies.Greeting}, replies.Rcpts, {replies.Data}, replies.Final} {
		for _, r := range list {
			last = cmp.Or(r, last)
		}
	}
	return last
}

// shape is a path without what differs from delivery to delivery.
func (n *nth) shape(path string) string {
	path = strings.TrimPrefix(path, filepath.Join(n.site.dir, "data")+"/")
	parts := strings.Split(path, "/")
	for i, p := range parts {
		if len(p) > 20 {
			parts[i] = "…"
		}
	}
	return strings.Join(parts, "/")
}

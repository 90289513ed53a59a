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

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
)

// sweep is a system call that fails in a way, at each of its places in a delivery.
type sweep struct {
	call  string
	errno syscall.Errno
}

// sweeps are those of every run; longSweeps are for MAIRUST_TORTURE.
var (
	sweeps = []sweep{
		{"mkdirat", syscall.ENOSPC}, {"fsync", syscall.EIO}, {"fdatasync", syscall.EIO}, {"write", syscall.ENOSPC},
		{"pwrite64", syscall.EIO}, {"pwritev", syscall.EIO}, {"linkat", syscall.EIO}, {"openat", syscall.ENOSPC},
		{"openat2", syscall.EIO},
	}
	longSweeps = []sweep{
		{"mkdirat", syscall.EIO}, {"fsync", syscall.ENOSPC}, {"fdatasync", syscall.ENOSPC}, {"write", syscall.EIO},
		{"pwrite64", syscall.ENOSPC}, {"pwritev", syscall.ENOSPC}, {"openat2", syscall.ENOSPC}, {"syncfs", syscall.EIO},
		{"linkat", syscall.ENOSPC}, {"openat", syscall.EIO}, {"openat", syscall.EMFILE},
		{"renameat", syscall.EIO}, {"ftruncate", syscall.EIO}, {"fallocate", syscall.ENOSPC}, {"unlinkat", syscall.EIO},
		{"pread64", syscall.EIO},
	}
)

// nthMailboxes take turns, so that many deliveries are the first of their mailbox and make its directories.
const nthMailboxes = 24

// nthSizes are a small message, one that is too big for what groups small ones, and one that needs a file on its way.
var nthSizes = []int{100, 300 << 10, 1500 << 10}

func TestEveryIOErrorOfADeliveryEndsInATemporaryReplyOrAWholeMessage(t *testing.T) {
	list, repeat := sweeps, 1
	if os.Getenv("MAIRUST_TORTURE") != "" {
		list, repeat = append(slices.Clone(sweeps), longSweeps...), 3
	}
	n := newNth(t)
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
}

// nth is a daemon whose system calls fail.
type nth struct {
	site   *testSite
	daemon *process
	tracer *tracer
	acked  *acknowledged
	turn   int
}

func newNth(t *testing.T) *nth {
	t.Helper()
	n := &nth{acked: &acknowledged{}}
	n.site = newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: n.mailboxes(), Extra: "alert: {check_every: 1h}\n"})
	n.daemon = n.site.start(t)
	n.tracer = traceDaemon(t, n.daemon, filepath.Join(n.site.dir, "data"))
	return n
}

func (n *nth) mailboxes() (list []string) {
	for i := range nthMailboxes {
		list = append(list, fmt.Sprintf("u%d", i))
	}
	return list
}

// sweep lets the first call fail, the second, and so on, each in a delivery of its own, until a delivery has none left
// to fail.
func (n *nth) sweep(t *testing.T, s sweep, size int) {
	t.Helper()
	outcomes := map[string]int{}
	doubtful := 0
	for i := 1; ; i++ {
		require.Less(t, i, 500, "a delivery has no end of calls")
		n.turn++
		mailbox := fmt.Sprintf("u%d", n.turn%nthMailboxes)
		n.tracer.arm(t, fault{s.call, s.errno, i})
		replies := n.acked.send(t, n.site, mailbox, []byte(strings.Repeat("0123456789abcd\r\n", size/16)))
		v := n.tracer.disarm(t)
		last := replies.Greeting
		for _, list := range [][]lab.Reply{replies.Rcpts, {replies.Data}, replies.Final} {
			for _, r := range list {
				last = cmp.Or(r, last)
			}
		}
		if v.hit == "" {
			require.Equal(t, 250, last.Code, "nothing failed: %s", last)
			t.Logf("%d calls of %s: %v", v.seen, s.call, outcomes)
			break
		}
		require.Contains(t, []int{250, 451, 452}, last.Code, "call %d, on %s: %s", i, v.hit, last)
		outcomes[fmt.Sprintf("%s %d", n.shape(v.hit), last.Code)]++
		if last.Code == 250 && strings.HasSuffix(s.call, "sync") && !strings.HasSuffix(v.hit, "mairust.db") {
			// Once it may be somebody else's flush that failed: a checkpoint's, in the background.
			if doubtful++; !v.again && doubtful < 3 {
				i--
				continue
			}
			assert.True(t, v.again, "call %d: 250 although the flush of %s failed, and nothing was written and flushed after that", i, v.hit)
		}
		doubtful = 0
	}
	waitFor(t, "deliveries to work again", func() bool { return n.acked.send(t, n.site, "u0", nil).Accepted() })
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

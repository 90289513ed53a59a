package main

import (
	"fmt"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// nthOthers are of another tenant than the other mailboxes.
var nthOthers = []string{"o0@other.test", "o1@other.test", "o2@other.test", "o3@other.test"}

// severalSweeps are for messages to two mailboxes of one tenant, which share an object's bytes, and one of another tenant.
var severalSweeps = []sweep{
	{"fsync", syscall.EIO}, {"fsync", syscall.ENOSPC}, {"fdatasync", syscall.EIO}, {"fdatasync", syscall.ENOSPC},
	{"write", syscall.EIO}, {"write", syscall.ENOSPC}, {"linkat", syscall.EIO}, {"linkat", syscall.ENOSPC},
}

// several is sweep for such messages, and then lets fail what takes names back.
func (n *nth) several(t *testing.T, repeat int) {
	for _, size := range nthSizes[:2] {
		for _, s := range severalSweeps {
			t.Run(fmt.Sprintf("%s %s %d", s.call, s.errno, size), func(t *testing.T) {
				for range repeat {
					n.sweepSeveral(t, s, size)
				}
			})
		}
		t.Run(fmt.Sprintf("unlinkat after linkat %d", size), func(t *testing.T) { n.rollbacks(t, size) })
	}
}

// severalOrders are in which order the recipients come: in one the tenant with two mailboxes is the last, so that no other's flush hides a failure of
// theirs.
const severalOrders = 2

// rcpts are those of a message, two of one tenant and one of another.
func (n *nth) rcpts(order int) []string {
	n.turn += 2
	two := []string{address(fmt.Sprintf("u%d", n.turn%nthMailboxes)), address(fmt.Sprintf("u%d", (n.turn+1)%nthMailboxes))}
	other := nthOthers[n.turn/2%len(nthOthers)]
	if order == 0 {
		return append(two, other)
	}
	return append([]string{other}, two...)
}

// sweepSeveral lets each call fail, in both orders of the recipients. One failure is nobody's who can be served by another attempt: at most one of
// the three is refused for an object's sake, all for a commit's.
func (n *nth) sweepSeveral(t *testing.T, s sweep, size int) {
	t.Helper()
	for order := range severalOrders {
		outcomes := map[string]int{}
		for i, more := 1, true; more; i++ {
			require.Less(t, i, 500, "a delivery has no end of calls")
			n.works(t)
			before := n.site.countObjects(t)
			o := n.attempt(t, n.rcpts(order), size, fault{s.call, s.errno, i})
			require.NoError(t, o.wrong)
			n.judge(t, s, o)
			if s.call == "linkat" {
				require.Equal(t, before+accepted(o), n.site.countObjects(t), "objects are left of names that were taken back: %v", o.words)
			}
			more = o.hit()
			n.count(outcomes, o)
		}
		t.Logf("%s: %v", s.call, outcomes)
		if s.happens(n.backend, size) {
			require.NotEmpty(t, outcomes, "no call has failed")
		}
	}
	n.works(t)
}

// judge looks at the reply to each recipient by itself.
func (n *nth) judge(t *testing.T, s sweep, o attempt) {
	t.Helper()
	code := map[syscall.Errno]int{syscall.EIO: 451, syscall.ENOSPC: 452}[s.errno]
	for i, r := range o.words {
		assert.Contains(t, []int{250, code}, r.Code, "recipient %d, on %s: %s", i, o.verdict.hit, r)
	}
	if strings.Contains(o.verdict.hit, "/mail/") {
		assert.GreaterOrEqual(t, accepted(o), 2, "a failure of one object, on %s, is of one recipient: %v", o.verdict.hit, o.words)
	}
}

func accepted(o attempt) (n int) {
	for _, r := range o.words {
		if r.Code == 250 {
			n++
		}
	}
	return n
}

// rollbacks lets the linking of a name fail, and then the removal of each name that is taken back.
func (n *nth) rollbacks(t *testing.T, size int) {
	t.Helper()
	outcomes := map[string]int{}
	for order := range severalOrders {
		for link := 1; ; link++ {
			n.works(t)
			hits := 0
			for i := 1; ; i++ {
				o := n.attempt(t, n.rcpts(order), size, fault{"linkat", syscall.EIO, link}, fault{"unlinkat", syscall.EIO, i})
				hits = max(hits, o.hits)
				n.count(outcomes, o)
				if !o.hit() {
					break
				}
			}
			if hits == 0 {
				break
			}
		}
	}
	t.Logf("unlinkat: %v", outcomes)
	require.NotEmpty(t, outcomes, "nothing was taken back")
	n.works(t)
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/store/storetest"
)

// Big messages come again and again, and the disk that they go to stands still for a while. What comes meanwhile for another
// one is acknowledged before any of them.
func TestBigMessagesThatAreBeingStoredHoldNoSmallOnes(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			site := newTestSite(t, siteOptions{Backend: backend, Mailboxes: []string{"bob", "eve"}})
			disk := site.diskOf(t, "bob@example.test")
			daemon := site.start(t)
			const rounds, bigs, smalls = 3, 8, 24
			for range rounds {
				thaw := disk.freeze()
				answers := make(chan *lab.Replies, bigs)
				for range bigs {
					go func() {
						replies, err := site.lmtp(t.Context(), "a@sender.test", []string{"bob@example.test"}, bigMessage)
						assert.NoError(t, err)
						answers <- replies
					}()
				}
				waitFor(t, "a big message that waits for the disk", func() bool { return daemon.blockedThreads(t) > 0 })
				site.sendAtOnce(t, hello, smalls)
				require.Empty(t, answers, "the disk of the big ones stood still")
				thaw()
				site.sendAtOnce(t, hello, smalls) // beside what is written, flushed and committed
				for range bigs {
					require.True(t, (<-answers).Accepted())
				}
			}
			list := daemon.messages(t, "bob@example.test", "")
			require.Len(t, list, rounds*bigs)
			require.Contains(t, string(daemon.raw(t, list[0].ID)), string(bigMessage))
			require.Len(t, daemon.messages(t, "eve@example.test", ""), 2*rounds*smalls)
		})
	}
}

// sendAtOnce sends a message to eve so many times over four connections, which must be acknowledged.
func (s *testSite) sendAtOnce(t *testing.T, message []byte, n int) {
	t.Helper()
	var senders sync.WaitGroup
	for range 4 {
		senders.Go(func() {
			for range n / 4 {
				replies, err := s.lmtp(t.Context(), "a@sender.test", []string{"eve@example.test"}, message)
				if !assert.NoError(t, err) || !assert.True(t, replies.Accepted()) {
					return
				}
			}
		})
	}
	senders.Wait()
	if t.Failed() {
		t.FailNow()
	}
}

// diskOf puts the objects of a mailbox on a file system of their own. The daemon does not run yet.
func (s *testSite) diskOf(t *testing.T, address string) *tortureDisk {
	t.Helper()
	described, err := filepath.Glob(filepath.Join(s.dir, "data", "mail", "*", "*", "mailbox.json"))
	require.NoError(t, err)
	for _, path := range described {
		description, err := os.ReadFile(path)
		require.NoError(t, err)
		if !strings.Contains(string(description), `"`+address+`"`) {
			continue
		}
		dir := filepath.Dir(path)
		require.NoError(t, os.RemoveAll(dir))
		disk := newTortureDisk(t, dir, tortureDiskBytes)
		require.NoError(t, os.WriteFile(path, description, 0o600))
		return disk
	}
	t.Fatalf("nothing describes %s", address)
	return nil
}

// FIFREEZE and FITHAW of linux/fs.h: _IOWR('X', 119, int) and _IOWR('X', 120, int).
const (
	fiFreeze = 0xc0045877
	fiThaw   = 0xc0045878
)

// freeze has everybody who writes to the file system wait, until thaw is called or the test ends.
func (d *tortureDisk) freeze() (thaw func()) {
	d.t.Helper()
	require.NoError(d.t, unix.IoctlSetInt(int(d.root.Fd()), fiFreeze, 0))
	thaw = sync.OnceFunc(func() { require.NoError(d.t, unix.IoctlSetInt(int(d.root.Fd()), fiThaw, 0)) })
	d.t.Cleanup(thaw)
	return thaw
}

// blockedThreads counts the threads that wait within the kernel for something that no signal ends: a disk (proc(5), state D).
func (p *process) blockedThreads(t *testing.T) int {
	t.Helper()
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.cmd.Process.Pid))
	require.NoError(t, err)
	n := 0
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // the thread has ended
		}
		_, after, _ := strings.Cut(string(stat), ") ")
		if strings.HasPrefix(after, "D ") {
			n++
		}
	}
	return n
}

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

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
				waitFor(t, "a big message that waits for the disk", func() bool { return daemon.someBlocked(t) })
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

// freeze has everybody who writes to the file system wait, until thaw is called or the test ends, also by being killed.
func (d *tortureDisk) freeze() (thaw func()) {
	d.t.Helper()
	thawer := exec.Command("sh", "-c", `fsfreeze --freeze "$1" && echo frozen; read -r _; fsfreeze --unfreeze "$1"`, "sh", d.dir)
	thawer.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // no Ctrl-C ends it before its time
	end, err := thawer.StdinPipe()
	require.NoError(d.t, err)
	out, err := thawer.StdoutPipe()
	require.NoError(d.t, err)
	require.NoError(d.t, thawer.Start())
	thaw = sync.OnceFunc(func() {
		assert.NoError(d.t, end.Close())
		require.NoError(d.t, thawer.Wait())
	})
	d.t.Cleanup(thaw)
	word, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(d.t, err)
	require.Equal(d.t, "frozen\n", word)
	return thaw
}

// someBlocked is when a thread waits for a disk in many looks, one after the other: another disk is not waited for as long.
func (p *process) someBlocked(t *testing.T) bool {
	t.Helper()
	for range 20 {
		if p.blockedThreads(t) == 0 {
			return false
		}
		time.Sleep(10 * time.Millisecond)
	}
	return true
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

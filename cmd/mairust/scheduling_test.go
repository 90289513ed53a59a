package main

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/store/sqldb"
)

// policies are the scheduling policies of a process's threads.
func policies(t *testing.T, pid int) []uint32 {
	t.Helper()
	tasks, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	require.NoError(t, err)
	var all []uint32
	for _, task := range tasks {
		id, err := strconv.Atoi(task.Name())
		require.NoError(t, err)
		if attr, err := unix.SchedGetAttr(id, 0); err == nil { // else it has ended
			all = append(all, attr.Policy)
		}
	}
	require.NotEmpty(t, all)
	return all
}

func TestThreadsOfTheDaemonInterruptNobody(t *testing.T) {
	site := newTestSite(t, siteOptions{Backend: sqldb.SQLite, Mailboxes: []string{"bob"}})
	daemon := site.start(t)
	for range 5 {
		replies, err := site.lmtp(t.Context(), "a@sender.test", []string{"bob@example.test"}, []byte("Subject: hello\r\n\r\nhello\r\n"))
		require.NoError(t, err)
		require.True(t, replies.Accepted(), "%+v", replies)
	}
	for _, policy := range policies(t, daemon.cmd.Process.Pid) {
		require.EqualValues(t, unix.SCHED_BATCH, policy)
	}
}

func TestAPolicyThatSomebodyChoseStays(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked: the thread ends with this goroutine
		for _, chosen := range []uint32{unix.SCHED_BATCH, unix.SCHED_IDLE} {
			assert.NoError(t, unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: chosen}, 0))
			changed, err := scheduleThread(unix.Gettid())
			assert.NoError(t, err)
			assert.False(t, changed)
			if attr, err := unix.SchedGetAttr(0, 0); assert.NoError(t, err) {
				assert.Equal(t, chosen, attr.Policy)
			}
		}
	}()
	<-done
}

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"

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

func TestAPolicyThatTheOperatorChoseStays(t *testing.T) {
	chrt, err := exec.LookPath("chrt")
	require.NoError(t, err, "chrt is part of util-linux")
	site := newTestSite(t, siteOptions{Backend: sqldb.SQLite, Mailboxes: []string{"bob"}})
	program, err := os.Executable()
	require.NoError(t, err)
	wrapper := filepath.Join(site.dir, "idle")
	require.NoError(t, os.WriteFile(wrapper, fmt.Appendf(nil, "#!/bin/sh\nexec %s -i 0 %s \"$@\"\n", chrt, program), 0o700)) // #nosec G306 -- a program
	site.program = wrapper
	for _, policy := range policies(t, site.start(t).cmd.Process.Pid) {
		require.EqualValues(t, unix.SCHED_IDLE, policy)
	}
}

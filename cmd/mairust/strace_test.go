package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
)

// inject has strace make system calls of the daemon fail, until the returned function is called. It returns when
// every thread is traced.
func inject(t *testing.T, p *process, args ...string) (end func()) {
	t.Helper()
	strace := labtest.Program(t, "strace", "strace")
	out := &lockedBuffer{}
	cmd := exec.Command(strace, append([]string{"-f", "-qq", "-p", fmt.Sprint(p.cmd.Process.Pid)}, args...)...)
	cmd.Stderr = out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, cmd.Start())
	waitFor(t, "strace to trace", func() bool { return traced(p.cmd.Process.Pid) })
	return sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // it lets go of the process; an error means that it has ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("strace:\n%s", out.String())
		}
	})
}

// traced says whether somebody traces every thread of a process.
func traced(pid int) bool {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		return false
	}
	for _, path := range threads {
		text, err := os.ReadFile(path)
		if err == nil && strings.Contains(string(text), "TracerPid:\t0\n") {
			return false
		}
	}
	return true
}

// lockedBuffer may be read while a process writes to it.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

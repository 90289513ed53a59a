package labtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/mairust/mairust/internal/lab"
)

// Inject has strace make system calls of a process fail, as its arguments say, until the returned function is called. It returns when
// every thread is traced. The process may be that of the test.
func Inject(t testing.TB, pid int, args ...string) (end func()) {
	t.Helper()
	strace := Program(t, "strace", "strace")
	out := &bytes.Buffer{}
	cmd := exec.Command(strace, append([]string{"-f", "-qq", "-p", fmt.Sprint(pid)}, args...)...) // #nosec G204 -- a test's own
	cmd.Stderr = out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	need(t, cmd.Start())
	end = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(syscall.SIGINT) // it lets go of the process; an error means that it has ended
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("strace:\n%s", out.String())
		}
	})
	t.Cleanup(end)
	need(t, lab.Eventually(t.Context(), func(context.Context) error { return traced(pid) }))
	return end
}

// traced is nil when somebody traces every thread of a process.
func traced(pid int) error {
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(threads) == 0 {
		return errors.Join(fmt.Errorf("no process %d", pid), err)
	}
	for _, path := range threads {
		text, err := os.ReadFile(path) // #nosec G304 -- the kernel's
		if err == nil && strings.Contains(string(text), "TracerPid:\t0\n") {
			return fmt.Errorf("nobody traces %s", path)
		}
	}
	return nil
}

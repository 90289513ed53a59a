package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// killAfter is how long a service may take to end on its own signal before it is killed.
const killAfter = 20 * time.Second

// logTail is how much of a service's log an error quotes.
const logTail = 4 << 10

// instance is one service's private directory and its main process.
type instance struct {
	dir string
	// keep leaves dir to whoever named its parent.
	keep  bool
	guard *guard
	as    *account

	mu    sync.Mutex
	child *child // nil while the service is stopped
}

// child is a running process; done is closed after it has been waited for.
type child struct {
	cmd  *exec.Cmd
	done chan struct{}
}

// newInstance makes the directory below parent ("" is the usual place) and its guard. sig ends the service quickly (a
// name as kill -s takes it).
func newInstance(parent, name, sig string, as *account) (*instance, error) {
	dir, err := makeDir(parent, name)
	if err != nil {
		return nil, err
	}
	g, err := startGuard(dir, sig)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &instance{dir: dir, keep: parent != "", guard: g, as: as}, nil
}

// path joins names below the instance's directory.
func (i *instance) path(names ...string) string {
	return filepath.Join(append([]string{i.dir}, names...)...)
}

// write makes a file below the instance's directory, and the directories above it.
func (i *instance) write(name, text string) error {
	path := i.path(name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { // #nosec G301 -- read by the service's user
		return fmt.Errorf("write %s: %w", name, err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil { // #nosec G306 -- read by the service's user
		return fmt.Errorf("write %s: %w", name, err)
	}
	return nil
}

// run starts the service's main process, with its output in out.log, and waits until ready returns nil.
// When the process ends before, the error quotes the end of its output.
func (i *instance) run(ctx context.Context, ready func(ctx context.Context) error, name string, args ...string) error {
	out, err := os.OpenFile(i.path("out.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644) // #nosec G302 G304 -- our own file
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	defer out.Close() //nolint:errcheck // the process has its own descriptor
	cmd := exec.Command(name, args...)
	cmd.Dir = i.dir
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "TZ=UTC"}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Credential: i.as.credential()}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(name), err)
	}
	c := &child{cmd, make(chan struct{})}
	go func() {
		_ = cmd.Wait() // how it ended is told by its log
		close(c.done)
	}()
	i.mu.Lock()
	i.child = c
	i.mu.Unlock()
	if err := i.awaitReady(ctx, c, ready); err != nil {
		i.stop(syscall.SIGKILL)
		return fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, tail(i.path("out.log")))
	}
	return nil
}

// awaitReady polls ready until it succeeds, the process ends or ctx is done.
func (i *instance) awaitReady(ctx context.Context, c *child, ready func(ctx context.Context) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	return Eventually(ctx, func(ctx context.Context) error {
		err := ready(ctx)
		select {
		case <-c.done:
			cancel()
			return errEnded
		default:
			return err
		}
	})
}

var errEnded = errors.New("ended while starting")

// pid is the main process, 0 while the service is stopped.
func (i *instance) pid() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.child == nil {
		return 0
	}
	return i.child.cmd.Process.Pid
}

// stop sends sig to the main process and waits for its end; after killAfter, or when sig is SIGKILL, its
// whole process group is killed. Calling it when the service is stopped does nothing.
func (i *instance) stop(sig syscall.Signal) {
	i.mu.Lock()
	c := i.child
	i.child = nil
	i.mu.Unlock()
	if c == nil {
		return
	}
	pid := c.cmd.Process.Pid
	if sig != syscall.SIGKILL {
		_ = c.cmd.Process.Signal(sig) // an error means that it has ended
		select {
		case <-c.done:
		case <-time.After(killAfter):
		}
	}
	// What the main process left behind goes too; the group's id is ours as long as one member lives.
	_ = syscall.Kill(-pid, syscall.SIGKILL)
	<-c.done
}

// close stops the service with sig, dismisses the guard and removes the directory, unless it lies where the caller
// wanted it. It may be called twice.
func (i *instance) close(sig syscall.Signal) error {
	i.stop(sig)
	i.mu.Lock()
	g := i.guard
	i.guard = nil
	i.mu.Unlock()
	if g != nil {
		g.dismiss()
	}
	if i.keep {
		return nil
	}
	if err := os.RemoveAll(i.dir); err != nil {
		return fmt.Errorf("remove %s: %w", i.dir, err)
	}
	return nil
}

// tail is the end of a log file, or "" when there is none.
func tail(path string) string {
	f, err := os.Open(path) // #nosec G304 -- our own file
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // only read
	if st, err := f.Stat(); err == nil && st.Size() > logTail {
		if _, err := f.Seek(-logTail, io.SeekEnd); err != nil {
			return ""
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, logTail))
	if err != nil {
		return ""
	}
	return string(text)
}

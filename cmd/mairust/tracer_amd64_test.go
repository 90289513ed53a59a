package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// tracer makes one system call of the daemon fail, counted over all its threads. strace counts those of each thread
// by themselves, and which goroutine runs on which thread is chance.
type tracer struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

// fault is one call that fails: the nth from now of those that concern the directory.
type fault struct {
	call  string
	errno syscall.Errno
	n     int
}

// verdict is what became of a fault.
type verdict struct {
	// seen are the calls that were counted.
	seen int
	// hit is the file whose call failed, empty when there were not enough calls.
	hit string
	// again says that after the hit something of the same kind, objects or database, was written and flushed.
	again bool
}

// asTracer in the environment makes the test binary a tracer.
const asTracer = "MAIRUST_TEST_TRACER"

// traceDaemon traces p until the end of the test. Calls on files below dir count.
func traceDaemon(t *testing.T, p *process, dir string) *tracer {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	tr := &tracer{cmd: exec.Command(self)}
	tr.cmd.Env = append(os.Environ(), asTracer+"="+strconv.Itoa(p.cmd.Process.Pid)+" "+dir)
	tr.cmd.Stderr = os.Stderr
	tr.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	tr.in, err = tr.cmd.StdinPipe()
	require.NoError(t, err)
	out, err := tr.cmd.StdoutPipe()
	require.NoError(t, err)
	tr.out = bufio.NewReader(out)
	require.NoError(t, tr.cmd.Start())
	t.Cleanup(func() {
		_ = tr.in.Close() // at whose end the tracer ends, and lets go
		_ = tr.cmd.Wait()
	})
	tr.answer(t)
	return tr
}

func (tr *tracer) answer(t *testing.T) string {
	t.Helper()
	line, err := tr.out.ReadString('\n')
	require.NoError(t, err, "the tracer has ended")
	return strings.TrimSuffix(line, "\n")
}

// arm begins to count.
func (tr *tracer) arm(t *testing.T, f fault) {
	t.Helper()
	_, err := fmt.Fprintf(tr.in, "%s %d %d\n", f.call, f.errno, f.n)
	require.NoError(t, err)
	tr.answer(t)
}

// disarm ends the counting.
func (tr *tracer) disarm(t *testing.T) (v verdict) {
	t.Helper()
	_, err := io.WriteString(tr.in, "off\n")
	require.NoError(t, err)
	fields := strings.SplitN(tr.answer(t), " ", 3)
	require.Len(t, fields, 3)
	v.seen, err = strconv.Atoi(fields[0])
	require.NoError(t, err)
	v.again, v.hit = fields[1] == "true", fields[2]
	return v
}

// calls are the system calls that may fail, and the argument that holds the descriptor which says what they are about.
var calls = map[string]struct{ number, descriptor int }{
	"write": {unix.SYS_WRITE, 0}, "pwrite64": {unix.SYS_PWRITE64, 0}, "fsync": {unix.SYS_FSYNC, 0},
	"fdatasync": {unix.SYS_FDATASYNC, 0}, "ftruncate": {unix.SYS_FTRUNCATE, 0}, "fallocate": {unix.SYS_FALLOCATE, 0},
	"linkat": {unix.SYS_LINKAT, 2}, "openat": {unix.SYS_OPENAT, 0}, "mkdirat": {unix.SYS_MKDIRAT, 0},
	"renameat": {unix.SYS_RENAMEAT, 0}, "pread64": {unix.SYS_PREAD64, 0}, "unlinkat": {unix.SYS_UNLINKAT, 0},
	"pwritev": {unix.SYS_PWRITEV, 0}, "openat2": {unix.SYS_OPENAT2, 0}, "syncfs": {unix.SYS_SYNCFS, 0},
}

// traceMain is the tracer's process.
func traceMain(arg string) int {
	runtime.LockOSThread() // ptrace knows threads, not processes
	pid, dir, _ := strings.Cut(arg, " ")
	tr := &tracing{dir: dir, entered: map[int]bool{}, failing: map[int]syscall.Errno{}, flushing: map[int]string{}}
	var err error
	if tr.pid, err = strconv.Atoi(pid); err == nil {
		err = tr.seize()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "tracer:", err)
		return 1
	}
	fmt.Println("tracing")
	go tr.obey()
	tr.loop()
	return 0
}

// tracing is the state of the tracer's process.
type tracing struct {
	pid int
	dir string
	// entered are threads within a system call, failing those whose call is to fail, flushing those that flush.
	entered  map[int]bool
	failing  map[int]syscall.Errno
	flushing map[int]string

	mu      sync.Mutex // guards the rest, which obey changes
	fault   fault
	verdict verdict
	written bool // something of the kind of the hit, after it
}

// obey reads commands, and ends the process with its input.
func (tr *tracing) obey() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		tr.mu.Lock()
		if lines.Text() == "off" {
			fmt.Println(tr.verdict.seen, tr.verdict.again, tr.verdict.hit)
			tr.fault = fault{}
		} else {
			var errno int
			f := fault{}
			if _, err := fmt.Sscan(lines.Text(), &f.call, &errno, &f.n); err != nil {
				panic(err)
			}
			f.errno = syscall.Errno(errno)
			tr.fault, tr.verdict, tr.written = f, verdict{}, false
			fmt.Println("armed")
		}
		tr.mu.Unlock()
	}
	os.Exit(0)
}

// seize takes every thread; new ones come by themselves.
func (tr *tracing) seize() error {
	const options = unix.PTRACE_O_TRACESYSGOOD | unix.PTRACE_O_TRACECLONE
	done := map[int]bool{}
	for more := true; more; { // threads that are made meanwhile
		more = false
		threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", tr.pid))
		if err != nil {
			return err
		}
		for _, path := range threads {
			tid, err := strconv.Atoi(filepath.Base(path))
			if err != nil || done[tid] {
				continue
			}
			done[tid], more = true, true
			if err := ptrace(unix.PTRACE_SEIZE, tid, 0, options); err != nil {
				if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ESRCH) {
					continue // it has ended, or came as the child of one that is traced
				}
				return err
			}
			if err := ptrace(unix.PTRACE_INTERRUPT, tid, 0, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

func ptrace(request, tid int, addr, data uintptr) error {
	_, _, errno := syscall.Syscall6(syscall.SYS_PTRACE, uintptr(request), uintptr(tid), addr, data, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// loop handles stops until the traced process ends.
func (tr *tracing) loop() {
	for {
		var status unix.WaitStatus
		tid, err := unix.Wait4(-1, &status, unix.WALL, nil)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return
		case status.Exited() || status.Signaled():
			if tid == tr.pid {
				return
			}
			continue
		}
		signal := uintptr(0)
		switch stop := status.StopSignal(); {
		case stop == unix.SIGTRAP|0x80:
			tr.syscall(tid)
		case status>>16 != 0: // an event of ptrace: a new thread, an interrupt
		default:
			signal = uintptr(stop)
		}
		_ = ptrace(unix.PTRACE_SYSCALL, tid, 0, signal) // fails when the thread has ended
	}
}

// syscall handles the entry into a system call, and its end.
func (tr *tracing) syscall(tid int) {
	var regs unix.PtraceRegs
	if err := unix.PtraceGetRegs(tid, &regs); err != nil {
		return
	}
	tr.entered[tid] = int64(regs.Rax) == -int64(unix.ENOSYS) && !tr.entered[tid] // what the kernel puts there at the entry
	if tr.entered[tid] {
		if tr.enter(tid, &regs) {
			regs.Orig_rax = ^uint64(0) // no call at all
			_ = unix.PtraceSetRegs(tid, &regs)
		}
		return
	}
	if errno, ok := tr.failing[tid]; ok {
		delete(tr.failing, tid)
		regs.Rax = uint64(-int64(errno))
		_ = unix.PtraceSetRegs(tid, &regs)
	}
	if path, ok := tr.flushing[tid]; ok {
		delete(tr.flushing, tid)
		tr.mu.Lock()
		tr.verdict.again = tr.verdict.again || tr.written && tr.kind(path) == tr.kind(tr.verdict.hit) && regs.Rax == 0
		tr.mu.Unlock()
	}
}

// enter says whether the call is to fail.
func (tr *tracing) enter(tid int, regs *unix.PtraceRegs) bool {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if tr.fault.n == 0 {
		return false
	}
	number := int(regs.Orig_rax)
	tr.follow(tid, number, regs)
	want := calls[tr.fault.call]
	if number != want.number {
		return false
	}
	path, ok := tr.path([]uint64{regs.Rdi, regs.Rsi, regs.Rdx}[want.descriptor])
	if !ok {
		return false
	}
	tr.verdict.seen++
	if tr.verdict.seen != tr.fault.n {
		return false
	}
	tr.verdict.hit = path
	tr.failing[tid] = tr.fault.errno
	delete(tr.flushing, tid)
	return true
}

// follow sees what happens to the file of a flush that failed.
func (tr *tracing) follow(tid, number int, regs *unix.PtraceRegs) {
	if tr.verdict.hit == "" {
		return
	}
	switch number {
	case unix.SYS_WRITE, unix.SYS_PWRITE64, unix.SYS_PWRITEV:
		path, _ := tr.path(regs.Rdi)
		tr.written = tr.written || tr.kind(path) == tr.kind(tr.verdict.hit)
	case unix.SYS_FSYNC, unix.SYS_FDATASYNC:
		tr.flushing[tid], _ = tr.path(regs.Rdi)
	}
}

// kind is what a file is for: what stands first below the directory, without the suffixes of SQLite's files.
func (tr *tracing) kind(path string) string {
	kind, _, _ := strings.Cut(strings.TrimPrefix(path, tr.dir+"/"), "/")
	return strings.TrimSuffix(strings.TrimSuffix(kind, "-wal"), "-shm")
}

// path is the file of a descriptor; false when it is not one of those that count.
func (tr *tracing) path(descriptor uint64) (string, bool) {
	if int32(descriptor) == unix.AT_FDCWD {
		return "(a path)", true
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tr.pid, int32(descriptor)))
	return path, err == nil && strings.HasPrefix(path, tr.dir)
}

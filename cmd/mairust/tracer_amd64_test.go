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
	// hits are how many of the faults came to pass; hit is the file whose call failed as the last of them, empty when it did not.
	hits int
	hit  string
	// idle says that nothing which anybody relies on had been written to the file that was to be flushed: see tracing.idle.
	idle bool
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

// arm begins to count. Of several faults each is counted from the one before.
func (tr *tracer) arm(t *testing.T, faults ...fault) {
	t.Helper()
	var line strings.Builder
	for _, f := range faults {
		fmt.Fprintf(&line, "%s %d %d ", f.call, f.errno, f.n)
	}
	_, err := fmt.Fprintln(tr.in, line.String())
	require.NoError(t, err)
	tr.answer(t)
}

// disarm ends the counting.
func (tr *tracer) disarm(t *testing.T) (v verdict) {
	t.Helper()
	_, err := io.WriteString(tr.in, "off\n")
	require.NoError(t, err)
	fields := strings.SplitN(tr.answer(t), " ", 4)
	require.Len(t, fields, 4)
	v.hits, err = strconv.Atoi(fields[0])
	require.NoError(t, err)
	v.idle, v.again, v.hit = fields[1] == "true", fields[2] == "true", fields[3]
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
	tr := &tracing{dir: dir, entered: map[int]bool{}, failing: map[int]syscall.Errno{}, flushing: map[int]string{}, unflushed: map[string]int{}}
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

	// unflushed is the last call that wrote to the file of a descriptor since it was flushed.
	unflushed map[string]int

	mu      sync.Mutex // guards the rest, which obey changes
	faults  []fault    // those to come
	seen    int        // the calls that were counted for the first of them
	verdict verdict
	written bool // something of the kind of the hit, after it
}

// obey reads commands, and ends the process with its input.
func (tr *tracing) obey() {
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		tr.mu.Lock()
		if lines.Text() == "off" {
			fmt.Println(tr.verdict.hits, tr.verdict.idle, tr.verdict.again, tr.verdict.hit)
			tr.faults = nil
		} else {
			tr.faults, tr.seen, tr.verdict, tr.written = parseFaults(lines.Text()), 0, verdict{}, false
			fmt.Println("armed")
		}
		tr.mu.Unlock()
	}
	os.Exit(0)
}

func parseFaults(line string) (list []fault) {
	fields := strings.Fields(line)
	for ; len(fields) >= 3; fields = fields[3:] {
		errno, err := strconv.Atoi(fields[1])
		n, err2 := strconv.Atoi(fields[2])
		if err := errors.Join(err, err2); err != nil {
			panic(err)
		}
		list = append(list, fault{fields[0], syscall.Errno(errno), n})
	}
	return list
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
	number := int(regs.Orig_rax)
	idle := tr.idle(number, regs)
	tr.follow(tid, number, regs)
	if len(tr.faults) == 0 {
		return false
	}
	want := calls[tr.faults[0].call]
	if number != want.number {
		return false
	}
	path, ok := tr.path([]uint64{regs.Rdi, regs.Rsi, regs.Rdx}[want.descriptor])
	if !ok {
		return false
	}
	tr.seen++
	if tr.seen != tr.faults[0].n {
		return false
	}
	tr.verdict.hits++
	tr.failing[tid] = tr.faults[0].errno
	delete(tr.flushing, tid)
	if tr.faults, tr.seen = tr.faults[1:], 0; len(tr.faults) == 0 {
		tr.verdict.hit, tr.verdict.idle = path, idle
	}
	return true
}

// idle keeps account of what is written to segments of the journal and to SQLite's log, and says whether a call is a flush of one that
// nobody waits for. Nothing of such a file counts before a flush through the descriptor that wrote it: one through which nothing was written
// is of SQLite's checkpoint, and one of a segment whose last call was a pwrite64 is of a segment that is made or is free again, for records come by pwritev.
func (tr *tracing) idle(number int, regs *unix.PtraceRegs) bool {
	switch number {
	case unix.SYS_PWRITE64, unix.SYS_PWRITEV, unix.SYS_FDATASYNC, unix.SYS_FSYNC:
	default:
		return false
	}
	path, _ := tr.path(regs.Rdi)
	isSegment := strings.HasSuffix(path, ".seg")
	if !isSegment && !strings.HasSuffix(path, "-wal") {
		return false
	}
	file := fmt.Sprint(regs.Rdi, path)
	last := tr.unflushed[file]
	if number == unix.SYS_PWRITE64 || number == unix.SYS_PWRITEV {
		tr.unflushed[file] = number
		return false
	}
	delete(tr.unflushed, file)
	return last == 0 || isSegment && last == unix.SYS_PWRITE64
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

// path is the file of a descriptor; false when it is not one of those that count. What is known of outgoing mail is written in the background, and is
// none of a delivery's.
func (tr *tracing) path(descriptor uint64) (string, bool) {
	if int32(descriptor) == unix.AT_FDCWD {
		return "(a path)", true
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", tr.pid, int32(descriptor)))
	return path, err == nil && strings.HasPrefix(path, tr.dir) && !strings.HasPrefix(path, tr.dir+"/outbound/")
}

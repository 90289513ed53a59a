package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/internal/lab"
)

// flushingSink keeps nothing but does the least that any store has to do before its 250: the message is written, and
// flushed with all others that wait. It has no index, no names, no checkpoints. What it costs Postfix, each store costs.
var flushingSink = kind{name: "flushing sink", start: func(ctx context.Context, dir string) (*server, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	socket := filepath.Join(dir, "sink")
	cmd := exec.Command(self, flushingSinkVerb, socket, filepath.Join(dir, "messages")) //nolint:gosec // ended by close
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	return startSink(ctx, cmd, socket)
}}

// startSink waits for a program's socket, and lets Postfix use it.
func startSink(ctx context.Context, cmd *exec.Cmd, socket string) (*server, error) {
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	s := &server{addr: "unix:" + socket, pid: cmd.Process.Pid, close: func() error {
		err := cmd.Process.Kill()
		_ = cmd.Wait() // killed
		return err
	}}
	err := lab.Eventually(ctx, func(context.Context) error { return os.Chmod(socket, 0o666) }) // #nosec G302 -- for Postfix
	if err != nil {
		return nil, errors.Join(err, s.close())
	}
	return s, nil
}

// flushingSinkVerb, a socket and a file are the arguments with which this program is a flushing sink.
const flushingSinkVerb = "flushing-sink"

// beFlushingSink returns unless this process is to be one.
func beFlushingSink() {
	if len(os.Args) == 4 && os.Args[1] == flushingSinkVerb {
		fmt.Fprintln(os.Stderr, "bench:", serveFlushingSink(os.Args[2], os.Args[3]))
		os.Exit(1)
	}
}

// serveFlushingSink listens on a socket and writes to a file, until the process is killed.
func serveFlushingSink(socket, path string) error {
	r, err := newRing(path)
	if err != nil {
		return err
	}
	go r.flushAll()
	l, err := net.Listen("unix", socket) //nolint:noctx // as long as the process
	if err != nil {
		return err
	}
	for {
		conn, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			_ = r.serve(conn) // the client sees what failed
			_ = conn.Close()
		}()
	}
}

// ring is a file that is written from its start again when it is full: its blocks are there, so that a flush writes
// messages and nothing else.
type ring struct {
	file   *os.File
	offset int64
	wake   chan struct{} // of 1

	mu   sync.Mutex
	next *flush
}

// flush is of messages that wait for the same one.
type flush struct {
	messages []byte
	done     chan struct{}
	err      error // after done
}

// ringSize is the size of the file in bytes.
const ringSize = 64 << 20

func newFlush() *flush { return &flush{done: make(chan struct{})} }

func newRing(path string) (*ring, error) {
	f, err := os.Create(path) // #nosec G304 G703 -- the benchmark's
	if err != nil {
		return nil, err
	}
	if _, err := f.Write(make([]byte, ringSize)); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &ring{file: f, wake: make(chan struct{}, 1), next: newFlush()}, f.Sync()
}

// store returns when the message is on the disk.
func (r *ring) store(message []byte) error {
	r.mu.Lock()
	f := r.next
	f.messages = append(f.messages, message...)
	r.mu.Unlock()
	select {
	case r.wake <- struct{}{}:
	default: // it is awake
	}
	<-f.done
	return f.err
}

// flushAll writes what waits, again and again.
func (r *ring) flushAll() {
	for range r.wake {
		r.mu.Lock()
		f := r.next
		r.next = newFlush()
		r.mu.Unlock()
		if r.offset+int64(len(f.messages)) > ringSize {
			r.offset = 0
		}
		_, f.err = r.file.WriteAt(f.messages, r.offset)
		if f.err == nil {
			f.err = unix.Fdatasync(int(r.file.Fd()))
		}
		r.offset += int64(len(f.messages))
		close(f.done)
	}
}

// serve speaks as much LMTP (RFC 2033) as Postfix and our load want, for one recipient.
func (r *ring) serve(conn net.Conn) error {
	in, out := bufio.NewReader(conn), bufio.NewWriter(conn)
	reply := func(text string) error {
		_, err := out.WriteString(text + "\r\n")
		if err == nil && in.Buffered() == 0 { // RFC 2920 section 3.2: what is pipelined is answered together
			err = out.Flush()
		}
		return err
	}
	if err := reply("220 sink.example.test LMTP"); err != nil {
		return err
	}
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		switch verb := string(bytes.ToUpper(line[:min(4, len(line))])); verb {
		case "LHLO":
			err = reply("250-sink.example.test\r\n250-PIPELINING\r\n250 8BITMIME")
		case "DATA":
			err = errors.Join(reply("354 go on"), r.receive(in))
			if err == nil {
				err = reply("250 2.0.0 stored")
			}
		case "QUIT":
			return reply("221 2.0.0 bye")
		default:
			err = reply("250 2.0.0 ok")
		}
		if err != nil {
			return err
		}
	}
}

// receive reads the lines up to the dot, and stores them as they are.
func (r *ring) receive(in *bufio.Reader) error {
	var message []byte
	for {
		line, err := in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if string(line) == ".\r\n" {
			return r.store(message)
		}
		message = append(message, line...)
	}
}

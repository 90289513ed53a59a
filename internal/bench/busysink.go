package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"
)

// busyWays are what a program does beside a null sink that it has nothing to do with, on the processor of the server: it computes, or it goes
// through more memory than a processor has near it. What it takes from Postfix, which has another processor, is what processors of the
// machine share: any program would.
var busyWays = map[string]func(){"computing": compute, "in memory": walkMemory}

// busySink is the null sink beside such a program.
func busySink(way string) kind {
	return kind{name: "null sink beside a program " + way, start: func(ctx context.Context, dir string) (*server, error) {
		self, err := os.Executable()
		if err != nil {
			return nil, err
		}
		s, err := nullSink.start(ctx, dir)
		if err != nil {
			return nil, err
		}
		cmd := exec.Command(self, busyVerb, way) //nolint:gosec,noctx // ended by close
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			return nil, errors.Join(err, s.close())
		}
		end := s.close
		s.close = func() error {
			err := cmd.Process.Kill()
			_ = cmd.Wait() // killed
			return errors.Join(err, end())
		}
		return s, nil
	}}
}

// busyVerb and a way are the arguments with which this program is busy.
const busyVerb = "be-busy"

// busyFor and idleFor take turns: so busy is MaiRust's processor behind Postfix.
const (
	busyFor = time.Millisecond
	idleFor = 800 * time.Microsecond
)

// beBusy returns unless this process is to be busy; then it is until it is killed.
func beBusy() {
	if len(os.Args) != 3 || os.Args[1] != busyVerb {
		return
	}
	step := busyWays[os.Args[2]]
	if step == nil {
		fmt.Fprintln(os.Stderr, "bench: no such way to be busy")
		os.Exit(1)
	}
	runtime.GOMAXPROCS(1)
	for {
		for began := time.Now(); time.Since(began) < busyFor; {
			step()
		}
		time.Sleep(idleFor)
	}
}

var block [4096]byte

func compute() {
	sum := sha256.Sum256(block[:])
	block[0] = sum[0]
}

var (
	memory = make([]uint64, 3<<20) // 24 MB
	at     = uint64(1)
)

func walkMemory() {
	for range 2000 {
		at = at*6364136223846793005 + 1442695040888963407 // Knuth's MMIX generator
		memory[(at>>33)%uint64(len(memory))]++
	}
}

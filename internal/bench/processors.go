package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"

	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/internal/lab"
)

// processors are all that this process may use: the server's is the last of them, the others are for Postfix and the senders.
// Where both share them, one has what the other leaves.
type processors struct{ all, server, others unix.CPUSet }

// newProcessors wants two of them: lab.ErrMissing.
func newProcessors() (p processors, err error) {
	if err := unix.SchedGetaffinity(0, &p.all); err != nil {
		return p, err
	}
	if p.all.Count() < 2 {
		return p, fmt.Errorf("%w: a second processor", lab.ErrMissing)
	}
	last := 0
	for cpu := range len(p.all) * strconv.IntSize {
		if p.all.IsSet(cpu) {
			last = cpu
		}
	}
	p.others = p.all
	p.others.Clear(last)
	p.server.Set(last)
	return p, nil
}

// affinityScope says where the kernel runs work that is bound to no processor, such as that of loop devices (Linux 6.5 and later).
const affinityScope = "/sys/module/workqueue/parameters/default_affinity_scope"

// keepKernelWork has such work run on the processor that it comes from, until restore. A loop device would else take a part of the
// processor that is Postfix's for writing the server's files, where a disk has no thread at all. On an older kernel it does nothing.
func keepKernelWork() (restore func() error, err error) {
	had, err := os.ReadFile(affinityScope)
	if errors.Is(err, os.ErrNotExist) {
		return func() error { return nil }, nil
	}
	if err != nil {
		return nil, err
	}
	set := func(scope []byte) error { return os.WriteFile(affinityScope, scope, 0o600) } // #nosec G703 -- the path is a constant
	return func() error { return set(had) }, set([]byte("cpu"))
}

// runOn lets this process, and what it starts from now on, run on some processors only.
func runOn(cpus *unix.CPUSet) error {
	return errors.Join(moveThreads(cpus), moveThreads(cpus)) // again for one that was made meanwhile by one not yet moved
}

func moveThreads(cpus *unix.CPUSet) error {
	threads, err := filepath.Glob("/proc/self/task/[0-9]*")
	if err != nil {
		return err
	}
	for _, path := range threads {
		id, err := strconv.Atoi(filepath.Base(path))
		if err != nil {
			return err
		}
		if err := unix.SchedSetaffinity(id, cpus); err != nil && !errors.Is(err, unix.ESRCH) {
			return err // but of a thread that has ended
		}
	}
	return nil
}

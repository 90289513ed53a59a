package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// maxSchedulingPasses bounds how often the threads are listed; the second pass finds nothing to do, mostly.
const maxSchedulingPasses = 10

// scheduleAsBatch has the threads of this process, and all that they start, wake up without interrupting who is running
// (SCHED_BATCH, sched(7)). Under load a thread that has one more message to store then lets the sender, or the database, finish
// what makes it two; at rest it runs at once as ever. Threads that somebody has given another policy keep it.
func scheduleAsBatch() error {
	for range maxSchedulingPasses {
		changed, err := scheduleThreads()
		if err != nil || !changed {
			return err
		}
	}
	return nil // a thread that was started meanwhile by one of the old ones is left as it is
}

// scheduleThreads changes the threads that there are now, and says whether it has changed any.
func scheduleThreads() (changed bool, err error) {
	entries, err := os.ReadDir("/proc/self/task")
	if err != nil {
		return false, err
	}
	for _, e := range entries {
		id, err := strconv.Atoi(e.Name())
		if err != nil {
			return changed, fmt.Errorf("thread %q: %w", e.Name(), err)
		}
		one, err := scheduleThread(id)
		if err != nil && !errors.Is(err, unix.ESRCH) {
			return changed, fmt.Errorf("thread %d: %w", id, err)
		}
		changed = changed || one
	}
	return changed, nil
}

func scheduleThread(id int) (changed bool, err error) {
	attr, err := unix.SchedGetAttr(id, 0)
	if err != nil {
		return false, os.NewSyscallError("sched_getattr", err)
	}
	if attr.Policy != unix.SCHED_NORMAL {
		return false, nil
	}
	attr.Policy, attr.Runtime = unix.SCHED_BATCH, 0 // the kernel's own slice
	err = unix.SchedSetAttr(id, attr, 0)
	return err == nil, os.NewSyscallError("sched_setattr", err)
}

//go:build mairust_mutant_objects_errors

package blob

import (
	"os"

	"golang.org/x/sys/unix"
)

// Never in a release: a flush of an object with one of its own, or of its names, that failed is taken for one that worked, and the test of
// every I/O error must see that mail is acknowledged which no flush has reached.

func syncData(f *os.File) error {
	_ = f.Sync()
	return nil
}

func syncNames(dir *os.File) error {
	_ = dir.Sync()
	return nil
}

func syncAll(dir *os.File) error {
	return os.NewSyscallError("syncfs", ignoringEINTR(func() error { return unix.Syncfs(int(dir.Fd())) }))
}

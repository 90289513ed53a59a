//go:build mairust_mutant_names

package blob

import (
	"os"

	"golang.org/x/sys/unix"
)

// Never in a release: the names of objects with a flush of their own are not flushed, and the power-cut tests must see that mail is lost.

func syncData(f *os.File) error { return f.Sync() }

func syncNames(*os.File) error { return nil }

func syncAll(dir *os.File) error {
	return os.NewSyscallError("syncfs", ignoringEINTR(func() error { return unix.Syncfs(int(dir.Fd())) }))
}

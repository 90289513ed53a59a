//go:build !mairust_mutant_objects && !mairust_mutant_names && !mairust_mutant_checkpoint && !mairust_mutant_objects_errors

package blob

import (
	"os"

	"golang.org/x/sys/unix"
)

// syncData, syncNames and syncAll are the only places where this package asks for bytes, for the names in a directory,
// and for all of a file system to be on disk. The builds that leave one of them out (sync_mutant_*.go) show that the
// power-cut tests would notice; so does that of journal.Datasync. Those that forget the errors (*_errors.go) are for the test of every I/O error.

func syncData(f *os.File) error { return f.Sync() }

func syncNames(dir *os.File) error { return dir.Sync() }

func syncAll(dir *os.File) error {
	return os.NewSyscallError("syncfs", ignoringEINTR(func() error { return unix.Syncfs(int(dir.Fd())) }))
}

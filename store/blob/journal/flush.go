//go:build !mairust_mutant_journal && !mairust_mutant_journal_errors

package journal

import (
	"os"

	"golang.org/x/sys/unix"
)

// Datasync puts the bytes of a file on the disk (fdatasync(2)). After an error nothing is known of what was written
// since the last success: the pages count as clean, and a second call would succeed without them.
func Datasync(f *os.File) error {
	return os.NewSyscallError("fdatasync", ignoringEINTR(func() error { return unix.Fdatasync(int(f.Fd())) }))
}

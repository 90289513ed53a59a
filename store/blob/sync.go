//go:build !mairust_mutant_objects && !mairust_mutant_names

package blob

import (
	"os"

	"golang.org/x/sys/unix"
)

// These, and Datasync of the journal, are the only places where bytes and names are asked to be on disk. The builds
// that leave one of them out (sync_mutant_*.go) show that the power-cut tests would notice.

func syncData(f *os.File) error { return f.Sync() }

func syncNames(dir *os.File) error { return dir.Sync() }

func syncFiles(fd int) error { return unix.Syncfs(fd) }

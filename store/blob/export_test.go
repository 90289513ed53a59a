package blob

import (
	"errors"
	"fmt"
	"os"
)

// WithoutUnnamedFiles makes f behave as on a file system that has no O_TMPFILE.
func WithoutUnnamedFiles(f *FS) { f.noTmpfile = true }

// WithoutDirectoryFlush leaves out the fsync of directories, to show that the power-cut test would notice.
func WithoutDirectoryFlush(f *FS) { f.syncNames = func(*os.File) error { return nil } }

// TellFlushes has told be called with the path of each directory that f flushes.
func TellFlushes(f *FS, told func(path string)) {
	f.syncNames = func(dir *os.File) error {
		path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", dir.Fd()))
		told(path)
		return errors.Join(err, syncNames(dir))
	}
}

// HasJournal says whether small objects go through one.
func HasJournal(f *FS) bool { return f.journal != nil && !f.unjournaled && !f.noTmpfile }

// MaxBodies is how many bytes are on their way through the journal at most.
const MaxBodies = maxBodies

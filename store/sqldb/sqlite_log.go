package sqldb

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// logBytes is about how long the write-ahead log becomes between two checkpoints.
const logBytes = 32 << 20

// busyRows is how many rows a process changes before its log is made that long: most commands change few.
const busyRows = 256

// roomyDisk is how many times logBytes must be free for the log to be made that long at once.
const roomyDisk = 20

// lengthenLog writes zeros behind the end of the write-ahead log, up to logBytes. SQLite overwrites them, and takes them for the
// end of the log until then (sqlite.org/fileformat2.html#walformat). While the log still grows, each commit waits for the file
// system's own journal, with all that others have in it: behind a Postfix on the same disk that made deliveries half as fast
// for the first minutes. Nothing is lost without it. Nobody else may write meanwhile.
func lengthenLog(path string) error {
	f, err := os.OpenFile(path+"-wal", os.O_WRONLY, 0) // #nosec G304 -- beside the database
	if err != nil {
		return err
	}
	err = appendZeros(f)
	return errors.Join(err, f.Close())
}

func appendZeros(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	var disk unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &disk); err != nil {
		return err
	}
	at, free := info.Size(), int64(disk.Bavail)*disk.Bsize // #nosec G115 -- disks are smaller
	if at >= logBytes || free/roomyDisk < logBytes {
		return nil
	}
	zeros := make([]byte, 1<<20)
	for at < logBytes {
		n, err := f.WriteAt(zeros[:min(int64(len(zeros)), logBytes-at)], at)
		if err != nil {
			return err
		}
		at += int64(n)
	}
	return unix.Fdatasync(int(f.Fd()))
}

// writeAt is another function in a test only.
var writeAt = (*os.File).WriteAt

// renewLog writes the log that a process before this one has left once more, over itself, and flushes it. That process may have been told that pages
// of it could not be written. The kernel tells that once, and to who has the file open: what can be read here may be in memory only, and rows that are
// committed behind it would go with it when power is cut. Whoever calls it holds the lock of the file (lockFile).
func renewLog(path string) error {
	f, err := os.OpenFile(path+"-wal", os.O_RDWR, 0) // #nosec G304 -- beside the database
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err == nil {
		err = errors.Join(writeAgain(f), f.Close())
	}
	if err != nil {
		return fmt.Errorf("%w: write its log again: %w", ErrUnavailable, err)
	}
	return nil
}

func writeAgain(f *os.File) error {
	buf := make([]byte, 1<<20)
	for at := int64(0); ; {
		n, err := f.ReadAt(buf, at)
		if err != nil && err != io.EOF {
			return err
		}
		if _, err := writeAt(f, buf[:n], at); err != nil {
			return err
		}
		if at += int64(n); n < len(buf) {
			return dataSync(int(f.Fd()))
		}
	}
}

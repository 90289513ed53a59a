package journal

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// SectorBytes is what one bad sector makes unreadable.
const SectorBytes = sectorBytes

// SetBusyPatience has appends wait longer for a free segment, until the test ends. Tests that use it are not parallel to others.
func SetBusyPatience(t *testing.T, d time.Duration) {
	t.Helper()
	before := busyPatience
	t.Cleanup(func() { busyPatience = before })
	busyPatience = d
}

// SetStartPatience has a start wait for another process so long, until the test ends. Tests that use it are not parallel to others.
func SetStartPatience(t *testing.T, d time.Duration) {
	t.Helper()
	before := startPatience
	t.Cleanup(func() { startPatience = before })
	startPatience = d
}

// MakeUnreadable has reading n bytes from an offset of a segment fail, until the test ends or it is called again; a negative offset: nothing.
// Tests that use it are not parallel to others.
func MakeUnreadable(t *testing.T, from, n int64) {
	t.Helper()
	before := readAt
	t.Cleanup(func() { readAt = before })
	readAt = func(f *os.File, b []byte, at int64) (int, error) {
		if from >= 0 && at < from+n && from < at+int64(len(b)) {
			return 0, unix.EIO
		}
		return f.ReadAt(b, at)
	}
}

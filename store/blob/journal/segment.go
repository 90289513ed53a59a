package journal

import (
	"bytes"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const segmentSuffix = ".seg"

// segment is one file of the journal. Whoever has it open holds a lock on it, which the kernel drops when the
// process dies: a segment without a lock has no owner.
type segment struct {
	file *os.File
	size int64
	// use is 0 while nothing in it counts.
	use uint64
	// tail is where the next record goes.
	tail int64
	// began is when the first record of this use was written.
	began time.Time
	// pending counts puts that are in the journal and not yet under their names.
	pending int
	// keys are those of all puts of this use.
	keys []string
	// damaged says that nobody can tell what the segment holds, or all of it.
	damaged bool
	// doubtful says that objects of this use may not reach the disk by a flush, for one has failed.
	doubtful bool
}

// createSegment makes a segment whose space is reserved, and flushes its name.
func createSegment(dir *os.Root, size int64) (*segment, error) {
	name := strings.ToLower(rand.Text()) + segmentSuffix
	f, err := dir.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	err = lock(f)
	if err == nil {
		err = giveToOwner(dir, f)
	}
	if err == nil {
		err = reserve(f, size)
	}
	if err == nil {
		err = Datasync(f)
	}
	if err == nil {
		err = syncDir(dir)
	}
	if err != nil {
		return nil, errors.Join(err, dir.Remove(name), f.Close())
	}
	return &segment{file: f, size: size}, nil
}

// giveToOwner makes a new file belong to whom dir belongs, when root made it: the user of the service is to use it too.
func giveToOwner(dir *os.Root, f *os.File) error {
	if os.Geteuid() != 0 {
		return nil
	}
	info, err := dir.Stat(".")
	if err != nil {
		return err
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("stat of %s names no owner", dir.Name())
	}
	return f.Chown(int(st.Uid), int(st.Gid))
}

// reserve takes the space now, so that a full disk is met here and not in the middle of a delivery, and writes all of
// it: a flush of blocks that were never written makes the file system commit its own journal too, and takes five times
// as long.
func reserve(f *os.File, size int64) error {
	err := ignoringEINTR(func() error { return unix.Fallocate(int(f.Fd()), 0, 0, size) })
	if err != nil && !errors.Is(err, unix.EOPNOTSUPP) {
		return os.NewSyscallError("fallocate", err)
	}
	zeros := make([]byte, 1<<20)
	for at := int64(0); at < size; at += int64(len(zeros)) {
		if _, err := f.WriteAt(zeros[:min(int64(len(zeros)), size-at)], at); err != nil {
			return err
		}
	}
	return nil
}

// openSegment takes over a segment that has no owner; errOwned when it has one.
func openSegment(dir *os.Root, name string) (*segment, error) {
	f, err := dir.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", f.Name())
	}
	if err == nil {
		err = lock(f)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &segment{file: f, size: info.Size()}, nil
}

// errOwned says that a living process has the segment.
var errOwned = errors.New("segment has an owner")

func lock(f *os.File) error {
	err := ignoringEINTR(func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) })
	if errors.Is(err, unix.EWOULDBLOCK) {
		return errOwned
	}
	return os.NewSyscallError("flock", err)
}

// read gives the whole content.
func (s *segment) read() ([]byte, error) {
	b := make([]byte, s.size)
	n, err := readAt(s.file, b, 0)
	if n == len(b) {
		return b, nil
	}
	return nil, err
}

// readAt is replaced by tests.
var readAt = (*os.File).ReadAt

// sectorBytes is the most that one bad sector of a disk makes unreadable.
const sectorBytes = 4096

// readGood gives what can be read of a segment, with zeros, which are no record, in place of the unread bytes. It is an
// error when nothing can be read: then it is not some sectors that are bad, and the disk may come back.
func (s *segment) readGood() (b []byte, unread int64, err error) {
	b = make([]byte, s.size)
	for at := int64(0); at < s.size; at += sectorBytes {
		sector := b[at:min(at+sectorBytes, s.size)]
		if n, failed := readAt(s.file, sector, at); n < len(sector) {
			clear(sector)
			unread, err = unread+int64(len(sector)), failed
		}
	}
	if unread < s.size {
		err = nil
	}
	return b, unread, err
}

// start begins a new use of the segment. Its header goes to the disk with the first records.
func (s *segment) start(now time.Time) {
	var b [8]byte
	for s.use = 0; s.use == 0; s.use = binary.LittleEndian.Uint64(b[:]) {
		_, _ = rand.Read(b[:]) // never fails
	}
	s.tail, s.began, s.keys, s.doubtful = blockBytes, now, nil, false
}

// fits says whether n more bytes have room, before the copy of the header in the last block.
func (s *segment) fits(n int64) bool { return s.tail+n <= s.size-blockBytes }

// append writes the pieces behind the tail and flushes them. After an error nothing is known of what was written,
// and the segment takes no more.
func (s *segment) append(pieces [][]byte, n int64) error {
	at := s.tail
	if at == blockBytes {
		at = 0
		pieces = append([][]byte{headerBlock(s.use)}, pieces...)
		if _, err := s.file.WriteAt(headerBlock(s.use), s.size-blockBytes); err != nil {
			return err
		}
	}
	s.tail += n
	if err := writeAll(s.file, pieces, at); err != nil {
		return err
	}
	return Datasync(s.file)
}

// isOurs says whether the file is still the one of the journal's directory, with what this use has begun in it: a backup of the
// objects that somebody puts back over a journal in use takes its place, or its content.
func (s *segment) isOurs() bool {
	var st unix.Stat_t
	if ignoringEINTR(func() error { return unix.Fstat(int(s.file.Fd()), &st) }) != nil {
		return true // nobody knows
	}
	if st.Nlink == 0 || st.Size != s.size {
		return false
	}
	if s.use == 0 || s.tail == blockBytes {
		return true
	}
	head := make([]byte, blockBytes)
	_, err := readAt(s.file, head, 0)
	return err != nil || bytes.Equal(head, headerBlock(s.use))
}

// retire says on the disk that nothing in the segment counts.
func (s *segment) retire() error {
	if _, err := s.file.WriteAt(headerBlock(0), 0); err != nil {
		return err
	}
	if err := Datasync(s.file); err != nil {
		return err
	}
	s.use, s.keys = 0, nil
	return nil
}

// writeAll is pwritev(2) that goes on after a short write.
func writeAll(f *os.File, pieces [][]byte, at int64) error {
	for len(pieces) > 0 {
		n, err := unix.Pwritev(int(f.Fd()), pieces[:min(len(pieces), maxPieces)], at)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return os.NewSyscallError("pwritev", err)
		}
		if n == 0 {
			return os.NewSyscallError("pwritev", unix.ENOSPC)
		}
		at += int64(n)
		pieces = skip(pieces, n)
	}
	return nil
}

// maxPieces is IOV_MAX of Linux.
const maxPieces = 1024

// skip takes n bytes from the beginning of the pieces.
func skip(pieces [][]byte, n int) [][]byte {
	for len(pieces) > 0 && n >= len(pieces[0]) {
		n -= len(pieces[0])
		pieces = pieces[1:]
	}
	if n > 0 {
		pieces[0] = pieces[0][n:]
	}
	return pieces
}

func syncDir(dir *os.Root) error {
	d, err := dir.Open(".")
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ignoringEINTR repeats a call that a signal interrupted.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

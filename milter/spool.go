package milter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// errSpoolFull says that a message is longer than the spool may be.
var errSpoolFull = errors.New("message is longer than spool_max_bytes")

// spool keeps one message: in memory up to a bound, then in a file without a name, which is gone
// with its last descriptor, however the process ends.
type spool struct {
	dir    string
	memory int
	max    int64

	buf  []byte
	file *os.File
	size int64
	err  error // the first one; nothing is written after it
}

// Write never fails; what went wrong is told by Err.
func (s *spool) Write(p []byte) (int, error) {
	if s.err == nil {
		s.err = s.write(p)
	}
	return len(p), nil
}

func (s *spool) write(p []byte) error {
	if s.size+int64(len(p)) > s.max {
		return errSpoolFull
	}
	if s.file == nil && len(s.buf)+len(p) > s.memory {
		if err := s.spill(); err != nil {
			return err
		}
	}
	if s.file == nil {
		s.buf = append(s.buf, p...)
	} else if _, err := s.file.Write(p); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.size += int64(len(p))
	return nil
}

// spill moves what is in memory to a file.
func (s *spool) spill() error {
	f, err := os.CreateTemp(s.dir, "milter-*")
	if err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	if err := os.Remove(f.Name()); err != nil {
		return fmt.Errorf("spool: %w", errors.Join(err, f.Close()))
	}
	s.file = f
	if _, err := f.Write(s.buf); err != nil {
		return fmt.Errorf("spool: %w", err)
	}
	s.buf = nil
	return nil
}

// Err tells why the spool does not hold the whole message: errSpoolFull, or an error of the disk.
func (s *spool) Err() error { return s.err }

// Size is the number of bytes that Open yields.
func (s *spool) Size() int64 { return s.size }

// Open yields what was written. Readers are independent of one another; they fail after Close.
func (s *spool) Open() (io.ReadCloser, error) {
	var at io.ReaderAt = bytes.NewReader(s.buf)
	if s.file != nil {
		at = s.file
	}
	return io.NopCloser(io.NewSectionReader(at, 0, s.size)), nil
}

// Close lets go of the file, if there is one.
func (s *spool) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

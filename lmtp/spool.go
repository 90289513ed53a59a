package lmtp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
)

// spool holds one message: the first bytes in memory, all of it in a file once it outgrows them or the memory of
// all sessions is used up. The file has no name, so that a crash leaves nothing behind. Not for use by several
// goroutines.
type spool struct {
	dir    string
	memory int64
	budget *budget
	buf    bytes.Buffer
	file   *os.File
	size   int64
}

func newSpool(dir string, memory int64, b *budget) *spool {
	return &spool{dir: dir, memory: memory, budget: b}
}

// errSpool is wrapped by every error of writing to the spool, to tell it from one of reading from the client.
var errSpool = errors.New("spool")

// Write implements io.Writer.
func (s *spool) Write(p []byte) (int, error) {
	if s.file == nil && (s.size+int64(len(p)) > s.memory || !s.budget.take(int64(len(p)))) {
		if err := s.spill(); err != nil {
			return 0, fmt.Errorf("%w: %w", errSpool, err)
		}
	}
	if s.file == nil {
		n, _ := s.buf.Write(p) // never fails
		s.size += int64(n)
		return n, nil
	}
	n, err := s.file.Write(p)
	s.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("%w: %w", errSpool, err)
	}
	return n, nil
}

// spill moves what is in memory to a file.
func (s *spool) spill() error {
	f, err := os.CreateTemp(s.dir, "lmtp-*.spool")
	if err != nil {
		return err
	}
	s.file = f
	if err := os.Remove(f.Name()); err != nil {
		return err
	}
	_, err = f.Write(s.buf.Bytes())
	s.forget()
	return err
}

// reader reads all of it from the beginning. Readers of one spool do not disturb one another.
func (s *spool) reader() *io.SectionReader {
	if s.file == nil {
		return io.NewSectionReader(bytes.NewReader(s.buf.Bytes()), 0, s.size)
	}
	return io.NewSectionReader(s.file, 0, s.size)
}

// forget gives the memory back.
func (s *spool) forget() {
	s.budget.give(int64(s.buf.Len()))
	s.buf = bytes.Buffer{}
}

func (s *spool) close() error {
	s.forget()
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

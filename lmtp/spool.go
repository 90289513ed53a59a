package lmtp

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"sync"
)

// spool holds one message: the first bytes in memory, all of it in a file once it outgrows them or the memory of
// all sessions is used up. The file has no name, so that a crash leaves nothing behind. Not for use by several
// goroutines.
type spool struct {
	dir    string
	memory int64
	budget *budget
	// blocks hold what is in memory, each of them full but the last; held is how much.
	blocks []*block
	held   int64
	file   *os.File
	size   int64
}

// block is a piece of a message in memory.
type block [32 << 10]byte

var blocks = sync.Pool{New: func() any { return new(block) }}

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
		s.hold(p)
		return len(p), nil
	}
	n, err := s.file.Write(p)
	s.size += int64(n)
	if err != nil {
		return n, fmt.Errorf("%w: %w", errSpool, err)
	}
	return n, nil
}

// hold keeps p in memory.
func (s *spool) hold(p []byte) {
	s.size += int64(len(p))
	for len(p) > 0 {
		at := int(s.held % int64(len(block{})))
		if at == 0 {
			b, ok := blocks.Get().(*block)
			if !ok {
				b = new(block)
			}
			s.blocks = append(s.blocks, b)
		}
		n := copy(s.blocks[len(s.blocks)-1][at:], p)
		s.held, p = s.held+int64(n), p[n:]
	}
}

// ReadAt reads what is in memory; it implements io.ReaderAt.
func (s *spool) ReadAt(p []byte, off int64) (n int, err error) {
	for n < len(p) && off < s.held {
		i, at := off/int64(len(block{})), off%int64(len(block{}))
		end := min(int64(len(block{})), at+s.held-off)
		m := copy(p[n:], s.blocks[i][at:end])
		n, off = n+m, off+int64(m)
	}
	if n < len(p) {
		return n, io.EOF
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
	_, err = io.Copy(f, io.NewSectionReader(s, 0, s.held))
	s.forget()
	return err
}

// reader reads all of it from the beginning. Readers of one spool do not disturb one another.
func (s *spool) reader() *io.SectionReader {
	if s.file == nil {
		return io.NewSectionReader(s, 0, s.size)
	}
	return io.NewSectionReader(s.file, 0, s.size)
}

// checkedReader reads all of it from the beginning as reader does, and ends with an errSpoiled, before the last bytes, when they are
// not those of digest (SHA-256). The file is never flushed: pages that could not be written back are dropped, and nobody is told.
func (s *spool) checkedReader(digest [sha256.Size]byte) io.ReadSeeker {
	if s.file == nil {
		return s.reader()
	}
	return &checkedReader{inner: s.reader(), size: s.size, digest: digest, sum: sha256.New()}
}

// errSpoiled says that the spool does not hold any more what was written to it.
var errSpoiled = fmt.Errorf("%w: the file has other bytes than were received", errSpool)

type checkedReader struct {
	inner  *io.SectionReader
	size   int64
	digest [sha256.Size]byte
	sum    hash.Hash
	// summed is how much of the beginning is in sum; at is where inner stands. Who reads from elsewhere has read all of it before.
	summed, at int64
}

func (r *checkedReader) Read(p []byte) (int, error) {
	n, err := r.inner.Read(p)
	if r.summed == r.at {
		r.sum.Write(p[:n])
		r.summed += int64(n)
		if r.summed == r.size && n > 0 && [sha256.Size]byte(r.sum.Sum(nil)) != r.digest {
			return 0, errSpoiled
		}
	}
	r.at += int64(n)
	return n, err
}

func (r *checkedReader) Seek(offset int64, whence int) (int64, error) {
	at, err := r.inner.Seek(offset, whence)
	if err != nil {
		return at, err
	}
	if r.at = at; at == 0 {
		r.sum.Reset()
		r.summed = 0
	}
	return at, nil
}

// forget gives the memory back.
func (s *spool) forget() {
	s.budget.give(s.held)
	for _, b := range s.blocks {
		blocks.Put(b)
	}
	s.blocks, s.held = nil, 0
}

func (s *spool) close() error {
	s.forget()
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

package crypt

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/mairust/mairust/store/blob"
)

// random reads an object, as it is stored, from any place. Where the backend's readers can do so themselves, as those of
// files, one is open; else the one for the wanted range, and another for the last chunk.
type random struct {
	ctx     context.Context //nolint:containedctx // ReadAt has no other way to get it
	backend blob.Getter
	key     string
	// head is the beginning, which has been read already; it may be empty.
	head []byte
	// file reads from any place; nil when the backend cannot.
	file io.ReaderAt
	open io.ReadCloser
	// at is where open stands.
	at  int64
	err error
}

// openPart opens an encrypted object to read n bytes from start of what is in it. It must be opened now: it may be
// deleted before it is read.
func (b *Bucket) openPart(ctx context.Context, h header, p peeked, start, n int64) (*random, error) {
	key := p.info.Key
	first, end := start/chunkBytes*sealedBytes, ((start+n)/chunkBytes+1)*sealedBytes
	x := &random{ctx: ctx, backend: b.backend, key: key, head: p.head, at: h.bytes + nonceBytes + first}
	r, info, err := b.backend.Get(ctx, key, x.at, end-first)
	if err != nil {
		return nil, err
	}
	x.open = r
	if info.SizeBytes != p.info.SizeBytes {
		return nil, errors.Join(fmt.Errorf("get %s: it changed while it was read", key), r.Close())
	}
	return x, nil
}

// ReadAt implements io.ReaderAt, for one caller at a time.
func (x *random) ReadAt(p []byte, offset int64) (int, error) {
	n, err := x.readAt(p, offset)
	if err != nil && err != io.EOF { //nolint:errorlint // an error that wraps it is the connection's
		x.err = err
	}
	return n, err
}

func (x *random) readAt(p []byte, offset int64) (int, error) {
	if offset+int64(len(p)) <= int64(len(x.head)) {
		return copy(p, x.head[offset:]), nil
	}
	if x.file != nil {
		return x.file.ReadAt(p, offset)
	}
	if offset == x.at {
		n, err := readFull(x.open, p)
		x.at += int64(n)
		return n, err
	}
	r, _, err := x.backend.Get(x.ctx, x.key, offset, int64(len(p)))
	if err != nil {
		return 0, err
	}
	n, err := readFull(r, p)
	if closed := r.Close(); closed != nil {
		err = errors.Join(err, closed)
	}
	return n, err
}

// readFull gives io.EOF when the object ended early. What only counts as an io.ErrUnexpectedEOF is a broken connection.
func readFull(r io.Reader, p []byte) (int, error) {
	n, err := io.ReadFull(r, p)
	if err == io.ErrUnexpectedEOF {
		err = io.EOF
	}
	return n, err
}

func (x *random) Close() error { return x.open.Close() }

// explain is that of a source.
func (x *random) explain(err error) error { return (&source{err: x.err}).explain(err) }

// section reads n bytes from start, each chunk of the object once.
type section struct {
	from       io.ReaderAt
	start, end int64
	buf, rest  []byte
}

func newSection(from io.ReaderAt, start, n int64) io.Reader {
	return &section{from: from, start: start, end: start + n}
}

func (s *section) Read(p []byte) (int, error) {
	if len(s.rest) == 0 {
		if s.start >= s.end {
			return 0, io.EOF
		}
		upTo := min(s.end, (s.start/chunkBytes+1)*chunkBytes)
		if int64(cap(s.buf)) < upTo-s.start {
			s.buf = make([]byte, min(chunkBytes, s.end-s.start))
		}
		chunk := s.buf[:upTo-s.start]
		if n, err := s.from.ReadAt(chunk, s.start); n < len(chunk) {
			if err == nil || errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, err
		}
		s.start, s.rest = upTo, chunk
	}
	n := copy(p, s.rest)
	s.rest = s.rest[n:]
	return n, nil
}

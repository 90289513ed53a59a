package blob

import (
	"context"
	"errors"
	"io"
)

// Getter is the part of a Bucket that reads objects.
type Getter interface {
	Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, Info, error)
}

// Reader reads an object from any place, as Put wants it: it opens the object anew after each Seek. Close it in the end.
// Not for use by several goroutines at once.
type Reader struct {
	ctx    context.Context //nolint:containedctx // Read and Seek have no other way to get it
	from   Getter
	info   Info
	offset int64
	open   io.ReadCloser
}

// NewReader opens the object. ErrNotFound when there is none.
func NewReader(ctx context.Context, from Getter, key string) (*Reader, error) {
	open, info, err := from.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, err
	}
	return &Reader{ctx: ctx, from: from, info: info, open: open}, nil
}

// Info describes the object as it was when it was opened.
func (r *Reader) Info() Info { return r.info }

// Read reads on.
func (r *Reader) Read(p []byte) (int, error) {
	if r.open == nil {
		var err error
		if r.open, _, err = r.from.Get(r.ctx, r.info.Key, r.offset, -1); err != nil {
			return 0, err
		}
	}
	n, err := r.open.Read(p)
	r.offset += int64(n)
	return n, err
}

// Seek goes to another place.
func (r *Reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		offset += r.info.SizeBytes
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	if offset == r.offset {
		return offset, nil
	}
	r.offset = offset
	return offset, r.Close()
}

// Close gives the object back; Read opens it again.
func (r *Reader) Close() error {
	if r.open == nil {
		return nil
	}
	open := r.open
	r.open = nil
	return open.Close()
}

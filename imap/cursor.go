package imap

import (
	"context"
	"fmt"
	"io"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// cursor reads pieces of one object, in the order in which they stand, from one stream. Opened each by itself, a piece of a long
// object costs the comparing of a whole MiB with its digest, be it one byte of ten thousand parts. So all pieces together cost
// little more than the object's size.
type cursor struct {
	server *Server
	object store.ObjectRow
	// from is open at offset at; nil before the first piece.
	from io.ReadCloser
	at   int64
}

// piece yields bytes of the object, none of which stands before those that were read. They are of use until the next call.
func (r *cursor) piece(ctx context.Context, want byteRange) (io.Reader, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if skip := want.first - r.at; r.from != nil && (skip < 0 || skip > blob.PieceBytes) {
		r.close()
	}
	if r.from == nil {
		from, err := r.server.openRange(ctx, r.object, byteRange{want.first, r.object.SizeBytes})
		if err != nil {
			return nil, err
		}
		r.from, r.at = from, want.first
	}
	if _, err := io.CopyN(io.Discard, r, want.first-r.at); err != nil {
		return nil, fmt.Errorf("read %s: %w", r.object.Key, err)
	}
	return &io.LimitedReader{R: r, N: want.end - want.first}, nil
}

// Read implements io.Reader, for the pieces.
func (r *cursor) Read(p []byte) (int, error) {
	n, err := r.from.Read(p)
	r.at += int64(n)
	return n, err
}

// close may be called twice.
func (r *cursor) close() {
	if r.from != nil {
		_ = r.from.Close() // it was only read
		r.from = nil
	}
}

package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"hash"
	"io"
)

// PieceBytes is the length of the pieces, but the last, that a Digester tells apart.
const PieceBytes = 1 << 20

// Digester makes the digest of an object, and of its pieces: of a range of a long object only the pieces that it touches
// must be read to know that it is as it was stored. Write to it; it never fails. The zero Digester is not usable.
type Digester struct {
	whole, piece hash.Hash
	// n is how much was written.
	n int64
	// pieces are the digests of pieces that are complete.
	pieces []byte
}

// NewDigester makes one.
func NewDigester() *Digester { return &Digester{whole: sha256.New()} }

// Write implements io.Writer.
func (d *Digester) Write(p []byte) (int, error) {
	written := len(p)
	for len(p) > 0 {
		room := PieceBytes - d.n%PieceBytes
		if d.n > 0 && room == PieceBytes {
			d.endPiece()
		}
		part := p[:min(int64(len(p)), room)]
		d.whole.Write(part)
		if d.piece != nil {
			d.piece.Write(part)
		}
		d.n += int64(len(part))
		p = p[len(part):]
	}
	return written, nil
}

// endPiece notes the digest of the piece that ends here. That of the first is the digest of all so far, so that short
// objects, which are most, are digested once.
func (d *Digester) endPiece() {
	if d.piece == nil {
		d.piece = sha256.New()
		d.pieces = d.whole.Sum(d.pieces)
		return
	}
	d.pieces = d.piece.Sum(d.pieces)
	d.piece.Reset()
}

// Sum is the digest of the whole object.
func (d *Digester) Sum() [sha256.Size]byte { return [sha256.Size]byte(d.whole.Sum(nil)) }

// Pieces are the digests of the pieces, one after the other in base64; empty when there is only one.
func (d *Digester) Pieces() string {
	if len(d.pieces) == 0 {
		return ""
	}
	return base64.RawStdEncoding.EncodeToString(d.piece.Sum(d.pieces[:len(d.pieces):len(d.pieces)]))
}

// openPieces yields a range of an object, whose pieces are compared one by one before they are given out. ok is false when
// the digests are not those of an object of this size.
func (v *Verifier) openPieces(ctx context.Context, want Want, offset, n int64) (r io.ReadCloser, ok bool, err error) {
	digests, err := base64.RawStdEncoding.DecodeString(want.Pieces)
	if err != nil || int64(len(digests)) != (want.SizeBytes+PieceBytes-1)/PieceBytes*sha256.Size {
		return nil, false, nil //nolint:nilerr // the whole is compared then
	}
	start, length := CutRange(want.SizeBytes, offset, n)
	first := start / PieceBytes
	end := min(want.SizeBytes, (start+length+PieceBytes-1)/PieceBytes*PieceBytes)
	from, info, err := v.from.Get(ctx, want.Key, first*PieceBytes, max(0, end-first*PieceBytes))
	if err != nil {
		return nil, true, err
	}
	if info.SizeBytes != want.SizeBytes {
		return nil, true, errors.Join(damaged(want, info), from.Close())
	}
	return &pieceReader{
		from: reading{ctx, from}, closer: from, key: want.Key, digests: digests[first*sha256.Size:],
		skip: start - first*PieceBytes, left: length, size: want.SizeBytes - first*PieceBytes,
	}, true, nil
}

// pieceReader gives out pieces that it has compared.
type pieceReader struct {
	from   io.Reader
	closer io.Closer
	key    string
	// digests are those of the pieces that are still to be read.
	digests []byte
	// skip is how much of the next piece is not wanted, left how much is given out still, size what is left of the object.
	skip, left, size int64
	buf, rest        []byte
	err              error
}

func (r *pieceReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 && r.err == nil {
		r.err = r.next()
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

// next reads and compares a piece.
func (r *pieceReader) next() error {
	if r.left == 0 {
		return io.EOF
	}
	if r.buf == nil {
		r.buf = make([]byte, min(PieceBytes, r.size))
	}
	piece := r.buf[:min(PieceBytes, r.size)]
	// An error that wraps these is the connection's.
	if _, err := io.ReadFull(r.from, piece); err == io.EOF || err == io.ErrUnexpectedEOF {
		return fmt.Errorf("%w: %s ended early", ErrDamaged, r.key)
	} else if err != nil {
		return fmt.Errorf("read %s: %w", r.key, err)
	}
	sum := sha256.Sum256(piece)
	if !bytes.Equal(sum[:], r.digests[:sha256.Size]) {
		return fmt.Errorf("%w: a piece of %s has another digest", ErrDamaged, r.key)
	}
	r.digests, r.size = r.digests[sha256.Size:], r.size-int64(len(piece))
	r.rest = piece[r.skip:]
	r.rest = r.rest[:min(int64(len(r.rest)), r.left)]
	r.left -= int64(len(r.rest))
	r.skip = 0
	return nil
}

func (r *pieceReader) Close() error { return r.closer.Close() }

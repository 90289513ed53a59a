package blob

import (
	"bytes"
	"cmp"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// ErrDamaged says that an object is not what was stored: its size or its digest is another one.
var ErrDamaged = errors.New("object is damaged")

// Want is what an object was when it was stored.
type Want struct {
	Key       string
	SizeBytes int64
	// Digest is SHA-256 in hex.
	Digest string
	// Pieces are the digests of the object's pieces, from a Digester; empty when they are not known.
	Pieces string
}

// Verifier reads objects, and gives no byte of one that is not what was stored, be it a range of it: the bytes that it
// gives are those that it has compared. What of up to PieceBytes it has found to be good it believes for a while, as long
// as the backend says that the object was not modified. A backend that compares what it yields itself (Info.Digest) need not be read twice.
// Its methods may be called from many goroutines.
type Verifier struct {
	from Getter
	// compares says that the backend compares for itself, as far as is known from the last object.
	compares atomic.Bool

	mu sync.Mutex
	// good are the objects that were read whole; old are those of before, kept until good is full again.
	good, old map[string]verified
	// pieces is the length of all digests of pieces in good.
	pieces int
}

type verified struct {
	modified, until time.Time
	// pieces are the digests of the pieces of a long object, with which it is compared each time.
	pieces string
}

const (
	// verifiedFor is how long an object counts as good: damage on the medium gives no sign of itself.
	verifiedFor = 10 * time.Minute
	// verifiedMost is how many objects are remembered, about: at 200 bytes each. verifiedPieces bounds the digests of the pieces of
	// long ones whose row has none, 43 bytes for each MiB.
	verifiedMost   = 16 << 10
	verifiedPieces = 1 << 20
)

// NewVerifier reads from a bucket.
func NewVerifier(from Getter) *Verifier {
	v := &Verifier{from: from, good: map[string]verified{}}
	v.compares.Store(true)
	return v
}

// Open yields n bytes from offset (n < 0: to the end) of an object that is as it was stored. Its first reading costs the
// reading of all of it, unless the backend compares, or the digests of pieces are known. The caller closes. ErrDamaged, ErrNotFound, or a fault of the backend.
func (v *Verifier) Open(ctx context.Context, want Want, offset, n int64) (io.ReadCloser, error) {
	known, ok := v.remembered(want.Key)
	want.Pieces = cmp.Or(known.pieces, want.Pieces)
	if v.compares.Load() || ok && known.pieces == "" {
		r, info, err := v.from.Get(ctx, want.Key, offset, n)
		if err != nil {
			return nil, err
		}
		v.compares.Store(info.Digest != "")
		if info.SizeBytes == want.SizeBytes && (strings.EqualFold(info.Digest, want.Digest) || v.isGood(info)) {
			return r, nil
		}
		if err := r.Close(); err != nil {
			return nil, err
		}
	}
	if want.Pieces != "" {
		if r, ok, err := v.openPieces(ctx, want, offset, n); ok {
			return r, err
		}
	}
	// A disk that fails gives other bytes the next time: what is given out is what was compared.
	content, pieces, err := v.verify(ctx, want, PieceBytes)
	if err != nil {
		return nil, err
	}
	if content != nil {
		start, length := CutRange(int64(len(content)), offset, n)
		part := content[start : start+length]
		if length < int64(len(content)) {
			part = bytes.Clone(part) // the rest need not stay in memory for a slow reader
		}
		return io.NopCloser(bytes.NewReader(part)), nil
	}
	want.Pieces = pieces
	r, ok, err := v.openPieces(ctx, want, offset, n)
	if err == nil && !ok {
		err = fmt.Errorf("%w: %s has another number of pieces than its size gives", ErrDamaged, want.Key)
	}
	return r, err
}

// Check reads the whole object. nil when it is what was stored; else errors as Open's.
func (v *Verifier) Check(ctx context.Context, want Want) error {
	_, _, err := v.verify(ctx, want, 0)
	return err
}

// verify reads the whole object. It gives the content of one of up to keep bytes, and the digests of the pieces of a longer one.
func (v *Verifier) verify(ctx context.Context, want Want, keep int64) (content []byte, pieces string, err error) {
	r, info, err := v.from.Get(ctx, want.Key, 0, -1)
	if err != nil {
		return nil, "", err
	}
	defer func() { _ = r.Close() }() // it was only read
	v.compares.Store(info.Digest != "")
	if info.SizeBytes != want.SizeBytes {
		return nil, "", damaged(want, info)
	}
	digester := NewDigester()
	if want.SizeBytes <= keep {
		content = make([]byte, want.SizeBytes)
		_, err = io.ReadFull(reading{ctx, r}, content)
		_, _ = digester.Write(content) // never fails
	} else {
		_, err = io.CopyBuffer(digester, reading{ctx, r}, make([]byte, copyBytes))
	}
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF { //nolint:errorlint // an error that wraps them is the connection's
		return nil, "", fmt.Errorf("read %s: %w", want.Key, err)
	}
	if sum := digester.Sum(); !strings.EqualFold(hex.EncodeToString(sum[:]), want.Digest) {
		return nil, "", fmt.Errorf("%w: %s has another digest", ErrDamaged, want.Key)
	}
	pieces = digester.Pieces()
	v.remember(info, pieces)
	return content, pieces, nil
}

func damaged(want Want, has Info) error {
	return fmt.Errorf("%w: %s has %d bytes instead of %d", ErrDamaged, want.Key, has.SizeBytes, want.SizeBytes)
}

// reading ends with its context, and hides other methods.
type reading struct {
	ctx context.Context //nolint:containedctx // an io.Reader has no other way to get it
	r   io.Reader
}

func (r reading) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}

// isGood says that an object need not be compared.
func (v *Verifier) isGood(info Info) bool {
	g, ok := v.remembered(info.Key)
	return ok && g.pieces == "" && g.modified.Equal(info.Modified)
}

func (v *Verifier) remembered(key string) (verified, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	g, ok := v.good[key]
	if !ok {
		g, ok = v.old[key]
	}
	if !ok || !time.Now().Before(g.until) {
		return verified{}, false
	}
	return g, true
}

func (v *Verifier) remember(info Info, pieces string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.good) >= verifiedMost || v.pieces >= verifiedPieces {
		v.good, v.old, v.pieces = map[string]verified{}, v.good, 0
	}
	v.pieces += len(pieces)
	v.good[info.Key] = verified{modified: info.Modified, until: time.Now().Add(verifiedFor), pieces: pieces}
}

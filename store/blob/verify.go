package blob

import (
	"bytes"
	"context"
	"crypto/sha256"
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

// Verifier reads objects, and gives no byte of one that is not what was stored, be it a range of it. What it has found
// to be good it believes for a while, as long as the backend says that the object was not modified. A backend that
// compares what it yields itself (Info.Digest) need not be read twice.
// Its methods may be called from many goroutines.
type Verifier struct {
	from Getter
	// compares says that the backend compares for itself, as far as is known from the last object.
	compares atomic.Bool

	mu sync.Mutex
	// good are the objects that were read whole; old are those of before, kept until good is full again.
	good, old map[string]verified
}

type verified struct {
	modified, until time.Time
}

const (
	// verifiedFor is how long an object counts as good: damage on the medium gives no sign of itself.
	verifiedFor = 10 * time.Minute
	// verifiedMost is how many objects are remembered, about: at 200 bytes each.
	verifiedMost = 16 << 10
	// verifyInMemory is the size up to which an object is read once only.
	verifyInMemory = 256 << 10
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
	if v.compares.Load() || v.remembers(want.Key) {
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
	content, err := v.verify(ctx, want)
	if err != nil {
		return nil, err
	}
	if content != nil {
		start, length := CutRange(int64(len(content)), offset, n)
		return io.NopCloser(bytes.NewReader(content[start : start+length])), nil
	}
	r, info, err := v.from.Get(ctx, want.Key, offset, n)
	if err == nil && info.SizeBytes != want.SizeBytes {
		err = errors.Join(damaged(want, info), r.Close())
	}
	return r, err
}

// Check reads the whole object. nil when it is what was stored; else errors as Open's.
func (v *Verifier) Check(ctx context.Context, want Want) error {
	_, err := v.verify(ctx, want)
	return err
}

// verify reads the whole object; it gives the content of a small one.
func (v *Verifier) verify(ctx context.Context, want Want) ([]byte, error) {
	r, info, err := v.from.Get(ctx, want.Key, 0, -1)
	if err != nil {
		return nil, err
	}
	defer func() { _ = r.Close() }() // it was only read
	v.compares.Store(info.Digest != "")
	if info.SizeBytes != want.SizeBytes {
		return nil, damaged(want, info)
	}
	var content []byte
	sum := sha256.New()
	if want.SizeBytes <= verifyInMemory {
		content = make([]byte, want.SizeBytes)
		_, err = io.ReadFull(r, content)
		sum.Write(content)
	} else {
		_, err = io.CopyBuffer(sum, reading{ctx, r}, make([]byte, copyBytes))
	}
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF { //nolint:errorlint // an error that wraps them is the connection's
		return nil, fmt.Errorf("read %s: %w", want.Key, err)
	}
	if !strings.EqualFold(hex.EncodeToString(sum.Sum(nil)), want.Digest) {
		return nil, fmt.Errorf("%w: %s has another digest", ErrDamaged, want.Key)
	}
	v.remember(info)
	return content, nil
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

func (v *Verifier) remembers(key string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	_, ok := v.find(key)
	return ok
}

func (v *Verifier) isGood(info Info) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	g, ok := v.find(info.Key)
	return ok && g.modified.Equal(info.Modified)
}

func (v *Verifier) find(key string) (verified, bool) {
	g, ok := v.good[key]
	if !ok {
		g, ok = v.old[key]
	}
	return g, ok && time.Now().Before(g.until)
}

func (v *Verifier) remember(info Info) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if len(v.good) >= verifiedMost {
		v.good, v.old = map[string]verified{}, v.good
	}
	v.good[info.Key] = verified{modified: info.Modified, until: time.Now().Add(verifiedFor)}
}

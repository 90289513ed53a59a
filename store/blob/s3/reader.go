package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/mairust/mairust/store/blob"
)

// reader reads a part of an object. Not for several goroutines at once.
type reader struct {
	b      *Bucket
	ctx    context.Context //nolint:containedctx // Read has no other way to get it
	cancel context.CancelCauseFunc
	key    string
	head   head
	// sums is nil for an object without digests.
	sums *sums

	// body is the answer that is being read, from next on; nil when there is none. drop ends it.
	body io.ReadCloser
	drop context.CancelCauseFunc
	// next and end are what is still to be asked of the server: whole chunks.
	next, end int64
	// buffer holds the chunk that was read last, ready what is still to be given of it.
	buffer, ready []byte
	// skip is what comes before that which is wanted, left how much is.
	skip, left int64
}

// Read gives bytes that were compared with their digest.
func (r *reader) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	if len(r.ready) == 0 {
		if err := r.fill(); err != nil {
			return 0, fmt.Errorf("get %s: %w", r.key, err)
		}
	}
	n := copy(p, r.ready)
	r.ready, r.left = r.ready[n:], r.left-int64(n)
	if r.left == 0 {
		r.hangUp(nil)
	}
	return n, nil
}

// Close ends the reading.
func (r *reader) Close() error {
	r.hangUp(nil)
	r.cancel(nil)
	return nil
}

// hangUp drops the answer. One that was read to its end gives its connection back.
func (r *reader) hangUp(why error) {
	if r.body == nil {
		return
	}
	_ = r.body.Close() // it was only read
	r.drop(why)
	r.body = nil
}

// fill reads the next chunk, again when it does not come or comes altered.
func (r *reader) fill() error {
	for attempt := 1; ; attempt++ {
		err := r.readChunk()
		if err == nil {
			return nil
		}
		r.hangUp(err)
		switch {
		case r.ctx.Err() != nil:
			return r.ctx.Err()
		case attempt >= r.b.o.Attempts, !mayPass(err) && !errors.Is(err, blob.ErrDamaged):
			return explain(err)
		}
		r.b.metrics.retries.WithLabelValues("get").Inc()
		if err := pause(r.ctx, attempt); err != nil {
			return err
		}
	}
}

func (r *reader) readChunk() error {
	if r.body == nil {
		if err := r.connect(); err != nil {
			return err
		}
	}
	size := min(chunkBytes, r.end-r.next)
	if int64(cap(r.buffer)) < size {
		r.buffer = make([]byte, size)
	}
	chunk := r.buffer[:size]
	// Closing the connection is the only thing that ends a read of it.
	drip := time.AfterFunc(r.b.patience(size), func() { r.drop(errSlow) })
	_, err := io.ReadFull(r.body, chunk)
	if !drip.Stop() && err != nil {
		err = fmt.Errorf("%w: %w", errSlow, context.DeadlineExceeded)
	}
	switch {
	case errors.Is(err, io.EOF):
		return io.ErrUnexpectedEOF
	case err != nil:
		return fmt.Errorf("read: %w", brokenOff{err})
	case r.sums != nil && !r.sums.isChunk(int(r.next/chunkBytes), chunk):
		r.b.metrics.damaged.Inc()
		return fmt.Errorf("%w: bytes %d to %d have another digest", blob.ErrDamaged, r.next, r.next+size)
	}
	r.next += size
	r.ready = chunk[r.skip:]
	r.ready = r.ready[:min(int64(len(r.ready)), r.left)]
	r.skip = 0
	return nil
}

// brokenOff is an error of a connection in the middle of an answer: the answer may be asked for again.
type brokenOff struct{ error }

func (b brokenOff) Unwrap() error { return b.error }

func (b brokenOff) Is(target error) bool { return target == io.ErrUnexpectedEOF }

package s3

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// slowest is the rate below which a transfer is given up: a server that drips is as good as none.
	slowest = 64 << 10
	// The pause before the second attempt, which doubles from one to the next, up to the longest.
	firstPause, longestPause = 100 * time.Millisecond, 2 * time.Second
)

// patience is how long one request may take that carries so many bytes.
func (b *Bucket) patience(sizeBytes int64) time.Duration {
	return b.o.RequestTimeout + time.Duration(sizeBytes/slowest)*time.Second
}

// try makes a request, again while it fails for a reason that may pass, each time within its own deadline. A reading that
// got no answer in time is not made again: somebody waits for it. The error is explained.
func (b *Bucket) try(ctx context.Context, operation string, sizeBytes int64, request func(ctx context.Context) error) error {
	for attempt := 1; ; attempt++ {
		err := b.once(ctx, operation, sizeBytes, request)
		if err == nil || ctx.Err() != nil || attempt >= b.o.Attempts || !mayPass(err) && !b.renew(err) || errors.Is(err, errSlow) && isReading(operation) {
			if err != nil && ctx.Err() != nil {
				err = errors.Join(ctx.Err(), err)
			}
			return explain(err)
		}
		b.metrics.retries.WithLabelValues(operation).Inc()
		b.log.Debug("request again", "operation", operation, "attempt", attempt, "err", err)
		if err := pause(ctx, attempt); err != nil {
			return err
		}
	}
}

func isReading(operation string) bool { return operation == "get" || operation == "head" }

func (b *Bucket) once(ctx context.Context, operation string, sizeBytes int64, request func(ctx context.Context) error) error {
	inner, cancel := context.WithTimeoutCause(ctx, b.patience(sizeBytes), errSlow)
	defer cancel()
	began := time.Now()
	err := request(inner)
	if err != nil && ctx.Err() == nil && inner.Err() != nil {
		err = fmt.Errorf("%w after %s: %w", errSlow, time.Since(began).Round(time.Millisecond), context.DeadlineExceeded)
	}
	b.metrics.request(operation, err, time.Since(began))
	return err
}

// errSlow says that no answer came in time; the server may have done what it was asked for all the same.
var errSlow = errors.New("the object store did not answer in time")

// pause waits before the next attempt: longer each time, and not as long as others do.
func pause(ctx context.Context, attempt int) error {
	longest := min(firstPause<<(attempt-1), longestPause)
	timer := time.NewTimer(longest/2 + rand.N(longest/2)) // #nosec G404 -- no secret
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

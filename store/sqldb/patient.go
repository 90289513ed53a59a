package sqldb

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"
)

// What people ask for, and what their programs do, may take long and come in any number; mail must not wait for a connection meanwhile.

type patientKey struct{}

// kept is how many connections are left to those that are not patient.
const kept = 4

// Patient marks a context: what is asked for with it leaves a few connections to others.
func Patient(ctx context.Context) context.Context { return context.WithValue(ctx, patientKey{}, true) }

// newPatience is for a pool of n connections, at least 1: all but those that are kept, or but half of them where there are fewer than eight.
func newPatience(n int) *semaphore.Weighted { return semaphore.NewWeighted(int64(n - min(kept, n/2))) }

// await waits until a context may have a connection; leave gives it up again.
func (db *DB) await(ctx context.Context) (leave func(), err error) {
	if ctx.Value(patientKey{}) == nil {
		return func() {}, nil
	}
	if err := db.patience.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("%w: waiting for a connection: %w", ErrUnavailable, err)
	}
	return func() { db.patience.Release(1) }, nil
}

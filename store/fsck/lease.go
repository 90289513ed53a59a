package fsck

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/google/uuid"

	"github.com/mairust/mairust/store"
)

// ErrBusy says that another process, or another goroutine of this one, sweeps or repairs.
var ErrBusy = errors.New("another sweep or repair is running")

const (
	lease = 2 * time.Minute
	// patience is how long a command waits for a sweep to end, or for the lease of one that died.
	patience = lease + 30*time.Second
)

type holderKey struct{}

// holderOf is who has the lease, in the ctx of work that exclusively does.
func holderOf(ctx context.Context) string {
	holder, _ := ctx.Value(holderKey{}).(string)
	return holder
}

// exclusively does work while nobody else who shares the database does any, and moves the epoch on meanwhile. ctx of work ends when that is
// no longer sure.
func (f *Fsck) exclusively(ctx context.Context, patience time.Duration, work func(ctx context.Context) error) error {
	holder := uuid.NewString()
	if err := f.take(ctx, holder, patience); err != nil {
		return err
	}
	ctx, cancel := context.WithCancelCause(context.WithValue(ctx, holderKey{}, holder))
	var meanwhile sync.WaitGroup
	meanwhile.Go(func() { f.keep(ctx, holder, cancel) })
	meanwhile.Go(func() {
		every(ctx, f.watchEvery, func() { f.tell(ctx, f.moveOn(ctx)) })
	})
	err := work(ctx)
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	cancel(nil)
	meanwhile.Wait()
	last, stop := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer stop()
	return errors.Join(err, f.store.ReleaseSweep(last, holder))
}

func (f *Fsck) take(ctx context.Context, holder string, patience time.Duration) error {
	for deadline := time.Now().Add(patience); ; {
		ok, err := f.store.TakeSweep(ctx, holder, lease)
		switch {
		case err != nil:
			return fmt.Errorf("take the sweep's lease: %w", err)
		case ok:
			return nil
		case !time.Now().Before(deadline):
			return ErrBusy
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Second):
		}
	}
}

// keep prolongs the lease until ctx ends, and cancels when it is lost or could be.
func (f *Fsck) keep(ctx context.Context, holder string, cancel context.CancelCauseFunc) {
	last := time.Now()
	every(ctx, lease/8, func() {
		ok, err := f.store.KeepSweep(ctx, holder, lease)
		switch {
		case err == nil && ok:
			last = time.Now()
		case err == nil, time.Since(last) > lease/2:
			cancel(errors.Join(store.ErrNotHolder, err))
		}
	})
}

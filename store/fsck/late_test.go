package fsck_test

import (
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/fsck"
)

func TestSweepIsLateAfterThreeIntervalsOfThisProcess(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		r.sweep.Interval = 6 * time.Hour
		look := func(f *fsck.Fsck) bool {
			state, err := r.store.SweepState(t.Context())
			require.NoError(t, err)
			return f.IsLate(state)
		}
		isLate := func(f *fsck.Fsck) (late bool) { // asked each minute, as it is by who watches
			for range 4 {
				r.ahead += time.Minute
				late = look(f)
			}
			return late
		}
		f := r.fsck()
		require.False(t, isLate(f), "it was never swept, and has just begun")
		r.ahead += 17 * time.Hour
		require.False(t, isLate(f))
		r.ahead += 2 * time.Hour
		require.True(t, isLate(f), "it was never swept, in 19 hours")
		require.False(t, isLate(r.fsck()), "another that has just begun has time")

		for since, late := range map[time.Duration]bool{time.Minute: false, -time.Minute: false, 17 * time.Hour: false, 19 * time.Hour: true, -365 * 24 * time.Hour: true} {
			r.swept(since)
			require.Equal(t, late, isLate(f), since)
		}
		r.swept(48 * time.Hour)
		lease := func(ahead time.Duration) {
			r.exec(`UPDATE sweep_state SET lease_us = $1`, time.Now().Add(r.ahead+ahead).UnixMicro())
		}
		lease(time.Hour)
		require.False(t, isLate(f), "one that takes longer is under way")
		lease(0)
		require.False(t, look(f), "the next one has a moment to begin")
		require.True(t, isLate(f))
		lease(time.Hour)
		require.True(t, isLate(f), "it stays late while another one tries")
		r.swept(time.Minute)
		require.False(t, isLate(f))

		seldom, hours := r.fsck(), 0
		for r.swept(0); !look(seldom) && hours < 100; hours += 2 {
			r.ahead += 2 * time.Hour
		}
		require.Equal(t, 18, hours, "asked every two hours")
	})
}

// unlisted is an object store that lets nobody list it, as S3 without s3:ListBucket.
type unlisted struct {
	fsck.Bucket
	lists, watches atomic.Int64
}

func (u *unlisted) List(context.Context, string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		u.lists.Add(1)
		yield(blob.Info{}, errors.New("AccessDenied"))
	}
}

func (u *unlisted) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	if key == fsck.Witness {
		u.watches.Add(1)
	}
	return u.Bucket.Get(ctx, key, offset, n)
}

func TestSweepThatFailsIsTriedLessAndLessOften(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		objects := &unlisted{Bucket: r.through}
		r.through = objects
		f := r.fsck()
		fsck.WatchEvery(f, 2*time.Millisecond)
		ctx, stop := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { f.Run(ctx) })
		require.Eventually(t, func() bool { return objects.watches.Load() > 600 }, 2*time.Minute, 10*time.Millisecond)
		stop()
		group.Wait()
		require.Equal(t, 1, strings.Count(r.log.String(), "msg=sweep "), "the same error is told once in an hour")
		require.Greater(t, objects.lists.Load(), int64(2))
		require.Less(t, objects.lists.Load(), int64(20), "2 ms doubled as often are two minutes")

		r.ahead += 4 * time.Hour
		state, err := r.store.SweepState(t.Context())
		require.NoError(t, err)
		state.LeasedUntil = time.Now().Add(r.ahead + time.Minute)
		require.Eventually(t, func() bool { return f.IsLate(state) }, time.Minute, time.Millisecond, "one under way that comes after one that failed")
	})
}

package store

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestFailingBatchesAreLoggedOnceAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		o := &outage{log: slog.New(slog.NewTextHandler(&log, nil))}
		for range 1000 {
			o.failed(4, fmt.Errorf("commit: %w", ErrUnavailable))
			time.Sleep(120 * time.Millisecond) // within synctest: no time is lost
		}
		require.Equal(t, 2, strings.Count(log.String(), "\n"), "in two minutes: %s", &log)
		require.Contains(t, log.String(), "batches_before=0")
		require.Contains(t, log.String(), "batches_before=499")
	})
}

func TestDatabaseThatRefusesMailIsKnownForAWhile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &outage{log: slog.New(slog.DiscardHandler)}
		require.NoError(t, o.last())
		o.failed(1, errors.New("a message that the database refuses"))
		require.NoError(t, o.last(), "one poisoned message is no outage")

		o.failed(1, fmt.Errorf("commit: %w", ErrFull))
		require.ErrorIs(t, o.last(), ErrFull)
		o.over()
		require.NoError(t, o.last())

		o.failed(1, fmt.Errorf("commit: %w", ErrUnavailable))
		time.Sleep(29 * time.Second) // within synctest: no time is lost
		require.ErrorIs(t, o.last(), ErrUnavailable)
		time.Sleep(2 * time.Second)
		require.NoError(t, o.last(), "nobody has tried since: what a probe says counts")
	})
}

func TestDeliveriesThatLeaveObjectsAreLetThroughOneASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := &outage{log: slog.New(slog.DiscardHandler)}
		begun := func(seconds int) (n int) {
			for range seconds * 100 {
				if err, _ := o.refuses(); err == nil {
					n++
				}
				time.Sleep(10 * time.Millisecond) // within synctest: no time is lost
			}
			return n
		}
		o.failed(20, fmt.Errorf("lost before the commit: %w", ErrUnavailable))
		require.Equal(t, 100, begun(1), "nothing is left by them")
		o.leftOpen(9)
		require.Equal(t, 100, begun(1), "a few may be a matter of a moment")
		o.leftOpen(1)
		require.Equal(t, 60, begun(60))
		_, _ = o.refuses() // whose turn it may be
		err, _ := o.refuses()
		require.ErrorIs(t, err, ErrUnavailable)
		o.over()
		require.Equal(t, 100, begun(1))
	})
}

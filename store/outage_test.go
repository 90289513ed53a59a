package store

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/sqldb"
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
		for _, err := range []error{sqldb.ErrData, sqldb.ErrRefused, sqldb.ErrLockTimeout, errNoObject, errPanic} {
			o.failed(1, fmt.Errorf("a message: %w", err))
			require.NoError(t, o.last(), "one poisoned message is no outage")
		}
		o.failed(1, errors.New("column of another version does not exist"))
		require.ErrorContains(t, o.last(), "does not exist")

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
		for range 9 {
			o.leftOpen()
		}
		require.Equal(t, 100, begun(1), "a few may be a matter of a moment")
		o.leftOpen()
		require.Equal(t, 20, begun(20))
		_, _ = o.refuses() // whose turn it may be
		err, _ := o.refuses()
		require.ErrorIs(t, err, ErrUnavailable)
		o.over()
		require.Equal(t, 100, begun(1))

		for range 10 {
			o.leftOpen()
		}
		o.stuck(ErrUnavailable)
		require.Equal(t, 1, begun(1))
		time.Sleep(outageLasts)
		require.Equal(t, 100, begun(1), "nobody's turn has failed since")
	})
}

func TestWhoseTurnItIsAsksTheDatabaseFirst(t *testing.T) {
	db, err := sqldb.Open(t.Context(), sqldb.Options{Path: filepath.Join(t.TempDir(), "mail.db")})
	require.NoError(t, err)
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	s := New(Options{DB: db})
	require.NoError(t, s.Accepting(t.Context()))
	s.outage.failed(1, fmt.Errorf("commit: %w", ErrFull))
	for range outageOpen {
		s.outage.leftOpen()
	}
	require.NoError(t, s.Accepting(t.Context()), "it takes a small change")
	require.ErrorIs(t, s.Accepting(t.Context()), ErrFull)
	require.NoError(t, db.Close())
	s.outage.turn = time.Time{}
	require.ErrorIs(t, s.Accepting(t.Context()), ErrUnavailable)
}

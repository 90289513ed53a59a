package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

func TestLeaseHasOneHolder(t *testing.T) {
	withClock(t, func(ctx context.Context, t *testing.T, s *store.Store, c *clock) {
		take := func(holder string) bool {
			ok, err := s.TakeLease(ctx, "worker", holder, time.Minute)
			require.NoError(t, err)
			return ok
		}
		assert.True(t, take("a"))
		assert.True(t, take("a"))
		assert.False(t, take("b"))
		c.pass(61 * time.Second)
		assert.True(t, take("b"), "it ended")
		require.NoError(t, s.ReleaseLease(ctx, "worker", "a"))
		assert.False(t, take("a"), "it was not a's any more")
		require.NoError(t, s.ReleaseLease(ctx, "worker", "b"))
		assert.True(t, take("a"))
	})
}

func TestEndedLeasesAreNobodys(t *testing.T) {
	withClock(t, func(ctx context.Context, t *testing.T, s *store.Store, _ *clock) {
		for _, take := range []func(context.Context, string, time.Duration) (bool, error){
			s.TakeSweep,
			func(ctx context.Context, holder string, lease time.Duration) (bool, error) {
				return s.TakeLease(ctx, "worker", holder, lease)
			},
		} {
			is := func(want bool, holder string) {
				t.Helper()
				ok, err := take(ctx, holder, time.Minute)
				require.NoError(t, err)
				require.Equal(t, want, ok)
			}
			is(true, "one that died")
			is(false, "the next")
			require.NoError(t, s.EndLeases(ctx))
			is(true, "the next")
		}
		require.NoError(t, s.EndLeases(ctx))
		ok, err := s.KeepSweep(ctx, "the next", time.Minute)
		require.NoError(t, err)
		require.False(t, ok)
	})
}

// Clocks of nodes differ, by minutes where nobody sets them.
func TestLeaseOfANodeWhoseClockIsAheadIsItsOwn(t *testing.T) {
	withClock(t, func(ctx context.Context, t *testing.T, s *store.Store, c *clock) {
		is := func(want bool, at time.Duration, take func(context.Context, string, string, time.Duration) (bool, error), holder string) {
			t.Helper()
			c.pass(at)
			ok, err := take(ctx, "worker", holder, time.Minute)
			c.pass(-at)
			require.NoError(t, err)
			require.Equal(t, want, ok)
		}
		for range 3 {
			is(true, 10*time.Minute, s.TakeLease, "ahead")
			is(false, 0, s.TakeLease, "behind")
			is(false, 0, s.KeepLease, "behind")
			is(true, 10*time.Minute, s.KeepLease, "ahead")
			c.pass(15 * time.Second)
		}
		require.NoError(t, s.ReleaseLease(ctx, "worker", "ahead"))
		is(false, 10*time.Minute, s.KeepLease, "ahead")
		is(true, 0, s.TakeLease, "behind")
		is(true, 10*time.Minute, s.TakeLease, "ahead")
		is(false, 0, s.KeepLease, "behind")
	})
}

func TestWhatAClockAheadHasNotedDoesNotCount(t *testing.T) {
	withClock(t, func(ctx context.Context, t *testing.T, s *store.Store, c *clock) {
		c.pass(365 * 24 * time.Hour)
		ok, err := s.TakeLease(ctx, "worker", "killed", time.Minute)
		require.NoError(t, err)
		require.True(t, ok)
		require.NoError(t, s.NoteWorkedDay(ctx, "sums", c.now()))
		c.pass(-365 * 24 * time.Hour)
		ok, err = s.TakeLease(ctx, "worker", "the next", time.Minute)
		require.NoError(t, err)
		require.True(t, ok)
		day, err := s.WorkedDay(ctx, "sums")
		require.NoError(t, err)
		require.Zero(t, day)
		require.NoError(t, s.NoteWorkedDay(ctx, "sums", c.now()))
		day, err = s.WorkedDay(ctx, "sums")
		require.NoError(t, err)
		require.Equal(t, c.now().Truncate(24*time.Hour), day)
	})
}

func TestWhenAWorkWasDoneIsNotedBesideItsDay(t *testing.T) {
	withClock(t, func(ctx context.Context, t *testing.T, s *store.Store, c *clock) {
		at, err := s.WorkedAt(ctx, "sums")
		require.NoError(t, err)
		require.Zero(t, at)
		ahead := c.now().Add(365 * 24 * time.Hour)
		require.NoError(t, s.NoteWorkedAt(ctx, "sums", ahead))
		at, err = s.WorkedAt(ctx, "sums")
		require.NoError(t, err)
		require.WithinDuration(t, ahead, at, time.Microsecond, "it is for the reader to judge")
		day, err := s.WorkedDay(ctx, "sums")
		require.NoError(t, err)
		require.Zero(t, day)
		require.NoError(t, s.NoteWorkedDay(ctx, "sums", c.now()))
		require.NoError(t, s.NoteWorkedAt(ctx, "sums", c.now()))
		day, err = s.WorkedDay(ctx, "sums")
		require.NoError(t, err)
		require.Equal(t, c.now().Truncate(24*time.Hour), day)
		at, err = s.WorkedAt(ctx, "sums")
		require.NoError(t, err)
		require.WithinDuration(t, c.now(), at, time.Microsecond)
	})
}

// Each node's own clock would have another node's lease end at once, or not before a node that was killed is forgotten.
func TestLeasesAreByTheDatabasesClock(t *testing.T) {
	o := storetest.Options(t, sqldb.Postgres)
	db := storetest.OpenDB(t, o)
	here := store.New(store.Options{DB: db})
	err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		tx.Queue(`CREATE SCHEMA ahead`)
		tx.Queue(`CREATE FUNCTION ahead.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS
			$$ SELECT pg_catalog.clock_timestamp() + interval '10 minutes' $$`)
		return nil
	})
	require.NoError(t, err)
	o.URL += "&search_path=ahead,public,pg_catalog"
	later, err := sqldb.Open(t.Context(), o)
	require.NoError(t, err)
	defer later.Close()
	ahead, err := later.Ahead(t.Context())
	require.NoError(t, err)
	require.InDelta(t, 10*time.Minute, ahead, float64(time.Minute))
	ahead, err = db.Ahead(t.Context())
	require.NoError(t, err)
	require.Less(t, ahead.Abs(), time.Minute)

	there := store.New(store.Options{DB: later})
	for name, take := range map[string]func(s *store.Store, holder string) (bool, error){
		"worker": func(s *store.Store, holder string) (bool, error) {
			return s.TakeLease(t.Context(), "worker", holder, time.Minute)
		},
		"sweep": func(s *store.Store, holder string) (bool, error) {
			return s.TakeSweep(t.Context(), holder, time.Minute)
		},
	} {
		ok, err := take(here, "a")
		require.NoError(t, err)
		require.True(t, ok, name)
		ok, err = take(there, "b")
		require.NoError(t, err)
		require.True(t, ok, "%s: by the time that this connection has, the lease has ended", name)
		ok, err = take(here, "a")
		require.NoError(t, err)
		require.False(t, ok, name)
	}
}

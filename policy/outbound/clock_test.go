package outbound_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/outbound"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// A host whose hardware clock keeps the time of Japan starts nine hours ahead, and is put right later.
func TestAnAccountGoesOnAfterTheClockOfItsHostWasAhead(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		now := time.Now()
		at := func(clock time.Time) *node {
			n := start(t, setup{
				options: policy.Options{Mode: policy.Enforce, Limits: policy.LimitOptions{UserPerHour: 3}}, db: db,
				now: func() time.Time { return clock },
			})
			eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
			return n
		}
		e := envelope("tanaka@one.test", "192.0.2.7")
		n := at(now.Add(9 * time.Hour))
		require.Equal(t, 1, n.send(e, "hello", 0, "a@x.test").left())
		n.stop()

		n = at(now) // with nothing but the database, as after the loss of its files
		require.Equal(t, 2, n.send(e, "hello", 0, "a@x.test", "a@x.test", "a@x.test").left(), "what was sent meanwhile counts")
		n.stop()

		n = at(now.Add(5 * time.Minute))
		require.Zero(t, n.send(e, "hello", 0, "a@x.test").left(), "the database has what was sent since")
		n.stop()

		n = at(now.Add(70 * time.Minute))
		require.Equal(t, 1, n.send(e, "hello", 0, "a@x.test").left())
	})
}

// cut is a node's way to Redis, which can be cut.
type cut struct {
	outbound.Shared
	away atomic.Bool
}

var errCut = errors.New("no way to redis")

func (c *cut) Update(ctx context.Context, account string, change func([]byte) []byte) error {
	if c.away.Load() {
		return errCut
	}
	return c.Shared.Update(ctx, account, change)
}

func (c *cut) Take(ctx context.Context, nowUS, n int64, counters ...string) ([]int64, error) {
	if c.away.Load() {
		return nil, errCut
	}
	return c.Shared.Take(ctx, nowUS, n, counters...)
}

// What one node tells late was decided by a right clock: nothing that another one has counted since grows older by it.
func TestEventsThatAreToldLateDoNotSetTimeBack(t *testing.T) {
	t.Parallel()
	server := labtest.Redis(t)
	began := time.Now()
	var later atomic.Int64
	now := func() time.Time { return began.Add(time.Duration(later.Load())) }
	settings := policy.Options{Mode: policy.Enforce, Limits: policy.LimitOptions{UserPerHour: 4, DomainPerHour: 1000}, SoftLimit: policy.SoftLimitOptions{PerHour: 100}}
	way := &cut{Shared: shared(t, server)}
	n, other := start(t, setup{options: settings, shared: way, now: now}), start(t, setup{options: settings, shared: shared(t, server), now: now})
	e := envelope("tanaka@one.test", "192.0.2.7")
	way.away.Store(true)
	require.Equal(t, 1, n.send(e, "x", 0, "a@x.test").left())
	later.Store(int64(40 * time.Minute))
	require.Equal(t, 3, other.send(e, "x", 0, "a@x.test", "a@x.test", "a@x.test").left())
	way.away.Store(false)
	eventually(t, "the first node tells its event", func() bool { return other.send(e, "x", 0, "a@x.test").accepted == 0 })
	later.Store(int64(65 * time.Minute))
	require.Zero(t, other.send(e, "x", 0, "a@x.test").left()+n.send(e, "x", 0, "a@x.test").left(), "three are 25 minutes old, and what was told late counts as told")
}

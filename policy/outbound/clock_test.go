package outbound_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy"
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

package outbound_test

import (
	"context"
	"fmt"
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

// door opens a database only once it is told to.
type door struct {
	db     *store.Store
	opened atomic.Bool
}

func (d *door) open(context.Context) (*store.Store, error) {
	if !d.opened.Load() {
		return nil, store.ErrUnavailable
	}
	return d.db, nil
}

// firstSeen is when the stored state of an account began.
func firstSeen(t testing.TB, db *store.Store, account string) time.Time {
	t.Helper()
	row, err := db.OutboundState(t.Context(), store.SystemTenant, store.StateOfAccount, account, 0)
	require.NoError(t, err)
	st, err := policy.ParseState(row.State)
	require.NoError(t, err)
	return time.UnixMicro(st.FirstUS())
}

func TestWhatAnAccountDoesWithoutTheDatabaseIsAddedToItsHistory(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		settings := policy.Options{Mode: policy.Enforce, Limits: policy.LimitOptions{UserPerHour: 5}}
		e, two := envelope("tanaka@one.test", "192.0.2.7"), []string{"a@x.test", "a@x.test"}
		n := start(t, setup{options: settings, db: db})
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		require.Equal(t, 2, n.send(e, "x", 0, two...).left())
		n.stop()
		began := firstSeen(t, db, "tanaka@one.test")

		gate := &door{db: db}
		n = start(t, setup{options: settings, open: gate.open})
		require.Equal(t, 2, n.send(e, "x", 0, two...).left(), "nothing is known of it")
		gate.opened.Store(true)
		eventually(t, "the database answers", func() bool { return n.Check(t.Context()) == nil })
		require.Equal(t, 1, n.send(e, "x", 0, two...).left(), "four of five are used up")
		n.stop()
		require.Equal(t, began, firstSeen(t, db, "tanaka@one.test"))
		n = start(t, setup{options: settings, db: db})
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		require.Zero(t, n.send(e, "x", 0, two...).accepted)
	})
}

func TestAStopWithoutTheDatabaseOutlivesARestartAndTheHistoryToo(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		e := envelope("tanaka@one.test", "192.0.2.7")
		n := start(t, setup{options: enforce, db: db})
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		require.Equal(t, 1, n.send(e, "x", 0, "a@x.test").left())
		n.stop()
		began := firstSeen(t, db, "tanaka@one.test")

		dir := t.TempDir()
		n = start(t, setup{options: enforce, open: (&door{}).open, dir: dir})
		_, refused := n.blast(e, 60)
		require.NotNil(t, refused)
		n.stop()
		n = start(t, setup{options: enforce, db: db, dir: dir})
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		r := n.send(e, "x", 0, "a@x.test")
		require.NotNil(t, r.mail)
		require.Equal(t, suspended, r.mail.String())
		n.stop()
		require.Equal(t, began, firstSeen(t, db, "tanaka@one.test"))
	})
}

func TestSharedStateThatBeganAnewGivesWayToTheDatabase(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		settings := policy.Options{Mode: policy.Enforce, Limits: policy.LimitOptions{UserPerHour: 5}}
		e, two := envelope("tanaka@one.test", "192.0.2.7"), []string{"a@x.test", "a@x.test"}
		n := start(t, setup{options: settings, db: db})
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		require.Equal(t, 2, n.send(e, "x", 0, two...).left())
		n.stop()
		began := firstSeen(t, db, "tanaka@one.test")

		server, gate := labtest.Redis(t), &door{db: db}
		n = start(t, setup{options: settings, open: gate.open, shared: shared(t, server)})
		require.Equal(t, 2, n.send(e, "x", 0, two...).left())
		gate.opened.Store(true)
		eventually(t, "the database answers", func() bool { return n.Check(t.Context()) == nil })
		require.Equal(t, 1, n.send(e, "x", 0, two...).left())
		n.stop()
		require.Equal(t, began, firstSeen(t, db, "tanaka@one.test"))
	})
}

func TestAccountThatGaveWayComesBackWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	settings := policy.Options{Mode: policy.Enforce, Limits: policy.LimitOptions{UserPerHour: 3}}
	n := start(t, setup{options: settings, own: outbound.Options{MaxAccounts: 1}, open: (&door{}).open})
	e := envelope("tanaka@one.test", "192.0.2.7")
	require.Equal(t, 3, n.send(e, "x", 0, "a@x.test", "a@x.test", "a@x.test").left())
	for i := range 300 {
		n.send(envelope(fmt.Sprintf("u%d@two.test", i), ""), "x", 0, "a@x.test")
	}
	require.Zero(t, n.send(e, "x", 0, "a@x.test").accepted)
}

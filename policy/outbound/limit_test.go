package outbound_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/policy/outbound"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// onlyLimits are settings under which the engine limits and suspends nobody.
func onlyLimits(mode policy.Mode) policy.Options {
	no := false
	return policy.Options{Mode: mode, AutoSuspend: &no}
}

func people(n int) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("p%d@x.test", i)
	}
	return list
}

// learned tells, after a try without recipients, whether the sender's state has learned of a level of its row.
func (n *node) learned(e mail.Envelope) bool {
	n.send(e, "hello", 0)
	families, err := n.metrics.Gather()
	require.NoError(n.t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "mairust_outbound_decisions_total" && strings.Contains(m.String(), `"level"`) {
				return true
			}
		}
	}
	return false
}

func TestShadowTakesBackALimitThatAnotherNodeDecided(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		one, two := start(t, setup{options: onlyLimits(policy.Enforce), db: db}), start(t, setup{options: onlyLimits(policy.Enforce), db: db})
		late := start(t, setup{options: onlyLimits(policy.Shadow), db: db})
		e := envelope("tanaka@one.test", "192.0.2.7")
		require.Equal(t, 1, two.send(e, "hello", 0, "a@x.test").left())
		eventually(t, "the node is ready", func() bool { return one.Check(t.Context()) == nil })
		left, _ := one.blast(e, 30)
		require.Less(t, left, 60)
		one.becomes(db, "tanaka@one.test", store.LevelSoftLimit)
		eventually(t, "the others know", func() bool { return two.learned(e) && late.learned(e) })

		for _, n := range []*node{one, two} {
			require.NoError(t, n.Configure(onlyLimits(policy.Shadow), outbound.Options{}, nil))
		}
		for name, n := range map[string]*node{"one": one, "two": two, "late": late} {
			require.Equal(t, 30, n.send(e, "hello", 0, people(30)...).left(), name)
		}
		row, err := db.OutboundAccount(t.Context(), store.System, "tanaka@one.test")
		require.NoError(t, err)
		require.Equal(t, "auto_limit", row.Act)
	})
}

func TestALimitOfAnotherNodeThatIsOverHoldsNobodyAndHidesNoNewOne(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		change(t, db, &store.OutboundAccount{Tenant: store.SystemTenant, Account: "tanaka@one.test"}, "auto_limit", store.LevelSoftLimit, "engine")
		later := func() time.Time { return time.Now().Add(72 * time.Hour) }
		n := start(t, setup{options: onlyLimits(policy.Enforce), db: db, now: later})
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		e := envelope("tanaka@one.test", "192.0.2.7")
		require.Equal(t, 30, n.send(e, "hello", 0, people(30)...).left())
		require.False(t, n.learned(e))

		n.blast(e, 30)
		eventually(t, "the new limit is told", func() bool { return told(t, db, notify.SoftLimit) == 1 })
		history, err := db.OutboundHistory(t.Context(), store.Scope{All: true}, "account", "tanaka@one.test", store.LogKey{}, 20)
		require.NoError(t, err)
		require.Len(t, history, 3)
		require.Equal(t, "auto_limit", history[0].Act)
		require.Equal(t, "recover", history[1].Act)
		require.Equal(t, store.LevelNormal, history[1].LevelAfter)
	})
}

func TestALimitThatOutlivedAnOutageIsNoneByHand(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		e, dir := envelope("tanaka@one.test", "192.0.2.7"), t.TempDir()
		n := start(t, setup{options: onlyLimits(policy.Enforce), db: db})
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		require.Equal(t, 1, n.send(e, "x", 0, "a@x.test").left())
		n.stop()
		n = start(t, setup{options: onlyLimits(policy.Enforce), open: (&door{}).open, dir: dir})
		left, _ := n.blast(e, 30)
		require.Less(t, left, 60)
		n.stop()
		n = start(t, setup{options: onlyLimits(policy.Enforce), db: db, dir: dir})
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		require.Less(t, n.send(e, "hello", 0, people(30)...).accepted, 30, "it is limited all the same")
		require.NoError(t, n.Configure(onlyLimits(policy.Shadow), outbound.Options{}, nil))
		require.Equal(t, 30, n.send(e, "hello", 0, people(30)...).left())
	})
}

package outbound

import (
	"log/slog"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestALevelDecidedBeforeAnotherNodesStopDoesNotEndIt(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		g := newGate(t)
		s := sender{"tanaka@one.test", store.SystemTenant}
		level := func() *store.OutboundAccount {
			row, err := db.OutboundAccount(t.Context(), store.System, string(s.account))
			require.NoError(t, err)
			return row
		}
		require.NoError(t, g.writeLevel(t.Context(), db, levelChange{sender: s, level: policy.SoftLimit, act: actLimit}))
		known := level().LevelRevision
		require.NoError(t, g.writeLevel(t.Context(), db, levelChange{sender: s, level: policy.HardLimit, act: actSuspend, revision: known}))
		stop := level()
		require.Equal(t, store.LevelHardLimit, stop.Level)
		for _, late := range []levelChange{
			{sender: s, level: policy.SoftLimit, act: actLimit},
			{sender: s, level: policy.Normal, act: actRecover, revision: known},
		} {
			require.NoError(t, g.writeLevel(t.Context(), db, late))
			require.Equal(t, stop, level(), late.act)
		}
		require.NoError(t, g.writeLevel(t.Context(), db, levelChange{sender: s, level: policy.SoftLimit, act: actReenable, revision: stop.LevelRevision}))
		require.Equal(t, store.LevelSoftLimit, level().Level, "who knows of the stop ends it")
		require.NoError(t, g.writeLevel(t.Context(), db, levelChange{sender: s, level: policy.HardLimit, act: actSuspend, revision: stop.LevelRevision, again: true}))
		require.Equal(t, store.LevelSoftLimit, level().Level, "an old stop is not written again")
		require.NoError(t, g.writeLevel(t.Context(), db, levelChange{sender: s, level: policy.HardLimit, act: actSuspend, revision: stop.LevelRevision}))
		require.Equal(t, store.LevelHardLimit, level().Level, "a new one is")
	})
}

// A refusal after the decision to stop may be followed before the decision itself. The limit that came before is in the database
// by then: a stop that counted as an old one would never get there.
func TestAStopThatIsWrittenAgainBeforeItWasWrittenIsNoOldOne(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		g, s := newGate(t), sender{"tanaka@one.test", store.SystemTenant}
		require.NoError(t, g.writeLevel(t.Context(), db, levelChange{sender: s, level: policy.SoftLimit, act: actLimit}))
		stop := levelChange{sender: s, level: policy.HardLimit, act: actSuspend}
		again := stop
		again.again = true
		for _, c := range []levelChange{again, stop, again} {
			g.writer.setLevel(c)
		}
		g.writer.flushLevels(t.Context(), db)
		row, err := db.OutboundAccount(t.Context(), store.System, string(s.account))
		require.NoError(t, err)
		require.Equal(t, store.LevelHardLimit, row.Level)
	})
}

func newGate(t *testing.T) *Gate {
	t.Helper()
	g, err := New(policy.Options{Mode: policy.Enforce}, Options{}, nil, Deps{
		Hash: func(...string) uint64 { return 1 }, Dir: t.TempDir(), Log: slog.New(slog.DiscardHandler), Registerer: prometheus.NewRegistry(),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, g.Close()) })
	return g
}

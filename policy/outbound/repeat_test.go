package outbound_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestAStoppedAccountThatGoesOnTryingMakesFewRows(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		n := start(t, setup{options: enforce, db: db})
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		e := envelope("tanaka@one.test", "192.0.2.7")
		_, refused := n.blast(e, 60)
		require.NotNil(t, refused)
		before := n.metric("mairust_outbound_decisions_total")
		for range 1000 {
			require.NotNil(t, n.send(e, "x", 0, "a@x.test").mail)
		}
		n.stop()
		require.InDelta(t, before+1000, n.metric("mairust_outbound_decisions_total"), 0)
		rows, err := db.OutboundDecisions(t.Context(), store.System, store.DecisionFilter{Account: "tanaka@one.test", Limit: 5000})
		require.NoError(t, err)
		refusals := 0
		var seqs []uint64
		for _, row := range rows {
			if row.Kind == "mail" {
				refusals++
			}
			full, err := db.OutboundDecision(t.Context(), store.System, row.LogKey)
			require.NoError(t, err)
			records, err := policy.ParseRecords(full.Event)
			require.NoError(t, err)
			for _, r := range records {
				seqs = append(seqs, r.Seq)
			}
		}
		require.LessOrEqual(t, refusals, 10)
		slices.Sort(seqs)
		require.GreaterOrEqual(t, len(seqs), 1001)
		for i, seq := range seqs {
			require.EqualValues(t, i+1, seq, "replay has them all")
		}
	})
}

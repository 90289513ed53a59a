package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestWhatIsOldGoesAndWhatIsYoungStays(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		old, young := noon.Add(-40*24*time.Hour), noon
		var list []store.OutboundDecision
		for i := range 230 {
			list = append(list, decision("t1", "old@one.test", old.Add(time.Duration(i))))
		}
		list = append(list, decision("t1", "young@one.test", young))
		require.NoError(t, s.InsertOutboundDecisions(ctx, list))
		require.NoError(t, s.RollUpOutbound(ctx, old))
		require.NoError(t, s.RollUpOutbound(ctx, young))
		require.NoError(t, s.SaveOutboundStates(ctx, []store.OutboundState{
			{Tenant: "t1", Kind: "account", Name: "old@one.test", State: []byte{1}, Updated: old},
			{Tenant: "t1", Kind: "account", Name: "old@one.test", Day: store.Day(old), State: []byte{2}, Updated: old},
			{Tenant: "t1", Kind: "account", Name: "old@one.test", Day: store.Day(young), State: []byte{3}, Updated: young},
		}))
		keep := store.OutboundRetention{Decisions: noon.Add(-30 * 24 * time.Hour), Daily: noon.Add(-30 * 24 * time.Hour), Accounts: noon.Add(-30 * 24 * time.Hour)}
		n, err := s.PurgeOutbound(ctx, keep, 150)
		require.NoError(t, err)
		assert.Equal(t, int64(150+1+1+1), n, "decisions up to the limit, the old state, day and account")
		n, err = s.PurgeOutbound(ctx, keep, 150)
		require.NoError(t, err)
		assert.Equal(t, int64(80), n)
		left, err := s.OutboundDecisions(ctx, store.System, store.DecisionFilter{Limit: 9})
		require.NoError(t, err)
		assert.Len(t, left, 1)
		st, err := s.OutboundState(ctx, "t1", "account", "old@one.test", 0)
		require.NoError(t, err)
		assert.Equal(t, []byte{1}, st.State)
		_, err = s.OutboundState(ctx, "t1", "account", "old@one.test", store.Day(old))
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = s.ChangeOutboundAccount(ctx, suspension("t1", "young@one.test", 0))
		require.NoError(t, err)
		n, err = s.PurgeOutbound(ctx, store.OutboundRetention{
			History: time.Now().Add(time.Hour), Changes: time.Now().Add(time.Hour), Accounts: time.Now().Add(time.Hour),
		}, 150)
		require.NoError(t, err)
		assert.Equal(t, int64(1), n, "a stopped account is never purged, nor is the last change")
	})
}

func TestAPersonIsForgottenAndAStopIsNot(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		follow := s.Follow(store.ChangedAccount, store.ForgottenAccount)
		_, err := follow.Next(ctx)
		require.NoError(t, err)
		for _, account := range []string{"bob@one.test", "eve@one.test", "other@one.test"} {
			var list []store.OutboundDecision
			for i := range 120 {
				list = append(list, decision("t1", account, noon.Add(time.Duration(i))))
			}
			require.NoError(t, s.InsertOutboundDecisions(ctx, append(list, decision("t2", account, noon))))
			require.NoError(t, s.SaveOutboundStates(ctx, []store.OutboundState{{Tenant: "t1", Kind: "account", Name: account, Updated: noon}}))
		}
		require.NoError(t, s.RollUpOutbound(ctx, noon))
		_, err = s.ChangeOutboundAccount(ctx, suspension("t1", "bob@one.test", 0))
		require.NoError(t, err)
		for _, account := range []string{"bob@one.test", "eve@one.test"} {
			_, err = s.ForgetOutbound(ctx, "t1", account)
			require.NoError(t, err)
		}
		one := store.Scope{Tenant: "t1"}
		for account, want := range map[string]int{"bob@one.test": 0, "eve@one.test": 0, "other@one.test": 120} {
			list, err := s.OutboundDecisions(ctx, one, store.DecisionFilter{Account: account, Limit: 500})
			require.NoError(t, err)
			assert.Len(t, list, want, account)
			list, err = s.OutboundDecisions(ctx, store.Scope{Tenant: "t2"}, store.DecisionFilter{Account: account, Limit: 500})
			require.NoError(t, err)
			assert.Len(t, list, 1, "the other tenant's")
			days, err := s.OutboundDays(ctx, one, account, noon, noon)
			require.NoError(t, err)
			assert.Equal(t, want > 0, len(days) > 0, account)
			_, err = s.OutboundState(ctx, "t1", "account", account, 0)
			assert.Equal(t, want > 0, err == nil, account)
		}
		bob, err := s.OutboundAccount(ctx, one, "bob@one.test")
		require.NoError(t, err)
		assert.Equal(t, store.LevelHardLimit, bob.Level)
		assert.Empty(t, bob.Reason)
		assert.True(t, bob.Sent.IsZero())
		_, err = s.OutboundAccount(ctx, one, "eve@one.test")
		require.ErrorIs(t, err, store.ErrNotFound)
		changes, err := follow.Next(ctx)
		require.NoError(t, err)
		require.Len(t, changes, 3)
		assert.Equal(t, store.ForgottenAccount, changes[1].Noun)
		assert.Equal(t, "bob@one.test", changes[1].ID)
	})
}

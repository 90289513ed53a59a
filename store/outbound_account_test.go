package store_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestALevelIsChangedByOnlyOneOfMany(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		revision := int64(0) // the first makes the row
		for range 3 {
			var wg sync.WaitGroup
			errs := make([]error, 8)
			for i := range errs {
				wg.Go(func() {
					_, errs[i] = s.ChangeOutboundAccount(ctx, suspension("t1", "bob@one.test", revision))
				})
			}
			wg.Wait()
			won := 0
			for _, err := range errs {
				if err == nil {
					won++
				} else {
					require.ErrorIs(t, err, store.ErrConflict)
				}
			}
			require.Equal(t, 1, won)
			a, err := s.OutboundAccount(ctx, store.System, "bob@one.test")
			require.NoError(t, err)
			require.Greater(t, a.Revision, revision)
			revision = a.Revision
		}
		h, err := s.OutboundHistory(ctx, store.System, "account", "bob@one.test", store.LogKey{}, 9)
		require.NoError(t, err)
		assert.Len(t, h, 3, "who lost wrote nothing")
		_, err = s.ChangeOutboundAccount(ctx, suspension("t1", "new@one.test", 4))
		require.ErrorIs(t, err, store.ErrConflict, "a row that is gone is not made by a late change")

		normal := suspension("t1", "bob@one.test", revision)
		normal.Level = store.LevelNormal
		last, err := s.ChangeOutboundAccount(ctx, normal)
		require.NoError(t, err)
		_, err = s.ForgetOutbound(ctx, "t1", "bob@one.test")
		require.NoError(t, err)
		again, err := s.ChangeOutboundAccount(ctx, suspension("t1", "bob@one.test", 0))
		require.NoError(t, err)
		require.Greater(t, again.Revision, last.Revision, "who knows of the older row must see that this one is newer")
	})
}

func TestAnAccountKeepsWhatItWasGiven(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		_, err := s.OutboundAccount(ctx, store.System, "bob@one.test")
		require.ErrorIs(t, err, store.ErrNotFound)
		c := suspension("t1", "bob@one.test", 0)
		c.Until, c.Decision, c.Mode = noon, store.LogKey{At: noon, ID: "d1"}, "shadow"
		c.Reason = "a\x00b\xff" + strings.Repeat("長", 900)
		made, err := s.ChangeOutboundAccount(ctx, c)
		require.NoError(t, err)
		a, err := s.OutboundAccount(ctx, store.System, "bob@one.test")
		require.NoError(t, err)
		assert.Equal(t, made, a)
		assert.Equal(t, "hard_limit shadow suspend T-1 desk@one.test", strings.Join([]string{a.Level, a.Mode, a.Act, a.Ticket, a.Actor}, " "))
		assert.Equal(t, noon, a.Until)
		assert.Equal(t, c.Decision, a.Decision)
		assert.LessOrEqual(t, len(a.Reason), 1000)
		assert.True(t, strings.HasPrefix(a.Reason, "a\uFFFDb\uFFFD長"))

		release := a.Change("release")
		release.Level, release.CapPerHour, release.Until = store.LevelSoftLimit, 20, time.Time{}
		b, err := s.ChangeOutboundAccount(ctx, release)
		require.NoError(t, err)
		assert.Equal(t, "shadow", b.Mode, "what is not changed stays")
		assert.False(t, b.Since.Before(a.Since))
		assert.True(t, b.Decision.IsZero())
		mode := b.Change(store.ActMode)
		mode.Mode, mode.Reason, mode.Actor = "off", "a test", "other@one.test"
		d, err := s.ChangeOutboundAccount(ctx, mode)
		require.NoError(t, err)
		b.Mode, b.Revision, b.Changed = "off", d.Revision, d.Changed
		assert.Equal(t, b, d, "all that is known of the level stays")
		assert.Greater(t, d.Revision, d.LevelRevision)
		h, err := s.OutboundHistory(ctx, store.System, "account", "bob@one.test", store.LogKey{}, 2)
		require.NoError(t, err)
		require.Len(t, h, 2)
		assert.Equal(t, "mode a test other@one.test", strings.Join([]string{h[0].Act, h[0].Reason, h[0].Actor}, " "))
		assert.Equal(t, "hard_limit soft_limit 20", fmt.Sprint(h[1].LevelBefore, " ", h[1].LevelAfter, " ", h[1].CapPerHour))
		h, err = s.OutboundHistory(ctx, store.System, "account", "bob@one.test", h[1].LogKey, 2)
		require.NoError(t, err)
		require.Len(t, h, 1)
		assert.Equal(t, "suspend", h[0].Act)
	})
}

func TestListsOfAccounts(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		var list []store.OutboundDecision
		for _, account := range []string{"alice@one.test", "bob@one.test", "bobby@one.test", "zoë@one.test"} {
			list = append(list, decision("t1", account, noon), decision("t2", account, noon))
		}
		require.NoError(t, s.InsertOutboundDecisions(ctx, list))
		var keys []store.OutboundKey
		f := store.OutboundFilter{Limit: 3}
		for {
			page, err := s.OutboundAccounts(ctx, store.System, f)
			require.NoError(t, err)
			for _, a := range page {
				keys = append(keys, store.OutboundKey{Tenant: a.Tenant, Account: a.Account})
			}
			if len(page) < 3 {
				break
			}
			f.After = keys[len(keys)-1]
		}
		require.Len(t, keys, 8)
		assert.Equal(t, store.OutboundKey{Tenant: "t2", Account: "alice@one.test"}, keys[4])
		found, err := s.OutboundAccounts(ctx, store.Scope{Tenant: "t1"}, store.OutboundFilter{Prefix: "BOB", Limit: 9})
		require.NoError(t, err)
		assert.Len(t, found, 2)

		due := suspension("t1", "bob@one.test", 0)
		due.Until = noon
		_, err = s.ChangeOutboundAccount(ctx, due)
		require.NoError(t, err)
		limit := suspension("t1", "alice@one.test", 0)
		limit.Level, limit.Until = store.LevelSoftLimit, noon.Add(time.Second)
		_, err = s.ChangeOutboundAccount(ctx, limit)
		require.NoError(t, err)
		watched := store.OutboundChange{Tenant: "t2", Account: "zoë@one.test", Act: "release", Level: store.LevelNormal, Mode: "off", Until: noon}
		_, err = s.ChangeOutboundAccount(ctx, watched)
		require.NoError(t, err)

		found, err = s.OutboundAccounts(ctx, store.System, store.OutboundFilter{Level: store.LevelHardLimit, Limit: 9})
		require.NoError(t, err)
		require.Len(t, found, 1)
		assert.Equal(t, "bob@one.test", found[0].Account)
		found, err = s.OutboundAccounts(ctx, store.System, store.OutboundFilter{Limited: true, Limit: 9})
		require.NoError(t, err)
		assert.Len(t, found, 2)
		stopped, err := s.Suspensions(ctx, store.System, store.SuspensionFilter{Limited: true, Limit: 1})
		require.NoError(t, err)
		require.Len(t, stopped, 1)
		assert.Equal(t, "alice@one.test", stopped[0].Account, "the last one first")
		next := store.SuspensionFilter{
			Limited: true, BeforeSince: stopped[0].Since, Before: store.OutboundKey{Tenant: "t1", Account: "alice@one.test"}, Limit: 9,
		}
		stopped, err = s.Suspensions(ctx, store.System, next)
		require.NoError(t, err)
		require.Len(t, stopped, 1)
		assert.Equal(t, "bob@one.test", stopped[0].Account)
		next.Limited, next.BeforeSince = false, time.Time{}
		stopped, err = s.Suspensions(ctx, store.Scope{Tenant: "t1"}, next)
		require.NoError(t, err)
		require.Len(t, stopped, 1)
		stopped, err = s.Suspensions(ctx, store.Scope{Tenant: "t2"}, next)
		require.NoError(t, err)
		require.Empty(t, stopped)
		found, err = s.SpecialAccounts(ctx, store.OutboundKey{}, 2)
		require.NoError(t, err)
		require.Len(t, found, 2)
		found, err = s.SpecialAccounts(ctx, store.OutboundKey{Tenant: found[1].Tenant, Account: found[1].Account}, 2)
		require.NoError(t, err)
		require.Len(t, found, 1)
		assert.Equal(t, "off", found[0].Mode)
		found, err = s.DueAccounts(ctx, noon, 9)
		require.NoError(t, err)
		require.Len(t, found, 1)
		assert.Equal(t, "bob@one.test", found[0].Account)
		again := found[0].Change("auto_reenable")
		again.Level, again.Until = store.LevelSoftLimit, time.Time{}
		_, err = s.ChangeOutboundAccount(ctx, again)
		require.NoError(t, err)
		_, err = s.ChangeOutboundAccount(ctx, again)
		require.ErrorIs(t, err, store.ErrConflict, "the other node")
		last, err := s.OutboundAccount(ctx, store.Scope{Tenant: "t1"}, "bob@one.test")
		require.NoError(t, err)
		normal := last.Change("recover")
		normal.Level = store.LevelNormal
		_, err = s.ChangeOutboundAccount(ctx, normal)
		require.NoError(t, err)
		found, err = s.SpecialAccounts(ctx, store.OutboundKey{}, 9)
		require.NoError(t, err)
		require.Len(t, found, 3, "who decides must learn that an account is like others again")
	})
}

package store_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func profile(rate string, accounts ...string) store.OutboundProfileChange {
	return store.OutboundProfileChange{
		Profile:    store.OutboundProfile{Tenant: "t1", ID: "news", MaxRate: rate, Accounts: accounts},
		OutboundBy: store.OutboundBy{Reason: "agreed", Ticket: "T-7", ActorKind: "user", Actor: "boss@one.test"},
	}
}

// story is what the history tells, oldest first, as "act detail".
func story(events []store.OutboundEvent) (list []string) {
	for _, e := range events {
		list = append([]string{e.Act + " " + e.Detail}, list...)
	}
	return list
}

func TestProfilesAreInTheHistoryOfTheirAccountsAndTheirTenant(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		set := func(c store.OutboundProfileChange) {
			_, _, err := s.SetOutboundProfile(ctx, c)
			require.NoError(t, err)
		}
		set(profile("5/hour", "a@one.test", "b@one.test"))
		set(profile("9/hour", "b@one.test", "c@one.test"))
		set(profile("9/hour", "b@one.test"))
		require.NoError(t, s.SetOutboundMode(ctx, "t1", "enforce", profile("").OutboundBy, nil))
		require.NoError(t, s.DeleteOutboundProfile(ctx, profile("")))
		for account, want := range map[string][]string{
			"a@one.test": {"profile_join news", "profile_leave news"},
			"b@one.test": {"profile_join news", "profile_rate news", "profile_leave news"},
			"c@one.test": {"profile_join news", "profile_leave news"},
		} {
			events, err := s.OutboundHistory(ctx, store.Scope{Tenant: "t1"}, "account", account, store.LogKey{}, 9)
			require.NoError(t, err)
			assert.Equal(t, want, story(events), account)
			assert.Equal(t, "agreed", events[0].Reason)
			assert.Equal(t, "T-7", events[0].Ticket)
			assert.Equal(t, "boss@one.test", events[0].Actor)
		}
		events, err := s.OutboundTenantHistory(ctx, store.Scope{Tenant: "t1"}, "t1", store.LogKey{}, 9)
		require.NoError(t, err)
		assert.Equal(t, []string{"set 5/hour", "set 9/hour", "set 9/hour", "mode ", "delete "}, story(events))
		assert.Equal(t, "enforce", events[1].Mode)
		more, err := s.OutboundTenantHistory(ctx, store.Scope{Tenant: "t1"}, "t1", events[1].LogKey, 2)
		require.NoError(t, err)
		assert.Equal(t, events[2:4], more, "paged by its key")
	})
}

func TestAProfileIsChangedByOnlyOneOfMany(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		const many = 8
		errs := make([]error, many)
		atOnce := func(act func() error) (done int) {
			var wg sync.WaitGroup
			for i := range errs {
				wg.Go(func() { errs[i] = act() })
			}
			wg.Wait()
			for _, err := range errs {
				if err == nil {
					done++
				} else {
					require.True(t, errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrExists), "%v", err)
				}
			}
			return done
		}
		first := profile("5/hour", "a@one.test")
		first.New = true
		require.Equal(t, 1, atOnce(func() error { _, _, err := s.SetOutboundProfile(ctx, first); return err }))
		_, _, err := s.SetOutboundProfile(ctx, first)
		require.ErrorIs(t, err, store.ErrExists)

		seen, err := s.OutboundProfile(ctx, store.System, "t1", "news")
		require.NoError(t, err)
		change := profile("9/hour", "a@one.test")
		change.Revision = seen.Revision
		require.Equal(t, 1, atOnce(func() error { _, _, err := s.SetOutboundProfile(ctx, change); return err }))
		require.ErrorIs(t, s.DeleteOutboundProfile(ctx, change), store.ErrConflict, "it was seen before it changed")
		now, err := s.OutboundProfile(ctx, store.System, "t1", "news")
		require.NoError(t, err)
		require.Greater(t, now.Revision, seen.Revision)
		change.Revision = now.Revision
		require.NoError(t, s.DeleteOutboundProfile(ctx, change))
		_, err = s.OutboundProfile(ctx, store.System, "t1", "news")
		require.ErrorIs(t, err, store.ErrNotFound)
		_, _, err = s.SetOutboundProfile(ctx, change)
		require.ErrorIs(t, err, store.ErrConflict, "what is gone is not made again by who saw it")
	})
}

func TestNamesOfTenantsAreThoseInScope(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		one := storetest.NewSite(t, s, "one", "one.test").Tenant.ID
		two := storetest.NewSite(t, s, "two", "two.test").Tenant.ID
		ids := []store.TenantID{one, two, "no-such", one}
		names, err := s.NamesOfTenants(t.Context(), store.System, ids)
		require.NoError(t, err)
		assert.Equal(t, map[store.TenantID]string{one: "one", two: "two"}, names)
		names, err = s.NamesOfTenants(t.Context(), store.Scope{Tenant: two}, ids)
		require.NoError(t, err)
		assert.Equal(t, map[store.TenantID]string{two: "two"}, names)
		names, err = s.NamesOfTenants(t.Context(), store.System, nil)
		require.NoError(t, err)
		assert.Empty(t, names)
	})
}

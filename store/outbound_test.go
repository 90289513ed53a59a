package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

var noon = time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)

func decision(tenant store.TenantID, account string, at time.Time) store.OutboundDecision {
	return store.OutboundDecision{
		LogKey: store.LogKey{At: at, ID: store.NewLogID()}, Tenant: tenant, Account: account, Kind: "end", Action: "allow", Would: "allow", WouldLevel: "normal",
		LevelBefore: "normal", LevelAfter: "normal", Mode: "enforce", Messages: 1, Recipients: 3, NewRecipients: 2, SizeBytes: 900,
		QueueHost: "mx1", QueueID: "4XyZ", Client: "192.0.2.7", MailFrom: "bob@one.test", ScoreMicro: 120_000, PolicyHash: "p1",
		Fingerprint: 1<<63 + 7, Event: []byte{0, 1, 255}, Explanation: `{"score":120000}`,
	}
}

func suspension(tenant store.TenantID, account string, revision int64) store.OutboundChange {
	return store.OutboundChange{
		Tenant: tenant, Account: account, Revision: revision, Act: "suspend", Level: store.LevelHardLimit,
		Reason: "phished", Ticket: "T-1", ActorKind: "user", Actor: "desk@one.test",
	}
}

func TestOutboundDataStaysInItsTenant(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		one := storetest.NewSite(t, s, "one", "one.test", "bob", "alice")
		two := storetest.NewSite(t, s, "two", "two.test", "eve")
		tenant := one.Tenant.ID
		d := decision(tenant, "bob@one.test", noon)
		require.NoError(t, s.InsertOutboundDecisions(ctx, []store.OutboundDecision{d}))
		require.NoError(t, s.RollUpOutbound(ctx, noon))
		bob, err := s.OutboundAccount(ctx, store.System, "bob@one.test")
		require.NoError(t, err)
		_, err = s.ChangeOutboundAccount(ctx, suspension(tenant, "bob@one.test", bob.Revision))
		require.NoError(t, err)
		require.NoError(t, s.StopDomain(ctx, store.DomainStop{Tenant: tenant, Domain: "one.test", Reason: "x"}, nil))
		_, _, err = s.SetOutboundProfile(ctx, store.OutboundProfileChange{Profile: store.OutboundProfile{Tenant: tenant, ID: "news", Accounts: []string{"bob@one.test"}}, OutboundBy: store.OutboundBy{ActorKind: "user"}})
		require.NoError(t, err)
		require.NoError(t, s.SetOutboundMode(ctx, tenant, "off", store.OutboundBy{Reason: "", ActorKind: "user", Actor: "x"}, nil))

		for name, row := range map[string]struct {
			scope      store.Scope
			own, admin bool
		}{
			"system":                 {store.System, true, true},
			"tenant":                 {store.Scope{Tenant: tenant}, true, true},
			"owner":                  {store.Scope{Tenant: tenant, User: one.Users["bob"].ID}, true, false},
			"nobody":                 {store.Scope{}, false, false},
			"another tenant":         {store.Scope{Tenant: two.Tenant.ID}, false, false},
			"another user":           {store.Scope{Tenant: tenant, User: one.Users["alice"].ID}, false, false},
			"user and tenant differ": {store.Scope{Tenant: two.Tenant.ID, User: one.Users["bob"].ID}, false, false},
		} {
			want := 0
			if row.own {
				want = 1
			}
			_, err := s.OutboundAccount(ctx, row.scope, "bob@one.test")
			assert.Equal(t, row.own, err == nil, name)
			accounts, err := s.OutboundAccounts(ctx, row.scope, store.OutboundFilter{Limited: true, Limit: 9})
			require.NoError(t, err)
			assert.Len(t, accounts, want, name)
			decisions, err := s.OutboundDecisions(ctx, row.scope, store.DecisionFilter{Account: "bob@one.test", Limit: 9})
			require.NoError(t, err)
			assert.Len(t, decisions, want, name)
			_, err = s.OutboundDecision(ctx, row.scope, d.LogKey)
			assert.Equal(t, row.own, err == nil, name)
			replay, err := s.ReplayDecisions(ctx, row.scope, store.LogKey{}, noon.Add(time.Hour), 9)
			require.NoError(t, err)
			assert.Len(t, replay, want, name)
			history, err := s.OutboundHistory(ctx, row.scope, "account", "bob@one.test", store.LogKey{}, 9)
			require.NoError(t, err)
			assert.Len(t, history, 2*want, "%s: the stop, and the profile", name)
			series, err := s.OutboundSeries(ctx, row.scope, "bob@one.test", noon, noon.Add(time.Hour), time.Minute)
			require.NoError(t, err)
			assert.Len(t, series, want, name)
			days, err := s.OutboundDays(ctx, row.scope, "bob@one.test", noon, noon)
			require.NoError(t, err)
			assert.Len(t, days, want, name)
			if want = 0; row.admin {
				want = 1
			}
			domains, err := s.StoppedDomains(ctx, row.scope, "", 9)
			require.NoError(t, err)
			assert.Len(t, domains, want, name)
			profiles, err := s.OutboundProfiles(ctx, row.scope, "", "", 9)
			require.NoError(t, err)
			assert.Len(t, profiles, want, name)
			_, err = s.OutboundProfile(ctx, row.scope, tenant, "news")
			assert.Equal(t, row.admin, err == nil, name)
			history, err = s.OutboundHistory(ctx, row.scope, "domain", "one.test", store.LogKey{}, 9)
			require.NoError(t, err)
			assert.Len(t, history, want, name)
			history, err = s.OutboundTenantHistory(ctx, row.scope, tenant, store.LogKey{}, 9)
			require.NoError(t, err)
			assert.Len(t, history, 3*want, "%s: domain, profile and mode", name)
		}
		modes, err := s.OutboundModes(ctx, store.Scope{Tenant: two.Tenant.ID})
		require.NoError(t, err)
		assert.Empty(t, modes)
		_, _, err = s.SetOutboundProfile(ctx, store.OutboundProfileChange{Profile: store.OutboundProfile{Tenant: two.Tenant.ID, ID: "news"}, OutboundBy: store.OutboundBy{ActorKind: "user"}})
		require.NoError(t, err)
		news := store.OutboundProfileChange{Profile: store.OutboundProfile{Tenant: two.Tenant.ID, ID: "news"}}
		require.NoError(t, s.DeleteOutboundProfile(ctx, news))
		assert.ErrorIs(t, s.DeleteOutboundProfile(ctx, news), store.ErrNotFound)
		profiles, err := s.OutboundProfiles(ctx, store.System, "", "", 9)
		require.NoError(t, err)
		require.Len(t, profiles, 1)
		assert.Equal(t, []string{"bob@one.test"}, profiles[0].Accounts)
	})
}

func TestStatesAreKeptByDayAndTheNewestWins(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		var list []store.OutboundState
		for i := range 210 {
			list = append(list, store.OutboundState{
				Tenant: "t1", Kind: store.StateOfAccount, Name: fmt.Sprintf("u%03d@one.test", i), State: []byte{byte(i)}, Updated: noon,
			})
		}
		newer := list[5]
		newer.State, newer.Revision, newer.Updated = []byte("new"), 7, noon.Add(time.Second)
		list = append(list, newer, store.OutboundState{Tenant: "t1", Kind: store.StateOfTenant, Updated: noon})
		require.NoError(t, s.SaveOutboundStates(ctx, list))
		require.NoError(t, s.SaveOutboundStates(ctx, list[:210]), "older ones change nothing")
		st, err := s.OutboundState(ctx, "t1", store.StateOfAccount, "u005@one.test", 0)
		require.NoError(t, err)
		assert.Equal(t, newer, *st)
		var after store.OutboundState
		seen := 0
		for {
			page, err := s.OutboundStates(ctx, 0, after, 100)
			require.NoError(t, err)
			if len(page) == 0 {
				break
			}
			seen, after = seen+len(page), page[len(page)-1]
		}
		assert.Equal(t, 211, seen)
		require.ErrorContains(t, s.SaveOutboundStates(ctx, []store.OutboundState{{State: make([]byte, 20<<10)}}), "most is")
	})
}

func TestStatesOfTheFutureGiveWayOnceThatIsSaid(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		state := func(name, word string, at time.Time) store.OutboundState {
			return store.OutboundState{Tenant: "t1", Kind: store.StateOfAccount, Name: name, State: []byte(word), Updated: at}
		}
		save := func(list ...store.OutboundState) { require.NoError(t, s.SaveOutboundStates(ctx, list)) }
		word := func(name string) string {
			st, err := s.OutboundState(ctx, "t1", store.StateOfAccount, name, 0)
			require.NoError(t, err)
			return string(st.State)
		}
		save(state("a@one.test", "ahead", noon.Add(9*time.Hour)), state("b@one.test", "right", noon))
		save(state("a@one.test", "right", noon))
		require.Equal(t, "ahead", word("a@one.test"))
		n, err := s.GiveWayOutboundStates(ctx, noon.Add(time.Minute))
		require.NoError(t, err)
		require.EqualValues(t, 1, n)
		save(state("a@one.test", "right", noon), state("b@one.test", "older", noon.Add(-time.Second)))
		require.Equal(t, "right", word("a@one.test"))
		require.Equal(t, "right", word("b@one.test"))
	})
}

func TestDomainsAreStoppedAndReleased(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		stop := store.DomainStop{Tenant: "t1", Domain: "one.test", Reason: "flood", ActorKind: "user", Actor: "boss", Until: noon}
		require.NoError(t, s.StopDomain(ctx, stop, nil))
		first, err := s.StoppedDomains(ctx, store.System, "", 9)
		require.NoError(t, err)
		require.Len(t, first, 1)
		stop.Reason = "still"
		require.NoError(t, s.StopDomain(ctx, stop, nil))
		again, err := s.StoppedDomains(ctx, store.System, "", 9)
		require.NoError(t, err)
		require.Len(t, again, 1)
		assert.Equal(t, "still", again[0].Reason)
		assert.Equal(t, first[0].Since, again[0].Since)
		assert.Equal(t, noon, again[0].Until)
		one, err := s.DomainStop(ctx, "t1", "one.test")
		require.NoError(t, err)
		assert.Equal(t, again[0], *one)
		_, err = s.DomainStop(ctx, "t2", "one.test")
		require.ErrorIs(t, err, store.ErrNotFound)
		require.ErrorIs(t, s.ReleaseDomain(ctx, store.DomainStop{Tenant: "t2", Domain: "one.test"}, nil), store.ErrNotFound)
		require.NoError(t, s.ReleaseDomain(ctx, stop, nil))
		require.ErrorIs(t, s.ReleaseDomain(ctx, stop, nil), store.ErrNotFound)
		h, err := s.OutboundHistory(ctx, store.System, "domain", "one.test", store.LogKey{}, 9)
		require.NoError(t, err)
		require.Len(t, h, 3)
		assert.Equal(t, "release", h[0].Act)
	})
}

// Who may not touch an operator's stop looks in the transaction that would: one that was made a moment ago holds too.
func TestAStopIsSeenWhereItIsChanged(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		refused := errors.New("an operator has stopped it")
		mine := func(was *store.DomainStop) (store.Beside, error) {
			if was != nil && was.ActorKind == "operator" {
				return store.Beside{}, refused
			}
			return store.Beside{}, nil
		}
		for i := range 10 {
			stop := store.DomainStop{Tenant: "t1", Domain: fmt.Sprintf("d%d.test", i), Reason: "flood", ActorKind: "user", Actor: "boss"}
			operator := stop
			operator.ActorKind, operator.Actor = "operator", "root"
			var wg sync.WaitGroup
			for range 4 {
				wg.Go(func() {
					if err := s.StopDomain(ctx, stop, mine); !errors.Is(err, refused) && !errors.Is(err, store.ErrConflict) {
						assert.NoError(t, err)
					}
				})
				wg.Go(func() {
					if err := s.ReleaseDomain(ctx, stop, mine); !errors.Is(err, refused) && !errors.Is(err, store.ErrNotFound) {
						assert.NoError(t, err)
					}
				})
			}
			wg.Go(func() {
				for {
					err := s.StopDomain(ctx, operator, nil)
					if err == nil || !errors.Is(err, store.ErrConflict) {
						assert.NoError(t, err)
						return
					}
				}
			})
			wg.Wait()
			is, err := s.DomainStop(ctx, "t1", stop.Domain)
			require.NoError(t, err)
			require.Equal(t, "operator", is.ActorKind)
		}
	})
}

func TestFollowersSeeEachChangeOnceAndNoneFromBefore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		require.NoError(t, s.SetOutboundMode(ctx, "t1", "off", store.OutboundBy{Reason: "", ActorKind: "user", Actor: "x"}, nil))
		follow := s.Follow(store.ChangedMode)
		storetest.NewSite(t, s, "example", "example.test", "bob") // a change of another noun
		first, err := follow.Next(ctx)
		require.NoError(t, err)
		assert.Empty(t, first)
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				assert.NoError(t, s.SetOutboundMode(ctx, store.TenantID(fmt.Sprintf("t%d", i)), "shadow", store.OutboundBy{}, nil))
			})
		}
		storetest.NewSite(t, s, "example", "example.test", "ann")
		seen := map[string]int{}
		count := func() {
			list, err := follow.Next(ctx)
			assert.NoError(t, err)
			for _, c := range list {
				assert.Equal(t, store.ChangedMode, c.Noun)
				seen[c.ID]++
			}
		}
		for range 10 {
			count()
		}
		wg.Wait()
		count()
		count()
		assert.Len(t, seen, 40)
		for id, n := range seen {
			assert.Equal(t, 1, n, id)
		}
		modes, err := s.OutboundModes(ctx, store.System)
		require.NoError(t, err)
		assert.Len(t, modes, 40)
		require.NoError(t, s.SetOutboundMode(ctx, "t1", "", store.OutboundBy{Reason: "", ActorKind: "user", Actor: "x"}, nil))
		modes, err = s.OutboundModes(ctx, store.System)
		require.NoError(t, err)
		assert.NotContains(t, modes, store.TenantID("t1"))
	})
}

func TestAFollowerNoticesThatTheDatabaseWasSetBack(t *testing.T) {
	for name, since := range map[string]int{"nothing came since": 0, "fewer changes than were lost": 1, "as many": 3, "more": 5} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, s *store.Store) {
				ctx := t.Context()
				change := func(n int) {
					t.Helper()
					for i := range n {
						require.NoError(t, s.SetOutboundMode(ctx, store.TenantID(fmt.Sprintf("t%d", i)), "shadow", store.OutboundBy{}, nil))
					}
				}
				follow := s.Follow(store.ChangedMode)
				next := func() []store.Changed {
					t.Helper()
					list, err := follow.Next(ctx)
					require.NoError(t, err)
					return list
				}
				change(3)
				require.Empty(t, next())
				change(3)
				list := next()
				require.Len(t, list, 3)

				require.NoError(t, s.SetBackChanges(ctx, list[0].Seq-1))
				change(since)
				list, err := follow.Next(ctx)
				require.ErrorIs(t, err, store.ErrSetBack)
				require.Empty(t, list)
				require.Empty(t, next(), "it begins anew")
				change(2)
				require.Len(t, next(), 2)
				require.Empty(t, next())
			})
		})
	}
}

func TestAFollowerThatWasAwayForLongGetsWhatIsLeft(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		mode := func(tenant store.TenantID) {
			t.Helper()
			require.NoError(t, s.SetOutboundMode(ctx, tenant, "shadow", store.OutboundBy{}, nil))
		}
		purge := func() {
			t.Helper()
			_, err := s.PurgeOutbound(ctx, store.OutboundRetention{Changes: time.Now().Add(time.Hour)}, 1000)
			require.NoError(t, err)
		}
		follow := s.Follow(store.ChangedMode)
		mode("t1")
		_, err := follow.Next(ctx)
		require.NoError(t, err)
		purge()
		list, err := follow.Next(ctx)
		require.NoError(t, err, "the last one stays")
		require.Empty(t, list)

		mode("t2")
		mode("t3")
		purge()
		list, err = follow.Next(ctx)
		require.ErrorIs(t, err, store.ErrSetBack)
		require.Len(t, list, 1)
		require.Equal(t, "t3", list[0].ID)
		mode("t4")
		list, err = follow.Next(ctx)
		require.NoError(t, err)
		require.Len(t, list, 1)
	})
}

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
		require.NoError(t, s.StopDomain(ctx, store.DomainStop{Tenant: tenant, Domain: "one.test", Reason: "x"}))
		_, err = s.SetOutboundProfile(ctx, store.OutboundProfile{Tenant: tenant, ID: "news", Accounts: []string{"bob@one.test"}}, "user")
		require.NoError(t, err)
		require.NoError(t, s.SetOutboundMode(ctx, tenant, "off", "", "user", "x"))

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
			assert.Len(t, history, want, name)
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
			history, err = s.OutboundHistory(ctx, row.scope, "domain", "one.test", store.LogKey{}, 9)
			require.NoError(t, err)
			assert.Len(t, history, want, name)
		}
		modes, err := s.OutboundModes(ctx, store.Scope{Tenant: two.Tenant.ID})
		require.NoError(t, err)
		assert.Empty(t, modes)
		_, err = s.SetOutboundProfile(ctx, store.OutboundProfile{Tenant: two.Tenant.ID, ID: "news"}, "user")
		require.NoError(t, err)
		require.NoError(t, s.DeleteOutboundProfile(ctx, two.Tenant.ID, "news", "user", "x"))
		assert.ErrorIs(t, s.DeleteOutboundProfile(ctx, two.Tenant.ID, "news", "user", "x"), store.ErrNotFound)
		profiles, err := s.OutboundProfiles(ctx, store.System, "", "", 9)
		require.NoError(t, err)
		require.Len(t, profiles, 1)
		assert.Equal(t, []string{"bob@one.test"}, profiles[0].Accounts)
	})
}

func TestDecisionsArePagedAndComeBackWhole(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		var list []store.OutboundDecision
		for i := range 250 { // several at the same microsecond, in three batches
			list = append(list, decision("t1", fmt.Sprintf("u%d@one.test", i%2), noon.Add(time.Duration(i/3)*time.Second)))
		}
		spam := int64(-1500)
		list[7].SpamMilli = &spam
		list[9].Action, list[9].Reply = "refuse_rate", "450 4.7.1 Sending rate limited, please try again later."
		list[13].Would, list[13].WouldLevel, list[13].Mode, list[13].Reason = "refuse_suspended", "hard_limit", "shadow", "suspended"
		list[11].MailFrom, list[11].QueueID, list[11].Explanation = "\x00\xff"+strings.Repeat("x", 9000), "\x00", strings.Repeat("{", 20<<10)
		require.NoError(t, s.InsertOutboundDecisions(ctx, list))
		require.NoError(t, s.InsertOutboundDecisions(ctx, list), "a batch may be sent again")

		var found []store.OutboundDecision
		f := store.DecisionFilter{Limit: 40}
		for {
			page, err := s.OutboundDecisions(ctx, store.System, f)
			require.NoError(t, err)
			found = append(found, page...)
			if len(page) < f.Limit {
				break
			}
			f.Before = page[len(page)-1].LogKey
		}
		require.Len(t, found, len(list))
		byID := map[string]store.OutboundDecision{}
		for i, d := range found {
			byID[d.ID] = d
			assert.True(t, i == 0 || !d.At.After(found[i-1].At))
		}
		assert.Len(t, byID, len(list))
		assert.Equal(t, list[7], byID[list[7].ID])
		assert.Equal(t, list[8], byID[list[8].ID])
		assert.Empty(t, byID[list[11].ID].Explanation, "half a JSON text is none")
		assert.Len(t, byID[list[11].ID].MailFrom, 1280)

		limited, err := s.OutboundDecisions(ctx, store.System, store.DecisionFilter{Limited: true, Limit: 9})
		require.NoError(t, err)
		require.Len(t, limited, 2)
		assert.Equal(t, list[9].Reply, limited[1].Reply)
		some, err := s.OutboundDecisions(ctx, store.System, store.DecisionFilter{
			Account: "u0@one.test", From: noon.Add(time.Second), To: noon.Add(2 * time.Second), Limit: 9,
		})
		require.NoError(t, err)
		assert.Len(t, some, 1)

		replay, err := s.ReplayDecisions(ctx, store.System, store.LogKey{}, noon.Add(time.Hour), 100)
		require.NoError(t, err)
		require.Len(t, replay, 100)
		rest, err := s.ReplayDecisions(ctx, store.System, replay[99].LogKey, noon.Add(time.Hour), 1000)
		require.NoError(t, err)
		assert.Len(t, rest, 150)
		assert.Equal(t, []byte{0, 1, 255}, rest[0].Event)

		a, err := s.OutboundAccount(ctx, store.System, "u1@one.test")
		require.NoError(t, err)
		assert.Equal(t, noon.Add(83*time.Second), a.Sent)
		assert.Equal(t, store.LevelNormal, a.Level)
		assert.Zero(t, a.Revision)
	})
}

func TestABounceFindsWhoSentTheMessage(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		first, again, refused, elsewhere := decision("t1", "a@x.test", noon), decision("t1", "b@x.test", noon.Add(48*time.Hour)),
			decision("t1", "c@x.test", noon.Add(49*time.Hour)), decision("t1", "d@x.test", noon.Add(time.Hour))
		refused.Messages, refused.Action = 0, "refuse_suspended"
		elsewhere.QueueHost = "mx2"
		require.NoError(t, s.InsertOutboundDecisions(ctx, []store.OutboundDecision{first, again, refused, elsewhere}))
		for _, row := range []struct {
			host     string
			from, to time.Time
			want     string
		}{
			{"mx1", noon.Add(-time.Hour), noon.Add(24 * time.Hour), "a@x.test"},
			{"mx1", noon.Add(-time.Hour), noon.Add(72 * time.Hour), "b@x.test"},
			{"mx1", noon.Add(time.Hour), noon.Add(2 * time.Hour), ""},
			{"mx2", noon.Add(-time.Hour), noon.Add(72 * time.Hour), "d@x.test"},
			{"mx3", noon.Add(-time.Hour), noon.Add(72 * time.Hour), ""},
		} {
			found, err := s.OutboundSender(ctx, row.host, "4XyZ", row.from, row.to)
			if row.want == "" {
				assert.ErrorIs(t, err, store.ErrNotFound)
				continue
			}
			require.NoError(t, err)
			assert.Equal(t, row.want, found.Account)
		}
	})
}

func TestDaysAndColumnsAreSums(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		var list []store.OutboundDecision
		for i := range 5 {
			list = append(list, decision("t1", "bob@one.test", noon.Add(time.Duration(i)*4*time.Minute)))
		}
		list[1].ScoreMicro = 700_000
		list[2].Messages, list[2].Recipients, list[2].NewRecipients, list[2].Refused, list[2].Action = 0, 0, 0, 2, "refuse_rate"
		list[3].Bounced, list[3].Action = 4, "refuse_suspended"
		list = append(list, decision("t2", "bob@one.test", noon), decision("t1", "bob@one.test", noon.Add(13*time.Hour)))
		require.NoError(t, s.InsertOutboundDecisions(ctx, list))
		for range 2 {
			require.NoError(t, s.RollUpOutbound(ctx, noon))
		}
		days, err := s.OutboundDays(ctx, store.Scope{Tenant: "t1"}, "bob@one.test", noon, noon.Add(24*time.Hour))
		require.NoError(t, err)
		assert.Equal(t, []store.OutboundSum{{
			Tenant: "t1", Account: "bob@one.test", At: time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC), Messages: 4, Recipients: 12,
			NewRecipients: 8, Refused: 2, Bounced: 4, Limited: 1, Stopped: 1, ScoreMicro: 700_000,
		}}, days)
		columns, err := s.OutboundSeries(ctx, store.Scope{Tenant: "t1"}, "bob@one.test", noon, noon.Add(time.Hour), 5*time.Minute)
		require.NoError(t, err)
		require.Len(t, columns, 4)
		assert.Equal(t, noon.Add(5*time.Minute), columns[1].At)
		assert.Equal(t, int64(2), columns[1].Refused)
		assert.Equal(t, int64(6), columns[0].Recipients)
	})
	assert.Equal(t, int64(-1), store.Day(time.Unix(-1, 0)))
	assert.Equal(t, int64(0), store.Day(time.Unix(86_399, 0)))
}

func TestMessagesAreGroupedByTextAndByPlace(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		var list []store.OutboundDecision
		for i := range 9 {
			d := decision("t1", "bob@one.test", noon.Add(time.Duration(i)*time.Minute))
			d.Fingerprint = []uint64{1<<63 + 7, 1<<63 + 7, 5}[i%3]
			d.Client = []string{"192.0.2.7", "2001:db8::1"}[i/6]
			list = append(list, d)
		}
		list[8].Kind, list[8].Fingerprint, list[8].Messages = "rcpt", 0, 0
		list = append(list, decision("t2", "bob@one.test", noon))
		require.NoError(t, s.InsertOutboundDecisions(ctx, list))
		one := store.Scope{Tenant: "t1"}
		groups, err := s.OutboundGroups(ctx, one, "bob@one.test", noon, noon.Add(time.Hour), 9)
		require.NoError(t, err)
		assert.Equal(t, []store.OutboundGroup{
			{Fingerprint: 1<<63 + 7, Count: 6, Recipients: 18, NewRecipients: 12, First: noon, Last: noon.Add(7 * time.Minute)},
			{Fingerprint: 5, Count: 2, Recipients: 6, NewRecipients: 4, First: noon.Add(2 * time.Minute), Last: noon.Add(5 * time.Minute)},
		}, groups)
		text := uint64(1<<63 + 7)
		found, err := s.OutboundDecisions(ctx, one, store.DecisionFilter{Account: "bob@one.test", Text: &text, Limit: 9})
		require.NoError(t, err)
		assert.Len(t, found, 6)
		places, err := s.OutboundPlaces(ctx, one, "bob@one.test", noon, noon.Add(time.Hour), 9)
		require.NoError(t, err)
		assert.Equal(t, []store.OutboundPlace{
			{Client: "192.0.2.7", First: noon, Last: noon.Add(5 * time.Minute), Messages: 6},
			{Client: "2001:db8::1", First: noon.Add(6 * time.Minute), Last: noon.Add(8 * time.Minute), Messages: 2},
		}, places)
	})
}

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
		assert.Equal(t, int64(2), n, "a stopped account is never purged")
	})
}

func TestAPersonIsForgottenAndAStopIsNot(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		follow := s.Follow()
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

func TestDomainsAreStoppedAndReleased(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		stop := store.DomainStop{Tenant: "t1", Domain: "one.test", Reason: "flood", ActorKind: "user", Actor: "boss", Until: noon}
		require.NoError(t, s.StopDomain(ctx, stop))
		first, err := s.StoppedDomains(ctx, store.System, "", 9)
		require.NoError(t, err)
		require.Len(t, first, 1)
		stop.Reason = "still"
		require.NoError(t, s.StopDomain(ctx, stop))
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
		require.ErrorIs(t, s.ReleaseDomain(ctx, store.DomainStop{Tenant: "t2", Domain: "one.test"}), store.ErrNotFound)
		require.NoError(t, s.ReleaseDomain(ctx, stop))
		require.ErrorIs(t, s.ReleaseDomain(ctx, stop), store.ErrNotFound)
		h, err := s.OutboundHistory(ctx, store.System, "domain", "one.test", store.LogKey{}, 9)
		require.NoError(t, err)
		require.Len(t, h, 3)
		assert.Equal(t, "release", h[0].Act)
	})
}

func TestFollowersSeeEachChangeOnceAndNoneFromBefore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		require.NoError(t, s.SetOutboundMode(ctx, "t1", "off", "", "user", "x"))
		follow := s.Follow()
		first, err := follow.Next(ctx)
		require.NoError(t, err)
		assert.Empty(t, first)
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				assert.NoError(t, s.SetOutboundMode(ctx, store.TenantID(fmt.Sprintf("t%d", i)), "shadow", "", "user", "x"))
			})
		}
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
		require.NoError(t, s.SetOutboundMode(ctx, "t1", "", "", "user", "x"))
		modes, err = s.OutboundModes(ctx, store.System)
		require.NoError(t, err)
		assert.NotContains(t, modes, store.TenantID("t1"))
	})
}

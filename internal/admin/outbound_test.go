package admin_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func because(reason string) wire.OutboundAct { return wire.OutboundAct{Reason: reason} }

func TestActsAtOnceAreAllToldAndNoneIsLost(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		o := admin.NewOutbound(admin.New(admin.Options{Store: s}), nil)
		site := storetest.NewSite(t, s, "one", "one.test", "bob")
		ctx := t.Context()
		var wg sync.WaitGroup
		errs := make([]error, 12)
		for i := range errs {
			wg.Go(func() {
				_, errs[i] = o.Suspend(ctx, root, "bob@one.test", wire.OutboundSuspend{OutboundAct: because("flood")})
			})
		}
		wg.Wait()
		done := 0
		for _, err := range errs {
			if err == nil {
				done++
			} else {
				require.ErrorIs(t, err, store.ErrConflict)
			}
		}
		require.Positive(t, done)
		history, err := o.History(ctx, root, "bob@one.test", store.LogKey{}, 99)
		require.NoError(t, err)
		assert.Len(t, history, done)
		log, err := s.AuditLog(ctx, store.Scope{Tenant: site.Tenant.ID}, timeZero, 99)
		require.NoError(t, err)
		assert.Len(t, log, done, "who lost did nothing, so that nothing is noted")
	})
}

func TestAnActOnWhatWasSeenIsRefusedWhenItChanged(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		o := admin.NewOutbound(admin.New(admin.Options{Store: s}), nil)
		storetest.NewSite(t, s, "one", "one.test", "bob")
		ctx := t.Context()
		seen, err := o.Suspend(ctx, root, "bob@one.test", wire.OutboundSuspend{OutboundAct: because("flood")})
		require.NoError(t, err)
		now, err := o.Suspend(ctx, root, "bob@one.test", wire.OutboundSuspend{OutboundAct: because("phishing too")})
		require.NoError(t, err)
		release := wire.OutboundRelease{OutboundAct: because("was only a newsletter")}
		release.Revision = seen.Revision
		_, err = o.Release(ctx, root, "bob@one.test", release)
		require.ErrorIs(t, err, store.ErrConflict)
		release.Revision = now.Revision
		_, err = o.Release(ctx, root, "bob@one.test", release)
		require.NoError(t, err)
	})
}

func TestAStopByHandIsExplainedByItsReason(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		now := time.Date(2026, 4, 1, 12, 0, 0, 0, time.UTC)
		o := admin.NewOutbound(admin.New(admin.Options{Store: s, Now: func() time.Time { return now }}), nil)
		site := storetest.NewSite(t, s, "one", "one.test", "bob")
		ctx := t.Context()
		_, err := o.Explain(ctx, root, "bob@one.test", admin.ExplainWish{})
		require.ErrorIs(t, err, store.ErrNotFound, "nothing was ever decided")
		storetest.Blast(t, s, site.Tenant.ID, "bob@one.test", now.Add(-time.Minute))
		desk := auth.Principal{Kind: auth.KindUser, Role: auth.Helpdesk, Tenant: site.Tenant.ID, User: "u", Login: "desk@one.test"}
		act := because("the owner called")
		act.Ticket = "T-9"
		_, err = o.Suspend(ctx, desk, "BOB@one.test ", wire.OutboundSuspend{OutboundAct: act, Hours: 2})
		require.NoError(t, err)
		x, err := o.Explain(ctx, desk, "bob@one.test", admin.ExplainWish{})
		require.NoError(t, err)
		assert.Nil(t, x.Decision)
		assert.Equal(t, "Done by hand by desk@one.test: the owner called", x.Sentence)
		assert.Equal(t, storetest.SuspendedReply, x.Reply)
		assert.Contains(t, x.Text, "until 2026-04-01 14:00 UTC")
		assert.Contains(t, x.Text, "ticket T-9")
		_, err = o.Release(ctx, desk, "bob@one.test", wire.OutboundRelease{OutboundAct: because("called back")})
		require.NoError(t, err)
		x, err = o.Explain(ctx, desk, "bob@one.test", admin.ExplainWish{Language: "ja"})
		require.NoError(t, err)
		assert.Nil(t, x.Decision, "the last stop was the one by hand")
		assert.Contains(t, x.Sentence, "desk@one.test による操作")
		notices, err := s.DueNotices(ctx, 9)
		require.NoError(t, err)
		require.Len(t, notices, 2)
		assert.Equal(t, "suspended_by_hand", notices[0].Kind)
		assert.Equal(t, "released", notices[1].Kind)
		assert.Contains(t, notices[1].Facts, "called back")
	})
}

func TestADecisionThatIsKeptNoMoreIsNoError(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		o := admin.NewOutbound(admin.New(admin.Options{Store: s}), nil)
		site := storetest.NewSite(t, s, "one", "one.test", "bob")
		ctx := t.Context()
		key := storetest.Blast(t, s, site.Tenant.ID, "bob@one.test", time.Now())
		_, err := s.PurgeOutbound(ctx, store.OutboundRetention{Decisions: time.Now().Add(time.Hour)}, 1000)
		require.NoError(t, err)
		x, err := o.Explain(ctx, root, "bob@one.test", admin.ExplainWish{})
		require.NoError(t, err)
		assert.Nil(t, x.Decision)
		assert.True(t, x.Account.Automatic)
		assert.Contains(t, x.Sentence, "kept no more")
		_, err = o.Explain(ctx, root, "bob@one.test", admin.ExplainWish{Decision: admin.LogID(key)})
		require.ErrorIs(t, err, store.ErrNotFound)
	})
}

func TestAStopIsExplainedAfterAllElseWasForgotten(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		o := admin.NewOutbound(admin.New(admin.Options{Store: s}), nil)
		site := storetest.NewSite(t, s, "one", "one.test", "bob", "ann", "eve")
		ctx := t.Context()
		storetest.Blast(t, s, site.Tenant.ID, "bob@one.test", time.Now())
		_, err := o.Suspend(ctx, root, "ann@one.test", wire.OutboundSuspend{OutboundAct: because("a stolen phone")})
		require.NoError(t, err)
		for account, want := range map[string]string{
			"bob@one.test": "The decision behind it is kept no more.", "ann@one.test": "The reason is kept no more.",
		} {
			_, err := o.Forget(ctx, root, account, "asked for")
			require.NoError(t, err)
			for range 2 {
				x, err := o.Explain(ctx, root, account, admin.ExplainWish{})
				require.NoError(t, err)
				assert.Equal(t, store.LevelHardLimit, x.Account.Level)
				assert.Nil(t, x.Decision)
				assert.Contains(t, x.Sentence, want)
				assert.Equal(t, storetest.SuspendedReply, x.Reply)
				gist, err := o.Gist(ctx, root, account, admin.ExplainWish{})
				require.NoError(t, err)
				assert.Equal(t, x.Sentence, gist)
				require.NoError(t, s.InsertOutboundDecisions(ctx, []store.OutboundDecision{{ // it tries on
					LogKey: store.LogKey{At: time.Now(), ID: store.NewLogID()}, Tenant: site.Tenant.ID, Account: account, Kind: "mail",
					Action: "refuse_suspended", LevelBefore: "hard_limit", LevelAfter: "hard_limit", Mode: "enforce",
				}}))
			}
		}
		gist, err := o.Gist(ctx, root, "eve@one.test", admin.ExplainWish{Language: "ja"})
		require.NoError(t, err, "a list is not ended by an account about which nothing is known")
		assert.Contains(t, gist, "もう保存されていません")
		_, err = o.Gist(ctx, root, "eve@elsewhere.test", admin.ExplainWish{})
		require.ErrorIs(t, err, store.ErrNotFound)
	})
}

func TestUsersActOnNobody(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		o := admin.NewOutbound(admin.New(admin.Options{Store: s}), nil)
		site := storetest.NewSite(t, s, "one", "one.test", "bob", "ann")
		ctx := t.Context()
		bob := auth.Principal{Kind: auth.KindUser, Role: auth.User, Tenant: site.Tenant.ID, User: site.Users["bob"].ID, Login: "Bob@one.test"}
		a, err := o.Account(ctx, bob, "bob@one.test")
		require.NoError(t, err, "one that never sent is one's own all the same")
		assert.Equal(t, "normal", a.Level)
		_, err = o.Account(ctx, bob, "ann@one.test")
		require.ErrorIs(t, err, store.ErrNotFound)
		for name, try := range map[string]func() error{
			"suspend": func() error {
				_, err := o.Suspend(ctx, bob, "bob@one.test", wire.OutboundSuspend{OutboundAct: because("x")})
				return err
			},
			"release": func() error {
				_, err := o.Release(ctx, bob, "bob@one.test", wire.OutboundRelease{OutboundAct: because("x")})
				return err
			},
			"explain": func() error { _, err := o.Explain(ctx, bob, "bob@one.test", admin.ExplainWish{}); return err },
			"forget":  func() error { _, err := o.Forget(ctx, bob, "bob@one.test", "x"); return err },
			"domain": func() error {
				_, err := o.SuspendDomain(ctx, bob, "one.test", wire.OutboundDomainSuspend{OutboundDomainAct: wire.OutboundDomainAct{Reason: "x"}})
				return err
			},
			"policy": func() error { _, err := o.Policy(ctx, bob); return err },
		} {
			require.ErrorIs(t, try(), auth.ErrForbidden, name)
		}
	})
}

func TestAnAccountHasOneProfile(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		o := admin.NewOutbound(admin.New(admin.Options{Store: s}), nil)
		storetest.NewSite(t, s, "one", "one.test")
		storetest.NewSite(t, s, "two", "two.test")
		set := func(id, tenant string, accounts ...string) error {
			_, _, err := o.SetProfile(t.Context(), root, id, wire.NewOutboundProfile{Tenant: tenant, Accounts: accounts, MaxRate: "5 msgs/hour", OutboundAct: because("x")})
			return err
		}
		require.NoError(t, set("a", "one", "news@one.test"))
		require.NoError(t, set("a", "one", "news@one.test", "shop@one.test"), "it may be set again")
		require.NoError(t, set("a", "two", "news@two.test"))
		err := set("b", "one", "desk@one.test", "SHOP@one.test")
		refused := &admin.Refused{}
		require.ErrorAs(t, err, &refused)
		require.EqualError(t, err, "shop@one.test has the profile a already: take it out of that one first")
		require.NoError(t, set("a", "one", "news@one.test"))
		require.NoError(t, set("b", "one", "desk@one.test", "SHOP@one.test"))
	})
}

func TestATenantDoesNotUndoWhatAnOperatorStopped(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		o := admin.NewOutbound(admin.New(admin.Options{Store: s}), nil)
		site := storetest.NewSite(t, s, "one", "one.test", "bob", "ann")
		ctx := t.Context()
		boss := auth.Principal{Kind: auth.KindUser, Role: auth.TenantAdmin, Tenant: site.Tenant.ID, User: "u", Login: "boss@one.test"}
		operator := auth.Principal{Kind: auth.KindUser, Role: auth.SuperAdmin, Tenant: site.Tenant.ID, User: "o", Login: "operator@one.test"}
		stopped := wire.OutboundDomainSuspend{OutboundDomainAct: wire.OutboundDomainAct{Reason: "x"}}
		acts := func(p auth.Principal, account string) map[string]error {
			errs := map[string]error{}
			_, errs["mode"] = o.SetMode(ctx, p, account, wire.OutboundMode{OutboundAct: because("x"), Mode: "shadow"})
			_, errs["suspend"] = o.Suspend(ctx, p, account, wire.OutboundSuspend{OutboundAct: because("x")})
			_, errs["extend"] = o.Extend(ctx, p, account, wire.OutboundExtend{OutboundAct: because("x"), Hours: 1})
			_, errs["limit"] = o.Limit(ctx, p, account, wire.OutboundLimitAct{OutboundAct: because("x")})
			_, errs["release"] = o.Release(ctx, p, account, wire.OutboundRelease{OutboundAct: because("x")})
			return errs
		}
		refused := &admin.Refused{}
		for _, who := range []auth.Principal{operator, root} {
			_, err := o.Suspend(ctx, who, "bob@one.test", wire.OutboundSuspend{OutboundAct: because("phishing")})
			require.NoError(t, err)
			_, err = o.SuspendDomain(ctx, who, "one.test", stopped)
			require.NoError(t, err)
			desk := boss
			desk.Role = auth.Helpdesk
			_, err = o.Release(ctx, desk, "bob@one.test", wire.OutboundRelease{OutboundAct: because("x")})
			require.EqualError(t, err, "bob@one.test was stopped by an operator of the installation: only they can change that")
			for act, err := range acts(boss, "bob@one.test") {
				require.ErrorAs(t, err, &refused, act)
			}
			_, err = o.SuspendDomain(ctx, boss, "one.test", stopped)
			require.ErrorAs(t, err, &refused)
			err = o.ReleaseDomain(ctx, boss, "one.test", stopped.OutboundDomainAct)
			require.EqualError(t, err, "one.test was stopped by an operator of the installation: only they can change that")

			require.NoError(t, o.ReleaseDomain(ctx, who, "one.test", stopped.OutboundDomainAct))
			for act, err := range acts(who, "bob@one.test") {
				require.NoError(t, err, act)
			}
		}
		for act, err := range acts(boss, "bob@one.test") {
			require.NoError(t, err, "%s: what an operator released is the tenant's again", act)
		}
		_, err := o.SuspendDomain(ctx, boss, "one.test", stopped)
		require.NoError(t, err)
		require.NoError(t, o.ReleaseDomain(ctx, boss, "one.test", stopped.OutboundDomainAct))
	})
}

func TestATenantDoesNotTurnTheEngineOff(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		o := admin.NewOutbound(admin.New(admin.Options{Store: s}), nil)
		site := storetest.NewSite(t, s, "one", "one.test", "bob")
		ctx := t.Context()
		boss := auth.Principal{Kind: auth.KindAPIKey, Role: auth.SuperAdmin, Tenant: site.Tenant.ID, ID: "k", Login: "a key of the tenant"}
		mode := func(p auth.Principal, mode string) error {
			_, err := o.SetTenantMode(ctx, p, "one", wire.OutboundTenantModeAct{OutboundDomainAct: wire.OutboundDomainAct{Reason: "x"}, Mode: mode})
			_, err2 := o.SetMode(ctx, p, "bob@one.test", wire.OutboundMode{OutboundAct: because("x"), Mode: mode})
			require.Equal(t, err, err2)
			return err
		}
		for _, m := range []string{"shadow", "enforce", "default"} {
			require.NoError(t, mode(boss, m))
		}
		require.EqualError(t, mode(boss, "off"), "only operators of the installation can set the mode off: shadow judges without refusing")
		require.NoError(t, mode(root, "off"))
		_, err := o.SetMode(ctx, root, "bob@one.test", wire.OutboundMode{OutboundAct: because("x"), Mode: "enforce"})
		require.NoError(t, err)
		_, err = o.SetMode(ctx, boss, "bob@one.test", wire.OutboundMode{OutboundAct: because("x"), Mode: "default"})
		refused := &admin.Refused{}
		require.ErrorAs(t, err, &refused, "it would be off as its tenant is")

		profile := func(p auth.Principal, id, rate string, accounts ...string) error {
			_, _, err := o.SetProfile(ctx, p, id, wire.NewOutboundProfile{Tenant: "one", MaxRate: rate, Accounts: accounts, OutboundAct: because("x")})
			return err
		}
		require.ErrorAs(t, profile(boss, "huge", "10001 msgs/hour", "a@one.test"), &refused)
		require.ErrorAs(t, profile(boss, "many", "5001 msgs/day", "a@one.test", "b@one.test"), &refused, "all of it may go out in one hour")
		require.NoError(t, profile(boss, "half", "83/minute", "a@one.test"))
		require.NoError(t, profile(boss, "half", "84/minute", "a@one.test"))
		err = profile(boss, "more", "5000/hour", "b@one.test")
		require.EqualError(t, err, "the accounts of all profiles could send 10040 recipients an hour: more than 10000, the limit of a tenant, is for operators of the installation to allow")
		require.NoError(t, profile(root, "more", "50000/hour", "b@one.test"))
	})
}

func TestAnAccountOfADomainThatMovedIsThatOfItsTenantNow(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		o := admin.NewOutbound(admin.New(admin.Options{Store: s}), nil)
		site := storetest.NewSite(t, s, "one", "one.test")
		ctx := t.Context()
		for _, account := range []string{"bob@one.test", "ann@one.test", "eve@gone.test"} {
			storetest.Blast(t, s, "t-old", account, time.Now()) // changed and sent: much, where both are added up
		}
		is, err := o.Suspend(ctx, root, "bob@one.test", wire.OutboundSuspend{OutboundAct: because("phishing")})
		require.NoError(t, err)
		require.Equal(t, string(site.Tenant.ID), is.TenantID)
		found, err := o.Account(ctx, root, "bob@one.test")
		require.NoError(t, err)
		require.Equal(t, is.Revision, found.Revision)
		found, err = o.Account(ctx, root, "ann@one.test")
		require.NoError(t, err)
		require.Equal(t, "normal", found.Level, "it was not stopped in the tenant that has it")
		found, err = o.Account(ctx, root, "eve@gone.test")
		require.NoError(t, err)
		require.Equal(t, "t-old", found.TenantID, "nobody else has it")
		last, err := s.OutboundAccount(ctx, store.System, "bob@one.test")
		require.NoError(t, err)
		require.Equal(t, site.Tenant.ID, last.Tenant, "changed last")
	})
}

func TestIDsOfDecisionsComeBack(t *testing.T) {
	key := store.LogKey{At: time.UnixMicro(1775044800000000).UTC(), ID: "019d0000-0000-7000-8000-00000000000a"}
	back, err := admin.ParseLogID(admin.LogID(key))
	require.NoError(t, err)
	assert.Equal(t, key, back)
	zero, err := admin.ParseLogID(admin.LogID(store.LogKey{}))
	require.NoError(t, err)
	assert.True(t, zero.IsZero())
	for _, bad := range []string{"x", "1", "1-", "-x", "9999999999999999999999-x", strings.Repeat("1", 200)} {
		_, err := admin.ParseLogID(bad)
		assert.True(t, errors.Is(err, store.ErrNotFound), bad)
	}
}

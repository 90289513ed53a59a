package ui_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// engine is the settings of an outbound engine that runs elsewhere; what it has decided is in the store.
type engine struct {
	options  policy.Options
	profiles []policy.Profile
	compiled *policy.Policy
	tenants  map[string]store.TenantID
}

func newEngine(t testing.TB) *engine {
	t.Helper()
	e := &engine{options: policy.Options{Mode: policy.Enforce}.WithDefaults(), tenants: map[string]store.TenantID{}}
	e.profiles = []policy.Profile{{ID: "newsletter", Accounts: []string{"news@example.test"}, MaxRate: "5000 msgs/hour", Description: "週刊ニュース"}}
	var err error
	e.compiled, err = policy.Compile(e.options, e.profiles)
	require.NoError(t, err)
	return e
}

func (e *engine) InForce() (policy.Options, *policy.Policy) { return e.options, e.compiled }

func (e *engine) Settings(o policy.Options) (string, error) {
	return fmt.Sprintf("mode: %s\nlimits:\n  user_per_hour: %d\n", o.Mode, o.Limits.UserPerHour), nil
}

func (e *engine) ConfigProfiles() []policy.Profile { return e.profiles }

func (e *engine) TenantOf(_ context.Context, a policy.Account) (store.TenantID, error) {
	if tenant, ok := e.tenants[a.Domain()]; ok {
		return tenant, nil
	}
	return "", store.ErrNotFound
}

func (e *engine) Try(context.Context, admin.Trial) (policy.Decision, error) {
	return policy.Decision{}, errors.New("nothing is tried here")
}

// The account of the tests, and what was done with it.
const (
	stolen     = "hanako@example.test"
	stolenURL  = "/outbound/accounts/hanako@example.test"
	stolenText = uint64(0x7d1f0aa95bc4e210)
)

// usual stores a morning of an account that sends a little.
func (r *rig) usual(t testing.TB, account string, from time.Time) {
	t.Helper()
	var list []store.OutboundDecision
	for i := range 14 {
		list = append(list, store.OutboundDecision{
			LogKey: store.LogKey{At: from.Add(time.Duration(i) * 11 * time.Minute)}, Tenant: r.site.Tenant.ID, Account: account, Kind: "end",
			QueueHost: "mx.example.test", QueueID: fmt.Sprintf("4U%04d", i), Client: "192.0.2.10", MailFrom: account,
			Messages: 1, Recipients: int64(1 + i%3), NewRecipients: int64(i % 7 / 6), SizeBytes: 4200, Fingerprint: 0x9e3779b97f4a7c15 * uint64(i+1),
			Action: "allow", LevelBefore: "normal", LevelAfter: "normal", ScoreMicro: 60_000, Mode: "enforce",
		})
	}
	require.NoError(t, r.store.InsertOutboundDecisions(t.Context(), list))
}

// blast stores what a thief sends through an account in the 25 minutes before at, and the stop. It gives the account.
func (r *rig) blast(t testing.TB, account string, at time.Time) *store.OutboundAccount {
	t.Helper()
	spam := int64(7400)
	var list []store.OutboundDecision
	for i := range 103 {
		d := store.OutboundDecision{
			LogKey: store.LogKey{At: at.Add(-25*time.Minute + time.Duration(i)*14*time.Second)}, Tenant: r.site.Tenant.ID, Account: account, Kind: "end",
			QueueHost: "mx.example.test", QueueID: fmt.Sprintf("4Z%04d", i), Client: "203.0.113.77", MailFrom: account, Messages: 1, Recipients: 4,
			NewRecipients: 4, SizeBytes: 18_400, Fingerprint: stolenText, SpamMilli: &spam, Action: "allow", LevelBefore: "normal",
			LevelAfter: "normal", ScoreMicro: min(int64(i)*9_000, 790_000), Mode: "enforce",
		}
		switch {
		case i%17 == 0:
			d.Fingerprint, d.NewRecipients, d.Client = uint64(0x3c91e55d_0077aa01)<<(i/60), 1, "192.0.2.10"
		case i%9 == 0:
			d.Bounced, d.Client = 2, "198.51.100.9"
		case i > 80 && i%4 == 0:
			d.Action, d.Messages, d.Recipients, d.NewRecipients, d.Reply = "refuse_rate", 0, 0, 0, policy.TextRate
		}
		list = append(list, d)
	}
	stop := store.OutboundDecision{
		LogKey: store.LogKey{At: at, ID: store.NewLogID()}, Tenant: r.site.Tenant.ID, Account: account, Kind: "end", QueueHost: "mx.example.test",
		QueueID: "4Z9999", Client: "203.0.113.77", MailFrom: account, SizeBytes: 18_400, Fingerprint: stolenText, SpamMilli: &spam,
		Action: "refuse_suspended", Reason: "suspended", LevelBefore: "normal", LevelAfter: "hard_limit", ScoreMicro: 870_000, Mode: "enforce",
		PolicyHash: r.engine.compiled.Hash(), Reply: policy.TextSuspended, Explanation: explanation(t, at),
	}
	list = append(list, stop)
	for i := range 9 {
		list = append(list, store.OutboundDecision{
			LogKey: store.LogKey{At: at.Add(time.Duration(i+1) * 3 * time.Minute)}, Tenant: r.site.Tenant.ID, Account: account, Kind: "mail",
			Client: "203.0.113.77", MailFrom: account, Action: "refuse_suspended", Reason: "suspended", LevelBefore: "hard_limit",
			LevelAfter: "hard_limit", ScoreMicro: 870_000, Mode: "enforce", Reply: policy.TextSuspended,
		})
	}
	require.NoError(t, r.store.InsertOutboundDecisions(t.Context(), list))
	a, err := r.store.ChangeOutboundAccount(t.Context(), store.OutboundChange{
		Tenant: r.site.Tenant.ID, Account: account, Act: "auto_suspend", Level: store.LevelHardLimit, ActorKind: "system", Decision: stop.LogKey,
	})
	require.NoError(t, err)
	return a
}

// explanation is what the engine stores with a stop.
func explanation(t testing.TB, at time.Time) string {
	t.Helper()
	raw, err := json.Marshal(policy.Explanation{
		Version: 1, AtUS: at.UnixMicro(), On: "end", Policy: "5d41402abc4b", QueueHost: "mx.example.test", QueueID: "4Z9999", Mode: policy.Enforce,
		Action: policy.RefuseSuspended, Reason: policy.ReasonSuspended, Before: policy.Normal, After: policy.HardLimit, Score: 870_000,
		Factors: []policy.Factor{
			{Name: "rate", Value: 950_000, Weight: 400_000, Share: 380_000}, {Name: "content", Value: 775_000, Weight: 400_000, Share: 310_000},
			{Name: "history", Value: 900_000, Weight: 200_000, Share: 180_000},
		},
		Evidence: []policy.Evidence{
			{Name: "volume", Factor: "rate", Value: 1_000_000, Raw: 412, Usual: 7, Limit: 80, Unit: "recipients", WindowSeconds: 3600},
			{Name: "campaign", Factor: "content", Value: 960_000, Raw: 398, Limit: 30, Unit: "recipients", WindowSeconds: 3600, Fingerprint: "7d1f0aa95bc4e210"},
			{Name: "new", Factor: "rate", Value: 880_000, Raw: 391, Usual: 2, Limit: 15, Unit: "recipients", WindowSeconds: 3600},
			{Name: "invalid", Factor: "content", Value: 810_000, Raw: 148_000, Limit: 75_000, Unit: "share", WindowSeconds: 3600},
			{Name: "place", Factor: "history", Value: 600_000, Raw: 1, Unit: "places", Kind: "country", Countries: []string{"NG"}},
			{Name: "spam", Factor: "content", Value: 500_000, Raw: 7_400_000, Usual: 300_000, Limit: 6_000_000, Unit: "score"},
			{Name: "hour", Factor: "history", Value: 100_000, Raw: 4_000, Limit: 10_000, Unit: "share"},
		},
		Corroborators: []string{"place", "invalid", "spam"}, Unknown: []string{"new"}, Degraded: []string{"bounces"}, Trust: "new", Country: "NG",
		Messages: policy.Windows{Hour: 104, Day: 121}, Recipients: policy.Windows{Hour: 412, Day: 440}, New: policy.Windows{Hour: 391, Day: 393},
	})
	require.NoError(t, err)
	return string(raw)
}

// outboundSpot is a page about sending, with who looks.
type outboundSpot struct {
	spot
	name   string
	height int64
}

// onBadDay runs a test in Chromium after a day on which much went wrong, with its pages.
func onBadDay(t *testing.T) (*rig, *tab, []outboundSpot) {
	t.Helper()
	db := storetest.OpenDB(t, storetest.Options(t, "sqlite"))
	r := newRig(t, store.New(store.Options{DB: db}))
	now := time.Now()
	at := now.Add(-130 * time.Minute).Truncate(time.Second)
	then := *r
	then.store = store.New(store.Options{DB: db, Now: func() time.Time { return at }})
	r.usual(t, stolen, at.Add(-175*time.Minute))
	r.usual(t, "bob@example.test", now.Add(-170*time.Minute))
	then.blast(t, stolen, at)
	then.change(t, "sato@example.test", func(c *store.OutboundChange) {
		c.Act, c.Level, c.Reason, c.Ticket, c.ActorKind, c.Actor = "suspend", store.LevelHardLimit, "本人からの申告により停止", "HD-2291", "user", "help@example.test"
	})
	then.change(t, "bob@example.test", func(c *store.OutboundChange) {
		c.Act, c.Level, c.Reason, c.CapPerHour, c.Until = "release", store.LevelSoftLimit, "パスワード変更を確認 (checked: password, sessions)", 20, now.Add(22*time.Hour)
		c.ActorKind, c.Actor = "user", "help@example.test"
	})
	require.NoError(t, then.store.StopDomain(t.Context(), store.DomainStop{
		Tenant: r.site.Tenant.ID, Domain: "branch.example.test", Reason: "Compromised web form, see ticket", Ticket: "HD-2290", ActorKind: "user", Actor: "admin@example.test",
	}, nil))
	_, _, err := r.store.SetOutboundProfile(t.Context(), store.OutboundProfileChange{Profile: store.OutboundProfile{
		Tenant: r.site.Tenant.ID, ID: "invoices", Accounts: []string{"billing@example.test", "billing2@example.test"}, MaxRate: "2000 msgs/hour",
		Description: "Monthly invoices",
	}, OutboundBy: store.OutboundBy{ActorKind: "user", Actor: "admin@example.test", Reason: "Agreed with accounting"}})
	require.NoError(t, err)
	help, boss := r.person(t, "help@example.test", auth.Helpdesk), r.person(t, "admin@example.test", auth.TenantAdmin)
	root := r.superAdmin(t)
	profilePage := "/outbound/profiles/" + string(r.site.Tenant.ID) + "/invoices"
	require.NoError(t, r.store.SetOutboundMode(t.Context(), r.site.Tenant.ID, "enforce", store.OutboundBy{
		Reason: "2 週間の観察で誤停止なし", Ticket: "HD-2301", ActorKind: "user", Actor: "admin@example.test",
	}, nil))
	hanako, bob := r.site.Users["hanako"].ID, r.site.Users["bob"].ID
	r.fill(t)
	list, err := r.store.OutboundDecisions(t.Context(), store.System, store.DecisionFilter{Account: "bob@example.test", Limit: 1})
	require.NoError(t, err)
	return r, newTab(t, r.http.URL), []outboundSpot{
		{spot{path: "/outbound/suspensions", who: boss}, "suspensions", 900},
		{spot{path: "/outbound/accounts", who: help}, "accounts", 700},
		{spot{path: "/outbound/accounts?q=nobody", who: help}, "accounts-none", 600},
		{spot{path: stolenURL + "/why", who: help}, "why", 2300},
		{spot{path: stolenURL + "/why?act=release", who: help}, "why-release", 1200},
		{spot{path: "/outbound/accounts/sato@example.test/why", who: help}, "why-by-hand", 1200},
		{spot{path: "/outbound/accounts/bob@example.test/why?decision=" + url.QueryEscape(admin.LogID(list[0].LogKey)), who: help}, "why-decision", 1500},
		{spot{path: stolenURL, who: help}, "account", 1900},
		{spot{path: "/outbound/accounts/bob@example.test?done=out_released", who: help}, "account-limited", 1500},
		{spot{path: "/outbound/accounts/new@example.test", who: help}, "account-new", 800},
		{spot{path: "/outbound/decisions", who: help}, "decisions", 1000},
		{spot{path: "/outbound/profiles", who: boss}, "profiles", 700},
		{spot{path: "/outbound/new-profile", who: boss}, "profile-new", 900},
		{spot{path: profilePage, who: boss}, "profile", 900},
		{spot{path: profilePage, who: help}, "profile-read", 600},
		{spot{path: "/outbound/policy", who: boss}, "policy", 1200},
		{spot{path: "/outbound/policy", who: root}, "policy-all", 1000},
		{spot{path: "/outbound/policy?tenant=" + string(r.site.Tenant.ID), who: root}, "policy-tenant", 1400},
		{spot{path: "/outbound/profiles", who: root}, "profiles-all", 700},
		{spot{path: "/outbound/new-profile", who: root}, "profile-new-all", 900},
		{spot{path: "/outbound/accounts", who: root}, "accounts-all", 700},
		{spot{path: "/sending", who: hanako}, "sending-stopped", 1400},
		{spot{path: "/sending", who: bob}, "sending-limited", 1200},
		{spot{path: "/mail/hanako@example.test", who: hanako}, "banner-mail", 700},
	}
}

// change changes an account as admin.Outbound or the engine would.
func (r *rig) change(t testing.TB, account string, change func(*store.OutboundChange)) {
	t.Helper()
	a, err := r.store.OutboundAccount(t.Context(), store.System, account)
	if errors.Is(err, store.ErrNotFound) {
		a, err = &store.OutboundAccount{Tenant: r.site.Tenant.ID, Account: account}, nil
	}
	require.NoError(t, err)
	c := a.Change("suspend")
	change(&c)
	_, err = r.store.ChangeOutboundAccount(t.Context(), c)
	require.NoError(t, err)
}

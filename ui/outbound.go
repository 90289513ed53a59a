package ui

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// Outbound shows and changes who may send; *admin.Outbound is one. It authorises each call.
type Outbound interface {
	Senders
	Stops
	Rules
}

// Senders tells how accounts send, and why one was stopped.
type Senders interface {
	Accounts(ctx context.Context, p auth.Principal, f store.OutboundFilter) ([]wire.OutboundAccount, error)
	Suspensions(ctx context.Context, p auth.Principal, f store.SuspensionFilter) ([]wire.OutboundAccount, error)
	Account(ctx context.Context, p auth.Principal, account string) (wire.OutboundAccountDetail, error)
	Decisions(ctx context.Context, p auth.Principal, f store.DecisionFilter) ([]wire.OutboundDecision, error)
	DecisionLog(ctx context.Context, p auth.Principal, f store.DecisionFilter) ([]wire.OutboundDecision, error)
	History(ctx context.Context, p auth.Principal, account string, before store.LogKey, limit int) ([]wire.OutboundEvent, error)
	Series(ctx context.Context, p auth.Principal, account string, from, to time.Time, step time.Duration) (wire.OutboundSeries, error)
	Explain(ctx context.Context, p auth.Principal, account string, w admin.ExplainWish) (wire.OutboundExplanation, error)
	Gist(ctx context.Context, p auth.Principal, account string, w admin.ExplainWish) (string, error)
	StoppedDomains(ctx context.Context, p auth.Principal, after string, limit int) ([]wire.OutboundDomain, error)
	Profiles(ctx context.Context, p auth.Principal, after store.OutboundKey, limit int) ([]wire.OutboundProfile, error)
	ConfigProfiles(ctx context.Context, p auth.Principal) ([]wire.OutboundProfile, error)
	Profile(ctx context.Context, p auth.Principal, tenant, id string) (wire.OutboundProfile, error)
	Policy(ctx context.Context, p auth.Principal) (wire.OutboundPolicy, error)
	TenantMode(ctx context.Context, p auth.Principal, tenant string) (wire.OutboundTenantModeDetail, error)
	TenantHistory(ctx context.Context, p auth.Principal, tenant string, before store.LogKey, limit int) ([]wire.OutboundEvent, error)
	TenantNames(ctx context.Context, p auth.Principal, ids ...store.TenantID) (map[store.TenantID]string, error)
	// InForce are the settings with their defaults, which may change while MaiRust runs; false for the defaults alone.
	InForce() (policy.Options, bool)
}

// Stops stops and releases.
type Stops interface {
	Suspend(ctx context.Context, p auth.Principal, account string, w wire.OutboundSuspend) (wire.OutboundAccount, error)
	Release(ctx context.Context, p auth.Principal, account string, w wire.OutboundRelease) (wire.OutboundAccount, error)
	Extend(ctx context.Context, p auth.Principal, account string, w wire.OutboundExtend) (wire.OutboundAccount, error)
	Limit(ctx context.Context, p auth.Principal, account string, w wire.OutboundLimitAct) (wire.OutboundAccount, error)
	SuspendDomain(ctx context.Context, p auth.Principal, domain string, w wire.OutboundDomainSuspend) (wire.OutboundDomain, error)
	ReleaseDomain(ctx context.Context, p auth.Principal, domain string, w wire.OutboundDomainAct) error
}

// Rules changes what holds for whom.
type Rules interface {
	SetMode(ctx context.Context, p auth.Principal, account string, w wire.OutboundMode) (wire.OutboundAccount, error)
	SetTenantMode(ctx context.Context, p auth.Principal, tenant string, w wire.OutboundTenantModeAct) (wire.OutboundTenantMode, error)
	SetProfile(ctx context.Context, p auth.Principal, id string, w wire.NewOutboundProfile) (made wire.OutboundProfile, created bool, err error)
	DeleteProfile(ctx context.Context, p auth.Principal, tenant, id string, w wire.OutboundAct) error
}

// SeesOutbound tells whether the role sees how others send, and why.
func (p *page) SeesOutbound() bool {
	return p.s.d.Outbound != nil && p.SignedIn() && p.Who.Can(auth.ExplainOutbound)
}

// seesOutbound lets pass who sees how others send.
func (s *Server) seesOutbound(h handler) handler {
	return s.signedIn(func(p *page) error {
		if !p.SeesOutbound() {
			return problemNotFound
		}
		p.Nav = "outbound"
		return h(p)
	})
}

// limits are the plain limits; none when the engine is unknown.
func (s *Server) limits() policy.LimitOptions {
	if o, ok := s.d.Outbound.InForce(); ok {
		return o.Limits
	}
	return policy.LimitOptions{}
}

// accountURL is the page of an account. What may stand in a login is escaped, a slash as well.
func accountURL(account string) string { return "/outbound/accounts/" + url.PathEscape(account) }

// decisionURL explains one decision.
func decisionURL(account, decision string) string {
	return accountURL(account) + "/why?" + url.Values{"decision": {decision}}.Encode()
}

// actor is who did something.
type actor struct {
	Automatic bool
	Name      string
}

// scoreText tells a score with two decimals, as 0.87.
func scoreText(score float64) string { return fmt.Sprintf("%.2f", score) }

// Words that are stored are shown through the catalogue; one that it does not have is shown as other.
func knownLevel(level string) string {
	if slices.Contains(levels, level) {
		return level
	}
	return store.LevelNormal
}

func knownMode(mode string) string {
	if slices.Contains([]policy.Mode{policy.Off, policy.Shadow, policy.Enforce}, policy.Mode(mode)) {
		return mode
	}
	return ""
}

var acts = []string{
	"", "suspend", "release", "extend", "limit", "mode", "auto_suspend", "auto_limit", "auto_reenable", "recover",
	"set", "delete", "profile_join", "profile_rate", "profile_leave",
}

func knownAct(act string) string {
	if slices.Contains(acts, act) {
		return act
	}
	return "other"
}

func knownAction(action string) string {
	if slices.Contains([]policy.Action{policy.Allow, policy.RefuseRate, policy.RefuseSuspended, policy.Hold}, policy.Action(action)) {
		return action
	}
	return "other"
}

// timeAt is a time that may be absent.
func timeAt(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// tenantView is a tenant for those who see several.
type tenantView struct{ ID, Name string }

// tenants gives what tells tenants by their ids; nil for whose who see one tenant only, and for what belongs to none.
func (p *page) tenants(ids ...string) (func(id string) *tenantView, error) {
	if !p.Who.Scope().All {
		return func(string) *tenantView { return nil }, nil
	}
	list := make([]store.TenantID, 0, len(ids))
	for _, id := range ids {
		list = append(list, store.TenantID(id))
	}
	names, err := p.s.d.Outbound.TenantNames(p.ctx(), p.Who, list...)
	return func(id string) *tenantView {
		if id == "" {
			return nil
		}
		return &tenantView{ID: plain(id), Name: plain(cmp.Or(names[store.TenantID(id)], id))}
	}, err
}

// tenant is tenants for one.
func (p *page) tenant(id string) (*tenantView, error) {
	tell, err := p.tenants(id)
	return tell(id), err
}

// stateView is the level of an account, as the line under its name tells it.
type stateView struct {
	Level, Act, Reason, Ticket, Lasting string
	Since, Until                        time.Time
	By                                  actor
	Cap                                 int64
	DomainStop                          *wire.OutboundDomain
}

func (p *page) newState(a wire.OutboundAccount, domain *wire.OutboundDomain) stateView {
	v := stateView{
		Level: knownLevel(a.Level), Act: knownAct(a.Act), Reason: plain(a.Reason), Ticket: plain(a.Ticket), Until: timeAt(a.Until),
		By: actor{Automatic: a.Automatic, Name: plain(a.By)}, Cap: a.CapPerHour, DomainStop: domain,
	}
	if v.Level != store.LevelNormal && a.Since != nil {
		v.Since, v.Lasting = *a.Since, p.Lasting(p.s.d.Now().Sub(*a.Since))
	}
	return v
}

// actsView is what can be done with an account, filled in.
type actsView struct {
	URL      string
	Revision int64
	// Stopped and Limited tell the level; Again is set when it was stopped before.
	Stopped, Limited, Again bool
	// Open is the form that is open.
	Open string
	// Cap and ProbationHours are what is filled in.
	Cap, ProbationHours int
	Checks              []string
}

// checks are what a person should have done before an account is released. Those that were ticked are recorded.
var checks = []string{"password", "sessions", "device"}

// probationHours is how long a release is filled in to last.
const probationHours = 24

// newActs is nil for those who only look.
func (p *page) newActs(a wire.OutboundAccount) *actsView {
	if !p.Who.Can(auth.StopOutbound) {
		return nil
	}
	o, _ := p.s.d.Outbound.InForce()
	v := &actsView{
		URL: accountURL(a.Account), Revision: a.Revision, Stopped: a.Level == store.LevelHardLimit, Limited: a.Level == store.LevelSoftLimit,
		Again: a.Act == "release", Cap: o.SoftLimit.PerHour, ProbationHours: probationHours, Checks: checks,
	}
	for _, open := range []string{p.r.URL.Query().Get("act"), p.r.PathValue("act")} { // the latter of a form that comes back
		if slices.Contains([]string{"release", "extend", "limit", "suspend"}, open) {
			v.Open = open
		}
	}
	return v
}

// refusal is the sentence of an error about what was asked, in the page's language; empty for other errors.
func (p *page) refusal(err error) string {
	var refused *admin.Refused
	if errors.As(err, &refused) {
		return refused.In(p.Lang)
	}
	return ""
}

func domainOf(account string) string { return account[strings.LastIndexByte(account, '@')+1:] }

// showOutbound leads to the first page.
func (s *Server) showOutbound(p *page) error {
	http.Redirect(p.w, p.r, "/outbound/suspensions", http.StatusFound)
	return nil
}

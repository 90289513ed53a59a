package ui

import (
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
}

// Senders tells how accounts send, and why one was stopped.
type Senders interface {
	Accounts(ctx context.Context, p auth.Principal, f store.OutboundFilter) ([]wire.OutboundAccount, error)
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
	Policy(ctx context.Context, p auth.Principal) (wire.OutboundPolicy, error)
	// InForce are the settings with their defaults. They may change while MaiRust runs.
	InForce() policy.Options
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

var acts = []string{"", "suspend", "release", "extend", "limit", "mode", "auto_suspend", "auto_limit", "auto_reenable", "recover"}

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

// tenantName tells a tenant to those who see several.
func (p *page) tenantName(tenant string) string {
	if !p.Who.Scope().All || tenant == string(p.Who.Tenant) {
		return ""
	}
	return tenant
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
	v := &actsView{
		URL: accountURL(a.Account), Revision: a.Revision, Stopped: a.Level == store.LevelHardLimit, Limited: a.Level == store.LevelSoftLimit,
		Again: a.Act == "release", Cap: p.s.d.Outbound.InForce().SoftLimit.PerHour, ProbationHours: probationHours, Checks: checks,
	}
	for _, open := range []string{p.r.URL.Query().Get("act"), p.r.PathValue("act")} { // the latter of a form that comes back
		if slices.Contains([]string{"release", "extend", "limit", "suspend"}, open) {
			v.Open = open
		}
	}
	return v
}

// refusal is the sentence of an error about what was asked, as package admin has them; empty for other errors.
func refusal(err error) string {
	var r interface{ Refusal() string }
	if errors.As(err, &r) {
		return r.Refusal()
	}
	return ""
}

// nextAccounts is the address of the next page of a list by tenant and name.
func nextAccounts(path string, query url.Values, last wire.OutboundAccount) string {
	query = url.Values{"q": query["q"], "level": query["level"], "tenant": {last.TenantID}, "after": {last.Account}}
	return pathWith(path, query)
}

func domainOf(account string) string { return account[strings.LastIndexByte(account, '@')+1:] }

// showOutbound leads to the first page.
func (s *Server) showOutbound(p *page) error {
	http.Redirect(p.w, p.r, "/outbound/suspensions", http.StatusFound)
	return nil
}

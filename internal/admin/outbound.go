package admin

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/store"
)

// Engine is what acts need of the engine that runs.
type Engine interface {
	// InForce gives the options with their defaults, and the policy made of them.
	InForce() (policy.Options, *policy.Policy)
	// Settings writes options as the configuration does, in YAML.
	Settings(o policy.Options) (string, error)
	// ConfigProfiles are the bulk profiles of the configuration.
	ConfigProfiles() []policy.Profile
	// TenantOf finds whose an account is. store.ErrNotFound when it is nobody's.
	TenantOf(ctx context.Context, account policy.Account) (store.TenantID, error)
	// Try decides about a message as if it were sent now, and changes nothing.
	Try(ctx context.Context, t Trial) (policy.Decision, error)
}

// Trial is a message that is not sent.
type Trial struct {
	Tenant  store.TenantID
	Account policy.Account
	// Mode is the mode of the database for the account; empty is that of the configuration.
	Mode policy.Mode
	// Client is where it would come from; empty is a place that is not known.
	Client     string
	Recipients []string
	// Message has a header and a body.
	Message []byte
}

// Outbound is what people do about sending. Its methods may be called from many goroutines.
type Outbound struct {
	*Admin
	engine Engine
}

// NewOutbound makes an Outbound. Without an engine there is no policy to show or to test, and accounts belong to the
// tenants of their domains.
func NewOutbound(a *Admin, e Engine) *Outbound { return &Outbound{Admin: a, engine: e} }

// account is the name of an account as it is stored. *Refused for what cannot be one.
func accountName(text string) (string, error) {
	name := strings.ToLower(strings.TrimSpace(text))
	if name == "" || len(name) > maxAccount || strings.ContainsAny(name, " \t\r\n\x00") {
		return "", refuse("account_name", maxAccount)
	}
	return name, nil
}

const maxAccount = 320

// find reads an account in the principal's scope. One that never sent is found too, when it belongs to a tenant in scope. Who
// sees all tenants finds it in the one that it belongs to now, and only one that is nobody's where it was last.
func (o *Outbound) find(ctx context.Context, p auth.Principal, text string) (*store.OutboundAccount, error) {
	name, err := accountName(text)
	if err != nil {
		return nil, err
	}
	sc := p.Scope()
	tenant, tenantErr := o.tenantOf(ctx, policy.Account(name))
	first := sc
	if sc.All { // the engine counts what is nobody's for the system tenant
		first = store.Scope{Tenant: cmp.Or(tenant, store.SystemTenant)}
	}
	a, err := o.store.OutboundAccount(ctx, first, name)
	if errors.Is(err, store.ErrNotFound) && sc.All && errors.Is(tenantErr, store.ErrNotFound) {
		a, err = o.store.OutboundAccount(ctx, sc, name)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return a, err
	}
	if tenantErr != nil {
		return nil, tenantErr
	}
	if !sc.All && (sc.Tenant != tenant || sc.User != "" && !strings.EqualFold(p.Login, name)) {
		return nil, store.ErrNotFound
	}
	return &store.OutboundAccount{Tenant: tenant, Account: name, Level: store.LevelNormal}, nil
}

func (o *Outbound) tenantOf(ctx context.Context, account policy.Account) (store.TenantID, error) {
	if o.engine != nil {
		return o.engine.TenantOf(ctx, account)
	}
	d, err := o.store.DomainByName(ctx, account.Domain())
	if err != nil {
		return "", err
	}
	return d.Tenant, nil
}

// checkReason is *Refused for an act without a reason.
func checkReason(reason string) error {
	if strings.TrimSpace(reason) == "" {
		return refuse("reason")
	}
	return nil
}

// until is the end of something that lasts hours from now; zero for 0.
func (o *Outbound) until(hours int) (time.Time, error) {
	if hours < 0 || hours > maxHours {
		return time.Time{}, refuse("hours", maxHours)
	}
	if hours == 0 {
		return time.Time{}, nil
	}
	return o.now().Add(time.Duration(hours) * time.Hour), nil
}

const maxHours = 8760

// traces are what is written in the transaction of an act: the line of the audit log, with what was before and after it as JSON
// (nil is nothing), and what administrators are told; a notice without a kind is none.
func traces(ctx context.Context, p auth.Principal, e store.AuditEntry, before, after any, n notify.Notice) (store.Beside, error) {
	entry, err := auditEntry(ctx, p, e, before, after)
	b := store.Beside{Audit: &entry}
	if err != nil || n.Kind == "" {
		return b, err
	}
	row, err := n.Row()
	b.Notice = &row
	return b, err
}

func auditEntry(ctx context.Context, p auth.Principal, e store.AuditEntry, before, after any) (store.AuditEntry, error) {
	var err, err2 error
	e.Before, err = jsonText(before)
	e.After, err2 = jsonText(after)
	if err := errors.Join(err, err2); err != nil {
		return e, fmt.Errorf("audit %s: %w", e.Action, err)
	}
	e.ActorKind, e.Actor, e.RequestID = string(p.Kind), p.Actor(), auth.AuditID(ctx)
	return e, nil
}

func jsonText(value any) (string, error) {
	if value == nil {
		return "", nil
	}
	raw, err := json.Marshal(value)
	return string(raw), err
}

// LogID is a key of a log as interfaces have it.
func LogID(k store.LogKey) string {
	if k.IsZero() {
		return ""
	}
	return strconv.FormatInt(k.At.UnixMicro(), 10) + "-" + k.ID
}

// ParseLogID is the inverse of LogID; the empty text is the zero key. store.ErrNotFound for what is none.
func ParseLogID(text string) (store.LogKey, error) {
	if text == "" {
		return store.LogKey{}, nil
	}
	at, id, ok := strings.Cut(text, "-")
	us, err := strconv.ParseInt(at, 10, 64)
	if !ok || err != nil || id == "" || len(text) > 100 {
		return store.LogKey{}, store.ErrNotFound
	}
	return store.LogKey{At: time.UnixMicro(us).UTC(), ID: id}, nil
}

func optional(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

// automatic tells an act of the engine from one of a person.
func automatic(act string) bool {
	switch act {
	case "auto_suspend", "auto_limit", "auto_reenable", "recover":
		return true
	}
	return false
}

// accountWire shows an account; those who may not know why see less.
func accountWire(p auth.Principal, a store.OutboundAccount) wire.OutboundAccount {
	w := wire.OutboundAccount{
		TenantID: string(a.Tenant), Account: a.Account, Level: a.Level, Mode: a.Mode, Act: a.Act, Automatic: a.Act != "" && automatic(a.Act),
		Since: optional(a.Since), Until: optional(a.Until), CapPerHour: a.CapPerHour, Revision: a.Revision,
		ChangedAt: optional(a.Changed), SentAt: optional(a.Sent),
	}
	if p.Can(auth.ExplainOutbound) {
		w.Reason, w.Ticket, w.By, w.DecisionID = a.Reason, a.Ticket, a.Actor, LogID(a.Decision)
	}
	return w
}

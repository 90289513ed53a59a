// Package notify tells administrators, and if they wish a monitor server, what the outbound engine and people did to
// accounts: by mail, to a webhook, to the monitor.
//
// Whoever has something to tell calls Enqueue, which writes one row and is done. A Notifier, on one node at a time, plans
// what waits within the limits of its account, and sends it on each channel for itself, at most one thing a second in all.
// Nothing of a message's content is in a notice.
package notify

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/internal/mailer"
	"github.com/mairust/mairust/store"
)

// Kind says what happened.
type Kind string

// The kinds. The first are the words of the engine's notices.
const (
	Suspended      Kind = "suspended"      // an account was stopped by the engine
	SoftLimit      Kind = "soft_limit"     // an account was slowed down by the engine
	Uncorroborated Kind = "uncorroborated" // its score would stop it, but there is only one kind of evidence: slowed down
	Reenabled      Kind = "reenabled"      // a stop has ended by time, the account is slowed down
	Normal         Kind = "normal"         // an account is as usual again after its clean hours

	SuspendedByHand  Kind = "suspended_by_hand"
	LimitedByHand    Kind = "limited_by_hand"
	Released         Kind = "released"
	DomainSuspended  Kind = "domain_suspended"
	DomainReleased   Kind = "domain_released"
	ModeChanged      Kind = store.NoticeOfMode // of an account, or of a whole tenant
	ProfileSet       Kind = "profile_set"
	ProfileDeleted   Kind = "profile_deleted"
	heartbeatKind    Kind = "heartbeat" // to the monitor only
	eventPrefix           = "outbound."
	defaultHeartbeat      = 5 * time.Minute
)

// Notice is something to be told.
type Notice struct {
	Tenant store.TenantID
	// Account is the account, "@domain" for a whole domain, or WholeTenant or OfProfile.
	Account string
	Kind    Kind
	Facts   Facts
}

// WholeTenant stands in place of an account for what is about a whole tenant, which Facts.Tenant names: notices about it have
// limits of their own.
const WholeTenant = "*"

// OfProfile stands in place of an account for what is about a bulk profile.
func OfProfile(id string) string { return WholeTenant + id }

// Facts are what is known about it; what is zero is left out.
type Facts struct {
	// Shadow says that mode shadow suppressed it.
	Shadow bool `json:"shadow,omitempty"`
	// Action is what senders meet now: allow, refuse_rate, refuse_suspended or hold.
	Action      string `json:"action,omitempty"`
	LevelBefore string `json:"level_before,omitempty"`
	LevelAfter  string `json:"level_after,omitempty"`
	// ScoreMicro is the score in millionths.
	ScoreMicro int64  `json:"score_micro,omitempty"`
	Counts     Counts `json:"counts,omitzero"`
	// Reason is what a person gave, or the engine's word; By is who it was. Neither goes to the monitor.
	Reason string `json:"reason,omitempty"`
	By     string `json:"by,omitempty"`
	// Until is when it ends by itself.
	Until time.Time `json:"until,omitzero"`
	// DecisionID names the decision behind it.
	DecisionID string `json:"decision_id,omitempty"`
	// Tenant is the name of the tenant, where it is about all of it or about a profile.
	Tenant string `json:"tenant,omitempty"`
	// ModeBefore and Mode are those that held before and after: off, shadow or enforce.
	ModeBefore string `json:"mode_before,omitempty"`
	Mode       string `json:"mode,omitempty"`
	// Profile is the id of a bulk profile, with its rate and the number of its accounts.
	Profile         string `json:"profile,omitempty"`
	MaxRate         string `json:"max_rate,omitempty"`
	ProfileAccounts int    `json:"profile_accounts,omitempty"`
}

// Counts are what the account sent of late.
type Counts struct {
	MessagesHour      int64 `json:"messages_1h,omitempty"`
	MessagesDay       int64 `json:"messages_24h,omitempty"`
	RecipientsHour    int64 `json:"recipients_1h,omitempty"`
	RecipientsDay     int64 `json:"recipients_24h,omitempty"`
	NewRecipientsHour int64 `json:"new_recipients_1h,omitempty"`
	NewRecipientsDay  int64 `json:"new_recipients_24h,omitempty"`
}

// Queue takes notices; it is package store's.
type Queue interface {
	AddNotice(ctx context.Context, n store.Notice) error
}

// Enqueue stores a notice, to be sent by whichever process runs a Notifier. It takes one short transaction; call it where
// nobody's mail waits for it. The error is the database's.
func Enqueue(ctx context.Context, q Queue, n Notice) error {
	row, err := n.Row()
	if err == nil {
		err = q.AddNotice(ctx, row)
	}
	if err != nil {
		return fmt.Errorf("notice: %w", err)
	}
	return nil
}

// Row is the notice as it is stored, for those who store it in the transaction of what it tells.
func (n Notice) Row() (store.Notice, error) {
	facts, err := json.Marshal(n.Facts)
	return store.Notice{Tenant: n.Tenant, Account: n.Account, Kind: string(n.Kind), Facts: string(facts)}, err
}

// Options of a Notifier: of the section `notify` of the configuration.
type Options struct {
	// Language of mails and of webhook texts: "en" (default) or "ja".
	Language string
	Webhook  WebhookOptions
	Monitor  MonitorOptions
}

// Deps are what a Notifier works with. Store and Hostname are required.
type Deps struct {
	Store *store.Store
	// Mailer sends mails; nil when nobody is to get any.
	Mailer *mailer.Mailer
	// Hostname names this installation.
	Hostname string
	// Link gives the address of a page about an account; nil for none.
	Link func(account string) string
	// Log may be nil.
	Log *slog.Logger
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
}

// Notifier sends notices. Run is called once, Check at any time.
type Notifier struct {
	store    *store.Store
	channels []*channel
	monitor  *monitor
	log      *slog.Logger
	metrics  *metrics
	pace     pace
}

// New makes a Notifier. It fails when an option is malformed.
func New(o Options, d Deps) (*Notifier, error) {
	if d.Store == nil || d.Hostname == "" {
		return nil, errors.New("notify: Store and Hostname are required")
	}
	if err := errors.Join(o.Webhook.Validate(), o.Monitor.Validate()); err != nil {
		return nil, err
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	n := &Notifier{store: d.Store, log: d.Log, metrics: newMetrics(d.Registerer)}
	w := writer{language: o.Language, hostname: d.Hostname, link: d.Link}
	if d.Mailer != nil {
		n.add("mail", &mailTo{mailer: d.Mailer, writer: w}, mailHold)
	}
	if o.Webhook.URL != "" {
		n.add("webhook", newWebhook(o.Webhook, w), hold)
	}
	if o.Monitor.URL != "" {
		n.monitor = newMonitor(o.Monitor, d.Hostname)
		n.add("monitor", n.monitor, hold)
	}
	return n, nil
}

func (n *Notifier) add(name string, s sender, hold time.Duration) {
	n.channels = append(n.channels, &channel{name: name, sender: s, hold: hold})
	n.metrics.up.WithLabelValues(name).Set(1)
}

// names are those of the channels.
func (n *Notifier) names() []string {
	names := make([]string, len(n.channels))
	for i, c := range n.channels {
		names[i] = c.name
	}
	return names
}

// What a channel's last attempt found counts for so long when nothing waits for it: nobody may try it for months.
const (
	failedFor = time.Hour
	// refusedFor is longer, as the channel works: each notice finds the same address refused.
	refusedFor = 24 * time.Hour
)

// Check says which channels fail, for those who watch over the installation. Any node knows, whichever sends.
func (n *Notifier) Check(ctx context.Context) error {
	if len(n.channels) == 0 {
		return nil
	}
	states, err := n.store.NoticeChannels(ctx)
	if err != nil {
		return nil //nolint:nilerr // the database is a part of its own
	}
	var errs []error
	for _, s := range states {
		if s.Failing.IsZero() || !n.has(s.Channel) {
			continue
		}
		what, counts := "fails", failedFor
		if s.Channel == "monitor" && n.monitor != nil {
			counts = max(counts, 2*n.monitor.options.Heartbeat) // it is tried, if seldom
		}
		if s.Worked.Equal(s.Tried) {
			what, counts = "does not reach all", refusedFor
		}
		if s.Awaited || time.Since(s.Tried) < counts {
			errs = append(errs, fmt.Errorf("%s %s since %s: %s", s.Channel, what, s.Failing.UTC().Format(time.RFC3339), s.Error))
		}
	}
	return errors.Join(errs...)
}

func (n *Notifier) has(name string) bool {
	for _, c := range n.channels {
		if c.name == name {
			return true
		}
	}
	return false
}

package notify

import (
	"context"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/mairust/mairust/internal/mailer"
	"github.com/mairust/mairust/store"
)

// message is a notice with its facts read.
type message struct {
	store.Notice
	facts Facts
}

// messageOf reads the facts; those that cannot be read are none.
func messageOf(n store.Notice) message {
	m := message{Notice: n}
	if json.Unmarshal([]byte(n.Facts), &m.facts) != nil {
		m.facts = Facts{}
	}
	return m
}

// account is the account or "@domain"; empty for what is about a tenant or a profile.
func (m message) account() string {
	if m.facts.Tenant != "" {
		return ""
	}
	return m.Account
}

// mailTo sends mails to administrators.
type mailTo struct {
	mailer *mailer.Mailer
	writer
}

func (c *mailTo) send(ctx context.Context, m message) (missed string, err error) {
	refused, err := c.mailer.Send(ctx, mailer.Letter{
		Subject: "[MaiRust " + c.hostname + "] " + c.headline(m), Text: c.text(m), At: m.At, ID: "notice-" + m.ID,
	})
	return refused.String(), err
}

// webhook posts to an address of the operator's.
type webhook struct {
	*poster
	writer
	slack bool
}

func newWebhook(o WebhookOptions, w writer) *webhook {
	c := &webhook{poster: newPoster(o.URL, o.Timeout), writer: w, slack: o.Format == "slack"}
	if o.Secret != "" && !c.slack {
		c.sign = newSignature("notify.webhook", o.Secret)
	}
	return c
}

// webhookBody is the JSON form.
type webhookBody struct {
	event
	TenantID    string     `json:"tenant_id"`
	Shadow      bool       `json:"shadow,omitempty"`
	LevelBefore string     `json:"level_before,omitempty"`
	LevelAfter  string     `json:"level_after,omitempty"`
	Reason      string     `json:"reason,omitempty"`
	By          string     `json:"by,omitempty"`
	Until       *time.Time `json:"until,omitempty"`
	DecisionID  string     `json:"decision_id,omitempty"`
	// Tenant and what follows are of modes and bulk profiles.
	Tenant          string `json:"tenant,omitempty"`
	ModeBefore      string `json:"mode_before,omitempty"`
	Mode            string `json:"mode,omitempty"`
	Profile         string `json:"profile,omitempty"`
	MaxRate         string `json:"max_rate,omitempty"`
	ProfileAccounts int    `json:"profile_accounts,omitempty"`
	// Merged is how many earlier notices this one stands for too.
	Merged int64  `json:"merged,omitempty"`
	Text   string `json:"text"`
	URL    string `json:"url,omitempty"`
}

// event is all that a monitor is told.
type event struct {
	Event        string  `json:"event"`
	ID           string  `json:"id,omitempty"`
	At           string  `json:"at"`
	Installation string  `json:"installation"`
	Account      string  `json:"account,omitempty"`
	Counts       *Counts `json:"counts,omitempty"`
	Score        float64 `json:"score"`
	Action       string  `json:"action,omitempty"`
}

func eventOf(m message, hostname string) event {
	e := event{
		Event: eventPrefix + m.Kind, ID: m.ID, At: m.At.UTC().Format(time.RFC3339), Installation: hostname, Account: m.account(),
		Score: float64(m.facts.ScoreMicro) / 1e6, Action: m.facts.Action,
	}
	if m.facts.Counts != (Counts{}) {
		e.Counts = &m.facts.Counts
	}
	return e
}

func (c *webhook) send(ctx context.Context, m message) (missed string, err error) {
	if c.slack {
		return "", c.post(ctx, map[string]string{"text": escapeSlack(c.headline(m) + "\n" + c.text(m))})
	}
	body := webhookBody{
		event: eventOf(m, c.hostname), TenantID: string(m.Tenant), Shadow: m.facts.Shadow, LevelBefore: m.facts.LevelBefore,
		LevelAfter: m.facts.LevelAfter, Reason: m.facts.Reason, By: m.facts.By, DecisionID: m.facts.DecisionID, Merged: m.Merged,
		Text: c.headline(m), URL: c.page(m), Tenant: m.facts.Tenant, ModeBefore: m.facts.ModeBefore, Mode: m.facts.Mode,
		Profile: m.facts.Profile, MaxRate: m.facts.MaxRate, ProfileAccounts: m.facts.ProfileAccounts,
	}
	if !m.facts.Until.IsZero() {
		until := m.facts.Until.UTC()
		body.Until = &until
	}
	return "", c.post(ctx, body)
}

// escapeSlack escapes the three signs that Slack gives a meaning, so that no account or reason makes a link or calls
// everybody.
func escapeSlack(text string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(text)
}

// monitor posts to a monitor server.
type monitor struct {
	*poster
	options  MonitorOptions
	hostname string
}

func newMonitor(o MonitorOptions, hostname string) *monitor {
	c := &monitor{poster: newPoster(o.URL, o.Timeout), options: o, hostname: hostname}
	if o.Token != "" {
		c.sign = func(h http.Header, _ []byte) { h.Set("Authorization", "Bearer "+o.Token) }
	}
	return c
}

func (c *monitor) send(ctx context.Context, m message) (missed string, err error) {
	e := eventOf(m, c.hostname)
	if Kind(m.Kind) == heartbeatKind {
		e.Event = m.Kind
	}
	return "", c.post(ctx, e)
}

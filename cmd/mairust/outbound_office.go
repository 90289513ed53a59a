package main

import (
	"bytes"
	"context"
	"io"
	"net/netip"

	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter"
	"github.com/mairust/mairust/milter/rspamd"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/outbound"
	"github.com/mairust/mairust/store"
)

// outboundOffice is the engine as people see it who show its policy and test messages.
type outboundOffice struct {
	gate *outbound.Gate
	// filter is nil when none is configured.
	filter *rspamd.Client
}

// newOffice makes what people do about sending. A process without the milter has an engine of its own, which judges no mail.
func (d *daemon) newOffice(a *admin.Admin) (*admin.Outbound, error) {
	if d.outbound == nil {
		if err := d.buildOutbound(); err != nil {
			return nil, err
		}
	}
	o := &outboundOffice{gate: d.outbound.gate}
	if d.config.Milter.Rspamd.URL != "" {
		var err error
		if o.filter, err = rspamd.New(d.config.Milter.Rspamd, d.log.With("component", "outbound")); err != nil {
			return nil, err
		}
	}
	return admin.NewOutbound(a, o), nil
}

// InForce is the engine's.
func (o *outboundOffice) InForce() (policy.Options, *policy.Policy) { return o.gate.InForce() }

// ConfigProfiles is the engine's.
func (o *outboundOffice) ConfigProfiles() []policy.Profile { return o.gate.Profiles() }

// Settings writes options as the configuration has them.
func (o *outboundOffice) Settings(options policy.Options) (string, error) {
	return config.OutboundSettings(options)
}

// TenantOf is the engine's. An account of a domain that is nobody's is not found: it is a slip of the pen, unless it has sent.
func (o *outboundOffice) TenantOf(_ context.Context, a policy.Account) (store.TenantID, error) {
	tenant := o.gate.TenantOf(a)
	if tenant == store.SystemTenant && a.Domain() != "" {
		return "", store.ErrNotFound
	}
	return tenant, nil
}

// Try reads the message as the milter would, asks the filter, and lets the engine decide. A filter that does not answer is
// told in the explanation.
func (o *outboundOffice) Try(ctx context.Context, t admin.Trial) (policy.Decision, error) {
	raw := crlf(t.Message)
	summary, err := mail.Summarize(bytes.NewReader(raw), milter.OutboundLimits())
	if err != nil {
		return policy.Decision{}, err
	}
	m := &mail.Message{
		Envelope:  mail.Envelope{From: mail.ReadPath(string(t.Account)), Client: mail.Client{Login: string(t.Account)}},
		Direction: mail.Outbound, SizeBytes: int64(len(raw)), Summary: summary,
		Open: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(raw)), nil },
	}
	if t.Client != "" {
		if m.Client.Addr, err = netip.ParseAddr(t.Client); err != nil {
			return policy.Decision{}, err
		}
	}
	for _, text := range t.Recipients {
		to, err := mail.ParseAddress(text)
		if err != nil {
			return policy.Decision{}, err
		}
		m.Rcpt = append(m.Rcpt, mail.Recipient{Address: to})
	}
	var v mail.Verdict
	if o.filter != nil {
		if v, err = o.filter.Check(ctx, m); err != nil {
			v = mail.Verdict{}
		}
	}
	return o.gate.Try(ctx, t.Tenant, t.Account, m, v), nil
}

// crlf gives every line the end that it has on the wire.
func crlf(raw []byte) []byte {
	raw = bytes.ReplaceAll(raw, []byte("\r\n"), []byte("\n"))
	return bytes.ReplaceAll(raw, []byte("\n"), []byte("\r\n"))
}

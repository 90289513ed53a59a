package outbound

import (
	"context"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// InForce gives the options of the configuration, and the policy made of them and of the profiles of the database.
func (g *Gate) InForce() (policy.Options, *policy.Policy) {
	g.settings.Lock()
	defer g.settings.Unlock()
	return g.options, g.policy.Load()
}

// Profiles are the bulk senders of the configuration.
func (g *Gate) Profiles() []policy.Profile {
	g.settings.Lock()
	defer g.settings.Unlock()
	return g.profiles
}

// TenantOf finds whose an account is; store.SystemTenant when it is nobody's.
func (g *Gate) TenantOf(a policy.Account) store.TenantID { return g.tenant(g.senders.Load(), a) }

// Try decides about a message as if the account sent it now, and changes nothing: m with its client and recipients, judged by
// the filter as v. The decision is the first that does not let it go on, else that about its end. Limits of domain and
// tenant, which others use up meanwhile, are left out.
func (g *Gate) Try(ctx context.Context, tenant store.TenantID, a policy.Account, m *mail.Message, v mail.Verdict) policy.Decision {
	s := sender{account: a, tenant: tenant}
	k := g.look(ctx, s)
	base := policy.Event{Transaction: random(), Place: g.placeOf(m.Client.Addr)}
	step := func(e policy.Event) policy.Decision {
		e.Transaction, e.Place = base.Transaction, base.Place
		var o outcome
		o, k, _ = g.step(s, k, e)
		return o.decision
	}
	if d := step(policy.Event{Kind: policy.KindMail}); d.Action != policy.Allow {
		return d
	}
	commit := policy.Event{Kind: policy.KindCommit, QueueHost: m.Host, QueueID: m.QueueID}
	for _, to := range m.Rcpt {
		hash := g.recipient(to.Address)
		if d := step(policy.Event{Kind: policy.KindReserve, Recipients: []uint64{hash}}); d.Action != policy.Allow {
			return d
		}
		commit.Recipients = append(commit.Recipients, hash)
	}
	var known bool
	if commit.Content, known = contentOf(m, v); !known && g.filtered {
		commit.Degraded |= policy.NoFilter
	}
	return step(commit)
}

// look gives what is known of an account now.
func (g *Gate) look(ctx context.Context, s sender) known {
	entry := g.states.hold(s.account)
	defer g.states.release(entry)
	if entry.tenant == "" {
		entry.tenant = s.tenant
	}
	g.load(ctx, entry)
	k := entry.known
	if g.shared != nil {
		// An error means that this node's own is all there is.
		_ = g.shared.Update(ctx, string(s.account), func(old []byte) []byte {
			k = g.merge(entry, s, old)
			return old
		})
	}
	return k
}

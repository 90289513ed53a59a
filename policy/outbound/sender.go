package outbound

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// sender is whose a message is.
type sender struct {
	account policy.Account
	tenant  store.TenantID
}

// senders tells whose a message is, by login and client address alone: what the message says of itself proves nothing.
type senders struct {
	defaultDomain string
	trusted       []netip.Prefix
	accounts      map[string]string // account or domain → name of the tenant
	networks      []tenantNetwork
}

type tenantNetwork struct {
	prefix netip.Prefix
	tenant string
}

// Check says what is wrong with the options, naming the key.
func (o Options) Check() error {
	_, err := newSenders("", o)
	return err
}

func newSenders(defaultDomain string, o Options) (*senders, error) {
	s := &senders{defaultDomain: defaultDomain, accounts: map[string]string{}}
	for _, text := range o.TrustedNetworks {
		p, err := parsePrefix(text)
		if err != nil {
			return nil, fmt.Errorf("outbound: trusted_networks: %q is neither a network nor an address", mail.Clean(text, 60))
		}
		s.trusted = append(s.trusted, p)
	}
	for _, t := range o.Tenants {
		match := strings.ToLower(strings.TrimSpace(t.Match))
		if match == "" || t.Tenant == "" {
			return nil, fmt.Errorf("outbound: tenants: %q needs both match and tenant", mail.Clean(t.Match, 60))
		}
		if p, err := parsePrefix(match); err == nil {
			s.networks = append(s.networks, tenantNetwork{p, t.Tenant})
			continue
		}
		s.accounts[match] = t.Tenant
	}
	return s, nil
}

func parsePrefix(text string) (netip.Prefix, error) {
	text = strings.TrimSpace(text)
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a.Unmap(), a.Unmap().BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	return p.Masked(), err
}

// trusts tells whether a client may send without a login.
func (s *senders) trusts(client netip.Addr) bool {
	client = client.Unmap()
	for _, p := range s.trusted {
		if p.Contains(client) {
			return true
		}
	}
	return false
}

// account is the login, else the address of a trusted client; empty for anybody else.
func (s *senders) account(c mail.Client) policy.Account {
	if a := policy.LoginAccount(mail.Clean(c.Login, 320), s.defaultDomain); a != "" {
		return a
	}
	if c.Addr.IsValid() && s.trusts(c.Addr) {
		return policy.Account(c.Addr.Unmap().String())
	}
	return ""
}

// tenantName is the tenant that the configuration gives a sender to; the smallest network counts. Empty for none.
func (s *senders) tenantName(a policy.Account) string {
	for _, key := range []string{string(a), a.Domain()} {
		if name, ok := s.accounts[key]; ok && key != "" {
			return name
		}
	}
	addr, err := netip.ParseAddr(string(a))
	if err != nil {
		return ""
	}
	found, bits := "", -1
	for _, n := range s.networks {
		if n.prefix.Contains(addr) && n.prefix.Bits() > bits {
			found, bits = n.tenant, n.prefix.Bits()
		}
	}
	return found
}

// Trusts tells whether mail of a client without a login goes out.
func (g *Gate) Trusts(client netip.Addr) bool { return g.senders.Load().trusts(client) }

// sender tells whose a message of this client is; false when nobody judges it.
func (g *Gate) sender(c mail.Client) (sender, bool) {
	s := g.senders.Load()
	account := s.account(c)
	if account == "" {
		return sender{}, false
	}
	return sender{account, g.tenant(s, account)}, true
}

func (g *Gate) tenant(s *senders, a policy.Account) store.TenantID {
	st := g.standing.Load()
	if name := s.tenantName(a); name != "" {
		if id, ok := st.TenantNames[strings.ToLower(name)]; ok {
			return id
		}
	}
	if id, ok := st.TenantDomains[a.Domain()]; ok {
		return id
	}
	return store.SystemTenant
}

package postfix

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// choose finds the domains to switch and sorts them by class: those of virtual_mailbox_domains and those of
// mydestination. With other, domains that Postfix relays or rewrites are fine too.
func (p *planner) choose(ctx context.Context, other bool) error {
	virtual, _, err := p.site.domains(ctx, "virtual_mailbox_domains")
	if err != nil {
		return err
	}
	local, _, err := p.site.domains(ctx, "mydestination")
	if err != nil {
		return err
	}
	if len(p.o.Domains) == 0 {
		return p.chooseKnown(ctx, virtual, local)
	}
	for _, d := range p.o.Domains {
		d = strings.ToLower(d)
		if err := p.mustKnow(ctx, d); err != nil {
			return err
		}
		if err := p.classify(ctx, d, other); err != nil {
			return err
		}
	}
	return nil
}

// chooseKnown takes every domain that Postfix and MaiRust both have.
func (p *planner) chooseKnown(ctx context.Context, virtual, local []string) error {
	if p.o.Directory == nil {
		return fmt.Errorf("%w: start it, or name them with --domain", ErrNotAsked)
	}
	for _, class := range []struct{ have, chosen *[]string }{{&virtual, &p.virtual}, {&local, &p.local}} {
		for _, d := range *class.have {
			known, err := p.o.Directory.Domain(ctx, d)
			if err != nil {
				return err
			}
			if known {
				*class.chosen = append(*class.chosen, d)
				p.Domains = append(p.Domains, d)
			}
		}
	}
	if len(p.Domains) == 0 {
		return fmt.Errorf("%w: MaiRust has none of Postfix's domains (virtual_mailbox_domains: %s; mydestination: %s); "+
			"make one with mairust init, or name one of a table that cannot be listed with --domain",
			ErrNoDomain, orNone(virtual), orNone(local))
	}
	return nil
}

func orNone(list []string) string {
	if len(list) == 0 {
		return "none that can be listed"
	}
	return strings.Join(list, ", ")
}

// mustKnow refuses a domain that MaiRust would refuse.
func (p *planner) mustKnow(ctx context.Context, domain string) error {
	if p.o.Directory == nil {
		return nil
	}
	known, err := p.o.Directory.Domain(ctx, domain)
	if err == nil && !known {
		err = fmt.Errorf("the domain %s is not in MaiRust: all mail for it would be refused; make it first: mairust init --domain %s", domain, domain)
	}
	return err
}

// classify puts a domain into its class.
func (p *planner) classify(ctx context.Context, domain string, other bool) error {
	classes := []struct {
		parameter string
		chosen    *[]string
	}{{"mydestination", &p.local}, {"virtual_mailbox_domains", &p.virtual}, {"relay_domains", nil}, {"virtual_alias_domains", nil}}
	for _, c := range classes {
		found, err := p.site.hasDomain(ctx, c.parameter, domain)
		if err != nil {
			return err
		}
		if !found {
			continue
		}
		switch {
		case c.chosen != nil:
			*c.chosen = append(*c.chosen, domain)
		case !other:
			return fmt.Errorf("%s is in %s: Postfix does not deliver it here; move it to virtual_mailbox_domains first", domain, c.parameter)
		}
		p.Domains = append(p.Domains, domain)
		return nil
	}
	return fmt.Errorf("postfix takes no mail for %s: it is in neither mydestination nor virtual_mailbox_domains", domain)
}

// without are the elements of list that are not in other, each once.
func without(list, other []string) []string {
	var out []string
	for _, e := range list {
		if !slices.Contains(other, e) && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}

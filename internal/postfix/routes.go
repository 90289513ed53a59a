package postfix

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// siteRoute finds where the site's transport_maps send a domain: by its name, by a domain above it, or with everything else
// (transport(5)). Routes of single users are not in it.
func (p *planner) siteRoute(ctx context.Context, domain string) (route string, found bool, err error) {
	dot := "."
	if slices.Contains(Fields(p.site.Value("parent_domain_matches_subdomains")), "transport_maps") {
		dot = ""
	}
	keys := []string{domain}
	for _, parent, more := strings.Cut(domain, "."); more; _, parent, more = strings.Cut(parent, ".") {
		keys = append(keys, dot+parent)
	}
	return p.site.find(ctx, "transport_maps", append(keys, "*")...)
}

// routeDomains sends domains somewhere by our transport table.
func (p *planner) routeDomains(domains []string, transport string) {
	for _, d := range domains {
		p.transport = append(p.transport, d+"\t"+transport)
	}
}

// overrideRoutes does so for those domains that the site's own transport_maps would send elsewhere.
func (p *planner) overrideRoutes(ctx context.Context, domains []string, transport string) error {
	for _, d := range domains {
		route, found, err := p.siteRoute(ctx, d)
		if err != nil {
			return err
		}
		if found {
			p.note("transport_maps sends %s to %s; our route comes before it", d, route)
			p.routeDomains([]string{d}, transport)
		}
	}
	return nil
}

// warnRoutes names the routes of single users in the switched domains. Postfix looks for a user in all tables before it looks for a
// domain, so those win over ours.
func (p *planner) warnRoutes(ctx context.Context) error {
	const mend = "take it out of transport_maps, where MaiRust shall have the mail"
	if users := p.listed(ctx, "transport_maps", p.Domains); len(users) > 0 {
		p.warn("transport_maps has routes for single users, which stay: "+named(slices.Sorted(slices.Values(users))), mend)
	}
	for _, d := range p.Domains {
		route, found, err := p.site.find(ctx, "transport_maps", "mairust-probe@"+d) // only a pattern knows this one
		if err != nil {
			return err
		}
		if found {
			p.warn(fmt.Sprintf("transport_maps has a pattern that sends users of %s to %s, and stays", d, route), mend)
		}
	}
	return nil
}

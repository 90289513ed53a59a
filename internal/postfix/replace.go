package postfix

import (
	"context"
	"fmt"
	"slices"
	"strings"
)

// replace delivers the chosen domains to MaiRust.
func (p *planner) replace(ctx context.Context) error {
	if err := p.choose(ctx, false); err != nil {
		return err
	}
	if len(p.virtual) > 0 {
		if err := p.replaceVirtual(ctx); err != nil {
			return err
		}
	}
	if len(p.local) > 0 {
		if err := p.replaceLocal(ctx); err != nil {
			return err
		}
	}
	return p.warnRoutes(ctx)
}

// replaceVirtual switches virtual_transport when all virtual domains are chosen, else each by transport_maps.
func (p *planner) replaceVirtual(ctx context.Context) error {
	all, complete, err := p.site.domains(ctx, "virtual_mailbox_domains")
	if err != nil {
		return err
	}
	others := without(all, p.virtual)
	if err := p.warnMissing(ctx, p.listed(ctx, "virtual_mailbox_maps", p.virtual)); err != nil {
		return err
	}
	if complete && len(others) == 0 {
		p.set("virtual_transport", p.lmtp(), "mail for "+strings.Join(p.virtual, ", ")+" is delivered to MaiRust")
		p.set("virtual_mailbox_maps", p.recipients(), "MaiRust says who exists; others are refused with 550 5.1.1")
		return p.overrideRoutes(ctx, p.virtual, p.lmtp())
	}
	p.routeDomains(p.virtual, p.lmtp())
	return p.shareVirtualMaps(others)
}

// shareVirtualMaps keeps the site's tables for the domains that stay. virtual(8) refuses socketmap tables for
// security, so it keeps the old ones.
func (p *planner) shareVirtualMaps(others []string) error {
	old := p.raw("virtual_mailbox_maps")
	if old == "" {
		p.note("virtual_mailbox_maps is empty: Postfix accepts every recipient, also unknown ones")
		return nil
	}
	p.prepend("virtual_mailbox_maps", p.recipients(), "MaiRust's mailboxes exist, and those of the domains that stay")
	kept := "domains that cannot be listed"
	if len(others) > 0 {
		kept = strings.Join(others, ", ")
	}
	p.warn("the tables in virtual_mailbox_maps stay for "+kept+": a recipient of a switched domain that only they know is accepted, then bounced",
		"make a mailbox or alias in MaiRust for each, or take them out of the tables")
	for _, s := range p.master.Services() {
		if _, own := s.Options["virtual_mailbox_maps"]; s.Command != "virtual" || own {
			continue
		}
		p.set("mairust_kept_mailbox_maps", old, "the tables of the domains that stay, for virtual(8)")
		if !p.master.SetOption(s.Key(), "virtual_mailbox_maps", "$mairust_kept_mailbox_maps") {
			return fmt.Errorf("the service %s of master.cf (line %d) cannot be read: mend it first", s.Name, s.Line)
		}
		p.service(s.Key(), "virtual(8) may not use MaiRust's lookup, and need not")
	}
	return nil
}

// keepService is a second local(8), for what shall be delivered as before.
const keepService = "mairust-keep"

// localService is the key of the first.
const localService = "local/unix"

// replaceLocal has local(8) deliver to MaiRust after aliases and .forward files. Local domains that were not chosen
// (the host's own names, mostly), and system addresses without a mailbox, are delivered as before by a second local(8).
func (p *planner) replaceLocal(ctx context.Context) error {
	all, complete, err := p.site.domains(ctx, "mydestination")
	if err != nil {
		return err
	}
	if transport, _, _ := strings.Cut(p.site.Value("local_transport"), ":"); transport != "local" {
		p.note("local_transport is %s, not local(8): the domains are routed by transport_maps, and aliases(5) do not apply, as before",
			p.site.Value("local_transport"))
		p.routeDomains(p.local, p.lmtp())
		p.prepend("local_recipient_maps", p.recipients(), "MaiRust's mailboxes exist")
		return nil
	}
	if !complete {
		return fmt.Errorf("mydestination has tables or patterns that cannot be listed (%s), so the domains that stay are unknown: "+
			"list them, or use mode pilot", p.site.Value("mydestination"))
	}
	others := without(all, p.local)
	keepers, err := p.keepers(ctx)
	if err != nil {
		return err
	}
	if err := p.warnMissing(ctx, p.localAddresses()); err != nil {
		return err
	}
	p.remarkLocal()
	if err := p.keep(ctx, others, keepers); err != nil {
		return err
	}
	p.set("local_recipient_maps", p.localRecipients(others, keepers), "MaiRust says who exists, beside aliases and what stays")
	p.set("mailbox_transport", p.lmtp(), "after aliases and .forward files, mail for "+strings.Join(p.local, ", ")+" is delivered to MaiRust")
	if err := p.changeLocal(keepers); err != nil {
		return err
	}
	return p.overrideRoutes(ctx, p.local, "local:") // not to MaiRust at once: aliases come first, and root
}

// keepers are the system addresses that must go on working although MaiRust does not have them.
func (p *planner) keepers(ctx context.Context) ([]string, error) {
	var out []string
	for _, name := range []string{"root", "postmaster"} {
		_, alias, err := p.site.find(ctx, "alias_maps", name)
		if err != nil {
			p.warn(fmt.Sprintf("alias_maps cannot be read (%v): %s is taken for no alias", err, name), "newaliases")
		}
		if alias {
			continue
		}
		for _, d := range p.local {
			known := false
			if p.o.Directory != nil {
				if known, err = p.knows(ctx, name+"@"+d); err != nil {
					return nil, err
				}
			}
			if !known {
				out = append(out, name)
				p.note("%s@%s has no mailbox in MaiRust and no alias: it is delivered as before", name, d)
				break
			}
		}
	}
	return out, nil
}

// remarkLocal names settings of local(8) that mean something else from now on.
func (p *planner) remarkLocal() {
	for _, name := range []string{"luser_relay", "fallback_transport", "fallback_transport_maps"} {
		if value := p.site.Value(name); value != "" {
			p.warn(name+" is "+value+": it took mail for unknown recipients, who are refused now", "an alias in MaiRust, where that mail is wanted")
		}
	}
	if value := p.site.Value("mailbox_transport_maps"); value != "" {
		p.note("mailbox_transport_maps is %s: the users it names are delivered as it says, not to MaiRust", value)
	}
}

// keep makes the second local(8), and routes to it what stays.
func (p *planner) keep(ctx context.Context, others, keepers []string) error {
	if len(others)+len(keepers) == 0 {
		return nil
	}
	p.master.put(keepService+"/unix", p.keepEntry())
	p.service(keepService+"/unix", "delivers as before: "+listOf(listOf(others...), listOf(keepers...)))
	p.set(keepService+"_destination_recipient_limit", "$local_destination_recipient_limit", "as local(8) has it")
	p.set(keepService+"_destination_concurrency_limit", "$local_destination_concurrency_limit", "as local(8) has it")
	if len(keepers) > 0 {
		p.prepend("mailbox_transport_maps", inline(keepers, keepService+":"), "these are delivered as before")
	}
	for _, d := range others {
		route, _, err := p.siteRoute(ctx, d)
		if err != nil {
			return err
		}
		// No route, one to no transport and one to local(8) all come to the first local(8), which delivers to MaiRust now.
		if transport, _, _ := strings.Cut(route, ":"); transport == "" || transport == "local" {
			p.routeDomains([]string{d}, keepService+":")
		}
	}
	return nil
}

// changeLocal changes what the entry of local(8) has for itself, which would come before main.cf.
func (p *planner) changeLocal(keepers []string) error {
	i := p.master.find(localService)
	if i < 0 {
		return nil
	}
	s, _ := parseService(p.master.chunks[i])
	own := map[string]string{}
	if _, has := s.Options["mailbox_transport"]; has {
		own["mailbox_transport"] = p.lmtp()
	}
	if maps, has := s.Options["mailbox_transport_maps"]; has && len(keepers) > 0 {
		own["mailbox_transport_maps"] = listOf(inline(keepers, keepService+":"), maps)
	}
	for name, value := range own {
		if !p.master.SetOption(localService, name, value) {
			return fmt.Errorf("the entry %s of master.cf cannot be read: mend it first", localService)
		}
	}
	if len(own) > 0 {
		p.service(localService, "what it has for itself comes before main.cf")
	}
	return nil
}

// keepEntry is the entry of the second local(8): that of the first, but with the mailbox_transport and mailbox_transport_maps of
// before, wherever they stood.
func (p *planner) keepEntry() string {
	first, options := Service{Chroot: "n", Processes: "-"}, []option(nil)
	if i := p.master.find(localService); i >= 0 {
		first, _ = parseService(p.master.chunks[i])
		options = p.master.options(i)
	}
	entry := keepService + "  unix  -       n       " + first.Chroot + "       -       " + first.Processes + "       local\n"
	before := []string{"mailbox_transport", "mailbox_transport_maps"}
	for _, name := range before {
		value, own := first.Options[name]
		if !own {
			value = p.raw(name)
		}
		entry += "  -o " + override(name, value) + "\n"
	}
	for _, o := range options {
		if !slices.Contains(before, o.name) {
			entry += "  -o " + override(o.name, o.value) + "\n"
		}
	}
	return entry
}

// inline is a table within main.cf that gives the same value for each key.
func inline(keys []string, value string) string {
	pairs := make([]string, len(keys))
	for i, k := range keys {
		pairs[i] = "{" + k + "=" + value + "}"
	}
	return "inline:{" + strings.Join(pairs, ",") + "}"
}

// localRecipients are the tables of local_recipient_maps: MaiRust's, the aliases, and the old ones, limited to the
// domains that stay; else every user of the host would exist in MaiRust's domains, and mail for him would bounce.
func (p *planner) localRecipients(others, keepers []string) string {
	list := []string{p.recipients(), "$alias_maps"}
	if len(keepers) > 0 {
		list = append(list, inline(keepers, keepService))
	}
	if len(others) == 0 {
		return listOf(list...)
	}
	p.file("kept_domains.regexp", "Takes the domains that are delivered as before off an address.",
		"/^(.*)@("+alternatives(others)+")$/\t${1}")
	names := table("regexp", "kept_domains.regexp")
	old := Fields(p.raw("local_recipient_maps"))
	if len(old) == 0 { // everybody exists
		list = append(list, names)
	}
	for _, t := range old {
		plain, proxied := strings.CutPrefix(t, "proxy:")
		switch {
		case t == "$alias_maps" || t == "${alias_maps}" || t == "$(alias_maps)":
			continue
		case strings.HasPrefix(t, "$"):
			list = append(list, t) // several tables, perhaps: they cannot be limited
			p.warn("local_recipient_maps has "+t+", which stays: who is in it exists in every local domain", "see that MaiRust has them")
		case proxied:
			list = append(list, "proxy:pipemap:{"+names+","+plain+"}")
		default:
			list = append(list, "pipemap:{"+names+","+plain+"}")
		}
	}
	return listOf(list...)
}

// alternatives is a regular expression for any of the names.
func alternatives(names []string) string {
	quoted := make([]string, len(names))
	for i, n := range names {
		quoted[i] = strings.ReplaceAll(n, ".", `\.`)
	}
	return strings.Join(quoted, "|")
}

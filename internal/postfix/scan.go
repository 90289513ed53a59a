package postfix

import (
	"fmt"
	"slices"
	"strings"
)

// milterName is the parameter of our own that holds MaiRust's milter, so that lists in main.cf and master.cf can name
// it in one word.
const milterName = "mairust_milter"

// scan wires the milter and what keeps its header inside.
func (p *planner) scan() {
	if p.o.Milter == "" {
		p.note("mail is not scanned by MaiRust (--scan all does it): what it stores has the tag unscanned, and no other mail is touched")
		return
	}
	p.set(milterName, "{ "+p.o.Milter+", default_action="+p.o.MilterAction+" }", "MaiRust's milter; "+actionMeans(p.o.MilterAction))
	smtpd, nonSMTPD := p.raw("smtpd_milters"), p.raw("non_smtpd_milters")
	p.prepend("smtpd_milters", "$"+milterName, "MaiRust sees mail first, before it is signed")
	p.scanLocal(smtpd, nonSMTPD)
	p.remarkMilters()
	p.services()
	p.file("header_checks.regexp", "Keeps MaiRust's scan header within this site.", "/^X-MaiRust-Scan:/\tIGNORE")
	p.prepend("smtp_header_checks", table("regexp", "header_checks.regexp"), "the scan header does not leave this site")
	for _, s := range p.site.Master.Services() {
		if _, own := s.Options["smtp_header_checks"]; own && s.Command == "smtp" {
			p.warn(fmt.Sprintf("master.cf line %d: %s has smtp_header_checks of its own: the scan header leaves by it", s.Line, s.Name),
				"add "+table("regexp", "header_checks.regexp")+" there")
		}
	}
}

func actionMeans(action string) string {
	switch action {
	case "tempfail":
		return "while it is away, senders try again later"
	case "accept":
		return "while it is away, mail comes in unscanned"
	}
	return "while it is away, Postfix will " + action
}

// scanLocal wires mail that does not come by SMTP. Often that is the same list; then it must not get the milter for
// SMTP, which may refuse recipients.
func (p *planner) scanLocal(smtpd, nonSMTPD string) {
	fields := Fields(nonSMTPD)
	for i, f := range fields {
		if f == "$smtpd_milters" || f == "${smtpd_milters}" || f == "$(smtpd_milters)" {
			fields[i] = smtpd
		}
	}
	old := listOf(fields...)
	if p.o.LocalMilter == "" {
		if old != listOf(Fields(nonSMTPD)...) {
			p.set("non_smtpd_milters", old, "as before: what smtpd_milters was")
		}
		p.warn("mail of programs on this host (sendmail) is not scanned and gets the tag unscanned: MaiRust has no milter listener with the role local",
			`add {address: "inet:127.0.0.1:8897", role: local} to milter.listeners, restart, and apply again`)
		return
	}
	ours := "{ " + p.o.LocalMilter + ", default_action=" + p.o.MilterAction + " }"
	p.set("mairust_local_milter", ours, "MaiRust's listener for mail of programs on this host")
	p.set("non_smtpd_milters", listOf("$mairust_local_milter", old), "mail of programs on this host is scanned too", "$mairust_local_milter")
}

// remarkMilters says what the site's other milters mean for ours.
func (p *planner) remarkMilters() {
	for _, m := range Fields(p.site.Value("smtpd_milters")) {
		lower := strings.ToLower(m)
		switch {
		case strings.Contains(lower, "rspamd"), strings.Contains(lower, ":11332"):
			p.warn("rspamd is a milter of this Postfix already ("+m+"): with milter.rspamd.url set, it would see each message twice",
				"take it out of smtpd_milters, unless it signs your outgoing mail")
		case strings.Contains(lower, "dkim"), strings.Contains(lower, ":8891"), strings.Contains(lower, ":12301"):
			p.note("MaiRust comes before the DKIM signer %s", m)
		}
	}
	if f := p.site.Value("content_filter"); f != "" {
		p.warn("content_filter is "+f+": mail comes back from it under another queue id, and the verdict of the first pass is not believed (tag unscanned)",
			"let rspamd do its work, or name $"+milterName+" in the smtpd that takes the mail back, and not in smtpd_milters")
	}
	if slices.Contains(Fields(p.site.Value("receive_override_options")), "no_milters") {
		p.warn("receive_override_options has no_milters: nothing is scanned", "take it out of main.cf")
	}
	if maps := p.site.Value("smtpd_milter_maps"); maps != "" {
		p.warn("smtpd_milter_maps replaces smtpd_milters for the clients it names", "see that it does not turn scanning off for strangers")
	}
}

// services finds entries of master.cf whose overrides would bypass the milter, and adapts those that take mail from
// outside.
func (p *planner) services() {
	for _, s := range p.site.Master.Services() {
		if s.Command != "smtpd" {
			continue
		}
		milters, replaced := s.Options["smtpd_milters"]
		replaced = replaced && !strings.Contains(milters, "smtpd_milters")
		overrides := Fields(s.Options["receive_override_options"])
		disabled := slices.Contains(overrides, "no_milters")
		if !replaced && !disabled {
			continue
		}
		where := fmt.Sprintf("master.cf line %d: %s", s.Line, s.Name)
		if isReturn(s) {
			p.note("%s takes mail back from a filter and stays without the milter", where)
			continue
		}
		if p.o.Adapt != nil && !p.o.Adapt(s) {
			p.warn(where+" has overrides that bypass MaiRust's milter, and stays", "add $"+milterName+" to its smtpd_milters")
			continue
		}
		if replaced {
			replaced = p.master.SetOption(s.Key(), "smtpd_milters", strings.Join(append([]string{"$" + milterName}, Fields(milters)...), ","))
		}
		if disabled {
			overrides = slices.DeleteFunc(overrides, func(o string) bool { return o == "no_milters" })
			disabled = p.master.SetOption(s.Key(), "receive_override_options", strings.Join(overrides, ","))
		}
		if !replaced && !disabled {
			p.warn(where+" has overrides that bypass MaiRust's milter, and cannot be read", "mend the entry, then apply again")
			continue
		}
		p.service(s.Key(), "its overrides would bypass MaiRust's milter")
	}
}

// isReturn says whether a service takes mail back from a content filter.
func isReturn(s Service) bool {
	filter, set := s.Options["content_filter"]
	return set && filter == ""
}

// Bypasses are the services that take mail from outside and pass by our milter, as the site is now.
func (s *Site) Bypasses() []Service {
	var out []Service
	for _, v := range s.Master.Services() {
		if v.Command != "smtpd" || isReturn(v) {
			continue
		}
		milters, own := v.Options["smtpd_milters"]
		own = own && !strings.Contains(milters, milterName) && !strings.Contains(milters, "$smtpd_milters")
		if own || slices.Contains(Fields(v.Options["receive_override_options"]), "no_milters") {
			out = append(out, v)
		}
	}
	return out
}

package postfix

import "context"

// copyDomain is the domain of the copies' addresses: user@domain.<copyDomain>. It never leaves this host (RFC 6761
// section 6.4), and the LMTP client takes it off again.
const copyDomain = "mairust-copy.invalid"

// copy has Postfix add a recipient for each of the chosen domains. It is marked NOTIFY=NEVER by cleanup(8), so that
// no sender hears of a copy that fails, and needs no answer of MaiRust, so that mail flows without it.
func (p *planner) copy(ctx context.Context) error {
	if err := p.choose(ctx, true); err != nil {
		return err
	}
	p.file("copy_to.regexp", "Adds a recipient for each that is copied.",
		"/^(.*)@("+alternatives(p.Domains)+")$/\t${1}@${2}."+copyDomain)
	p.file("copy_address.regexp", "Gives a copy its address back, on the way to MaiRust.",
		`/^(.*)@(.*)\.mairust-copy\.invalid$/`+"\t${1}@${2}")
	p.transport = append(p.transport, "."+copyDomain+"\t"+p.lmtp())
	bcc, ours := p.raw("recipient_bcc_maps"), table("regexp", "copy_to.regexp")
	if bcc != "" {
		p.warn("recipient_bcc_maps has tables, which come first: whoever is in them is not copied to MaiRust, since Postfix takes the first answer",
			"mind it, or have those tables name MaiRust's address too")
	}
	p.set("recipient_bcc_maps", listOf(bcc, ours), "a copy of each message goes to MaiRust", ours)
	p.prepend("lmtp_generic_maps", table("regexp", "copy_address.regexp"), "the copy arrives under the recipient's own address")
	if p.site.Value("virtual_alias_maps") != "" {
		p.note("a copy goes to the address as the sender wrote it, before virtual_alias_maps: give MaiRust the same aliases")
	}
	return nil
}

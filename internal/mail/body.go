package mail

// bodySink takes the body of one part: it counts what it decodes to and keeps the beginning of the
// first readable texts.
type bodySink struct {
	decoder transfer
	scratch []byte
	count   int64
	lines   evenLines
	limit   int
	// hosts are those of links in HTML that was squeezed, up to maxHosts.
	hosts    []string
	maxHosts int
	// into is where the text goes, nil when it is not kept.
	into        *textStart
	plain, html textStart
}

// textStart is the beginning of a text, decoded from its transfer encoding only.
type textStart struct {
	found   bool
	charset string
	text    []byte
}

func (b *bodySink) reset(limits Limits) {
	b.decoder, b.into, b.limit, b.hosts, b.maxHosts = nil, nil, limits.Text, nil, limits.Hosts
	b.plain = textStart{text: b.plain.text[:0]}
	b.html = textStart{text: b.html.text[:0]}
}

// begin starts with part p; text in attached messages is not kept.
func (b *bodySink) begin(p *Part, inMessage bool) {
	b.decoder, b.count, b.into, b.lines = newTransfer(p.Encoding), 0, nil, evenLines{}
	if inMessage || p.Disposition == "attachment" {
		return
	}
	switch {
	case p.Type == "text/plain" && !b.plain.found:
		b.into = &b.plain
	case p.Type == "text/html" && !b.html.found:
		b.into = &b.html
	default:
		return
	}
	b.into.found, b.into.charset = true, p.Charset
}

func (b *bodySink) write(p []byte) {
	if b.decoder != nil {
		b.scratch = b.decoder.decode(b.scratch[:0], p)
		b.lines.add(p, len(b.scratch))
		p = b.scratch
		b.count += int64(len(p))
	}
	b.keep(p)
}

func (b *bodySink) keep(p []byte) {
	for b.into != nil && len(p) > 0 {
		n := min(b.limit-len(b.into.text), len(p))
		b.into.text = append(b.into.text, p[:n]...)
		p = p[n:]
		if len(b.into.text) >= b.limit && !b.makeRoom() {
			b.into = nil
		}
	}
}

// makeRoom takes out of HTML what is not shown. It says no unless half is free then, so that the time for all of it is linear.
func (b *bodySink) makeRoom() bool {
	if b.into != &b.html {
		return false
	}
	b.hosts = linkHosts(b.hosts, b.html.text, b.maxHosts)
	b.html.text = squeeze(b.html.text)
	return len(b.html.text) <= b.limit/2
}

// end gives the decoded size of a body of size encoded bytes.
func (b *bodySink) end(size int64) int64 {
	if b.decoder == nil {
		return size
	}
	b.scratch = b.decoder.finish(b.scratch[:0])
	b.keep(b.scratch)
	return b.count + int64(len(b.scratch))
}

// preview gives the beginning of the first text that has any.
func (b *bodySink) preview(runes int, d *defects) string {
	if s := plainPreview(b.plain.charset, b.plain.text, runes, d); s != "" {
		return s
	}
	return htmlPreview(b.html.charset, b.html.text, runes, d)
}

// linkHosts are the hosts of the links in all that was kept.
func (b *bodySink) linkHosts() []string {
	return linkHosts(linkHosts(b.hosts, b.plain.text, b.maxHosts), b.html.text, b.maxHosts)
}

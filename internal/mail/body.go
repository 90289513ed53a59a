package mail

// bodySink takes the bodies of parts: it counts what each decodes to and keeps the beginning of the readable texts.
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
	into        *texts
	plain, html texts
}

// texts are the beginnings of the texts of one type, decoded from their transfer encoding only, with a line end between them.
type texts struct {
	bytes []byte
	each  []textStart
}

// textStart is where the beginning of a part's text is.
type textStart struct {
	part      string // its id
	charset   string
	from, end int
}

func (t *texts) reset() { t.bytes, t.each = t.bytes[:0], t.each[:0] }

func (t *texts) begin(p *Part) {
	if len(t.bytes) > 0 {
		t.bytes = append(t.bytes, '\n') // no word or link goes on in the next
	}
	t.each = append(t.each, textStart{part: p.ID, charset: p.Charset, from: len(t.bytes), end: len(t.bytes)})
}

func (t *texts) add(p []byte) {
	t.bytes = append(t.bytes, p...)
	t.each[len(t.each)-1].end = len(t.bytes)
}

func (b *bodySink) reset(limits Limits) {
	b.decoder, b.into, b.limit, b.hosts, b.maxHosts = nil, nil, limits.Text, nil, limits.Hosts
	b.plain.reset()
	b.html.reset()
}

// begin starts with part p; text in attached messages is not kept.
func (b *bodySink) begin(p *Part, inMessage bool) {
	b.decoder, b.count, b.into, b.lines = newTransfer(p.Encoding), 0, nil, evenLines{}
	if inMessage || p.Disposition == "attachment" {
		return
	}
	switch p.Type {
	case "text/plain":
		b.into = &b.plain
	case "text/html":
		b.into = &b.html
	default:
		return
	}
	if len(b.into.bytes)+1 >= b.limit {
		b.into = nil
		return
	}
	b.into.begin(p)
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
		n := min(b.limit-len(b.into.bytes), len(p))
		b.into.add(p[:n])
		p = p[n:]
		if len(b.into.bytes) >= b.limit && !b.makeRoom() {
			b.into = nil
		}
	}
}

// makeRoom takes out of HTML what is not shown. It says no unless half is free then, so that the time for all of it is linear.
func (b *bodySink) makeRoom() bool {
	if b.into != &b.html {
		return false
	}
	t := &b.html
	b.hosts = linkHosts(b.hosts, wholeLinks(t.bytes), b.maxHosts)
	last := &t.each[len(t.each)-1]
	last.end = last.from + len(squeeze(t.bytes[last.from:]))
	t.bytes = t.bytes[:last.end]
	return len(t.bytes) <= b.limit/2
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

// preview gives the beginning of the text that is shown of a message with these parts: as plain text, if that has any, else as HTML;
// else of what has a name or is no alternative that anybody would show, but can be read.
func (b *bodySink) preview(parts []Part, runes int, d *defects) string {
	p := previewWriter{limit: runes}
	for _, preferred := range []string{"text/plain", "text/html"} {
		for _, part := range Shown(parts, preferred) {
			b.previewPart(part.ID, &p, d)
		}
		if p.count > 0 {
			return p.String()
		}
	}
	for _, t := range b.plain.each {
		b.previewPart(t.part, &p, d)
	}
	for _, t := range b.html.each {
		b.previewPart(t.part, &p, d)
	}
	return p.String()
}

// previewPart writes the text that was kept of a part.
func (b *bodySink) previewPart(id string, p *previewWriter, d *defects) {
	if p.full() {
		return
	}
	p.newLine()
	if t, kept := b.plain.of(id); kept {
		plainPreview(t.charset, b.plain.bytes[t.from:t.end], p, d)
	} else if t, kept := b.html.of(id); kept {
		htmlPreview(t.charset, b.html.bytes[t.from:t.end], p, d)
	}
}

// of finds the text of a part.
func (t *texts) of(id string) (textStart, bool) {
	for _, s := range t.each {
		if s.part == id {
			return s, true
		}
	}
	return textStart{}, false
}

// linkHosts are the hosts of the links in all that was kept.
func (b *bodySink) linkHosts() []string {
	return linkHosts(linkHosts(b.hosts, b.plain.bytes, b.maxHosts), b.html.bytes, b.maxHosts)
}

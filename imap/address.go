package imap

import "strings"

// maxAddresses bounds what is read of one header field.
const maxAddresses = 10_000

// address is one of ENVELOPE's (RFC 9051, 7.5.2). A group begins with one that has only mailbox (its name), and ends with an
// empty one.
type address struct{ name, route, mailbox, host nstring }

// nstring is a string or NIL.
type nstring struct {
	s  string
	ok bool
}

func str(s string) nstring { return nstring{s, true} }

// What stands where a part of an address is missing.
const (
	missingMailbox = "MISSING_MAILBOX"
	missingDomain  = "MISSING_DOMAIN"
)

// addressParser reads an address list. It gives something for everything that is there: a client shows what it
// gets, and a header that is broken must not look empty.
type addressParser struct {
	lexer
	list []address
	// cur is the address being read.
	cur     address
	invalid bool
}

// parseAddresses reads the value of a header field like To.
func parseAddresses(value string) []address {
	p := &addressParser{lexer: lexer{b: value}}
	if !p.skip() {
		return nil
	}
	for len(p.list) < maxAddresses && p.address() {
		if !p.at(',') {
			break
		}
		p.b = p.b[1:]
		if !p.skip() {
			break
		}
	}
	return p.list
}

// address reads one address or group; false at the end.
func (p *addressParser) address() bool {
	start := p.lexer
	if p.group() {
		return !p.done()
	}
	p.lexer = start
	return p.oneMailbox()
}

func (p *addressParser) group() bool {
	name, ok := p.phrase()
	if !ok || !p.at(':') {
		return false
	}
	p.b = p.b[1:]
	p.list = append(p.list, address{mailbox: str(name)})
	if p.skip() && !p.at(';') {
		for len(p.list) < maxAddresses {
			p.oneMailbox()
			if !p.at(',') {
				break
			}
			p.b = p.b[1:]
			if !p.skip() {
				break
			}
		}
	}
	if p.at(';') {
		p.b = p.b[1:]
		p.skip()
	}
	p.list = append(p.list, address{})
	return true
}

// oneMailbox reads "name <local@host>", or "local@host" with a comment for its name.
func (p *addressParser) oneMailbox() bool {
	p.cur, p.invalid = address{}, false
	start := p.lexer
	if !p.nameAddr() {
		p.lexer = start
		p.cur = address{}
		p.addrSpec()
		if p.invalid && !p.cur.name.ok && p.cur.mailbox.ok && !p.cur.host.ok {
			p.cur.name, p.cur.mailbox = p.cur.mailbox, nstring{}
		}
	}
	if !p.cur.mailbox.ok {
		p.cur.mailbox = str(missingMailbox)
	}
	if p.cur.host.s == "" {
		p.cur.host = str(missingDomain)
	}
	p.list = append(p.list, p.cur)
	return !p.done()
}

func (p *addressParser) nameAddr() bool {
	var name string
	if !p.at('<') {
		var ok bool
		if name, ok = p.phrase(); !ok || !p.at('<') {
			return false
		}
	}
	if name != "" {
		p.cur.name = str(name)
	}
	if !p.angle() {
		p.cur.host = str("SYNTAX_ERROR")
	}
	return true
}

// angle reads "<@route:local@host>".
func (p *addressParser) angle() bool {
	p.b = p.b[1:]
	p.skip()
	if p.at('@') {
		p.route()
	}
	if !p.at('>') {
		local, ok := p.local()
		if !ok {
			return false
		}
		p.cur.mailbox = str(local)
		if p.at('@') {
			if !p.domain() {
				return false
			}
		}
	}
	if !p.at('>') {
		return false
	}
	p.b = p.b[1:]
	p.skip()
	return true
}

func (p *addressParser) route() {
	var route strings.Builder
	for p.at('@') {
		route.WriteByte('@')
		p.b = p.b[1:]
		p.skip()
		host, ok := p.dotAtom()
		route.WriteString(host)
		if !ok {
			return
		}
		if !p.at(',') {
			break
		}
		route.WriteByte(',')
		p.b = p.b[1:]
		p.skip()
	}
	p.cur.route = str(route.String())
	if p.at(':') {
		p.b = p.b[1:]
		p.skip()
	}
}

// local reads a local part: words with dots between them, or wherever else they stand (Japanese carriers gave out such
// addresses).
func (p *addressParser) local() (string, bool) {
	var s strings.Builder
	for !p.done() {
		if p.at('.') && s.Len() > 0 {
			s.WriteByte('.')
			p.b = p.b[1:]
			p.skip()
			continue
		}
		if s.Len() > 0 && !strings.HasSuffix(s.String(), ".") {
			break
		}
		var word string
		var ok bool
		if p.at('"') {
			if word, ok = p.quoted(); !ok {
				return "", false
			}
		} else if word, ok = p.atom(); !ok {
			break
		}
		s.WriteString(word)
	}
	return s.String(), s.Len() > 0
}

func (p *addressParser) domain() bool {
	p.b = p.b[1:]
	p.skip()
	if !p.at('[') {
		host, ok := p.dotAtom()
		p.cur.host = str(host)
		return ok
	}
	end := strings.IndexByte(p.b, ']')
	if end < 0 {
		return false
	}
	p.cur.host = str(p.b[:end+1])
	p.b = p.b[end+1:]
	p.skip()
	return true
}

func (p *addressParser) addrSpec() {
	p.comment = ""
	wasQuoted := p.at('"')
	local, ok := p.local()
	if ok {
		p.cur.mailbox = str(local)
	}
	if !ok || p.done() {
		p.invalid = true
	}
	hasHost := false
	if p.at('@') {
		hasHost = true
		p.invalid = !p.domain()
	}
	switch {
	case p.comment != "":
		p.cur.name = str(p.comment)
	case !hasHost:
		p.invalid = true
		more, _ := p.phrase()
		switch {
		case more != "":
			p.cur.name, p.cur.mailbox = str(local+" "+more), nstring{}
		case !wasQuoted:
			p.cur.host = str("")
		}
	}
}

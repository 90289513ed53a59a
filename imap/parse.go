package imap

import (
	"errors"
	"strconv"
	"strings"
)

// errSyntax is wrapped by what a client wrote wrongly; the reply is BAD.
var errSyntax = errors.New("syntax error")

// parser reads one command, with its literals where they stood: "{3}\r\nabc". The first error stays, and every
// method gives zero values after it, so that callers look once at the end.
type parser struct {
	b   string
	err error
}

func (p *parser) fail(what string) {
	if p.err == nil {
		p.err = &reply{kind: "BAD", text: "expected " + what}
	}
	p.b = ""
}

// limit is fail for what is written well, but is too much (RFC 5530, 3).
func (p *parser) limit(text string) {
	if p.err == nil {
		p.err = no("LIMIT", text)
	}
	p.b = ""
}

// peek is the next byte, 0 at the end.
func (p *parser) peek() byte {
	if p.b == "" {
		return 0
	}
	return p.b[0]
}

// take skips c if it is next.
func (p *parser) take(c byte) bool {
	if p.peek() != c || p.b == "" {
		return false
	}
	p.b = p.b[1:]
	return true
}

func (p *parser) expect(c byte) {
	if !p.take(c) {
		p.fail(strconv.Quote(string(rune(c))))
	}
}

// sp wants a space; clients that send more of them are understood.
func (p *parser) sp() {
	p.expect(' ')
	for p.take(' ') {
		continue
	}
}

// end wants nothing more.
func (p *parser) end() {
	for p.take(' ') {
		continue
	}
	if p.b != "" {
		p.fail("the end of the command")
	}
}

// while takes bytes as long as they are allowed.
func (p *parser) while(allowed func(byte) bool) string {
	i := 0
	for i < len(p.b) && allowed(p.b[i]) {
		i++
	}
	s := p.b[:i]
	p.b = p.b[i:]
	return s
}

// isAtomChar is ATOM-CHAR of RFC 9051, section 9. Bytes above ASCII are let through: clients send them in names.
func isAtomChar(c byte) bool {
	switch c {
	case '(', ')', '{', ' ', '%', '*', '"', '\\', ']', 0x7f:
		return false
	}
	return c > ' '
}

func isAStringChar(c byte) bool { return isAtomChar(c) || c == ']' }

func isTagChar(c byte) bool { return isAStringChar(c) && c != '+' }

func isListChar(c byte) bool { return isAStringChar(c) || c == '%' || c == '*' }

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// atom takes one atom.
func (p *parser) atom() string { return p.word(isAtomChar, "an atom") }

// word takes one or more allowed bytes.
func (p *parser) word(allowed func(byte) bool, what string) string {
	s := p.while(allowed)
	if s == "" {
		p.fail(what)
	}
	return s
}

// astring takes an atom or a string (RFC 9051, section 4.3).
func (p *parser) astring() string {
	if p.atString() {
		return p.str()
	}
	return p.word(isAStringChar, "a string")
}

// listMailbox is an astring that may have wildcards.
func (p *parser) listMailbox() string {
	if p.atString() {
		return p.str()
	}
	return p.word(isListChar, "a mailbox pattern")
}

func (p *parser) atString() bool { return p.peek() == '"' || p.peek() == '{' || p.peek() == '~' }

// str takes a quoted string or a literal.
func (p *parser) str() string {
	if p.take('"') {
		return p.quoted()
	}
	p.take('~')
	p.expect('{')
	n := p.number()
	p.take('+')
	p.expect('}')
	if p.err != nil {
		return ""
	}
	if !strings.HasPrefix(p.b, "\r\n") || uint64(len(p.b)-2) < n {
		p.fail("a literal")
		return ""
	}
	s := p.b[2 : 2+n]
	p.b = p.b[2+n:]
	return s
}

func (p *parser) quoted() string {
	var s strings.Builder
	for i := 0; i < len(p.b); i++ {
		switch c := p.b[i]; {
		case c == '"':
			p.b = p.b[i+1:]
			return s.String()
		case c == '\\' && i+1 < len(p.b):
			i++
			s.WriteByte(p.b[i])
		case c == '\r' || c == '\n' || c == 0:
			p.fail("a quoted string on one line")
			return ""
		default:
			s.WriteByte(c)
		}
	}
	p.fail("the end of a quoted string")
	return ""
}

// number takes a decimal number of up to 63 bits.
func (p *parser) number() uint64 {
	n, err := strconv.ParseUint(p.while(isDigit), 10, 63)
	if err != nil {
		p.fail("a number")
		return 0
	}
	return n
}

// number32 takes a number of IMAP4rev1, of 32 bits.
func (p *parser) number32() uint32 {
	n := p.number()
	if n > 1<<32-1 {
		p.fail("a number of 32 bits")
		return 0
	}
	return uint32(n)
}

// keyword takes an atom and gives it in upper case.
func (p *parser) keyword() string { return strings.ToUpper(p.atom()) }

// list takes a parenthesised list, at least one item unless empty is allowed by the caller's own look at ")".
func (p *parser) list(item func()) {
	p.expect('(')
	if p.take(')') {
		return
	}
	for p.err == nil {
		item()
		if p.take(')') {
			return
		}
		p.sp()
	}
}

// mailbox takes a mailbox name and decodes it from modified UTF-7 (RFC 3501, 5.1.3).
func (p *parser) mailbox() string { return p.decodeName(p.astring()) }

func (p *parser) decodeName(s string) string {
	name, ok := decodeUTF7(s)
	if !ok {
		p.fail("a mailbox name in modified UTF-7")
	}
	if strings.EqualFold(name, "INBOX") {
		return "INBOX"
	}
	return name
}

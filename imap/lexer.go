package imap

import "strings"

// lexer reads structured header fields (RFC 5322, 3.2; RFC 2045, 5.1) as they come, broken ones too. It decides as
// Dovecot does where the standards leave it open, because clients are used to that.
type lexer struct {
	b string
	// comment is the text of the last comment that was skipped.
	comment string
	// bad says that a comment or quoted string did not end.
	bad bool
}

func (l *lexer) done() bool { return l.b == "" }

func (l *lexer) at(c byte) bool { return l.b != "" && l.b[0] == c }

// skip skips white space and comments; it says whether anything is left.
func (l *lexer) skip() bool {
	for l.b != "" {
		switch l.b[0] {
		case ' ', '\t', '\r', '\n':
			l.b = l.b[1:]
		case '(':
			if !l.skipComment() {
				return false
			}
		default:
			return true
		}
	}
	return false
}

func (l *lexer) skipComment() bool {
	var text strings.Builder
	depth := 0
	for i := 0; i < len(l.b); i++ {
		c := l.b[i]
		switch c {
		case '(':
			if depth++; depth == 1 {
				continue
			}
		case ')':
			if depth--; depth == 0 {
				l.b, l.comment = l.b[i+1:], text.String()
				return true
			}
		case '\\':
			if i++; i < len(l.b) {
				text.WriteByte(l.b[i])
			}
			continue
		case '\r', '\n':
			continue
		}
		text.WriteByte(c)
	}
	l.b, l.bad = "", true
	return false
}

// isAtext is atext of RFC 5322, 3.2.3, and what is above ASCII (RFC 6532).
func isAtext(c byte) bool {
	return c > ' ' && c != 0x7f && strings.IndexByte(`()<>[]:;@\,."`, c) < 0
}

// isToken is what a token of RFC 2045, 5.1 is made of.
func isToken(c byte) bool {
	return c > ' ' && c < 0x7f && strings.IndexByte(`()<>@,;:\"/[]?=`, c) < 0
}

// run takes bytes while they are allowed, and skips what is behind them. ok is false when there is none.
func (l *lexer) run(allowed func(byte) bool) (s string, ok bool) {
	i := 0
	for i < len(l.b) && allowed(l.b[i]) {
		i++
	}
	s, l.b = l.b[:i], l.b[i:]
	l.skip()
	return s, i > 0
}

func (l *lexer) atom() (string, bool) { return l.run(isAtext) }

func (l *lexer) atomOrDot() (string, bool) {
	return l.run(func(c byte) bool { return isAtext(c) || c == '.' })
}

func (l *lexer) token() (string, bool) { return l.run(isToken) }

// quoted takes a quoted string, without its quotes, and skips what is behind it.
func (l *lexer) quoted() (string, bool) {
	var s strings.Builder
	for i := 1; i < len(l.b); i++ {
		switch c := l.b[i]; c {
		case '"':
			l.b = l.b[i+1:]
			l.skip()
			return s.String(), true
		case '\\':
			if i++; i < len(l.b) {
				s.WriteByte(l.b[i])
			}
		case '\r', '\n':
		default:
			s.WriteByte(c)
		}
	}
	l.b, l.bad = "", true
	return s.String(), false
}

// dotAtom takes atoms with dots between them, and white space anywhere.
func (l *lexer) dotAtom() (string, bool) {
	var s strings.Builder
	for {
		word, ok := l.atom()
		if !ok {
			return s.String(), false
		}
		s.WriteString(word)
		if !l.at('.') {
			return s.String(), true
		}
		s.WriteByte('.')
		l.b = l.b[1:]
		if !l.skip() {
			return s.String(), true
		}
	}
}

// phrase takes words, with one space between them.
func (l *lexer) phrase() (string, bool) {
	if l.done() || l.at('.') {
		return "", false
	}
	var s strings.Builder
	for {
		var word string
		var ok bool
		if l.at('"') {
			word, ok = l.quoted()
		} else {
			word, ok = l.atomOrDot()
		}
		if !ok {
			return s.String(), false
		}
		s.WriteString(word)
		if l.done() || !isAtext(l.b[0]) && l.b[0] != '"' && l.b[0] != '.' {
			return s.String(), true
		}
		s.WriteByte(' ')
	}
}

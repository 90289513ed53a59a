package imap

import (
	"slices"
	"strings"
)

// mimeFields are what a part's header says for BODYSTRUCTURE (RFC 9051, 7.5.2), as it is written there.
type mimeFields struct {
	// typed is false without a Content-Type: then it is text/plain.
	typed                     bool
	typ, subtype              string
	params                    []param
	id, description, location nstring
	md5, encoding             nstring
	disposition               nstring
	dispositionParams         []param
	language                  []string
}

// readMIME reads a header. Of fields that are there twice the first counts, of dispositions the first with parameters.
func readMIME(fields []field) mimeFields {
	var m mimeFields
	for _, f := range fields {
		name := strings.ToLower(f.name)
		if !strings.HasPrefix(name, "content-") {
			continue
		}
		l := &lexer{b: f.value}
		l.skip()
		switch name {
		case "content-type":
			m.readType(l)
		case "content-transfer-encoding":
			m.readEncoding(l)
		case "content-disposition":
			m.readDisposition(l)
		case "content-language":
			m.readLanguages(l)
		case "content-id":
			m.id.setOnce(f.joined())
		case "content-description":
			m.description.setOnce(f.joined())
		case "content-location":
			m.location.setOnce(f.joined())
		case "content-md5":
			m.md5.setOnce(f.joined())
		}
	}
	return m
}

// isMIME says whether a message claims to follow MIME (RFC 2045, 4).
func isMIME(fields []field) bool {
	return slices.ContainsFunc(fields, func(f field) bool { return strings.EqualFold(f.name, "mime-version") })
}

func (s *nstring) setOnce(value string) {
	if !s.ok {
		*s = str(value)
	}
}

// readType reads type, subtype and parameters. One that is broken before its parameters is of no type at all, which is
// not the same as none given.
func (m *mimeFields) readType(l *lexer) {
	if m.typed {
		return
	}
	m.typed = true
	typ, ok := l.token()
	if ok && l.done() {
		m.typ = typ
		return
	}
	if !ok || !l.at('/') {
		return
	}
	l.b = l.b[1:]
	l.skip()
	if subtype, ok := l.token(); ok {
		m.typ, m.subtype, m.params = typ, subtype, l.params()
	}
}

func (m *mimeFields) readEncoding(l *lexer) {
	if word, ok := l.token(); ok && l.done() {
		m.encoding.setOnce(word)
	}
}

func (m *mimeFields) readDisposition(l *lexer) {
	if len(m.dispositionParams) == 0 {
		word, _ := l.token()
		m.disposition, m.dispositionParams = str(word), l.params()
	}
}

func (m *mimeFields) readLanguages(l *lexer) {
	if m.language == nil {
		m.language = readLanguages(l)
	}
}

func readLanguages(l *lexer) []string {
	var list []string
	for !l.done() && len(list) < maxParams {
		if word, ok := l.atom(); ok {
			list = append(list, word)
		} else {
			l.b = l.b[1:]
			l.skip()
		}
	}
	return list
}

func (m *mimeFields) kind() partKind {
	switch {
	case strings.EqualFold(m.typ, "multipart"):
		return multipart
	case strings.EqualFold(m.typ, "message") && strings.EqualFold(m.subtype, "rfc822"):
		return message
	}
	return leaf
}

package imap

import "strings"

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
			if word, ok := l.token(); ok {
				m.encoding = str(word)
			}
		case "content-id":
			m.id = str(unfolded(f.value))
		case "content-description":
			m.description = str(unfolded(f.value))
		case "content-location":
			m.location = str(unfolded(f.value))
		case "content-md5":
			m.md5 = str(unfolded(f.value))
		case "content-disposition":
			if word, ok := l.token(); ok {
				m.disposition = str(word)
				m.dispositionParams = l.params()
			}
		case "content-language":
			m.language = readLanguages(l)
		}
	}
	return m
}

func (m *mimeFields) readType(l *lexer) {
	m.typed, m.subtype, m.params = true, "", nil
	var ok bool
	if m.typ, ok = l.token(); !ok || !l.at('/') {
		return
	}
	l.b = l.b[1:]
	l.skip()
	if m.subtype, ok = l.token(); ok {
		m.params = l.params()
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

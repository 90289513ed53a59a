package imap

import (
	"strconv"
	"strings"
)

// appendBody writes BODY, or BODYSTRUCTURE when it is extended (RFC 9051, 7.5.2).
func (p *part) appendBody(b []byte, extended bool) []byte {
	b = append(b, '(')
	if p.kind == multipart {
		b = p.appendMultipart(b, extended)
	} else {
		b = p.appendLeaf(b, extended)
	}
	return append(b, ')')
}

func (p *part) appendMultipart(b []byte, extended bool) []byte {
	for _, child := range p.children {
		b = child.appendBody(b, extended)
	}
	if len(p.children) == 0 {
		b = (&part{}).appendBody(b, extended) // a multipart without parts cannot be written
	}
	subtype := p.subtype
	if subtype == "" {
		subtype = "x-unknown"
	}
	b = appendString(append(b, ' '), subtype)
	if !extended {
		return b
	}
	b = appendParams(append(b, ' '), p.params, false)
	return p.appendExtension(b)
}

func (p *part) appendLeaf(b []byte, extended bool) []byte {
	isText := !p.typed || strings.EqualFold(p.typ, "text")
	if p.typed {
		b = appendString(b, p.typ)
		b = appendString(append(b, ' '), p.subtype)
	} else {
		b = append(b, `"text" "plain"`...)
	}
	b = appendParams(append(b, ' '), p.params, isText)
	b = appendNString(append(b, ' '), p.id)
	b = appendNString(append(b, ' '), p.description)
	encoding := p.encoding.s
	if encoding == "" {
		encoding = "7bit"
	}
	b = appendString(append(b, ' '), encoding)
	b = appendNumber(append(b, ' '), p.end-p.body)
	switch {
	case isText:
		b = appendNumber(append(b, ' '), p.lines)
	case p.kind == message:
		child := p.children[0]
		b = child.envelope.append(append(b, ' '))
		b = child.appendBody(append(b, ' '), extended)
		b = appendNumber(append(b, ' '), p.lines)
	}
	if !extended {
		return b
	}
	b = appendNString(append(b, ' '), p.md5)
	return p.appendExtension(b)
}

// appendExtension writes what single parts and multiparts have alike at the end.
func (p *part) appendExtension(b []byte) []byte {
	b = append(b, ' ')
	if p.disposition.ok {
		b = appendString(append(b, '('), p.disposition.s)
		b = appendParams(append(b, ' '), p.dispositionParams, false)
		b = append(b, ')')
	} else {
		b = append(b, "NIL"...)
	}
	b = append(b, ' ')
	if len(p.language) == 0 {
		b = append(b, "NIL"...)
	} else {
		b = append(b, '(')
		for i, tag := range p.language {
			if i > 0 {
				b = append(b, ' ')
			}
			b = appendString(b, tag)
		}
		b = append(b, ')')
	}
	return appendNString(append(b, ' '), p.location)
}

// appendParams writes a list of parameters; texts get a charset when they have none.
func appendParams(b []byte, list []param, isText bool) []byte {
	if isText {
		if _, found := get(list, "charset"); !found {
			list = append(list[:len(list):len(list)], param{"charset", "us-ascii"})
		}
	}
	if len(list) == 0 {
		return append(b, "NIL"...)
	}
	b = append(b, '(')
	for i, p := range list {
		if i > 0 {
			b = append(b, ' ')
		}
		b = appendString(b, p.name)
		b = appendString(append(b, ' '), p.value)
	}
	return append(b, ')')
}

func appendNumber(b []byte, n int64) []byte { return strconv.AppendInt(b, n, 10) }

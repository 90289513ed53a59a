package imap

import (
	"strconv"
	"strings"
)

// section is what stands in the brackets of BODY[…] (RFC 9051, 6.4.5.1).
type section struct {
	// path are the part numbers; empty for the message itself.
	path []int
	// text is "", "HEADER", "TEXT", "MIME", "HEADER.FIELDS" or "HEADER.FIELDS.NOT".
	text string
	// fields are the names of the last two, as the client wrote them.
	fields []string
	// partial, with first and count, is "<first.count>".
	partial      bool
	first, count int64
}

// maxPath is deeper than any part that is kept.
const maxPath = 2 * maxDepth

// maxFieldNames of one section; mail programs ask for some thirty.
const maxFieldNames = 200

// section reads "[…]" and what follows it.
func (p *parser) section() *section {
	s := &section{}
	p.expect('[')
	for isDigit(p.peek()) && p.err == nil {
		n := p.number32()
		if n == 0 || len(s.path) >= maxPath {
			p.fail("a part number")
		}
		s.path = append(s.path, int(n))
		if !p.take('.') {
			break
		}
	}
	if p.peek() != ']' {
		s.text = strings.ToUpper(p.word(func(c byte) bool { return isAtomChar(c) && c != '[' }, "a section"))
		p.sectionText(s)
	}
	p.expect(']')
	if p.take('<') {
		s.partial = true
		s.first = int64(p.number())
		p.expect('.')
		s.count = int64(p.number())
		p.expect('>')
	}
	return s
}

func (p *parser) sectionText(s *section) {
	switch s.text {
	case "HEADER", "TEXT":
	case "MIME":
		if len(s.path) == 0 {
			p.fail("a part number before MIME")
		}
	case "HEADER.FIELDS", "HEADER.FIELDS.NOT":
		p.sp()
		p.list(func() {
			if s.fields = append(s.fields, p.astring()); len(s.fields) > maxFieldNames {
				p.limit("A section has at most " + strconv.Itoa(maxFieldNames) + " names of fields")
			}
		})
	default:
		p.fail("a section")
	}
}

// label is how the response names it.
func (s *section) label() string {
	b := []byte("BODY[")
	for i, n := range s.path {
		if i > 0 {
			b = append(b, '.')
		}
		b = strconv.AppendInt(b, int64(n), 10)
	}
	if s.text != "" {
		if len(s.path) > 0 {
			b = append(b, '.')
		}
		b = append(b, s.text...)
	}
	if s.fields != nil {
		b = append(b, " ("...)
		for i, name := range s.fields {
			if i > 0 {
				b = append(b, ' ')
			}
			b = appendAString(b, name)
		}
		b = append(b, ')')
	}
	b = append(b, ']')
	if s.partial {
		b = strconv.AppendInt(append(b, '<'), s.first, 10)
		b = append(b, '>')
	}
	return string(b)
}

func appendAString(b []byte, s string) []byte {
	for i := range len(s) {
		if !isAtomChar(s[i]) || s[i] >= 0x80 {
			return appendString(b, s)
		}
	}
	if s == "" {
		return append(b, `""`...)
	}
	return append(b, s...)
}

// needsStructure says that the header alone does not tell where the section is.
func (s *section) needsStructure() bool { return len(s.path) > 0 }

// byteRange is from first to end, without end.
type byteRange struct{ first, end int64 }

// locate finds a section in a message; the fields of HEADER.FIELDS are still to be picked. ok is false when there is no
// such part.
func (s *section) locate(root *part) (r byteRange, ok bool) {
	if len(s.path) == 0 {
		return s.ofMessage(root)
	}
	p := root.find(s.path)
	switch {
	case p == nil:
		return byteRange{}, false
	case s.text == "":
		return byteRange{p.body, p.end}, true
	case s.text == "MIME":
		return byteRange{p.header, p.body}, true
	case p.kind == message:
		return s.ofMessage(p.children[0])
	}
	return byteRange{}, false
}

func (s *section) ofMessage(m *part) (byteRange, bool) {
	switch s.text {
	case "":
		return byteRange{m.header, m.end}, true
	case "TEXT":
		return byteRange{m.body, m.end}, true
	default:
		return byteRange{m.header, m.body}, true
	}
}

// find goes down to a part by its numbers (RFC 9051, 6.4.5.1). A message that is no multipart has one part, itself.
func (p *part) find(path []int) *part {
	in, at := p, (*part)(nil)
	for _, n := range path {
		if at != nil {
			switch at.kind {
			case message:
				in = at.children[0]
			case multipart:
				in = at
			default:
				return nil
			}
		}
		switch {
		case in.kind == multipart && n <= len(in.children):
			at = in.children[n-1]
		case in.kind != multipart && n == 1:
			at = in
		default:
			return nil
		}
	}
	return at
}

// cut applies the partial to a range.
func (s *section) cut(r byteRange) byteRange {
	if !s.partial {
		return r
	}
	first := min(r.first+min(s.first, r.end), r.end)
	return byteRange{first, min(first+min(s.count, r.end), r.end)}
}

// cutText applies the partial to text.
func (s *section) cutText(text string) string {
	r := s.cut(byteRange{0, int64(len(text))})
	return text[r.first:r.end]
}

// pick gives the fields that are asked for, or not, and a blank line.
func (s *section) pick(header string) string {
	var b strings.Builder
	wanted := make(map[string]bool, len(s.fields))
	for _, name := range s.fields {
		wanted[strings.ToLower(name)] = true
	}
	not := s.text == "HEADER.FIELDS.NOT"
	for _, f := range splitHeader(header) {
		if wanted[strings.ToLower(f.name)] != not {
			b.WriteString(f.raw)
		}
	}
	b.WriteString("\r\n")
	return b.String()
}

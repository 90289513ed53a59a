package mail

import "strings"

// parsePersons reads an address list (RFC 5322, 3.4) leniently: what cannot be read is kept as a name or an
// address as it is written. value is unfolded and valid UTF-8, its encoded words not yet decoded.
func parsePersons(value string, limit int, d *defects) []Person {
	var persons []Person
	s := addressScanner{text: value}
	for len(persons) < limit {
		item, ok := s.next()
		if !ok {
			break
		}
		if p := newPerson(item, d); p != (Person{}) {
			persons = append(persons, p)
		}
	}
	if _, more := s.next(); more && len(persons) == limit {
		d.add(DefectTooManyPersons)
	}
	return persons
}

// addressScanner cuts an address list at its commas; groups are flattened.
type addressScanner struct {
	text string
	pos  int
	enclosures
}

// next gives one element of the list without the divider.
func (s *addressScanner) next() (item string, ok bool) {
	if s.pos >= len(s.text) {
		return "", false
	}
	start, angle := s.pos, false
	for s.pos < len(s.text) {
		switch s.text[s.pos] {
		case '"', '(':
			s.pos = s.skip(s.text, s.pos)
			continue
		case '=':
			if rest := s.text[s.pos:]; strings.HasPrefix(rest, "=?") {
				if _, n := parseWord(rest); n > 0 {
					s.pos += n
					continue
				}
			}
		case '<':
			angle = true
		case '>':
			angle = false
		case ':': // the name of a group
			if !angle {
				start = s.pos + 1
			}
		case ',', ';':
			if !angle || s.text[s.pos] == ';' {
				item = s.text[start:s.pos]
				s.pos++
				return item, true
			}
		}
		s.pos++
	}
	return s.text[start:], true
}

// enclosures skips quoted strings and comments. Once one was not closed, later ones of its kind are not
// looked for, so that a field of nothing but opening brackets costs one look at it.
type enclosures struct{ noQuotes, noComments bool }

// skip gives the position after the quoted string or (nested) comment that begins at i; when it is not
// closed it is only the character itself.
func (e *enclosures) skip(s string, i int) int {
	quote, depth := s[i] == '"', 1
	if quote && e.noQuotes || !quote && e.noComments {
		return i + 1
	}
	for j := i + 1; j < len(s); j++ {
		switch c := s[j]; {
		case c == '\\':
			j++
		case quote && c == '"':
			return j + 1
		case !quote && c == '(':
			depth++
		case !quote && c == ')':
			if depth--; depth == 0 {
				return j + 1
			}
		}
	}
	if quote {
		e.noQuotes = true
	} else {
		e.noComments = true
	}
	return i + 1
}

func newPerson(item string, d *defects) Person {
	item = strings.TrimSpace(item)
	name, address, comment := splitPerson(item)
	switch {
	case address != "":
	case strings.Contains(name, "=?") || !isASCII(name):
	case strings.ContainsRune(name, '@'): // "Some One one@example.test"
		i := strings.LastIndexAny(strings.TrimSpace(name), " \t") + 1
		name, address = name[:i], name[i:]
	case !strings.ContainsAny(name, " \t"):
		name, address = "", name
	}
	if name == "" {
		name = comment
	}
	return Person{
		Name:    readable(decodeWords(name, d), maxName),
		Address: readable(address, maxName),
	}
}

// splitPerson divides "name <address> (comment)", taking quotes away. Any of the three may be empty; without
// angle brackets everything but comments is the name.
func splitPerson(item string) (name, address, comment string) {
	var n, a, c strings.Builder
	var e enclosures
	to := &n
	for i := 0; i < len(item); {
		switch ch := item[i]; {
		case ch == '"' || ch == '(':
			end := e.skip(item, i)
			switch {
			case end == i+1: // not closed
				to.WriteByte(ch)
			case ch == '(':
				c.WriteString(unescape(item[i+1 : end-1]))
			case to == &a:
				a.WriteString(item[i:end])
			default:
				n.WriteString(unescape(item[i+1 : end-1]))
			}
			i = end
			continue
		case ch == '<' && a.Len() == 0:
			to = &a
		case ch == '>' && to == &a:
			to = &n
		default:
			to.WriteByte(ch)
		}
		i++
	}
	return strings.TrimSpace(n.String()), strings.TrimSpace(a.String()), strings.TrimSpace(c.String())
}

// unescape takes the backslashes of quoted pairs away.
func unescape(s string) string {
	if strings.IndexByte(s, '\\') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if s[i] == '\\' && i+1 < len(s) {
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

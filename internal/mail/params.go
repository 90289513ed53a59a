package mail

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// maxParams bounds the parameters of one field, and the sections of one parameter.
const maxParams = 64

// params are the parameters of a Content-Type or Content-Disposition field, in order.
type params []param

type param struct {
	// name is in lower case without RFC 2231's asterisks.
	name, value string
	// section counts continuations (RFC 2231, 3); -1 for a parameter in one piece.
	section int
	// extended says that value is percent-encoded, and the first section names the charset (RFC 2231, 4).
	extended bool
}

// parseParams reads "value; name=value; …" (RFC 2045, 5.1) as leniently as can be. value is lower case.
func parseParams(s string, d *defects) (value string, ps params) {
	value, rest, _ := strings.Cut(s, ";")
	value = strings.ToLower(strings.TrimSpace(value))
	for len(ps) < maxParams {
		if rest = skipDividers(rest); rest == "" {
			break
		}
		i := strings.IndexAny(rest, "=;")
		if i < 0 {
			break
		}
		name := rest[:i]
		if rest[i] == ';' { // a word without value
			rest = rest[i:]
			continue
		}
		var v string
		v, rest = paramValue(strings.TrimLeft(rest[i+1:], " \t\r\n"))
		ps = append(ps, newParam(name, v))
	}
	if len(ps) == maxParams && skipDividers(rest) != "" {
		d.add(DefectHeaderTooLong)
	}
	return value, ps
}

func skipDividers(s string) string { return strings.TrimLeft(s, "; \t\r\n") }

// paramValue reads a value, quoted or up to the next semicolon: senders forget the quotes around
// file names with spaces.
func paramValue(s string) (value, rest string) {
	if !strings.HasPrefix(s, `"`) {
		value, rest, _ = strings.Cut(s, ";")
		return strings.TrimSpace(value), rest
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:]
		case c == '\\' && i+1 < len(s) && (s[i+1] == '"' || s[i+1] == '\\'): // else a Windows path
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return b.String(), ""
}

func newParam(name, value string) param {
	p := param{value: value, section: -1}
	name = strings.ToLower(strings.TrimSpace(name))
	name, p.extended = strings.CutSuffix(name, "*")
	base, number, found := strings.Cut(name, "*")
	if n, err := strconv.ParseUint(number, 10, 16); found && err == nil {
		name, p.section = base, int(n)
	}
	p.name = name
	return p
}

// plain gives the value of a parameter as it stands, its sections (RFC 2231, 3) joined, for values that are not
// for people.
func (ps params) plain(name string) string {
	var joined strings.Builder
	next := 0
	for _, p := range ps {
		switch {
		case p.name != name:
		case p.section < 0 && next == 0:
			return p.value
		case p.section == next:
			joined.WriteString(p.value)
			next++
		}
	}
	return joined.String()
}

// text gives a parameter decoded: as RFC 2231 has it where there is such a form, else with encoded
// words, which RFC 2047 forbids here and everyone writes.
func (ps params) text(name string, d *defects) string {
	var single string
	var sections [maxParams]*param
	for i := range ps {
		p := &ps[i]
		switch {
		case p.name != name:
		case p.section < 0 && p.extended:
			return decodeSections([]*param{p}, d)
		case p.section < 0 && single == "":
			single = p.value
		case p.section >= 0 && p.section < maxParams && sections[p.section] == nil:
			sections[p.section] = p
		}
	}
	if sections[0] != nil {
		return decodeSections(sections[:], d)
	}
	return decodeWords(single, d)
}

// decodeSections joins sections up to the first missing one (RFC 2231, 4.1).
func decodeSections(sections []*param, d *defects) string {
	var b []byte
	var charset string
	anyExtended := false
	for i, p := range sections {
		if p == nil {
			break
		}
		v := p.value
		if !p.extended {
			b = append(b, v...)
			continue
		}
		if i == 0 {
			if label, rest, ok := strings.Cut(v, "'"); ok {
				_, text, found := strings.Cut(rest, "'")
				if found {
					charset, v = label, text
				}
			}
		}
		anyExtended = true
		b = appendUnescaped(b, v)
	}
	if !anyExtended {
		return decodeWords(string(b), d)
	}
	text, ok := DecodeText(charset, b)
	if !ok {
		d.add(DefectCharset)
	}
	return text
}

// appendUnescaped undoes percent encoding; "%" without two digits stands for itself.
func appendUnescaped(b []byte, s string) []byte {
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]) {
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
			continue
		}
		b = append(b, s[i])
	}
	return b
}

// fileName makes what a sender calls a file fit to be shown: no directories, no controls, nothing that
// turns the direction of writing (which makes "exe.txt" of "txt.exe").
func fileName(s string) string {
	s = strings.Map(func(r rune) rune {
		if r >= '\u202a' && r <= '\u202e' || r >= '\u2066' && r <= '\u2069' || r == '\u200e' || r == '\u200f' {
			return -1
		}
		return r
	}, s)
	s = s[strings.LastIndexAny(s, `/\`)+1:]
	s = shortName(readable(s, 0))
	if s == "." || s == ".." {
		return ""
	}
	return s
}

// shortName cuts a name to maxName, in the middle: what a program makes of a file hangs on how its name ends.
func shortName(s string) string {
	if len(s) <= maxName {
		return s
	}
	const ending = 64
	tail := s[len(s)-ending:]
	for !utf8.RuneStart(tail[0]) {
		tail = tail[1:]
	}
	return Clean(s, maxName-ending) + tail
}

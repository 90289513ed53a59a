package ui

import (
	"strings"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// check is one result of checking the sender: SPF, DKIM, DMARC, ARC.
type check struct {
	// Method is "spf", …; Result "pass", … (RFC 8601, 2.7). Class is good, bad or open.
	Method, Result, Class string
	// Of is what was checked, such as a domain.
	Of string
}

// Bounds on what is read for the checks.
const (
	maxChecks      = 12
	maxCheckHeader = 64 << 10
)

// checks reads Authentication-Results (RFC 8601) as our own side has written them. Only fields above the topmost
// Received are looked at: all below it came from outside, and anybody can write there what they like.
func (s *Server) checks(p *page, m *store.Message) ([]check, error) {
	raw, _, err := s.readObject(p.ctx(), m, 0, headerEnd(m), maxCheckHeader)
	if err != nil {
		return nil, err
	}
	var list []check
	for _, value := range ownResults(string(raw)) {
		list = append(list, parseResults(value)...)
	}
	return list[:min(len(list), maxChecks)], nil
}

// ownResults gives the values of the fields Authentication-Results above the topmost Received.
func ownResults(header string) []string {
	var values []string
	var field strings.Builder
	flush := func() (received bool) {
		name, value, _ := strings.Cut(field.String(), ":")
		field.Reset()
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "authentication-results":
			values = append(values, strings.TrimSpace(value))
		case "received":
			return true
		}
		return false
	}
	for line := range strings.Lines(header) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" {
			break
		}
		if line[0] != ' ' && line[0] != '\t' && flush() {
			return values
		}
		field.WriteString(line)
	}
	flush()
	return values
}

// parseResults reads the value of an Authentication-Results field (RFC 8601, 2.2): the host that checked, then
// results with their properties, divided by semicolons. What is not of that form is left out.
func parseResults(value string) []check {
	var list []check
	_, rest, _ := strings.Cut(withoutComments(value), ";")
	for statement := range strings.SplitSeq(rest, ";") {
		words := strings.Fields(statement)
		if len(words) == 0 {
			continue
		}
		method, result, ok := strings.Cut(words[0], "=")
		if method, _, _ = strings.Cut(strings.ToLower(method), "/"); !ok || !checkedFor[method] {
			continue
		}
		c := check{Method: method, Result: plain(mail.Clean(strings.ToLower(result), 20)), Of: properties(words[1:]).of(method)}
		c.Class = map[string]string{"pass": "good", "fail": "bad", "hardfail": "bad"}[c.Result]
		if c.Class == "" {
			c.Class = "open"
		}
		list = append(list, c)
	}
	return list
}

// checkedFor are the methods that the catalogue explains.
var checkedFor = map[string]bool{"spf": true, "dkim": true, "dmarc": true, "arc": true}

// properties are what a result is about, such as "header.d=example.org".
type properties []string

// of is the domain or address that a method has checked; empty when it does not say.
func (p properties) of(method string) string {
	for _, name := range map[string][]string{
		"spf": {"smtp.mailfrom=", "smtp.helo="}, "dkim": {"header.d=", "header.i="}, "dmarc": {"header.from="},
	}[method] {
		for _, word := range p {
			if strings.HasPrefix(strings.ToLower(word), name) {
				return plain(mail.Clean(strings.Trim(word[len(name):], `"`), 100))
			}
		}
	}
	return ""
}

// withoutComments takes out comments, which may be nested, and semicolons within quotes (RFC 5322, 3.2.2).
func withoutComments(value string) string {
	var b strings.Builder
	depth, quoted, escaped := 0, false, false
	for _, c := range value {
		switch {
		case escaped:
			escaped = false
			continue
		case c == '\\':
			escaped = true
			continue
		case c == '"' && depth == 0:
			quoted = !quoted
		case c == '(' && !quoted:
			depth++
			continue
		case c == ')' && !quoted && depth > 0:
			depth--
			continue
		}
		if depth == 0 && (!quoted || c != ';') {
			b.WriteRune(c)
		}
	}
	return b.String()
}

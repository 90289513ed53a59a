package ui

import (
	"strings"

	"github.com/emersion/go-msgauth/authres"

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
		_, results, err := authres.Parse(value)
		if err != nil {
			continue // one that cannot be read proves nothing
		}
		for _, r := range results {
			if c, ok := newCheck(r); ok && len(list) < maxChecks {
				list = append(list, c)
			}
		}
	}
	return list, nil
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

func newCheck(r authres.Result) (check, bool) {
	var c check
	switch r := r.(type) {
	case *authres.SPFResult:
		c = check{Method: "spf", Result: string(r.Value), Of: firstOf(r.From, r.Helo)}
	case *authres.DKIMResult:
		c = check{Method: "dkim", Result: string(r.Value), Of: firstOf(r.Domain, r.Identifier)}
	case *authres.DMARCResult:
		c = check{Method: "dmarc", Result: string(r.Value), Of: r.From}
	case *authres.ARCResult:
		c = check{Method: "arc", Result: string(r.Value)}
	default:
		return c, false
	}
	c.Of, c.Result = plain(mail.Clean(c.Of, 100)), mail.Clean(c.Result, 20)
	switch c.Result {
	case "pass":
		c.Class = "good"
	case "fail", "hardfail":
		c.Class = "bad"
	default:
		c.Class = "open"
	}
	return c, true
}

func firstOf(values ...string) string {
	for _, v := range values {
		if v != "" {
			return v
		}
	}
	return ""
}

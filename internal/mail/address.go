package mail

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/net/idna"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// ErrAddress is wrapped by every error of ParseAddress, ParseRecipient and ParseUnquoted.
var ErrAddress = errors.New("not a mail address")

// Limits of an address in octets. RFC 5321, 4.5.3.1.1 allows 64 for the local part, which VERP and SRS
// exceed every day (Postfix takes what fits into its lines, 2048 by default); the domain's limit is that of
// section 4.5.3.1.2.
const (
	maxLocal  = 1024
	maxDomain = 255
	maxLabel  = 63
	maxPath   = 4096 // with a source route and quotes
)

// Address is a mail address as the envelope has it. The zero value is the null sender.
// Compare Fold()ed values; == on unfolded ones is case-sensitive in the local part.
type Address struct {
	// Local is the local part without quotes or backslashes, as the sender wrote it otherwise, in
	// Unicode's NFC form.
	Local string
	// Domain is in lower-case A-label form (RFC 5890), without a trailing dot, or an address literal in
	// lower case with its brackets. It is empty for a bare local part only, see ParseRecipient.
	Domain string
}

// ParseAddress reads a path or mailbox of RFC 5321, 4.1.2 as SMTP, Postfix's macros or people write it:
// with or without angle brackets, with a source route (which is dropped), a quoted local part, an
// internationalised local part (RFC 6531) or domain, an address literal. "" and "<>" give the null sender.
//
// Dots may stand anywhere in an unquoted local part, as in the addresses of Japanese carriers
// ("abc..def@docomo.ne.jp", "abc.@ezweb.ne.jp"). Controls, unquoted spaces and specials, a second "@"
// outside quotes and more than 1024 octets of local part are refused. Every error wraps ErrAddress.
func ParseAddress(s string) (Address, error) {
	a, err := ParseRecipient(s)
	if err == nil && a.Domain == "" && a.Local != "" {
		return Address{}, addressError("no domain", s)
	}
	return a, err
}

// ParseRecipient is ParseAddress, but also takes a local part alone, as RFC 5321, 4.1.1.3 allows for
// "<Postmaster>"; its Domain is empty then.
func ParseRecipient(s string) (Address, error) {
	path, err := stripPath(s)
	if err != nil || path == "" {
		return Address{}, err
	}
	if path[0] == '"' {
		return parseQuoted(path)
	}
	local, domain, found := strings.Cut(path, "@")
	if strings.ContainsAny(local, " \"(),:;<>[\\]") {
		return Address{}, addressError("the local part needs quotes", s)
	}
	return newAddress(local, domain, found, s)
}

// ParseUnquoted reads the form that String gives, where the local part stands without quotes and may
// hold anything but controls: the last "@" divides. It also takes a bare local part.
func ParseUnquoted(s string) (Address, error) {
	if s == "" {
		return Address{}, nil
	}
	if i := strings.LastIndexByte(s, '@'); i >= 0 {
		return newAddress(s[:i], s[i+1:], true, s)
	}
	return newAddress(s, "", false, s)
}

// stripPath takes off angle brackets and source route.
func stripPath(s string) (string, error) {
	if len(s) > maxPath {
		return "", addressError("too long", s)
	}
	if !strings.HasPrefix(s, "<") {
		return s, nil
	}
	if len(s) < 2 || s[len(s)-1] != '>' {
		return "", addressError("no closing bracket", s)
	}
	path := s[1 : len(s)-1]
	if !strings.HasPrefix(path, "@") {
		return path, nil
	}
	// RFC 5321, 4.1.2: A-d-l, a list of "@domain" divided by commas, up to a colon.
	_, mailbox, found := strings.Cut(path, ":")
	if !found || mailbox == "" {
		return "", addressError("source route without address", s)
	}
	return mailbox, nil
}

// parseQuoted reads a mailbox whose local part is a quoted-string (RFC 5321, 4.1.2).
func parseQuoted(path string) (Address, error) {
	var local strings.Builder
	for i := 1; i < len(path); i++ {
		switch path[i] {
		case '\\':
			if i++; i == len(path) {
				return Address{}, addressError("quote not closed", path)
			}
			local.WriteByte(path[i])
		case '"':
			rest := path[i+1:]
			if rest != "" && rest[0] != '@' {
				return Address{}, addressError("text after the closing quote", path)
			}
			return newAddress(local.String(), strings.TrimPrefix(rest, "@"), rest != "", path)
		default:
			local.WriteByte(path[i])
		}
	}
	return Address{}, addressError("quote not closed", path)
}

// newAddress checks and normalises the two halves; given is the whole, for the error.
func newAddress(local, domain string, hasDomain bool, given string) (Address, error) {
	if local == "" {
		return Address{}, addressError("empty local part", given)
	}
	if len(local) > maxLocal || !utf8.ValidString(local) || strings.ContainsFunc(local, forbidden) {
		return Address{}, addressError("bad local part", given)
	}
	local = norm.NFC.String(local)
	if len(local) > maxLocal { // a few characters grow in NFC
		return Address{}, addressError("bad local part", given)
	}
	if !hasDomain {
		return Address{Local: local}, nil
	}
	d, ok := normalDomain(domain)
	if !ok {
		return Address{}, addressError("bad domain", given)
	}
	return Address{Local: local, Domain: d}, nil
}

// forbidden reports characters that no address may hold, even quoted: controls and line separators.
func forbidden(r rune) bool {
	return unicode.IsControl(r) || r == '\u2028' || r == '\u2029'
}

// toASCII maps U-labels to A-labels (UTS 46, non-transitional); names that DNS alone would refuse, such
// as those with underscores, pass.
var toASCII = idna.New(idna.MapForLookup(), idna.Transitional(false), idna.StrictDomainName(false))

// NormalDomain gives the form in which domains are compared and stored: lower-case A-labels (RFC 5890)
// without a trailing dot, or an address literal. The error wraps ErrAddress.
func NormalDomain(domain string) (string, error) {
	d, ok := normalDomain(domain)
	if !ok {
		return "", addressError("bad domain", domain)
	}
	return d, nil
}

func normalDomain(domain string) (string, bool) {
	if len(domain) > 4*maxDomain {
		return "", false
	}
	if strings.HasPrefix(domain, "[") {
		return normalLiteral(domain)
	}
	if !isASCII(domain) {
		ascii, err := toASCII.ToASCII(domain)
		if err != nil {
			return "", false
		}
		domain = ascii
	}
	domain = strings.ToLower(strings.TrimSuffix(domain, "."))
	return domain, validDomain(domain)
}

func validDomain(domain string) bool {
	if len(domain) > maxDomain {
		return false
	}
	for label := range strings.SplitSeq(domain, ".") {
		if label == "" || len(label) > maxLabel {
			return false
		}
		for i := range len(label) {
			if c := label[i]; c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') {
				return false
			}
		}
	}
	return true
}

// normalLiteral reads an address literal (RFC 5321, 4.1.3) of IPv4 or IPv6.
func normalLiteral(s string) (string, bool) {
	inner, ok := strings.CutSuffix(s[1:], "]")
	if !ok {
		return "", false
	}
	inner = strings.ToLower(inner)
	v6, tagged := strings.CutPrefix(inner, "ipv6:")
	ip, err := netip.ParseAddr(v6)
	if err != nil || ip.Zone() != "" || ip.Is6() != tagged {
		return "", false
	}
	if tagged {
		return "[ipv6:" + ip.String() + "]", true
	}
	return "[" + ip.String() + "]", true
}

func addressError(why, given string) error {
	return fmt.Errorf("%w: %s: %q", ErrAddress, why, Clean(given, 100))
}

// String gives local@domain without any quoting, "" for the null sender. ParseUnquoted is its inverse.
func (a Address) String() string {
	if a.Domain == "" {
		return a.Local
	}
	return a.Local + "@" + a.Domain
}

// SMTP gives the address as RFC 5321 writes it in a path, without angle brackets: the local part is
// quoted when it is not a Dot-string (RFC 5321, 4.1.2; RFC 6531, 3.3). ParseRecipient is its inverse, and
// ReadPath that of the addresses which only ReadPath gives.
func (a Address) SMTP() string {
	local := a.Local
	if a.IsZero() {
		return ""
	}
	if !isDotString(local) {
		local = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(local) + `"`
	}
	return Address{Local: local, Domain: a.Domain}.String()
}

func isDotString(local string) bool {
	if local == "" || local[0] == '.' || local[len(local)-1] == '.' || strings.Contains(local, "..") {
		return false
	}
	for i := range len(local) {
		if c := local[i]; c != '.' && c < utf8.RuneSelf && !isAtext(c) {
			return false
		}
	}
	return true
}

// isAtext reports the ASCII characters of an atom (RFC 5322, 3.2.3).
func isAtext(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' ||
		strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

// IsZero reports whether a is the null sender.
func (a Address) IsZero() bool { return a == Address{} }

// Fold gives the form to compare and to index: the local part with Unicode's full case folding ("ß" is "ss"),
// without any language's rules, in NFC. It is what Postfix asks a table for when a local part is not ASCII.
// Folding twice changes nothing. RFC 5321, 2.4 leaves the case of a local part to its host; ours ignores it.
func (a Address) Fold() Address {
	if isASCII(a.Local) {
		a.Local = strings.ToLower(a.Local)
		return a
	}
	a.Local = norm.NFC.String(strings.Map(foldCherokee, cases.Fold().String(norm.NFC.String(a.Local))))
	return a
}

// foldCherokee folds Cherokee to upper case, as Unicode does; package cases swaps the two instead.
func foldCherokee(r rune) rune {
	if unicode.Is(unicode.Cherokee, r) {
		return unicode.ToUpper(r)
	}
	return r
}

// Detail splits "user+detail" at the first character that is in delimiters (Postfix's
// recipient_delimiter, each byte of which is a delimiter of its own). ok is false, and base is a itself,
// when there is none or it would leave an empty local part.
func (a Address) Detail(delimiters string) (base Address, detail string, ok bool) {
	if delimiters == "" {
		return a, "", false
	}
	i := strings.IndexAny(a.Local, delimiters)
	if i <= 0 {
		return a, "", false
	}
	_, width := utf8.DecodeRuneInString(a.Local[i:])
	return Address{Local: a.Local[:i], Domain: a.Domain}, a.Local[i+width:], true
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

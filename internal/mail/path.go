package mail

import (
	"strings"

	"golang.org/x/text/unicode/norm"
)

// ReadPath reads a path (RFC 5321, 4.1.2) that an MTA has taken, quoted as SMTP has it, with or without angle
// brackets. It never fails: what is no address by ParseRecipient, such as `""@x` or a local part of 2000
// octets, becomes one that is near to it, for which SMTP and String are safe to write into a header. Only ""
// and "<>" give the null sender.
//
// It depends on nothing but its argument, and any two forms of one address that differ in brackets alone give the same: the MAC of a Scan of the
// first version covers what it gives.
func ReadPath(path string) Address {
	path = trimBrackets(path)
	if a, err := ParseRecipient("<" + path + ">"); err == nil {
		return a
	}
	text := Clean(unquote(path), maxPath)
	local, domain := text, ""
	if i := strings.LastIndexByte(text, '@'); i >= 0 {
		local, domain = text[:i], text[i+1:]
	}
	a := Address{Local: printable(local, "", maxLocal)}
	if d, ok := normalDomain(domain); ok {
		a.Domain = d
	} else {
		a.Domain = printable(domain, " \"\\<>", maxDomain)
	}
	if a.IsZero() {
		a.Local = "\uFFFD"
	}
	return a
}

func trimBrackets(path string) string {
	if len(path) >= 2 && path[0] == '<' && path[len(path)-1] == '>' {
		return path[1 : len(path)-1]
	}
	return path
}

// unquote takes quotes and the backslashes of quoted pairs out, wherever they stand.
func unquote(s string) string {
	if strings.IndexByte(s, '"') < 0 {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			continue
		case s[i] == '\\' && i+1 < len(s):
			i++
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// printable is the beginning of s in NFC, with U+FFFD for what no address may hold and for the characters in not.
func printable(s, not string, limit int) string {
	s = strings.Map(func(r rune) rune {
		if forbidden(r) || strings.ContainsRune(not, r) {
			return '\uFFFD'
		}
		return r
	}, s)
	return Clean(norm.NFC.String(s), limit)
}

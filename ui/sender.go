package ui

import (
	"strings"
	"unicode"

	"golang.org/x/net/idna"

	"github.com/mairust/mairust/internal/mail"
)

// sender is a person of a header field, as people should see it.
type sender struct {
	Name, Address string
	// Warn is the key of a warning about a name made to be mistaken for another; empty for none.
	Warn string
	// Readable is what a domain in A-labels stands for (RFC 5890), if it is one.
	Readable string
	// More counts the persons beside this one.
	More int
}

func newSender(list []mail.Person) sender {
	if len(list) == 0 {
		return sender{}
	}
	s := newSenders(list[:1])[0]
	s.More = len(list) - 1
	return s
}

func newSenders(list []mail.Person) []sender {
	out := make([]sender, 0, len(list))
	for _, p := range list {
		s := sender{Name: plain(p.Name), Address: plain(p.Address)}
		if s.Name == s.Address {
			s.Name = ""
		}
		s.Warn, s.Readable = suspicion(s.Name, s.Address)
		out = append(out, s)
	}
	return out
}

// short is the name for lists. A name that warns is not shown without its address.
func (s sender) short(p *page) string {
	switch {
	case s.Name == "" && s.Address == "":
		return p.T("message.no_sender")
	case s.Name == "":
		return s.Address
	case s.Warn != "" && s.Address != "":
		return s.Name + " <" + s.Address + ">"
	default:
		return s.Name
	}
}

// suspicion looks for what makes one sender look like another: an address in the name that is not the sender's,
// letters of several scripts in one word, a domain that is not in ASCII.
func suspicion(name, address string) (warn, readable string) {
	at := strings.LastIndexByte(address, '@')
	domain := strings.ToLower(address[at+1:])
	unicodeDomain, err := idna.Display.ToUnicode(domain)
	if err != nil {
		unicodeDomain = domain
	}
	switch {
	case mixesScripts(unicodeDomain), mixesScripts(name), at > 0 && mixesScripts(address[:at]):
		warn = "mixed"
	case strings.Contains(domain, "xn--"):
		warn = "punycode"
	case namesAnotherAddress(name, address):
		warn = "other_address"
	}
	if unicodeDomain != domain && !mixesScripts(unicodeDomain) {
		readable = unicodeDomain
	}
	return warn, readable
}

// namesAnotherAddress tells whether a display name holds an address that is not the sender's.
func namesAnotherAddress(name, address string) bool {
	for _, word := range strings.FieldsFunc(name, func(r rune) bool { return unicode.IsSpace(r) || strings.ContainsRune("<>()[]\"',;", r) }) {
		if at := strings.IndexByte(word, '@'); at > 0 && strings.ContainsRune(word[at:], '.') && !strings.EqualFold(word, address) {
			return true
		}
	}
	return false
}

// mixesScripts tells whether one word has letters of scripts that look alike (UTS 39, 5.1). Japanese mixes scripts
// by nature; those are not looked at.
func mixesScripts(text string) bool {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) }) {
		found := 0
		for _, script := range []*unicode.RangeTable{unicode.Latin, unicode.Cyrillic, unicode.Greek, unicode.Armenian, unicode.Cherokee} {
			if strings.IndexFunc(word, func(r rune) bool { return unicode.Is(script, r) }) >= 0 {
				found++
			}
		}
		if found > 1 {
			return true
		}
	}
	return false
}

// plain takes away what changes the direction of writing or is not seen: such characters disguise names.
func plain(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069, r == 0x200E, r == 0x200F, r == 0x061C, r == 0xFEFF, r == 0x200B, r == 0x00AD:
			return -1
		}
		return r
	}, text)
}

// languageOf guesses the language of a text from its letters, for the attribute lang; empty when it cannot.
func languageOf(text string) string {
	han := false
	for _, r := range text {
		switch {
		case unicode.In(r, unicode.Hiragana, unicode.Katakana):
			return "ja"
		case unicode.Is(unicode.Hangul, r):
			return "ko"
		case unicode.Is(unicode.Han, r):
			han = true
		}
	}
	if han {
		return "ja"
	}
	return ""
}

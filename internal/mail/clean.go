package mail

import (
	"strings"
	"unicode/utf8"
)

// Clean makes s safe to store in a database and to log: valid UTF-8 (bad bytes become U+FFFD), no NUL
// (U+FFFD too), and at most limit bytes, cut at a rune. A limit of 0 or less means no cut.
func Clean(s string, limit int) string {
	if limit > 0 && len(s) > limit {
		cut := limit
		for cut > 0 && cut > limit-utf8.UTFMax && !utf8.RuneStart(s[cut]) {
			cut--
		}
		s = s[:cut]
	}
	if strings.IndexByte(s, 0) < 0 && utf8.ValidString(s) {
		return s
	}
	s = strings.ToValidUTF8(s, "\uFFFD")
	s = strings.ReplaceAll(s, "\x00", "\uFFFD")
	if limit > 0 && len(s) > limit { // replacements are longer than what they replace
		return Clean(s, limit)
	}
	return s
}

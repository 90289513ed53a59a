package safe

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// cleanBytes makes b valid UTF-8 without a byte order mark and without the characters that dropRune leaves out, so that no escape
// sequence of another charset and no control character hides in a tag.
func cleanBytes(b []byte) []byte {
	b = bytes.TrimPrefix(bytes.ToValidUTF8(b, []byte("\uFFFD")), []byte("\uFEFF"))
	return bytes.Map(dropRune, b)
}

// cleanText is cleanBytes for what entities (&#27;) brought back.
func cleanText(s string) string {
	return strings.Map(dropRune, strings.ToValidUTF8(s, "\uFFFD"))
}

// dropRune leaves out control characters but tab and newlines, noncharacters, and the marks that turn the direction of
// the text that follows them, with which "gpj.exe" reads "exe.jpg".
func dropRune(r rune) rune {
	switch {
	case r == '\t', r == '\n':
		return r
	case r == '\r':
		return -1
	case r < 0x20, r >= 0x7F && r <= 0x9F:
		return -1
	case r >= 0x202A && r <= 0x202E, r >= 0x2066 && r <= 0x2069:
		return -1
	case r == 0xFEFF, r >= 0xFDD0 && r <= 0xFDEF, r&0xFFFE == 0xFFFE:
		return -1
	}
	return r
}

// cut returns at most limit bytes of s, whole characters only.
func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	for limit > 0 && !utf8.RuneStart(s[limit]) {
		limit--
	}
	return s[:limit]
}

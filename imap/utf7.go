package imap

import (
	"encoding/base64"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// utf7Base64 is the alphabet of modified UTF-7 (RFC 3501, 5.1.3).
var utf7Base64 = base64.NewEncoding("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+,").WithPadding(base64.NoPadding)

// encodeUTF7 writes a mailbox name in modified UTF-7.
func encodeUTF7(s string) string {
	var out strings.Builder
	for len(s) > 0 {
		n := 0
		for n < len(s) && (s[n] < ' ' || s[n] > '~') {
			n++
		}
		if n > 0 {
			var raw []byte
			for _, u := range utf16.Encode([]rune(s[:n])) {
				raw = append(raw, byte(u>>8), byte(u))
			}
			out.WriteString("&" + utf7Base64.EncodeToString(raw) + "-")
			s = s[n:]
			continue
		}
		if s[0] == '&' {
			out.WriteString("&-")
		} else {
			out.WriteByte(s[0])
		}
		s = s[1:]
	}
	return out.String()
}

// decodeUTF7 reads a mailbox name in modified UTF-7, or in UTF-8 as careless clients send it.
func decodeUTF7(s string) (string, bool) {
	if !utf8.ValidString(s) {
		return "", false
	}
	var out strings.Builder
	for {
		before, rest, found := strings.Cut(s, "&")
		out.WriteString(before)
		if !found {
			return out.String(), true
		}
		shifted, after, closed := strings.Cut(rest, "-")
		if !closed {
			return "", false
		}
		s = after
		if shifted == "" {
			out.WriteByte('&')
			continue
		}
		raw, err := utf7Base64.DecodeString(shifted)
		if err != nil || len(raw)%2 != 0 {
			return "", false
		}
		units := make([]uint16, len(raw)/2)
		for i := range units {
			units[i] = uint16(raw[2*i])<<8 | uint16(raw[2*i+1])
		}
		out.WriteString(string(utf16.Decode(units)))
	}
}

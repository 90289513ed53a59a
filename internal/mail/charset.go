package mail

import (
	"bytes"
	"io"
	"strings"
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/htmlindex"
	"golang.org/x/text/encoding/ianaindex"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/encoding/korean"
	"golang.org/x/text/encoding/simplifiedchinese"
	"golang.org/x/text/transform"
)

// labelled are the names that mail uses for charsets and that the registries do not know, or know as
// something narrower than what senders mean by them. nil means UTF-8 and ASCII, which need no decoding.
var labelled = map[string]encoding.Encoding{
	"utf-8": nil, "utf8": nil, "us-ascii": nil, "ascii": nil, "x-utf_8j": nil,

	"iso-2022-jp": iso2022JP{}, "iso-2022-jp-1": iso2022JP{}, "iso-2022-jp-2": iso2022JP{},
	"iso-2022-jp-3": iso2022JP{}, "iso-2022-jp-2004": iso2022JP{}, "iso-2022-jp-ms": iso2022JP{},
	"csiso2022jp": iso2022JP{}, "iso2022jp": iso2022JP{}, "iso-2022jp": iso2022JP{}, "x-iso-2022-jp": iso2022JP{}, "jis": iso2022JP{},
	"cp50220": iso2022JP{}, "cp50221": iso2022JP{}, "cp50222": iso2022JP{},

	"shift_jis": japanese.ShiftJIS, "shift-jis": japanese.ShiftJIS, "sjis": japanese.ShiftJIS, "x-sjis": japanese.ShiftJIS,
	"ms_kanji": japanese.ShiftJIS, "windows-31j": japanese.ShiftJIS, "cp932": japanese.ShiftJIS, "ms932": japanese.ShiftJIS,
	"sjis-win": japanese.ShiftJIS, "shift_jis-2004": japanese.ShiftJIS, "shift_jisx0213": japanese.ShiftJIS, "ms-kanji": japanese.ShiftJIS,
	"shiftjis": japanese.ShiftJIS, "csshiftjis": japanese.ShiftJIS, "cswindows31j": japanese.ShiftJIS, "windows-932": japanese.ShiftJIS,
	"x-windows-31j": japanese.ShiftJIS, "cp943": japanese.ShiftJIS,

	"euc-jp": japanese.EUCJP, "eucjp": japanese.EUCJP, "x-euc-jp": japanese.EUCJP, "eucjp-win": japanese.EUCJP,
	"eucjp-ms": japanese.EUCJP, "cp51932": japanese.EUCJP, "ujis": japanese.EUCJP,

	"gb2312": simplifiedchinese.GB18030, "gbk": simplifiedchinese.GB18030, "cp936": simplifiedchinese.GB18030,
	"gb18030": simplifiedchinese.GB18030, "x-gbk": simplifiedchinese.GB18030,

	"euc-kr": korean.EUCKR, "ks_c_5601-1987": korean.EUCKR, "ksc5601": korean.EUCKR, "cp949": korean.EUCKR,

	// What says Latin-1 is windows-1252 in practice (WHATWG Encoding Standard).
	"iso-8859-1": charmap.Windows1252, "latin1": charmap.Windows1252,
}

// DecodeText gives b, labelled with a charset or with "", as valid UTF-8. A label that is missing, unknown or
// plainly wrong is replaced by a guess among UTF-8, ISO-2022-JP, Shift_JIS, EUC-JP and windows-1252; then ok
// is false, but for text without label that is UTF-8 or ISO-2022-JP. What cannot be read becomes U+FFFD.
func DecodeText(label string, b []byte) (text string, ok bool) {
	enc, ok := chooseCharset(label, b)
	if enc == nil {
		return strings.ToValidUTF8(string(b), "\uFFFD"), ok
	}
	out, err := enc.NewDecoder().Bytes(b)
	if err != nil { // decoders replace what they cannot read; only a broken one gets here
		return strings.ToValidUTF8(string(b), "\uFFFD"), false
	}
	return strings.ToValidUTF8(string(out), "\uFFFD"), ok
}

// charsetReader decodes b as it is read; see DecodeText. What cannot be read comes as U+FFFD or as the
// byte it is.
func charsetReader(label string, b []byte) (r io.Reader, ok bool) {
	enc, ok := chooseCharset(label, b)
	if enc == nil {
		return bytes.NewReader(b), ok
	}
	return transform.NewReader(bytes.NewReader(b), enc.NewDecoder()), ok
}

// chooseCharset finds the charset that b is in; nil is UTF-8. ok is false when that is a guess, against
// the label.
func chooseCharset(label string, b []byte) (enc encoding.Encoding, ok bool) {
	label = strings.ToLower(label)
	enc, known := labelled[label]
	switch {
	case label == "" || known && enc == nil:
		if utf8.Valid(b) && !hasJISEscape(b) {
			return nil, true
		}
		return guess(b), label == "" && hasJISEscape(b)
	case enc == (iso2022JP{}) && !hasJISEscape(b) && has8Bit(b):
		return guess(b), false
	case known:
		return enc, true
	}
	if enc := registered(label); enc != nil {
		return enc, true
	}
	return guess(b), false
}

// registered looks in IANA's registry, then in WHATWG's.
func registered(label string) encoding.Encoding {
	if enc, err := ianaindex.MIME.Encoding(label); err == nil && enc != nil {
		return enc
	}
	if enc, err := htmlindex.Get(label); err == nil && enc != encoding.Replacement {
		return enc
	}
	return nil
}

// guess chooses the charset of text without a usable label; nil is UTF-8.
func guess(b []byte) encoding.Encoding {
	switch {
	case hasJISEscape(b) && !has8Bit(b):
		return iso2022JP{}
	case mostlyUTF8(b):
		return nil
	}
	sjis, euc := scoreShiftJIS(b), scoreEUCJP(b)
	switch {
	case sjis <= 0 && euc <= 0:
		return charmap.Windows1252
	case euc >= sjis:
		return japanese.EUCJP
	default:
		return japanese.ShiftJIS
	}
}

// mostlyUTF8 reports text in which at most one of ten characters outside ASCII is broken, or that is only
// cut short at its end.
func mostlyUTF8(b []byte) bool {
	good, bad := 0, 0
	for len(b) > 0 {
		if b[0] < utf8.RuneSelf {
			b = b[1:]
			continue
		}
		r, n := utf8.DecodeRune(b)
		switch {
		case r != utf8.RuneError || n > 1:
			good++
		case !utf8.FullRune(b):
			return good > 0 && good >= 9*bad
		default:
			bad++
		}
		b = b[n:]
	}
	return good >= 9*bad
}

func has8Bit(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return true
		}
	}
	return false
}

// hasJISEscape looks for the escape sequences of ISO-2022-JP (RFC 1468) that lead to Japanese: two bytes
// a character ("ESC $"), or half-width kana ("ESC ( I").
func hasJISEscape(b []byte) bool {
	for {
		i := bytes.IndexByte(b, 0x1b)
		if i < 0 || i+2 >= len(b) {
			return false
		}
		b = b[i+1:]
		if b[0] == '$' && (b[1] == 'B' || b[1] == '@' || b[1] == '(') || b[0] == '(' && b[1] == 'I' {
			return true
		}
	}
}

// The scores count what Japanese is made of: kana and punctuation twice, common kanji (JIS level 1) once,
// rare kanji not at all, half-width kana against. Bytes that cannot be in the charset count heavily against, so
// that Latin text comes out at zero or below.
const (
	likely   = 2
	possible = 1
	unlikely = -1
	wrong    = -10
)

// scoreShiftJIS judges b as Shift_JIS with the extensions of code page 932.
func scoreShiftJIS(b []byte) (score int) {
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case c < 0x80:
			continue
		case c >= 0xa1 && c <= 0xdf:
			score += unlikely
			continue
		case c == 0x80 || c == 0xa0 || c > 0xfc:
			score += wrong
			continue
		}
		if i++; i == len(b) {
			break
		}
		t := b[i]
		switch {
		case t < 0x40 || t == 0x7f || t > 0xfc:
			score += wrong
		case c >= 0x81 && c <= 0x83:
			score += likely
		case c >= 0x88 && c <= 0x97:
			score += possible
		}
	}
	return score
}

// scoreEUCJP judges b as EUC-JP.
func scoreEUCJP(b []byte) (score int) {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c < 0x80 {
			continue
		}
		if i++; i == len(b) {
			break
		}
		t := b[i]
		switch {
		case c == 0x8e && t >= 0xa1 && t <= 0xdf:
			score += unlikely
		case c == 0x8f && t >= 0xa1:
			i++
		case c < 0xa1 || c == 0xff || t < 0xa1 || t == 0xff:
			score += wrong
		case c == 0xa1 || c == 0xa4 || c == 0xa5:
			score += likely
		case c >= 0xb0 && c <= 0xcf:
			score += possible
		}
	}
	return score
}

package mail

import (
	"bytes"
	"io"
	"slices"
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
// is false, but for text without label that is UTF-8 or ISO-2022-JP. Labels that mailers give to anything (ASCII, UTF-8,
// Latin-1, ISO-2022-JP) are wrong when b says so, others only when they are unknown. What cannot be read becomes U+FFFD.
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
	if !known {
		enc = registered(label)
		known = enc != nil
	}
	switch {
	case enc == nil:
		return chooseUnlabelled(b, label == "", known)
	case enc == (iso2022JP{}):
		return chooseISO2022JP(b)
	case enc == charmap.Windows1252 || enc == charmap.ISO8859_1:
		return chooseLatin1(b)
	case (enc == japanese.ShiftJIS || enc == japanese.EUCJP) && isJIS(b):
		return iso2022JP{}, false
	}
	return enc, true
}

// chooseUnlabelled is for text without a label that means anything, known for ASCII and UTF-8.
func chooseUnlabelled(b []byte, bare, known bool) (enc encoding.Encoding, ok bool) {
	switch {
	case isJIS(b):
		return iso2022JP{}, bare
	case utf8.Valid(b) || isUTF8(b):
		return nil, bare || known
	}
	return guess(b), false
}

// chooseISO2022JP is for text that says ISO-2022-JP. Without its escapes text of eight bits is something else, but for
// half-width kana.
func chooseISO2022JP(b []byte) (enc encoding.Encoding, ok bool) {
	if hasJISEscape(b) || !has8Bit(b) || allKana(b) && hasFewMarks(b) && !utf8.Valid(b) {
		return iso2022JP{}, true
	}
	return guess(b), false
}

// chooseLatin1 is for text that says Latin-1, which is what programs say that know nothing of charsets. Text that could be
// Latin-1 as well is.
func chooseLatin1(b []byte) (enc encoding.Encoding, ok bool) {
	switch {
	case isJIS(b):
		return iso2022JP{}, false
	case isUTF8(b):
		return nil, false
	}
	if enc := guessJapanese(b); enc != nil {
		return enc, false
	}
	return charmap.Windows1252, true
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

// isJIS reports ISO-2022-JP, of seven bits but for half-width kana.
func isJIS(b []byte) bool { return hasJISEscape(b) && allKana(b) }

// allKana reports text in which all that is outside ASCII can be half-width kana (JIS X 0201) in one byte each.
func allKana(b []byte) bool {
	return !slices.ContainsFunc(b, func(c byte) bool { return c >= utf8.RuneSelf && (c < 0xa1 || c > 0xdf) })
}

// hasFewMarks reports text in which punctuation is less than a third of what is half-width kana: in EUC-JP the same bytes
// begin hiragana.
func hasFewMarks(b []byte) bool {
	kana, marks := 0, 0
	for _, c := range b {
		if c >= 0xa1 {
			kana++
			if c <= 0xa5 {
				marks++
			}
		}
	}
	return 3*marks < kana
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

package mail

import (
	"encoding/base64"
	"strings"
	"unicode"
	"unicode/utf8"
)

// DecodeHeader gives the value of an unstructured header field, or of any other to be searched as text, as
// people read it: unfolded, with encoded words (RFC 2047) and raw bytes in any charset decoded, white space
// folded, controls removed. The result is Clean and at most limit bytes long (0: no limit). Only the first
// 4×limit bytes of value are looked at.
func DecodeHeader(value string, limit int) string {
	if limit > 0 && len(value) > 4*limit {
		value = value[:4*limit]
	}
	return readable(decodeWords(decodeRaw(unfold(value), nil), nil), limit)
}

var unfolder = strings.NewReplacer("\r\n", "", "\n", "")

// unfold takes out the line ends of a folded value (RFC 5322, 2.2.3).
func unfold(value string) string {
	if strings.IndexByte(value, '\n') < 0 {
		return value
	}
	return unfolder.Replace(value)
}

// readable folds white space and removes controls.
func readable(s string, limit int) string {
	return Clean(foldSpace(s), limit)
}

// foldSpace makes each run of white space and controls one space, none at the ends. Ideographic space
// (U+3000) is a character of its own in Japanese and stays, except at the ends.
func foldSpace(s string) string {
	s = strings.TrimFunc(s, blank)
	if plainSpaced(s) {
		return s
	}
	var b strings.Builder
	space := false
	for _, r := range s {
		if blank(r) && r != '\u3000' {
			space = true
			continue
		}
		if space {
			b.WriteByte(' ')
			space = false
		}
		b.WriteRune(r)
	}
	return b.String()
}

// plainSpaced reports ASCII text that folding would not change.
func plainSpaced(s string) bool {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= 0x7f || c == ' ' && i > 0 && s[i-1] == ' ' {
			return false
		}
	}
	return true
}

func blank(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

// decodeRaw turns bytes that are not ASCII into UTF-8 when they are something else, as in mail that
// knows nothing of RFC 2047.
func decodeRaw(s string, d *defects) string {
	if isASCII(s) && strings.IndexByte(s, 0x1b) < 0 {
		return s
	}
	b := []byte(s)
	if utf8.Valid(b) && !hasJISEscape(b) {
		return s
	}
	if d != nil {
		d.add(DefectRawHeader)
	}
	text, _ := DecodeText("", b)
	return text
}

// encodedWord is one "=?charset?encoding?text?=" of RFC 2047, decoded as far as bytes.
type encodedWord struct {
	charset string
	bytes   []byte
}

// decodeWords decodes all encoded words in s, wherever they stand: senders put them into quotes and leave
// out the spaces around them. Words of one charset that follow each other are joined before
// decoding, since many mailers cut them in the middle of a character. Bad ones stay as they are.
func decodeWords(s string, d *defects) string {
	if !strings.Contains(s, "=?") {
		return s
	}
	var out strings.Builder
	var open encodedWord // words not yet written
	for {
		i := strings.Index(s, "=?")
		if i < 0 {
			break
		}
		w, n := parseWord(s[i:])
		between := s[:i]
		switch {
		case n == 0:
			open.flush(&out, d)
			out.WriteString(between + "=?")
			n = len("=?")
			if d != nil {
				d.add(DefectEncodedWord)
			}
		case open.charset != "" && strings.TrimLeft(between, " \t\r\n") == "" && open.charset == w.charset:
			open.bytes = append(open.bytes, w.bytes...)
		default:
			afterWord := open.charset != ""
			open.flush(&out, d)
			if !afterWord || strings.TrimLeft(between, " \t\r\n") != "" {
				out.WriteString(between)
			}
			open = w
		}
		s = s[i+n:]
	}
	open.flush(&out, d)
	out.WriteString(s)
	return out.String()
}

func (w *encodedWord) flush(out *strings.Builder, d *defects) {
	if w.charset == "" {
		return
	}
	text, ok := DecodeText(w.charset, w.bytes)
	if !ok && d != nil {
		d.add(DefectEncodedWord)
	}
	out.WriteString(text)
	*w = encodedWord{}
}

// maxCharset bounds the name of a charset.
const maxCharset = 64

// parseWord reads the encoded word at the beginning of s; n is its length, 0 if there is none. None of its
// three parts may hold "?", so that it never looks further than the next few of them.
func parseWord(s string) (w encodedWord, n int) {
	rest := s[len("=?"):]
	q := strings.IndexByte(rest[:min(len(rest), maxCharset)], '?')
	if q <= 0 || len(rest) < q+3 || rest[q+2] != '?' {
		return w, 0
	}
	name, how := rest[:q], rest[q+1]
	if strings.ContainsAny(name, " =\t\r\n\"") {
		return w, 0
	}
	text := rest[q+3:]
	end := strings.IndexByte(text, '?')
	if end < 0 || !strings.HasPrefix(text[end:], "?=") {
		return w, 0
	}
	name, _, _ = strings.Cut(name, "*") // a language, RFC 2231, 5
	if name == "" {
		return w, 0
	}
	w.charset = strings.ToLower(name)
	switch how {
	case 'B', 'b':
		w.bytes = decodeBase64(text[:end])
	case 'Q', 'q':
		w.bytes = decodeQ(text[:end])
	default:
		return w, 0
	}
	return w, len("=?") + q + 3 + end + len("?=")
}

func decodeBase64(s string) []byte {
	if b, err := base64.StdEncoding.DecodeString(s); err == nil {
		return b
	}
	var d base64Decoder
	return d.finish(d.decode(nil, []byte(s)))
}

// decodeQ undoes the "Q" encoding (RFC 2047, 4.2); "=" without two digits stands for itself.
func decodeQ(s string) []byte {
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '_':
			b = append(b, ' ')
		case c == '=' && i+2 < len(s) && isHex(s[i+1]) && isHex(s[i+2]):
			b = append(b, unhex(s[i+1])<<4|unhex(s[i+2]))
			i += 2
		default:
			b = append(b, c)
		}
	}
	return b
}

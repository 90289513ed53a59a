package mail

import (
	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/japanese"
	"golang.org/x/text/transform"
)

// iso2022JP is ISO-2022-JP as senders make it, not as RFC 1468 has it: with the half-width kana and the
// characters of NEC and IBM of CP50221 and CP50222, kana with the eighth bit set (JIS X 0201), and the escapes of
// ISO-2022-JP-1 (JIS X 0212) and of ISO-2022-JP-3 and -2004 (JIS X 0213, of which what stands at the same place in
// JIS X 0208 or NEC's row 13 is read). A line begins in ASCII, however the one before it ended.
// It can be decoded only.
type iso2022JP struct{}

func (iso2022JP) NewDecoder() *encoding.Decoder {
	return &encoding.Decoder{Transformer: transform.Chain(new(jisToEUC), japanese.EUCJP.NewDecoder())}
}

func (iso2022JP) NewEncoder() *encoding.Encoder { return japanese.ISO2022JP.NewEncoder() }

// jisSet is a set of characters that an escape sequence selects.
type jisSet int

const (
	jisASCII jisSet = iota
	jisKana         // JIS X 0201, half-width
	jisX0208
	jisX0212
	jisX0213    // its first plane
	jisUnknown2 // two bytes a character, none of which is known
)

// jisToEUC makes EUC-JP of ISO-2022-JP: EUC-JP says with the eighth bit what ISO-2022-JP says with escape
// sequences. It keeps no more than the set that is selected.
type jisToEUC struct {
	set jisSet
	// shifted is between SO and SI, where each byte is kana (CP50222).
	shifted bool
}

// unreadable is a byte that EUC-JP has no use for; its decoder makes U+FFFD of it.
const unreadable = 0xff

// Reset implements transform.Transformer.
func (j *jisToEUC) Reset() { *j = jisToEUC{} }

// Transform implements transform.Transformer.
func (j *jisToEUC) Transform(dst, src []byte, atEOF bool) (nDst, nSrc int, err error) {
	for nSrc < len(src) {
		if len(dst)-nDst < 3 {
			return nDst, nSrc, transform.ErrShortDst
		}
		rest := src[nSrc:]
		if rest[0] == 0x1b {
			set, n := jisEscape(rest)
			switch {
			case n > 0:
				j.set = set
			case n < 0 && !atEOF:
				return nDst, nSrc, transform.ErrShortSrc
			case n < 0: // cut short: no text is lost
				n = len(rest)
			default:
				dst[nDst], n = unreadable, 1
				nDst++
			}
			nSrc += n
			continue
		}
		if len(rest) == 1 && j.double(rest[0]) && !atEOF {
			return nDst, nSrc, transform.ErrShortSrc
		}
		out, n := j.character(dst[:nDst], rest)
		nDst, nSrc = len(out), nSrc+n
	}
	return nDst, nSrc, nil
}

// double reports the first byte of two.
func (j *jisToEUC) double(c byte) bool {
	return j.set >= jisX0208 && !j.shifted && c > 0x20 && c < 0x7f
}

// character takes the first character of src, of n bytes, and appends it to dst in EUC-JP: three bytes at most.
func (j *jisToEUC) character(dst, src []byte) (out []byte, n int) {
	switch c := src[0]; {
	case c == '\r' || c == '\n':
		j.Reset()
		return append(dst, c), 1
	case c == 0x0e || c == 0x0f: // SO, SI
		j.shifted = c == 0x0e
		return dst, 1
	case c >= 0xa1 && c <= 0xdf, (j.set == jisKana || j.shifted) && c >= 0x21 && c <= 0x5f:
		return append(dst, 0x8e, c|0x80), 1
	case c > 0x7f, j.set == jisKana && c > 0x5f && c < 0x7f:
		return append(dst, unreadable), 1
	case !j.double(c):
		return append(dst, c), 1
	case len(src) == 1 || src[1] <= 0x20 || src[1] >= 0x7f: // half a character
		return append(dst, unreadable), 1
	}
	return j.pair(dst, src[0]|0x80, src[1]|0x80), 2
}

// pair appends a character of two bytes, which come with the eighth bit set.
func (j *jisToEUC) pair(dst []byte, row, cell byte) []byte {
	switch {
	case j.set == jisX0212:
		return append(dst, 0x8f, row, cell)
	case j.set == jisUnknown2 || j.set == jisX0213 && !sameInX0213(row):
		return append(dst, unreadable)
	}
	return append(dst, row, cell)
}

// sameInX0213 reports rows of which JIS X 0213 has at the same places what JIS X 0208 with the row 13 of NEC has.
// The others are those where NEC put characters of IBM.
func sameInX0213(row byte) bool {
	n := row - 0xa0
	return n <= 8 || n == 13 || n >= 16 && n <= 84
}

// jisEscapes are the escape sequences, of which none begins another. Of Roman letters (JIS X 0201) all but
// two are ASCII, and these two are not meant where they are used.
var jisEscapes = []struct {
	seq string
	set jisSet
}{
	{"\x1b(B", jisASCII}, {"\x1b(J", jisASCII}, {"\x1b(H", jisASCII}, // the last is Swedish, and a mistake
	{"\x1b(I", jisKana},
	{"\x1b$B", jisX0208}, {"\x1b$@", jisX0208}, {"\x1b$(B", jisX0208}, {"\x1b$(@", jisX0208}, {"\x1b&@\x1b$B", jisX0208},
	{"\x1b$(D", jisX0212},
	{"\x1b$(O", jisX0213}, {"\x1b$(Q", jisX0213},
	{"\x1b$(P", jisUnknown2},                          // the second plane of JIS X 0213
	{"\x1b$A", jisUnknown2}, {"\x1b$(C", jisUnknown2}, // Chinese and Korean of ISO-2022-JP-2
	{"\x1b$(?", jisUnknown2}, // users' own, of ISO-2022-JP-MS
}

// jisEscape reads the escape sequence of n bytes at the beginning of b; n is 0 when it is none, and
// less than 0 when b may be the beginning of one.
func jisEscape(b []byte) (set jisSet, n int) {
	for _, e := range jisEscapes {
		k := min(len(b), len(e.seq))
		switch {
		case string(b[:k]) != e.seq[:k]:
		case k == len(e.seq):
			return e.set, k
		default:
			n = -1
		}
	}
	return jisASCII, n
}

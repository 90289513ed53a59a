package mail

import (
	"unicode/utf8"

	"golang.org/x/text/encoding"
	"golang.org/x/text/encoding/charmap"
	"golang.org/x/text/encoding/japanese"
)

// guess chooses the charset of text without a usable label; nil is UTF-8.
func guess(b []byte) encoding.Encoding {
	switch {
	case isJIS(b):
		return iso2022JP{}
	case mostlyUTF8(b):
		return nil
	}
	if enc := guessJapanese(b); enc != nil {
		return enc
	}
	return charmap.Windows1252
}

// guessJapanese chooses between Shift_JIS and EUC-JP; nil means that b is most likely neither.
func guessJapanese(b []byte) encoding.Encoding {
	switch {
	case weighEUCJP(b).convincing():
		return japanese.EUCJP
	case weighShiftJIS(b).convincing():
		return japanese.ShiftJIS
	}
	return nil
}

// isUTF8 reports text outside ASCII that is UTF-8; it may be cut short at its end.
func isUTF8(b []byte) bool {
	good, bad := countUTF8(b)
	return good > 0 && bad == 0
}

// mostlyUTF8 reports text in which at most one of ten characters outside ASCII is broken, or that is only
// cut short at its end.
func mostlyUTF8(b []byte) bool {
	good, bad := countUTF8(b)
	return good >= 9*bad && (good > 0 || !has8Bit(b))
}

// countUTF8 counts characters outside ASCII, and bytes that are part of none. A beginning at the end is neither.
func countUTF8(b []byte) (good, bad int) {
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
			return good, bad
		default:
			bad++
		}
		b = b[n:]
	}
	return good, bad
}

func has8Bit(b []byte) bool {
	for _, c := range b {
		if c >= utf8.RuneSelf {
			return true
		}
	}
	return false
}

// likeness is what a character tells of the text it stands in, when that is taken for one of the charsets of two bytes.
// Latin text with a few accents, quotes and dashes can nearly always be read as kanji too, but as rare ones, or as
// ones that stand alone among ASCII.
type likeness int

const (
	saysNothing likeness = iota
	broken               // the charset has no such character
	rare                 // level 2 kanji, and those of NEC, IBM and of users
	common               // level 1 kanji and full-width letters, of bytes that Latin text may have in a row
	firm                 // the same, of bytes that it seldom has
	strong               // kana, and kanji of bytes that it never has
)

// weight sums up what the characters tell.
type weight struct {
	strong, common, rare, broken int
	// cut says that the text ends in half a character.
	cut bool
	// end is where the last common character ended, and lastFirm whether it was firm.
	end      int
	lastFirm bool
}

// add takes the character at b[begin:end]. Two in a row are as strong as kana.
func (w *weight) add(l likeness, begin, end int) {
	switch l {
	case broken:
		w.broken++
	case rare:
		w.rare++
	case common, firm, strong:
		w.common++
		isFirm := l > common
		if l == strong || w.end == begin && begin > 0 && (isFirm || w.lastFirm) {
			w.strong++
		}
		w.end, w.lastFirm = end, isFirm
	}
}

// convincing says that it is the charset. It allows a few bytes that somebody spoiled in much Japanese.
func (w weight) convincing() bool {
	if w.cut && w.strong < 2 {
		return false
	}
	return w.strong > 0 && w.strong >= 20*w.broken && w.common >= w.rare
}

// weighShiftJIS takes b for Shift_JIS with the extensions of code page 932.
func weighShiftJIS(b []byte) (w weight) {
	for i := 0; i < len(b); i++ {
		c := b[i]
		switch {
		case c < 0x80 || c >= 0xa1 && c <= 0xdf: // half-width kana, which are capitals in Latin-1
			continue
		case c == 0x80 || c == 0xa0 || c > 0xfc:
			w.add(broken, i, i+1)
			continue
		case i+1 == len(b):
			w.cut = true
			continue
		}
		l := likenessShiftJIS(c, b[i+1])
		if isRow(c, b[i+1]) && l != broken {
			l = saysNothing
		}
		w.add(l, i, i+2)
		if l != broken { // else the next byte may be a character of its own
			i++
		}
	}
	return w
}

// isRow says whether a character would be one byte twice: a row of bullets, dots or other signs, as in card numbers and menus, is read as a few
// kanji of that kind, which are in a row too.
func isRow(lead, trail byte) bool { return lead == trail }

func likenessShiftJIS(lead, trail byte) likeness {
	switch {
	case trail < 0x40 || trail == 0x7f || trail > 0xfc,
		lead == 0x82 && (trail < 0x4f || trail > 0xf1), lead == 0x83 && trail > 0xd6, lead == 0x88 && trail < 0x9f,
		lead == 0x85, lead == 0x86, lead == 0xef, lead == 0xfc && trail > 0x4b:
		return broken
	case lead == 0x81: // punctuation; and "ü" of old PCs
		return firm
	case lead == 0x82 && trail >= 0x9f, lead == 0x83 && trail <= 0x96:
		return strong
	case lead == 0x82:
		return common
	case lead == 0x83, lead == 0x84, lead == 0x87:
		return saysNothing
	case lead < 0x98 || lead == 0x98 && trail <= 0x72:
		return likenessKanji(lead, trail)
	}
	return rare
}

// likenessKanji judges level 1 kanji of Shift_JIS. In windows-1252 and its sisters 0x91 to 0x97 are quotes and dashes, 0x8A to
// 0x8C and 0x8E letters and a quote. ASCII follows them, but no backslash.
func likenessKanji(lead, trail byte) likeness {
	switch {
	case trail == '\\':
		return strong
	case trail < 0x80:
		return common
	case lead > 0x90, lead >= 0x8a && lead <= 0x8c, lead == 0x8e:
		return firm
	}
	return strong
}

// weighEUCJP takes b for EUC-JP.
func weighEUCJP(b []byte) (w weight) {
	for i := 0; i < len(b); i++ {
		c := b[i]
		if c < 0x80 {
			continue
		}
		n := 2
		if c == 0x8f {
			n = 3
		}
		if i+n > len(b) {
			w.cut = true
			break
		}
		l := likenessEUCJP(c, b[i+1], b[i+n-1])
		if isRow(c, b[i+1]) && l != broken {
			l = saysNothing
		}
		w.add(l, i, i+n)
		if l != broken {
			i += n - 1
		}
	}
	return w
}

func likenessEUCJP(lead, trail, last byte) likeness {
	switch {
	case trail < 0xa1 || trail == 0xff, last < 0xa1 || last == 0xff, lead == 0x8e && trail > 0xdf, lead < 0xa1 && lead != 0x8e && lead != 0x8f,
		lead == 0xa4 && trail > 0xf3, lead == 0xa5 && trail > 0xf6, lead >= 0xa9 && lead <= 0xac, lead == 0xae, lead == 0xaf,
		lead >= 0xf5 && lead <= 0xf8, lead > 0xfc:
		return broken
	case lead == 0xa4 || lead == 0xa5:
		return strong
	case lead == 0xa1 || lead == 0xa3 || lead >= 0xb0 && lead <= 0xcf:
		return firm
	case lead == 0x8f || lead >= 0xd0:
		return rare
	}
	return saysNothing
}

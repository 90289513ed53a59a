package outbound

import (
	"encoding/binary"
	"hash/fnv"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"

	"github.com/mairust/mairust/internal/mail"
)

const (
	// shingle is how many letters are hashed together.
	shingle = 8
	// leastText is how many letters a text must have to tell one message from another.
	leastText = 40
)

// fingerprint is a number that two messages share when their texts are nearly the same: it is made of the two least of all
// hashes of eight letters in a row (min-wise hashing), which a name in the salutation or a number seldom changes. Case, digits,
// spaces and signs don't count, nor does more than the beginning of the text. Without enough text it is made of the
// attachments; 0 means that there is nothing to go by.
func fingerprint(m *mail.Message) uint64 {
	letters := lettersOf(m.Summary.Preview)
	if len(letters) < leastText {
		return attachmentsPrint(m, letters)
	}
	first, second := ^uint64(0), ^uint64(0)
	for i := 0; i+shingle <= len(letters); i++ {
		h := hashLetters(letters[i : i+shingle])
		switch {
		case h < first:
			first, second = h, first
		case h > first && h < second:
			second = h
		}
	}
	return mix(first ^ mix(second))
}

// lettersOf are the letters of a text, alike in all their forms. Hosts of links count, with their letters.
func lettersOf(text string) []rune {
	var letters []rune
	for _, r := range norm.NFKC.String(text) {
		if unicode.IsLetter(r) {
			letters = append(letters, unicode.ToLower(r))
		}
	}
	return letters
}

func hashLetters(letters []rune) uint64 {
	h := uint64(14695981039346656037)
	for _, r := range letters {
		h = (h ^ uint64(r)) * 1099511628211
	}
	return mix(h)
}

// mix spreads bits (the finaliser of MurmurHash3).
func mix(h uint64) uint64 {
	h ^= h >> 33
	h *= 0xff51afd7ed558ccd
	h ^= h >> 33
	h *= 0xc4ceb9fe1a85ec53
	return h ^ h>>33
}

// attachmentsPrint tells a message with little text by what is attached, by links and by the little text.
func attachmentsPrint(m *mail.Message, letters []rune) uint64 {
	h := fnv.New64a()
	some := false
	for _, p := range m.Summary.Attachments() {
		some = true
		_, _ = h.Write([]byte(p.Type + "\x00"))
		_, _ = h.Write(binary.BigEndian.AppendUint64(nil, uint64(p.DecodedSize)))
	}
	if len(m.Summary.Hosts) > 0 {
		some = true
		_, _ = h.Write([]byte(strings.Join(m.Summary.Hosts, "\x00")))
	}
	if !some {
		return 0
	}
	_, _ = h.Write([]byte(string(letters)))
	return h.Sum64()
}

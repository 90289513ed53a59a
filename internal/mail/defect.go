package mail

import "slices"

// Defects that a Summary can name.
const (
	// DefectNoHeader: the message begins with its body.
	DefectNoHeader = "no_header"
	// DefectNoBlankLine: a header ends without a blank line between it and the body.
	DefectNoBlankLine = "no_blank_line"
	// DefectHeaderTooLong: a header was longer than Limits allow, or a field had more parameters than anyone
	// writes; only its beginning was read.
	DefectHeaderTooLong = "header_too_long"
	// DefectNUL: there are NUL bytes.
	DefectNUL = "nul"
	// DefectBareLF and DefectBareCR: lines end without CR, or a CR stands alone.
	DefectBareLF = "bare_lf"
	DefectBareCR = "bare_cr"
	// DefectLongLine: a line is longer than the 998 octets of RFC 5322, 2.1.1.
	DefectLongLine = "long_line"
	// DefectRawHeader: a header field has characters outside ASCII that are not valid UTF-8 (RFC 6532),
	// or an escape sequence of ISO-2022-JP outside an encoded word.
	DefectRawHeader = "raw_header"
	// DefectEncodedWord: an encoded word could not be decoded as it says.
	DefectEncodedWord = "encoded_word"
	// DefectDuplicateField: a field that may stand once stands more often; the first counts.
	DefectDuplicateField = "duplicate_field"
	// DefectContentType: a Content-Type could not be read.
	DefectContentType = "content_type"
	// DefectNoBoundary: a multipart names no boundary (or one of over 1024 bytes), and is taken for one part; or
	// one that never comes, so that no part was found.
	DefectNoBoundary = "no_boundary"
	// DefectUnclosed: a multipart has no closing boundary.
	DefectUnclosed = "unclosed_multipart"
	// DefectTooManyPersons: addresses beyond Limits were left out.
	DefectTooManyPersons = "too_many_persons"
	// DefectTooManyParts and DefectTooDeep: parts beyond Limits were not looked at.
	DefectTooManyParts = "too_many_parts"
	DefectTooDeep      = "too_deep"
	// DefectEncodedMessage: an attached message has a transfer encoding, which RFC 2046, 5.2.1 forbids; it was
	// not looked into.
	DefectEncodedMessage = "encoded_message"
	// DefectCharset: a charset is unknown or not the one the text is in; it was guessed.
	DefectCharset = "charset"
	// DefectDate: the Date field is there but unreadable.
	DefectDate = "date"
	// DefectNoFrom: there is no From field, or no address in it.
	DefectNoFrom = "no_from"
)

// allDefects is the closed list.
var allDefects = []string{
	DefectNoHeader, DefectNoBlankLine, DefectHeaderTooLong, DefectNUL, DefectBareLF, DefectBareCR, DefectLongLine,
	DefectRawHeader, DefectEncodedWord, DefectDuplicateField, DefectContentType, DefectNoBoundary, DefectUnclosed,
	DefectTooManyPersons, DefectTooManyParts, DefectTooDeep, DefectEncodedMessage, DefectCharset, DefectDate, DefectNoFrom,
}

// AllDefects gives every word that Defects of a Summary may hold.
func AllDefects() []string { return slices.Clone(allDefects) }

// Unexplored reports that a message may have parts which are not in s, so that nobody can say what is attached.
func (s *Summary) Unexplored() bool {
	return slices.ContainsFunc(s.Defects, func(word string) bool {
		switch word {
		case DefectHeaderTooLong, DefectTooManyParts, DefectTooDeep, DefectNoBoundary, DefectEncodedMessage:
			return true
		}
		return false
	})
}

// defects is a set that keeps the order of discovery.
type defects []string

func (d *defects) add(word string) {
	if !slices.Contains(*d, word) {
		*d = append(*d, word)
	}
}

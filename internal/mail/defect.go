package mail

import "slices"

// Defects that a Summary can name.
const (
	// DefectNoHeader: the message begins with its body.
	DefectNoHeader = "no_header"
	// DefectNoBlankLine: a header ends without a blank line between it and the body.
	DefectNoBlankLine = "no_blank_line"
	// DefectHeaderTooLong: a header was longer than Limits allow; only its beginning was read.
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
	// DefectNoBoundary: a multipart names no boundary, and is taken for one part.
	DefectNoBoundary = "no_boundary"
	// DefectUnclosed: a multipart has no closing boundary.
	DefectUnclosed = "unclosed_multipart"
	// DefectTooManyPersons: addresses beyond Limits were left out.
	DefectTooManyPersons = "too_many_persons"
	// DefectTooManyParts and DefectTooDeep: parts beyond Limits were not looked at.
	DefectTooManyParts = "too_many_parts"
	DefectTooDeep      = "too_deep"
	// DefectCharset: a charset is unknown or not the one the text is in; it was guessed.
	DefectCharset = "charset"
	// DefectDate: the Date field is there but unreadable.
	DefectDate = "date"
	// DefectNoFrom: there is no From field, or no address in it.
	DefectNoFrom = "no_from"
)

// defects is a set that keeps the order of discovery.
type defects []string

func (d *defects) add(word string) {
	if !slices.Contains(*d, word) {
		*d = append(*d, word)
	}
}

package mail

import (
	"bytes"
	"strings"
)

// headerField is a field that Summarize reads; fieldOther is any other.
type headerField int

const (
	fieldOther headerField = iota
	fieldSubject
	fieldFrom
	fieldReplyTo
	fieldTo
	fieldCc
	fieldMessageID
	fieldInReplyTo
	fieldDate
	fieldReceived
	fieldContentType
	fieldEncoding
	fieldDisposition
	fieldContentID
	fieldCount
)

// maxRaw is how much of each field is kept before decoding.
var maxRaw = [fieldCount]int{
	fieldSubject: 16 << 10, fieldFrom: 64 << 10, fieldReplyTo: 64 << 10, fieldTo: 64 << 10, fieldCc: 64 << 10,
	fieldMessageID: 4 << 10, fieldInReplyTo: 4 << 10, fieldDate: 1 << 10, fieldReceived: 8 << 10,
	fieldContentType: 16 << 10, fieldEncoding: 1 << 10, fieldDisposition: 16 << 10, fieldContentID: 4 << 10,
}

// header collects the fields of one entity that matter, the first of each name.
type header struct {
	buf   []byte
	spans [fieldCount]struct{ start, end int }
	seen  [fieldCount]bool
	// current takes continuation lines; fieldOther drops them.
	current headerField
	fields  int
	bytes   int
	defects *defects
}

func (h *header) reset(d *defects) {
	*h = header{buf: h.buf[:0], defects: d}
}

// lineKind says what a line is within a header.
type lineKind int

const (
	lineField lineKind = iota
	lineBlank          // the end of the header
	lineBody           // no field at all: the body begins here, without a blank line
)

// add takes the next piece of a line.
func (h *header) add(p piece, l Limits) lineKind {
	switch {
	case !p.first:
		h.keep(p.text, l)
		return lineField
	case len(p.text) == 0 && len(p.eol) > 0:
		return lineBlank
	case p.text[0] == ' ' || p.text[0] == '\t':
		if h.fields == 0 {
			return lineBody
		}
		h.keep([]byte("\r\n"), l)
		h.keep(p.text, l)
		return lineField
	}
	colon := bytes.IndexByte(p.text, ':')
	if colon <= 0 || !isFieldName(bytes.TrimRight(p.text[:colon], " \t")) {
		if h.fields == 0 && bytes.HasPrefix(p.text, []byte("From ")) { // of an mbox
			return lineField
		}
		return lineBody
	}
	h.begin(bytes.TrimRight(p.text[:colon], " \t"), l)
	h.keep(p.text[colon+1:], l)
	return lineField
}

// begin starts the field of that name.
func (h *header) begin(name []byte, l Limits) {
	h.fields++
	h.bytes += len(name)
	h.current = knownField(name)
	if h.fields > l.Fields {
		h.defects.add(DefectHeaderTooLong)
		h.current = fieldOther
	}
	if h.current == fieldOther {
		return
	}
	if h.seen[h.current] {
		if h.current != fieldReceived {
			h.defects.add(DefectDuplicateField)
		}
		h.current = fieldOther
		return
	}
	h.seen[h.current] = true
	h.spans[h.current].start, h.spans[h.current].end = len(h.buf), len(h.buf)
}

// keep appends to the current field as far as the limits go.
func (h *header) keep(text []byte, l Limits) {
	h.bytes += len(text)
	if h.bytes > l.HeaderBytes {
		h.defects.add(DefectHeaderTooLong)
		return
	}
	if h.current == fieldOther {
		return
	}
	span := &h.spans[h.current]
	room := maxRaw[h.current] - (span.end - span.start)
	if len(text) > room {
		h.defects.add(DefectHeaderTooLong)
		text = text[:room]
	}
	h.buf = append(h.buf, text...)
	span.end = len(h.buf)
}

// folded gives a field with its line ends.
func (h *header) folded(f headerField) string {
	return string(h.buf[h.spans[f].start:h.spans[f].end])
}

// value gives a field unfolded and in UTF-8.
func (h *header) value(f headerField) string {
	if h.spans[f].start == h.spans[f].end {
		return ""
	}
	return strings.TrimSpace(decodeRaw(unfold(h.folded(f)), h.defects))
}

// isFieldName checks RFC 5322, 2.2: printable ASCII without colon.
func isFieldName(name []byte) bool {
	for _, c := range name {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return len(name) > 0
}

func knownField(name []byte) headerField {
	var lower [len("content-transfer-encoding")]byte
	if len(name) > len(lower) {
		return fieldOther
	}
	for i, c := range name {
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		lower[i] = c
	}
	switch string(lower[:len(name)]) {
	case "subject":
		return fieldSubject
	case "from":
		return fieldFrom
	case "reply-to":
		return fieldReplyTo
	case "to":
		return fieldTo
	case "cc":
		return fieldCc
	case "message-id":
		return fieldMessageID
	case "in-reply-to":
		return fieldInReplyTo
	case "date":
		return fieldDate
	case "received":
		return fieldReceived
	case "content-type":
		return fieldContentType
	case "content-transfer-encoding":
		return fieldEncoding
	case "content-disposition":
		return fieldDisposition
	case "content-id":
		return fieldContentID
	}
	return fieldOther
}

// fill writes what the header of the whole message says into s, as far as there is room.
func (h *header) fill(s *Summary, l Limits, room *budget) {
	d := h.defects
	s.Subject = readable(decodeWords(h.value(fieldSubject), d), maxSubject)
	if id := msgID(h.value(fieldMessageID)); room.take(0, id) {
		s.MessageID = id
	}
	if id := msgID(h.value(fieldInReplyTo)); room.take(0, id) {
		s.InReplyTo = id
	}
	for _, list := range []struct {
		field   headerField
		persons *[]Person
	}{{fieldFrom, &s.From}, {fieldReplyTo, &s.ReplyTo}, {fieldTo, &s.To}, {fieldCc, &s.Cc}} {
		*list.persons = room.keepPersons(parsePersons(h.value(list.field), l.Persons, d), d)
	}
	if h.seen[fieldReceived] {
		s.Top = parseReceived(h.folded(fieldReceived))
	}
	if len(s.From) == 0 || s.From[0].Address == "" {
		d.add(DefectNoFrom)
	}
	if date := h.value(fieldDate); date != "" {
		if s.Date = ParseDate(date).UTC(); s.Date.IsZero() {
			d.add(DefectDate)
		}
	}
}

// msgID gives the first message id of a field without its brackets (RFC 5322, 3.6.4).
func msgID(value string) string {
	if _, rest, ok := strings.Cut(value, "<"); ok {
		value, _, _ = strings.Cut(rest, ">")
	}
	return readable(value, maxName)
}

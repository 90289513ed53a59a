package mail

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Limits bound what Summarize keeps of a message; zero values mean the defaults. Memory stays below a few
// megabytes whatever the message, and time linear in its size.
type Limits struct {
	// HeaderBytes and Fields that are looked at in the header of each part; default 256 KiB and 2000.
	HeaderBytes int
	Fields      int
	// Parts and Depth of the MIME tree; default 1000 and 64.
	Parts int
	Depth int
	// Persons per address field; default 100.
	Persons int
	// Bytes is how much parts, persons and other strings may take together, about as they are when encoded
	// as JSON; default 64 KiB. The header of the message has half of it, so that it can't crowd out the parts.
	// Parts and persons beyond it are left out. Subject and preview have bounds of their own.
	Bytes int
	// Preview is the length of the preview in characters; default 256.
	Preview int
	// Text is how much decoded text is looked at for the preview, in bytes, not counting style sheets, scripts and
	// comments of HTML; default 64 KiB.
	Text int
	// Hosts of web links that are looked for in that text; 0 is none.
	Hosts int
}

func (l Limits) withDefaults() Limits {
	for _, f := range []struct {
		value   *int
		initial int
	}{
		{&l.HeaderBytes, 256 << 10}, {&l.Fields, 2000}, {&l.Parts, 1000}, {&l.Depth, 64},
		{&l.Persons, 100}, {&l.Bytes, 64 << 10}, {&l.Preview, 256}, {&l.Text, 64 << 10},
	} {
		if *f.value <= 0 {
			*f.value = f.initial
		}
	}
	return l
}

// What strings of a Summary are cut to, in bytes.
const (
	maxSubject   = 2 << 10
	maxName      = 1 << 10
	maxBoundary  = 1 << 10 // RFC 2046, 5.1.1 allows 70
	maxMediaType = 127     // RFC 6838, 4.2 allows 127 each
	maxEncoding  = 32
)

// Summarize reads the message in r to its end, once, in pieces, and keeps what fits into limits. Any input is
// a message: one without header, without line ends, with lines of any length. The error is r's own,
// wrapped; the Summary is nil then.
func Summarize(r io.Reader, limits Limits) (*Summary, error) {
	w := newWalker(r, limits.withDefaults())
	defer w.release()
	if err := w.walk(); err != nil {
		return nil, fmt.Errorf("read message: %w", err)
	}
	s := w.sum
	s.Preview = w.body.preview(s.Parts, w.limits.Preview, &w.defects)
	s.Hosts = w.body.linkHosts()
	if w.lines.nul {
		w.defects.add(DefectNUL)
	}
	s.Defects = w.defects
	return s, nil
}

// Attachments gives the parts that a person would call attachments, in document order. These are the leaves,
// and the attached messages as a whole, that
//   - say so (Content-Disposition), or
//   - have a file name, pictures shown within HTML included, or
//   - are not text and have no Content-ID (pictures within HTML have one).
//
// Containers and what is inside an attached message are none.
func (s *Summary) Attachments() []Part {
	var found []Part
	for _, p := range OwnParts(s.Parts) {
		if p.isAttachment() {
			found = append(found, p)
		}
	}
	return found
}

// OwnParts leaves out the parts that are inside an attached message: what its sender wrote is not the message's own text.
func OwnParts(parts []Part) []Part {
	var own []Part
	inside := -1 // depth of the attached message that the part is in
	for _, p := range parts {
		if inside >= 0 && p.Depth > inside {
			continue
		}
		inside = -1
		if p.isMessage() {
			inside = p.Depth
		}
		own = append(own, p)
	}
	return own
}

// AllAttachments gives what is an attachment by the same words, be it in the message or in an attached one.
func (s *Summary) AllAttachments() []Part {
	var found []Part
	for _, p := range s.Parts {
		if p.isAttachment() {
			found = append(found, p)
		}
	}
	return found
}

func (p Part) isMessage() bool {
	return p.Type == "message/rfc822" || p.Type == "message/global"
}

func (p Part) isAttachment() bool {
	if strings.HasPrefix(p.Type, "multipart/") {
		return false
	}
	return p.Disposition == "attachment" || p.Name != "" ||
		!strings.HasPrefix(p.Type, "text/") && p.ContentID == ""
}

// Summary is what a message says of itself, read in one pass with bounded memory. Every string is Clean.
// Malformed input gives a poorer summary, never an error.
type Summary struct {
	Subject string
	From    []Person
	ReplyTo []Person
	To      []Person
	Cc      []Person
	// MessageID and InReplyTo (the first, when there are several) are without angle brackets.
	MessageID string
	InReplyTo string
	// Date is in UTC; the zero time when the field is missing or unreadable.
	Date time.Time
	// Preview is the beginning of the readable text, of all parts that are shown, white space folded.
	Preview string
	// Hosts are those of web links in the readable text, in lower case, each once, as far as Limits ask for them.
	Hosts []string `json:",omitempty"`
	// Parts are the leaves and containers of the MIME tree in document order; at least one.
	Parts []Part
	// Top is the topmost Received field.
	Top Received
	// SizeBytes is the length of the whole message, HeaderBytes that of its header with the blank line.
	SizeBytes, HeaderBytes int64
	// Defects name what was malformed, from a closed list, for tags and the log.
	Defects []string
}

// Person is one address of a header field, decoded for people.
type Person struct {
	Name string `json:"name,omitempty"`
	// Address is as written; it may be malformed.
	Address string `json:"address,omitempty"`
}

// Part is one MIME entity.
type Part struct {
	// ID is the IMAP section number (RFC 9051, 6.4.5): "1", "2.1"; a container has one too ("" for the root,
	// "2.TEXT" for the one that is the body of the attached message "2").
	ID string `json:"id"`
	// Type is "type/subtype" in lower case.
	Type string `json:"type"`
	// Charset as labelled, lower case; empty when not given.
	Charset string `json:"charset,omitempty"`
	// Encoding is the content transfer encoding in lower case: "7bit", "base64", …
	Encoding string `json:"encoding,omitempty"`
	// Disposition is "attachment", "inline", or empty.
	Disposition string `json:"disposition,omitempty"`
	// Name is the file name, decoded (RFC 2231, RFC 2047, raw bytes), without directories.
	Name string `json:"name,omitempty"`
	// ContentID without angle brackets.
	ContentID string `json:"content_id,omitempty"`
	// Offset and Size locate the encoded body in the bytes that Summarize read.
	Offset int64 `json:"offset"`
	Size   int64 `json:"size"`
	// DecodedSize is the length after transfer decoding.
	DecodedSize int64 `json:"decoded_size"`
	// LineDigits is how many digits each line of a base64 body has, without its CRLF, but for the last line that has any; 0
	// when they differ, and in what older versions have stored.
	LineDigits int `json:"line_digits,omitempty"`
	// Depth is 0 for the root.
	Depth int `json:"depth"`
}

// Received is what is known of a Received field (RFC 5321, 4.4).
type Received struct {
	// By is the host that wrote it, in lower case; ID is its queue id.
	By, ID string
	// At is when it says that the message came, in UTC; zero when it has no date that can be read.
	At time.Time
}

package mail

import "time"

// Summary is what a message says of itself, read in one pass with bounded memory. Every string is Clean.
// Malformed input gives a poorer summary, never an error.
type Summary struct {
	Subject   string
	From      []Person
	ReplyTo   []Person
	To        []Person
	Cc        []Person
	MessageID string
	InReplyTo string
	// Date is the zero time when the field is missing or unreadable.
	Date time.Time
	// Preview is the beginning of the readable text, white space folded.
	Preview string
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
	// ID is the IMAP section number (RFC 9051, 6.4.5): "1", "2.1"; a container has one too ("" for the root).
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
	// Depth is 0 for the root.
	Depth int `json:"depth"`
}

// Received is what is known of a Received field (RFC 5321, 4.4).
type Received struct {
	// By is the host that wrote it, in lower case; ID is its queue id.
	By, ID string
}

package wire

import "time"

// Person is one address of a header field, decoded for people. It is what the sender wrote: never trust it.
type Person struct {
	Name    string `json:"name,omitempty"`
	Address string `json:"address,omitempty"`
}

// Message is a message as lists show it.
type Message struct {
	ID         string    `json:"id"`
	MailboxID  string    `json:"mailbox_id"`
	Mailbox    string    `json:"mailbox" doc:"The address of the mailbox."`
	Folder     string    `json:"folder"`
	UID        uint32    `json:"uid" doc:"The UID in the folder, as IMAP has it."`
	ReceivedAt time.Time `json:"received_at"`
	SizeBytes  int64     `json:"size_bytes" doc:"The length of what /raw answers."`
	// SHA256 is the digest of what /raw answers, in hex.
	SHA256 string `json:"sha256" doc:"The SHA-256 of what /raw answers, in hex."`

	Subject   string     `json:"subject"`
	From      []Person   `json:"from" nullable:"false"`
	To        []Person   `json:"to" nullable:"false"`
	Cc        []Person   `json:"cc,omitempty" nullable:"false"`
	ReplyTo   []Person   `json:"reply_to,omitempty" nullable:"false"`
	Date      *time.Time `json:"date,omitempty" doc:"The Date field, when there is one that can be read."`
	MessageID string     `json:"message_id,omitempty" doc:"The Message-ID field."`
	InReplyTo string     `json:"in_reply_to,omitempty"`
	Preview   string     `json:"preview,omitempty"`

	EnvelopeFrom string   `json:"envelope_from" doc:"Empty for the null sender."`
	EnvelopeRcpt string   `json:"envelope_rcpt"`
	QueueID      string   `json:"queue_id,omitempty"`
	Verdict      string   `json:"verdict,omitempty" enum:"allow,tag,quarantine,tempfail,reject"`
	Score        float64  `json:"score"`
	Tags         []string `json:"tags" nullable:"false"`
	Flags        []string `json:"flags" nullable:"false"`
	Defects      []string `json:"defects,omitempty" nullable:"false" doc:"What is malformed."`

	HasAttachments bool `json:"has_attachments"`
}

// MessageDetail is one message with what is in it.
type MessageDetail struct {
	Message
	Attachments []Attachment `json:"attachments" nullable:"false"`
	// Text is the beginning of the readable text, at most 64 KiB. It is text: never put it into HTML unescaped.
	Text          string `json:"text,omitempty" doc:"The readable text, at most 64 KiB: that of all parts that are the message's own and no attachment, in their order, with a line of dashes between two. HTML is turned into text where there is no plain alternative. Escape it before you show it in HTML."`
	TextTruncated bool   `json:"text_truncated,omitempty" doc:"There is more of the text than this: /raw answers the whole message."`
	// BodyError is set when the body could not be read; all else is right.
	BodyError *BodyError `json:"body_error,omitempty" doc:"Set when the body cannot be read right now; all else is right."`
}

// Attachment is a part of a message that can be fetched by its id.
type Attachment struct {
	ID        string `json:"id" example:"2" doc:"The section number of the part, as IMAP has it."`
	Name      string `json:"name,omitempty" doc:"As the sender wrote it."`
	Type      string `json:"type" example:"application/pdf" doc:"As the sender wrote it."`
	SizeBytes int64  `json:"size_bytes" doc:"After decoding."`
	Inline    bool   `json:"inline,omitempty"`
	ContentID string `json:"content_id,omitempty"`
}

// BodyError tells why there is no body.
type BodyError struct {
	Code    string `json:"code" example:"body_unavailable"`
	Message string `json:"message"`
}

// Package mail is the vocabulary that every front and the store share: addresses, envelopes,
// messages under judgement, verdicts, and a bounded summary of a MIME message.
//
// It is a leaf: it imports none of our packages and does no I/O of its own.
package mail

import (
	"io"
	"net/netip"
	"time"
)

// Envelope is what SMTP says of a message, as opposed to what the message says of itself.
type Envelope struct {
	// From is the reverse path. The zero Address is the null sender (RFC 5321, 4.5.5).
	From Address
	// Rcpt are the recipients that were accepted, in the order of RCPT.
	Rcpt []Recipient
	// QueueID is Postfix's name for the message; empty until it has one.
	QueueID string
	// Host is the Postfix host ({j} or LHLO), for telling queue ids of several hosts apart.
	Host string
	// EnvID is the ENVID of MAIL (RFC 3461), as the client wrote it; empty for none.
	EnvID string
	// Client is who speaks to Postfix. Its facts come from Postfix, never from the message.
	Client Client
}

// Recipient is one accepted recipient.
type Recipient struct {
	Address Address
	// Mailer is Postfix's transport for it ({rcpt_mailer}): "lmtp", "local", "smtp", …; empty when unknown.
	Mailer string
}

// Client is the SMTP client as Postfix sees it.
type Client struct {
	// Addr is the zero value for a local submission (sendmail).
	Addr netip.Addr
	// Name is the verified host name, empty when there is none.
	Name string
	Helo string
	// Login is the SASL user name, empty for an unauthenticated session.
	Login string
}

// Field is one header field with its bytes as they came.
type Field struct {
	// Name is everything before the colon.
	Name string
	// Value is everything after the colon, with its leading space, folded with CRLF, without the final CRLF.
	Value string
}

// Message is a message that a check judges: whole, read-only, and valid only during the check.
type Message struct {
	Envelope
	// Direction says which way the message goes.
	Direction Direction
	// Header holds the fields in order, without those that MaiRust removes.
	Header []Field
	// SizeBytes is the length of what Open yields.
	SizeBytes int64
	// Summary is what the message says of itself, as far as it could be read.
	Summary *Summary
	// Received is when MAIL FROM came.
	Received time.Time
	// Open yields header, blank line and body with CRLF line ends. It may be called many times and
	// by several goroutines; each reader is closed by its user.
	Open func() (io.ReadCloser, error)
}

// Direction says whether a message comes in, goes out, or was born on the Postfix host.
type Direction int

// The directions.
const (
	Inbound  Direction = iota // from a stranger
	Outbound                  // from an authenticated account
	Local                     // through sendmail(1), by non_smtpd_milters
)

// String gives the word used in logs, rules and metrics.
func (d Direction) String() string {
	switch d {
	case Outbound:
		return "outbound"
	case Local:
		return "local"
	default:
		return "inbound"
	}
}

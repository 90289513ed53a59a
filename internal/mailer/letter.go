package mailer

import (
	"bytes"
	"fmt"
	"mime"
	"mime/quotedprintable"
	"strings"
	"time"
	"unicode"
)

// Letter is what a mail says.
type Letter struct {
	// Subject is one line; controls are left out of it.
	Subject string
	// Text is plain text with lines that end in "\n".
	Text string
	// At is the date.
	At time.Time
	// ID is the left side of the Message-ID, the same for a letter that is sent again; a random one when empty.
	ID string
}

// compose writes the mail, with what a proof of it is made of when it goes to some of those who are named in it.
func (m *Mailer) compose(l Letter, to []string) ([]byte, Received) {
	is := Received{From: m.options.From, To: to, Subject: encodeSubject(l.Subject), MessageID: "<" + l.ID + "@" + m.hostname + ">"}
	var b bytes.Buffer
	for _, field := range [][2]string{
		{"From", "<" + m.options.From + ">"},
		{"To", "<" + strings.Join(m.options.To, ">, <") + ">"},
		{"Subject", is.Subject},
		{"Date", l.At.UTC().Format(time.RFC1123Z)},
		{"Message-ID", is.MessageID},
		{"Auto-Submitted", "auto-generated"}, // RFC 3834: nobody's program is to answer
		{"MIME-Version", "1.0"},
		{"Content-Type", "text/plain; charset=utf-8"},
		{"Content-Transfer-Encoding", "quoted-printable"},
	} {
		fmt.Fprintf(&b, "%s: %s\r\n", field[0], field[1])
	}
	b.WriteString("\r\n")
	head := b.Len()
	body := quotedprintable.NewWriter(&b)
	_, _ = body.Write([]byte(l.Text)) // a Buffer takes everything
	_ = body.Close()
	is.Body = bytes.NewReader(b.Bytes()[head:])
	return b.Bytes(), is
}

// encodeSubject writes encoded words (RFC 2047), one a line, where ASCII does not do.
func encodeSubject(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, text)
	return strings.ReplaceAll(mime.BEncoding.Encode("utf-8", text), "?= =?", "?=\r\n =?")
}

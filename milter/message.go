package milter

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/mairust/mairust/internal/mail"
)

const (
	// maxRecipients bounds the envelope; Postfix's own bound is 1000 (smtpd_recipient_limit).
	maxRecipients = 10_000
	// maxHeaderBytes bounds the header fields kept apart for checks; the spool has them all.
	maxHeaderBytes = 1 << 20
	// maxForged bounds the X-MaiRust fields from outside in one message. Mail has a few of them for each site like ours that it has passed;
	// a message with more is refused. Postfix reads the header up to the field for each that it takes away: 64 behind a header of
	// 10 MB take it some 3 s, which is what it takes to receive that.
	maxForged = 64
	// maxHosts bounds the different hosts of links that are looked at in mail that goes out.
	maxHosts = 64
	// ownPrefix begins the names of the fields that only MaiRust may write, in lower case.
	ownPrefix = "x-mairust-"
)

// message is what is known of the message in progress.
type message struct {
	from        mail.Address
	rcpt        []mail.Recipient
	unknownRcpt bool // there are more, of which nothing is known
	queueID     string
	login       string
	received    time.Time
	sending     Sending // nil unless it goes out
	hold        bool    // would have been refused, had there been anybody to refuse

	header      []mail.Field
	headerBytes int
	headerEnded bool
	forged      []forgedField // maxForged of them, in all, at most
	forgedCount int
	tooForged   bool

	spool *spool
	body  *mail.BodyHash
}

// forgedField is a field name of ours that came from outside, and how often.
type forgedField struct {
	name  string
	count int
}

func (s *session) newMessage(from string) *message {
	msg := &message{
		from:     sender(from, s.macros),
		received: s.srv.now(),
		spool:    &spool{dir: s.srv.dir, memory: s.srv.spoolMemory, max: s.srv.spoolMax},
		body:     mail.NewBodyHash(),
	}
	msg.noteMacros(s.macros)
	return msg
}

// noteMacros keeps what comes at some stages only: the login with MAIL, the queue id no later than the end of the header.
func (msg *message) noteMacros(m macros) {
	msg.login = orDefault(msg.login, m.clean("auth_authen"))
	msg.queueID = orDefault(m.clean("i"), msg.queueID)
}

func (msg *message) addRecipient(to mail.Address, m macros) {
	msg.noteMacros(m)
	msg.rcpt = append(msg.rcpt, mail.Recipient{Address: to, Mailer: m.clean("rcpt_mailer")})
}

// recipient reads the argument of RCPT, and Postfix's resolved form of it where that can't be read.
func recipient(to, resolved string) mail.Address {
	a, err := mail.ParseAddress(to)
	if err != nil {
		a = mail.ReadPath(orDefault(resolved, to))
	}
	return a
}

// addField takes a field with its leading space and the line ends that Postfix gives, which are LF.
func (msg *message) addField(name, value string) {
	if strings.HasPrefix(strings.ToLower(name), ownPrefix) {
		msg.addForged(strings.ToLower(name))
		return
	}
	value = strings.ReplaceAll(strings.ReplaceAll(value, "\r\n", "\n"), "\n", "\r\n")
	_, _ = io.WriteString(msg.spool, name+":"+value+"\r\n")
	msg.headerBytes += len(name) + len(value) + 3
	if msg.headerBytes <= maxHeaderBytes {
		msg.header = append(msg.header, mail.Field{Name: name, Value: value})
	}
}

func (msg *message) addForged(name string) {
	if msg.forgedCount == maxForged {
		msg.tooForged = true
		return
	}
	msg.forgedCount++
	i := slices.IndexFunc(msg.forged, func(f forgedField) bool { return f.name == name })
	if i < 0 {
		i = len(msg.forged)
		msg.forged = append(msg.forged, forgedField{name: name})
	}
	msg.forged[i].count++
}

func (msg *message) endHeader() {
	if !msg.headerEnded {
		_, _ = io.WriteString(msg.spool, "\r\n")
		msg.headerEnded = true
	}
}

func (msg *message) addBody(p []byte) {
	msg.endHeader()
	_, _ = msg.spool.Write(p)
	_, _ = msg.body.Write(p)
}

// facts is what is known of the message without its content.
func (s *session) facts() *mail.Message {
	msg := s.msg
	m := &mail.Message{
		Envelope: mail.Envelope{
			From:    msg.from,
			Rcpt:    msg.rcpt,
			QueueID: msg.queueID,
			Host:    s.host,
			Client:  s.client,
		},
		Direction: s.direction(msg.login),
		Header:    msg.header,
		SizeBytes: msg.spool.Size(),
		Summary:   &mail.Summary{SizeBytes: msg.spool.Size()},
		Received:  msg.received,
		Open:      msg.spool.Open,
	}
	m.Client.Login = msg.login
	return m
}

// examine adds what the checks see of the content. Only an unreadable spool is an error.
func (s *session) examine(m *mail.Message) error {
	if err := s.msg.spool.Err(); err != nil {
		return err
	}
	if len(s.srv.sources) == 0 && s.msg.sending == nil {
		return nil
	}
	summary, err := s.summarize()
	if err == nil {
		m.Summary = summary
	}
	return err
}

// summarize reads the spool once. A panic there must not turn one strange message into a 451 for
// ever: the message is then judged with an empty summary.
func (s *session) summarize() (summary *mail.Summary, err error) {
	defer func() {
		if v := recover(); v != nil {
			s.srv.metrics.panics.Inc()
			s.srv.log.Error("panic while reading a message", "queue_id", s.msg.queueID, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
			summary, err = &mail.Summary{SizeBytes: s.msg.spool.Size()}, nil
		}
	}()
	r, err := s.msg.spool.Open()
	if err != nil {
		return nil, err
	}
	limits := mail.Limits{}
	if s.msg.sending != nil {
		limits = OutboundLimits()
	}
	summary, err = mail.Summarize(r, limits)
	return summary, errors.Join(err, r.Close())
}

// OutboundLimits are those with which mail that goes out is read, so that its text can be told from another.
func OutboundLimits() mail.Limits { return mail.Limits{Preview: outboundText, Hosts: maxHosts} }

// sender prefers Postfix's resolved form of the reverse path, which is mostly what LMTP is given: a bare "root" has a domain there,
// and "()" is the null sender.
func sender(arg string, m macros) mail.Address {
	if resolved, ok := m.lookup("{mail_addr}"); ok {
		arg = resolved
	}
	return mail.ReadPath(arg)
}

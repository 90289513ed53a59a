package milter

import (
	"fmt"
	"net/netip"
	"runtime/debug"
	"strings"

	"github.com/mairust/mairust/internal/mail"
)

// session is one connection of Postfix, that is one SMTP session (two after XCLIENT).
type session struct {
	srv     *Server
	wire    *wire
	role    string
	options options // as agreed upon
	macros  macros  // of the command that comes

	host   string // {j}
	daemon string // {daemon_name}
	client mail.Client
	msg    *message // nil between messages
}

// serve agrees on what is told and then takes commands until the connection ends.
func (s *session) serve() {
	if !s.shakeHands() {
		return
	}
	for {
		c, data, err := s.wire.next()
		if err != nil {
			s.wire.report(err)
			return
		}
		if !s.take(c, data) {
			return
		}
	}
}

// shakeHands takes the first packet; false when nothing comes of it.
func (s *session) shakeHands() bool {
	c, data, err := s.wire.next()
	if err == nil && c != cmdNegotiate {
		err = fmt.Errorf("%w: it begins with %q and not a handshake", errMalformed, byte(c))
	}
	if err != nil {
		s.wire.report(err)
		return false
	}
	ours, err := s.accept(readOffer(data))
	if err != nil {
		s.srv.log.Error("milter handshake refused", "err", err)
		return false
	}
	s.options = ours.options
	s.wire.say(cmdNegotiate, ours.String())
	return true
}

// take does what a command wants, and answers; false ends the connection, which Postfix answers with 451 when a message is in
// progress. It never says "accept", which would end the filtering of what else comes.
func (s *session) take(c code, data []byte) (goOn bool) {
	defer s.rescue(&goOn)
	switch c {
	case cmdMacros:
		s.macros = append(s.macros[:0], data[1:]...)
	case cmdConnect:
		s.connect(readConnect(data))
		s.goOn(noConnReply)
	case cmdHelo:
		name, _ := cutString(data)
		s.client.Helo = mail.Clean(name, 255)
		s.goOn(noHeloReply)
	case cmdMail:
		s.answerUnless(noMailReply, s.mailFrom(path(data), envID(data)))
	case cmdRcpt:
		s.answerUnless(noRcptReply, s.rcptTo(path(data)))
	case cmdField:
		name, rest := cutString(data)
		value, _ := cutString(rest)
		s.field(name, value)
		s.goOn(noFieldReply)
	case cmdEndOfHeader:
		s.endOfHeader()
		s.goOn(noEOHReply)
	case cmdBody:
		s.body(data)
		s.goOn(noBodyReply)
	case cmdEnd:
		s.body(data) // Postfix 3.7 sends the last piece before, others with it
		s.answer(s.end())
	case cmdAbort:
		s.macros = s.macros[:0]
		s.drop()
	case cmdQuit:
		return false
	default: // a second handshake
		s.wire.report(fmt.Errorf("%w: command %q out of place", errMalformed, byte(c)))
		return false
	}
	return true
}

// path is the argument of MAIL or RCPT without its brackets.
func path(data []byte) string {
	p, _ := cutString(data)
	return strings.Trim(p, "<>")
}

// connect notes the client. Without an address of the internet addr is the zero one.
func (s *session) connect(host string, addr netip.Addr) {
	s.drop()
	s.host = s.macros.clean("j")
	s.daemon = s.macros.clean("daemon_name")
	s.client = mail.Client{}
	if s.role != RoleLocal { // there Postfix names itself as the client
		s.client.Addr = addr
		s.client.Name = clientName(host)
	}
}

// mailFrom begins a message.
func (s *session) mailFrom(from, envID string) *mail.Reply {
	s.drop()
	s.msg = s.newMessage(from)
	refusal := s.beginSending(s.msg.login, envID)
	if refusal != nil {
		s.drop()
		s.wire.setBusy(false)
	}
	return refusal
}

// tooMany refuses a recipient beyond the bound.
var tooMany = mail.Reply{Code: 452, Enhanced: "4.5.3", Text: "Too many recipients"}

// rcptTo takes a recipient, or notes that Postfix has refused it.
func (s *session) rcptTo(to string) *mail.Reply {
	if refusedByPostfix(s.macros) {
		s.noteRefused(to)
		return nil
	}
	if s.msg == nil {
		return nil
	}
	if len(s.msg.rcpt) >= maxRecipients {
		if s.role != RoleLocal && !s.has(noRcptReply) {
			return &tooMany
		}
		s.msg.unknownRcpt = true
		return nil
	}
	rcpt := recipient(to, s.macros.get("{rcpt_addr}"))
	if refusal := s.sendTo(rcpt); refusal != nil {
		return refusal
	}
	s.msg.addRecipient(rcpt, s.macros)
	return nil
}

// field takes a header field as it is.
func (s *session) field(name, value string) {
	if s.msg == nil {
		return
	}
	if !s.has(leadingSpaces) {
		value = " " + value // which the MTA took off
	}
	s.msg.addField(name, value)
}

// endOfHeader: the queue id is known by now.
func (s *session) endOfHeader() {
	if s.msg != nil {
		s.msg.noteMacros(s.macros)
		s.msg.endHeader()
	}
}

// body takes a piece of the body.
func (s *session) body(piece []byte) {
	if s.msg != nil && len(piece) > 0 {
		s.msg.addBody(piece)
	}
}

// end judges the message. A reply refuses it. The end of a message that did not begin is one nobody has judged.
func (s *session) end() *mail.Reply {
	if s.msg == nil {
		s.srv.log.Warn("end of a message without its beginning")
		return &replyTempfail
	}
	defer s.drop()
	s.msg.noteMacros(s.macros)
	s.msg.endHeader()
	return s.conclude()
}

// drop forgets the message in progress. It never panics: it is called after a panic, and when the connection has ended, too.
func (s *session) drop() {
	msg := s.msg
	if msg == nil {
		return
	}
	s.msg = nil
	if err := msg.spool.Close(); err != nil {
		s.srv.log.Warn("spool file not closed", "queue_id", msg.queueID, "err", err)
	}
	if msg.sending == nil {
		return
	}
	defer func() {
		if v := recover(); v != nil {
			s.notePanic(v)
		}
	}()
	msg.sending.Release()
}

// goOn says "continue", unless it was agreed that this needs no answer.
func (s *session) goOn(silent options) { s.answerUnless(silent, nil) }

func (s *session) answerUnless(silent options, r *mail.Reply) {
	if !s.has(silent) {
		s.answer(r)
	}
}

func (s *session) has(o options) bool { return s.options&o != 0 }

// rescue turns a panic into the end of the connection.
func (s *session) rescue(goOn *bool) {
	v := recover()
	if v == nil {
		return
	}
	s.notePanic(v)
	s.drop()
	*goOn = false
}

func (s *session) notePanic(v any) {
	s.srv.metrics.panics.Inc()
	s.srv.log.Error("panic in a milter session", "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
}

// direction tells which way a message goes.
func (s *session) direction(login string) mail.Direction {
	switch {
	case s.role == RoleLocal:
		return mail.Local
	case s.role == RoleInbound:
		return mail.Inbound
	case s.role == RoleSubmission, login != "", s.daemon == "ORIGINATING":
		return mail.Outbound
	case s.srv.outbound != nil && s.srv.outbound.Trusts(s.client.Addr):
		return mail.Outbound
	}
	return mail.Inbound
}

// refusedByPostfix tells whether RCPT is only told for information. The transport "error" alone does
// not say so: it is also that of an accepted recipient in a virtual alias domain. Of a refused one,
// {rcpt_host} is the enhanced status code and {rcpt_addr} the reply.
func refusedByPostfix(m macros) bool {
	if m.get("{rcpt_mailer}") != "error" {
		return false
	}
	class, rest, _ := strings.Cut(m.clean("rcpt_host"), ".")
	return (class == "4" || class == "5") && validDetail(rest)
}

// clientName gives the verified host name, empty if Postfix knows none.
func clientName(host string) string {
	if host == "unknown" || strings.HasPrefix(host, "[") {
		return ""
	}
	return mail.Clean(host, 255)
}

package milter

import (
	"fmt"
	"net"
	"net/netip"
	"net/textproto"
	"runtime/debug"
	"strings"

	gomilter "github.com/emersion/go-milter"

	"github.com/mairust/mairust/internal/mail"
)

// session is one connection of Postfix, that is one SMTP session (two after XCLIENT). go-milter calls
// its methods one at a time, in the order of SMTP.
type session struct {
	srv      *Server
	conn     *guard
	role     string
	accepted gomilter.OptProtocol

	host   string // {j}
	daemon string // {daemon_name}
	client mail.Client
	msg    *message // nil between messages
}

// Connect notes the client.
func (s *session) Connect(host, _ string, _ uint16, addr net.IP, m *gomilter.Modifier) (resp gomilter.Response, _ error) {
	defer s.rescue(&resp)
	s.drop()
	s.host = macro(m, "j")
	s.daemon = macro(m, "daemon_name")
	s.client = mail.Client{}
	if s.role != RoleLocal { // there Postfix names itself as the client
		a, _ := netip.AddrFromSlice(addr)
		s.client.Addr = a.Unmap()
		s.client.Name = clientName(host)
	}
	return s.silence(gomilter.OptNoConnReply), nil
}

// Helo notes the name, which may come again.
func (s *session) Helo(name string, _ *gomilter.Modifier) (resp gomilter.Response, _ error) {
	defer s.rescue(&resp)
	s.client.Helo = mail.Clean(name, 255)
	return s.silence(gomilter.OptNoHeloReply), nil
}

// MailFrom begins a message.
func (s *session) MailFrom(from string, m *gomilter.Modifier) (resp gomilter.Response, _ error) {
	defer s.rescue(&resp)
	s.drop()
	s.msg = s.newMessage(from, m)
	if refusal := s.beginSending(s.msg.login); refusal != nil {
		s.drop()
		return refusal, nil
	}
	return gomilter.RespContinue, nil
}

// RcptTo takes a recipient, or notes that Postfix has refused it.
func (s *session) RcptTo(to string, m *gomilter.Modifier) (resp gomilter.Response, _ error) {
	defer s.rescue(&resp)
	if refusedByPostfix(m) {
		s.noteRefused(to, m)
		return gomilter.RespContinue, nil
	}
	if s.msg == nil {
		return gomilter.RespContinue, nil
	}
	if len(s.msg.rcpt) >= maxRecipients {
		if s.role != RoleLocal {
			return answer(mail.Reply{Code: 452, Enhanced: "4.5.3", Text: "Too many recipients"}), nil
		}
		s.msg.unknownRcpt = true
		return gomilter.RespContinue, nil
	}
	rcpt := recipient(to, m.Macros["{rcpt_addr}"])
	if refusal := s.sendTo(rcpt); refusal != nil {
		return refusal, nil
	}
	s.msg.addRecipient(rcpt, m)
	return gomilter.RespContinue, nil
}

// Header takes one field as it is.
func (s *session) Header(name, value string, _ *gomilter.Modifier) (resp gomilter.Response, _ error) {
	defer s.rescue(&resp)
	if s.msg != nil {
		if !s.has(gomilter.OptHeaderLeadingSpace) {
			value = " " + value // which the MTA took off
		}
		s.msg.addField(name, value)
	}
	return s.silence(gomilter.OptNoHeaderReply), nil
}

// Headers ends the header. The queue id is known by now.
func (s *session) Headers(_ textproto.MIMEHeader, m *gomilter.Modifier) (resp gomilter.Response, _ error) {
	defer s.rescue(&resp)
	if s.msg != nil {
		s.msg.noteMacros(m)
		s.msg.endHeader()
	}
	return s.silence(gomilter.OptNoEOHReply), nil
}

// BodyChunk takes a piece of the body.
func (s *session) BodyChunk(chunk []byte, _ *gomilter.Modifier) (resp gomilter.Response, _ error) {
	defer s.rescue(&resp)
	if s.msg != nil {
		s.msg.addBody(chunk)
	}
	if s.conn.split {
		return nil, nil
	}
	return s.silence(gomilter.OptNoBodyReply), nil
}

// Body judges the message and answers for it. It says Continue and never Accept, which would end the
// filtering of what else comes on the connection.
func (s *session) Body(m *gomilter.Modifier) (resp gomilter.Response, _ error) {
	defer s.rescue(&resp)
	if s.msg == nil {
		return gomilter.RespContinue, nil
	}
	defer s.drop()
	s.msg.noteMacros(m)
	s.msg.endHeader()
	return s.conclude(m), nil
}

// Abort ends a message. Postfix sends it after every message, delivered or not, so that there may be
// nothing left to let go of.
func (s *session) Abort(*gomilter.Modifier) error {
	var resp gomilter.Response
	defer s.rescue(&resp)
	s.drop()
	return nil
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

// silence is the answer to a command that needs none: nothing at all if that was agreed upon.
func (s *session) silence(opt gomilter.OptProtocol) gomilter.Response {
	if s.has(opt) {
		return nil
	}
	return gomilter.RespContinue
}

func (s *session) has(opt gomilter.OptProtocol) bool { return s.accepted&opt != 0 }

// rescue turns a panic into the end of the connection, which Postfix answers with 451.
func (s *session) rescue(resp *gomilter.Response) {
	v := recover()
	if v == nil {
		return
	}
	s.notePanic(v)
	s.drop()
	_ = s.conn.Conn.Close()
	*resp = nil
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

// macro reads a macro of this stage; Postfix puts long names in braces.
func macro(m *gomilter.Modifier, name string) string {
	if len(name) > 1 {
		name = "{" + name + "}"
	}
	return mail.Clean(m.Macros[name], 1024)
}

// refusedByPostfix tells whether RCPT is only told for information. The transport "error" alone does
// not say so: it is also that of an accepted recipient in a virtual alias domain. Of a refused one,
// {rcpt_host} is the enhanced status code and {rcpt_addr} the reply.
func refusedByPostfix(m *gomilter.Modifier) bool {
	if macro(m, "rcpt_mailer") != "error" {
		return false
	}
	class, rest, _ := strings.Cut(macro(m, "rcpt_host"), ".")
	return (class == "4" || class == "5") && validDetail(rest)
}

// clientName gives the verified host name, empty if Postfix knows none.
func clientName(host string) string {
	if host == "unknown" || strings.HasPrefix(host, "[") {
		return ""
	}
	return mail.Clean(host, 255)
}

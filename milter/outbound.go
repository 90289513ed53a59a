package milter

import (
	"context"
	"net/netip"
	"time"

	"github.com/mairust/mairust/internal/mail"
)

// Outbound judges what goes out: who may send, and how much. Its methods are called for many messages at once.
type Outbound interface {
	// Trusts tells whether mail of a client that has not logged in goes out, by its address; asked on a RoleAuto listener.
	Trusts(client netip.Addr) bool
	// Mail begins a message: its sender, client and host are known, recipients and queue id are not. A reply refuses it. Without a
	// Sending nothing more is asked about it.
	Mail(ctx context.Context, e mail.Envelope) (Sending, *mail.Reply)
}

// Sending is one message that goes out, from MAIL to its end. Its methods are called one at a time.
type Sending interface {
	// Recipient takes one recipient; a reply refuses it.
	Recipient(ctx context.Context, to mail.Address) *mail.Reply
	// Refused tells of a recipient that Postfix refused with this enhanced status code.
	Refused(ctx context.Context, to mail.Address, status string)
	// End tells what became of the message, with all that the checks said: one whose verdict is tempfail or reject does not
	// leave. A reply refuses it all the same; hold wants it in Postfix's hold queue.
	End(ctx context.Context, m *mail.Message, v mail.Verdict) (reply *mail.Reply, hold bool)
	// Release ends a message that came to no End, and does nothing after one.
	Release()
}

// outboundPatience bounds what the engine may take at one step, be its state elsewhere or not.
const outboundPatience = 3 * time.Second

// outboundText is how much of the readable text, in characters, messages that go out are summarised with.
const outboundText = 4096

// goingOut gives the context of one question to the engine.
func (s *session) goingOut() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), outboundPatience)
}

// beginSending asks whether the sender may send. Nobody is there to be refused on a RoleLocal listener: such mail is held.
func (s *session) beginSending(login, envID string) *mail.Reply {
	if s.srv.outbound == nil || s.direction(login) == mail.Inbound {
		return nil
	}
	e := mail.Envelope{From: s.msg.from, Host: s.host, EnvID: envID, Client: s.client}
	e.Client.Login = login
	if s.role == RoleLocal {
		e.Client.Addr = localClient
	}
	ctx, cancel := s.goingOut()
	defer cancel()
	sending, reply := s.srv.outbound.Mail(ctx, e)
	s.msg.sending = sending
	return s.refuse(reply)
}

// localClient is the address that mail of local processes is taken to come from.
var localClient = netip.MustParseAddr("127.0.0.1")

// refuse gives reply back; where nobody can be refused, the message will be held instead.
func (s *session) refuse(reply *mail.Reply) *mail.Reply {
	if reply != nil && s.role == RoleLocal {
		s.msg.hold = true
		return nil
	}
	return reply
}

// sendTo tells the engine of a recipient that the milter would take.
func (s *session) sendTo(to mail.Address) *mail.Reply {
	if s.msg.sending == nil {
		return nil
	}
	ctx, cancel := s.goingOut()
	defer cancel()
	return s.refuse(s.msg.sending.Recipient(ctx, to))
}

// noteRefused tells the engine of a recipient that Postfix refused.
func (s *session) noteRefused(to string) {
	if s.msg == nil || s.msg.sending == nil {
		return
	}
	ctx, cancel := s.goingOut()
	defer cancel()
	s.msg.sending.Refused(ctx, recipient(to, ""), s.macros.clean("rcpt_host")) // {rcpt_addr} is the reply here
}

// endSending tells the engine what became of the message, and gives what is to become of it now.
func (s *session) endSending(m *mail.Message, v mail.Verdict, hold bool) (mail.Verdict, bool) {
	hold = hold || s.msg.hold && v.Action < mail.Tempfail
	if s.msg.sending == nil || m == nil {
		return v, hold
	}
	ctx, cancel := s.goingOut()
	defer cancel()
	reply, held := s.msg.sending.End(ctx, m, v)
	if reply != nil && s.role == RoleLocal {
		reply, held = nil, true
	}
	if v.Action >= mail.Tempfail {
		return v, false
	}
	if reply != nil {
		v.Action, v.Reply = mail.Reject, reply
		if reply.Code/100 == 4 {
			v.Action = mail.Tempfail
		}
		return v, false
	}
	return v, hold || held
}

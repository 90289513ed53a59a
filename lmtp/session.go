package lmtp

import (
	"errors"
	"fmt"
	"io"
	"runtime/debug"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// session is what go-smtp calls for one connection, one call at a time.
type session struct {
	server *Server
	conn   *smtp.Conn
	wire   *wire
	// tx is the open transaction, nil when there is none. go-smtp sees to it that RCPT and DATA come within one.
	tx *transaction
}

// transaction is one message on its way in, from MAIL to the replies.
type transaction struct {
	server *Server
	// lhlo is the name of the client, our MTA.
	lhlo string
	from mail.Address
	rcpt []recipient
	// away is the error with which a lookup ended that took long.
	away error
}

// recipient is one accepted RCPT. The same may come twice.
type recipient struct {
	// given is the address as go-smtp spells it, by which it wants the reply.
	given   string
	address mail.Address
	target  store.Target
}

func (s *Server) newSession(c *smtp.Conn) (smtp.Session, error) {
	w, ok := c.Conn().(*wire)
	if !ok {
		return nil, fmt.Errorf("connection of type %T has no wire", c.Conn())
	}
	return &session{server: s, conn: c, wire: w}, nil
}

// Mail begins a transaction. go-smtp would take a second MAIL and keep the recipients of the first. The sender
// is what the wire has read: the milter's signature covers what mail.ReadPath makes of the path with its quotes.
func (s *session) Mail(_ string, _ *smtp.MailOptions) (err error) {
	defer s.server.recovered(&err)
	if s.tx != nil {
		return refuse(errNested)
	}
	s.tx = &transaction{server: s.server, lhlo: s.conn.Hostname(), from: mail.ReadPath(s.wire.path)}
	s.wire.setTransaction(true)
	return nil
}

// Rcpt adds a recipient, if there is a mailbox for it. One that is no address may still have one: whatever
// follows "bob+" is a detail of bob's.
func (s *session) Rcpt(to string, _ *smtp.RcptOptions) (err error) {
	defer s.server.recovered(&err)
	address := mail.ReadPath(s.wire.path)
	target, err := s.resolve(address)
	if err != nil {
		reply, reason := toReply(err)
		s.server.metrics.refused.WithLabelValues(reason).Inc()
		s.server.log.Info("recipient refused", "rcpt", mail.Clean(address.String(), 320), "reply", reply.Code, "err", err)
		return reply
	}
	s.tx.rcpt = append(s.tx.rcpt, recipient{given: to, address: address, target: target})
	return nil
}

// slowLookup is a lookup that took long: others will.
const slowLookup = time.Second

// resolve looks for a mailbox. Commands may come together, as may their replies: those that are due go out before a client, which counts five
// minutes for each, waits for further lookups. When one has taken long in vain, no other recipient of the message is looked for.
func (s *session) resolve(rcpt mail.Address) (store.Target, error) {
	if s.tx.away != nil {
		return store.Target{}, s.tx.away
	}
	s.wire.replies.flushSince(slowLookup)
	began := time.Now()
	target, err := s.server.resolve(rcpt)
	if err != nil && time.Since(began) > slowLookup {
		if _, result := toReply(err); result == resultTemp {
			s.tx.away = err
		}
	}
	return target, err
}

func (s *Server) resolve(rcpt mail.Address) (store.Target, error) {
	ctx, cancel := s.within(s.options.ResolveTimeout)
	defer cancel()
	return s.deps.Index.Resolve(ctx, rcpt, s.options.RecipientDelimiter)
}

// LMTPData receives the message and delivers it. Every recipient gets its own status; the error that it
// returns is for those that got none, and is never nil, because nil would be a 250.
//
// The message is read from the wire; what go-smtp has to offer is empty.
func (s *session) LMTPData(_ io.Reader, status smtp.StatusCollector) (err error) {
	defer s.server.recovered(&err)
	growStack()
	tx := s.tx
	m, failure := tx.receive(s.wire.body())
	if m != nil {
		defer m.close(s.server.log)
	}
	if errors.Is(failure, errClient) {
		return refuse(failure) // nobody is listening
	}
	began := time.Now()
	var replies []*smtp.SMTPError
	if failure != nil {
		s.server.noteFault(failure)
		replies = tx.refuseAll(failure)
	} else {
		replies = tx.deliver(m)
	}
	s.server.metrics.duration.Observe(time.Since(began).Seconds())
	for i, reply := range replies {
		status.SetStatus(tx.rcpt[i].given, reply)
	}
	return refuse(errors.New("no reply"))
}

// growStack gives this goroutine, which is new for each message, the stack that storing one takes. Left to itself it would grow
// in steps, each of which copies what is on it and corrects every pointer there: 5 % of a small message's processor time.
//
//go:noinline
func growStack() byte {
	var space [12 << 10]byte
	return space[someByte]
}

// someByte is not known to the compiler, which would leave out the space.
var someByte = 0

// Data is never called for LMTP.
func (s *session) Data(io.Reader) error { return refuse(errors.New("not LMTP")) }

// Reset ends the transaction: go-smtp calls it after a message, for RSET, and for a second LHLO.
func (s *session) Reset() {
	s.tx = nil
	s.wire.setTransaction(false)
}

// Logout ends the session.
func (s *session) Logout() error {
	s.Reset()
	return nil
}

// refuse is toReply for returning: never a nil *smtp.SMTPError in an error.
func refuse(err error) error {
	reply, _ := toReply(err)
	return reply
}

// recovered makes a panic of the function that defers it a temporary refusal.
func (s *Server) recovered(err *error) {
	p := recover()
	if p == nil {
		return
	}
	s.metrics.panics.Inc()
	s.log.Error("panic in lmtp", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
	*err = refuse(errors.New("panic"))
}

package milter

import (
	"context"
	"slices"
	"time"

	"github.com/mairust/mairust/internal/mail"
)

// deliversPatience bounds the questions about all recipients of one message.
const deliversPatience = 3 * time.Second

// elsewhere tells whether a recipient is, or may be, delivered by another than MaiRust's LMTP. Postfix names the transport of an
// address before it follows its aliases, so the transport is not enough to tell.
func (s *session) elsewhere() bool {
	if s.msg.unknownRcpt || slices.ContainsFunc(s.msg.rcpt, s.leavesByTransport) {
		return true
	}
	if s.srv.delivers == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(context.Background(), deliversPatience)
	defer cancel()
	return slices.ContainsFunc(s.msg.rcpt, func(r mail.Recipient) bool { return s.mayGoOn(ctx, r) })
}

func (s *session) leavesByTransport(r mail.Recipient) bool {
	return !slices.Contains(s.srv.mailers, r.Mailer)
}

// mayGoOn tells whether mail for a recipient may end elsewhere than in a mailbox here, also when nobody knows.
func (s *session) mayGoOn(ctx context.Context, r mail.Recipient) bool {
	here, err := s.srv.delivers(ctx, r.Address)
	if err != nil {
		s.srv.log.Warn("recipient not looked up", "queue_id", s.msg.queueID, "err", err)
	}
	return err != nil || !here
}

package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/mairust/mairust/internal/lab"
)

// load is a number of clients that send until they are stopped, each over a connection that it keeps as long as it
// lasts. What was left in doubt before is sent again first.
type load struct {
	cancel  context.CancelFunc
	senders sync.WaitGroup
}

// mixedLoad has clients of every kind; smallLoad has only those that make many acknowledgements.
var (
	mixedLoad = []weight{light, light, light, light, light, medium, heavy}
	smallLoad = []weight{light, light, light, light, light, light, light, light}
)

// someLoad is one or the other.
func someLoad(random *rand.Rand) []weight {
	if random.IntN(2) == 0 {
		return smallLoad
	}
	return mixedLoad
}

// startLoad starts one client for each weight, which decides by the seed what it sends; name begins the ids.
func startLoad(ctx context.Context, s *testSite, l *ledger, clients []weight, name string, seed uint64) *load {
	ctx, cancel := context.WithCancel(ctx)
	running := &load{cancel: cancel}
	for n, w := range clients {
		c := &sender{
			site: s, ledger: l, weight: w, name: fmt.Sprintf("%s-%d", name, n),
			random: rand.New(rand.NewPCG(seed, uint64(n))),
		}
		running.senders.Go(func() { c.run(ctx) })
	}
	return running
}

// stop lets the clients end after the message under way, and waits for them. A client whose server is dead, or
// answers with errors, ends at once.
func (l *load) stop() {
	l.cancel()
	l.senders.Wait()
}

// sender is one client.
type sender struct {
	site   *testSite
	ledger *ledger
	weight weight
	name   string
	random *rand.Rand
	sends  int
}

// breather is between two attempts of a client whose server is not there; nothing depends on how long it is.
const breather = 3 * time.Millisecond

func (s *sender) run(ctx context.Context) {
	for ctx.Err() == nil {
		if c, err := dialLMTP(s.site); err == nil {
			for err == nil && ctx.Err() == nil {
				err = c.deliver(s.ledger, s.next())
			}
			_ = c.Close() // it is not used again
		}
		time.Sleep(breather)
	}
}

// next is what to send now.
func (s *sender) next() parcel {
	if s.random.IntN(4) > 0 || s.weight == light {
		if p, ok := s.ledger.doubt(); ok {
			return p
		}
	}
	s.sends++
	return newParcel(s.random, fmt.Sprintf("%s-%d", s.name, s.sends), s.weight)
}

// lmtpConn is an LMTP client's connection.
type lmtpConn struct{ *lab.SMTPConn }

// clientPatience is longer than the daemon takes for anything.
const clientPatience = 10 * time.Minute

func dialLMTP(s *testSite) (*lmtpConn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), clientPatience)
	defer cancel()
	c, err := lab.DialSMTP(ctx, s.socket("lmtp"))
	if err != nil {
		return nil, err
	}
	if err := wantOK(c.Cmd("LHLO mx.example.test")); err != nil {
		_ = c.Close() // nothing was sent
		return nil, err
	}
	return &lmtpConn{c}, nil
}

// deliver sends p and enters in the ledger what came of it. After an error the connection is of no more use.
func (c *lmtpConn) deliver(l *ledger, p parcel) error {
	accepted, err := c.envelope(l, p)
	if err != nil || !accepted {
		l.postpone(p)
		return err
	}
	message := p.message()
	l.sent(p, message)
	replies, err := c.content(l, p, message)
	ok := make([]bool, len(replies))
	for i, r := range replies {
		ok[i] = r.Code == 250
		l.noteRefusal(p, "the end of the message", r)
	}
	l.answered(p, ok)
	return err
}

// envelope pipelines the envelope (RFC 2920), and takes it back when the server does not want all of it.
func (c *lmtpConn) envelope(l *ledger, p parcel) (accepted bool, err error) {
	lines := "MAIL FROM:<" + p.sender() + ">\r\n"
	for _, rcpt := range p.rcpts {
		lines += "RCPT TO:<" + rcpt + ">\r\n"
	}
	if err := c.Write([]byte(lines)); err != nil {
		return false, err
	}
	mail, err := c.ReadReply()
	if err != nil {
		return false, err
	}
	l.noteRefusal(p, "MAIL", mail)
	accepted = mail.OK()
	for range p.rcpts {
		r, err := c.ReadReply()
		if err != nil {
			return false, err
		}
		if mail.OK() { // else it is out of sequence
			l.noteRefusal(p, "RCPT", r)
		}
		accepted = accepted && r.OK()
	}
	if !accepted {
		time.Sleep(breather)
		_, err = c.Cmd("RSET")
	}
	return accepted, err
}

// content sends the message by DATA, or by BDAT in two chunks, and gives the replies that came.
func (c *lmtpConn) content(l *ledger, p parcel, message []byte) ([]lab.Reply, error) {
	if !p.chunked {
		r, err := c.Cmd("DATA")
		l.noteRefusal(p, "DATA", r)
		if err := wantOK(r, err); err != nil {
			return nil, err
		}
		return c.Body(message, len(p.rcpts))
	}
	half := len(message) / 2
	chunks := fmt.Appendf(nil, "BDAT %d\r\n%sBDAT %d LAST\r\n%s", half, message[:half], len(message)-half, message[half:])
	if err := c.Write(chunks); err != nil {
		return nil, err
	}
	r, err := c.ReadReply()
	l.noteRefusal(p, "BDAT", r)
	if err := wantOK(r, err); err != nil {
		return nil, err
	}
	var replies []lab.Reply
	for range p.rcpts {
		r, err := c.ReadReply()
		if err != nil {
			return replies, err
		}
		replies = append(replies, r)
	}
	return replies, nil
}

// wantOK makes a refusal an error.
func wantOK(r lab.Reply, err error) error {
	if err == nil && !r.OK() {
		err = fmt.Errorf("refused: %s", r)
	}
	return err
}

package outbound

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/internal/mailer"
)

// Letters are the mails to administrators that this installation sends through a Postfix of its own. They must go out when the
// account that sends them, its domain or its tenant is stopped or over a limit: it may be what they tell of.
type Letters struct {
	// Username is the login that sends them; empty for a client of trusted networks that does not log in.
	Username string
	// To are those who get them.
	To []string
	// Verify checks a MAC of the keyring.
	Verify func(mac string, fields ...string) error
}

// letters knows which messages are letters.
type letters struct {
	Letters
	to map[string]bool

	mu sync.Mutex
	// used are the proofs that came here, until they end: each is good for one message.
	used map[string]time.Time
}

func newLetters(l *Letters) *letters {
	if l == nil || l.Verify == nil || len(l.To) == 0 {
		return nil
	}
	known := &letters{Letters: *l, to: map[string]bool{}, used: map[string]time.Time{}}
	for _, to := range l.To {
		known.to[strings.ToLower(to)] = true
	}
	return known
}

// letter is a message that has a proof at MAIL. It is judged like any other as soon as it is seen not to be what was proven:
// another recipient, or at its end another text.
type letter struct {
	proof mailer.Proof
	to    []mail.Address
}

// letterOf is nil for a message that has no proof, or one that was used, or comes from another sender.
func (g *Gate) letterOf(e mail.Envelope) *letter {
	l := g.letters
	if l == nil || e.EnvID == "" || !l.sends(e.Client) {
		return nil
	}
	proof, err := mailer.ReadProof(e.EnvID, g.now(), l.Verify)
	if err != nil {
		return nil // mail programs have ENVIDs of their own
	}
	if !l.use(e.EnvID, proof.Ends, g.now()) {
		g.refute(e.Client.Login, errUsed)
		return nil
	}
	return &letter{proof: proof}
}

var errUsed = errors.New("the proof was used before")

// refute notes a message with a proof that is no letter: somebody may have got hold of a proof.
func (g *Gate) refute(account string, err error) {
	g.metrics.letters.WithLabelValues("refuted").Inc()
	g.log.Warn("mail with the proof of a notice is judged", "account", account, "err", err)
}

// sends tells whether letters come from this client. A realm that the SASL server adds to a login without one does not matter.
func (l *letters) sends(c mail.Client) bool {
	login := c.Login
	if !strings.Contains(l.Username, "@") {
		login, _, _ = strings.Cut(login, "@")
	}
	return strings.EqualFold(login, l.Username)
}

// use notes a proof; false when it was used before.
func (l *letters) use(proof string, ends, now time.Time) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for old, end := range l.used {
		if !now.Before(end) {
			delete(l.used, old)
		}
	}
	_, used := l.used[proof]
	l.used[proof] = ends
	return !used
}

// isLetterTo tells whether a recipient is one of a letter's. One whom Postfix refuses says nothing of the letter: it comes again, with
// a proof for the others.
func (tx *Transaction) isLetterTo(to mail.Address) bool {
	return tx.letter != nil && tx.g.letters.to[strings.ToLower(to.String())]
}

// takesLetterTo notes a recipient of a letter.
func (tx *Transaction) takesLetterTo(to mail.Address) bool {
	if !tx.isLetterTo(to) {
		return false
	}
	tx.letter.to = append(tx.letter.to, to)
	return true
}

// isLetter tells at the end of a message whether it is what was proven. Then it is done with, and nothing of it is kept.
func (tx *Transaction) isLetter(m *mail.Message) bool {
	if tx.letter == nil {
		return false
	}
	if err := tx.letter.holds(m); err != nil {
		tx.g.refute(string(tx.sender.account), err)
		return false
	}
	tx.letter, tx.ended = nil, true
	tx.g.metrics.letters.WithLabelValues("exempt").Inc()
	tx.g.log.Info("notice of ours goes out unjudged", "account", string(tx.sender.account), "queue_id", m.QueueID)
	return true
}

// holds checks the proof against the message.
func (l *letter) holds(m *mail.Message) (err error) {
	content, err := m.Open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, content.Close()) }()
	body := bufio.NewReader(io.LimitReader(content, maxLetterBytes))
	if err := skipHeader(body); err != nil {
		return err
	}
	is := mailer.Received{From: m.From.String(), Body: body}
	for _, to := range l.to {
		is.To = append(is.To, to.String())
	}
	for _, f := range m.Header { // of two fields there is no proof
		switch strings.ToLower(f.Name) {
		case "subject":
			is.Subject += f.Value
		case "message-id":
			is.MessageID += f.Value
		}
	}
	return l.proof.Holds(is)
}

// maxLetterBytes is more than any letter has, header and body.
const maxLetterBytes = mailer.MaxProvenBytes + 64<<10

// skipHeader reads up to the empty line.
func skipHeader(r *bufio.Reader) error {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return err
		}
		if strings.TrimRight(line, "\r\n") == "" {
			return nil
		}
	}
}

// judge lets happen now what happened so far of a message that turned out to be no letter. Its reply refuses the message as a
// whole: the recipients that were taken meanwhile cannot be refused one by one any more.
func (tx *Transaction) judge(ctx context.Context) *mail.Reply {
	if tx.letter == nil {
		return tx.refusal
	}
	waiting := tx.letter.to
	tx.letter = nil
	if tx.refusal = tx.begin(ctx); tx.refusal != nil {
		return tx.refusal
	}
	for _, to := range waiting {
		if reply := tx.Recipient(ctx, to); reply != nil {
			tx.refusal = reply
			return reply
		}
	}
	return nil
}

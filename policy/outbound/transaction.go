package outbound

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// Transaction is one message of an account, from MAIL to its end. Its methods are called one at a time.
type Transaction struct {
	g      *Gate
	sender sender
	id     uint64
	place  policy.Place
	client string
	host   string
	from   string
	// bulk senders are not counted for domain and tenant.
	bulk bool

	recipients []uint64
	counted    []taken
	refused    int64
	records    []byte  // of all events since the last row
	last       outcome // of the last event
	explained  bool    // a row tells of a refusal at RCPT
	ended      bool

	letter  *letter     // until it is known that the message is none
	refusal *mail.Reply // of a message that was no letter after all
}

// The kinds of rows, as the engine's Explanation.On has them.
const (
	kindMail    = "mail"
	kindRcpt    = "rcpt"
	kindEnd     = "end"
	kindRelease = "release"
	kindBounce  = "bounce"
)

// maxRecords is after how many bytes of events a row is due, since the store leaves out more than maxEvent.
const (
	maxRecords = 12 << 10
	maxEvent   = 16 << 10
)

// maxCommit bounds the record of a commit, in bytes, without its recipients of 8 bytes each.
const maxCommit = 2 << 10

// releasePatience bounds the giving back of what was reserved.
const releasePatience = 3 * time.Second

func newTransaction(g *Gate, s sender, e mail.Envelope) *Transaction {
	_, bulk := g.policy.Load().Profile(string(s.tenant), s.account)
	tx := &Transaction{g: g, sender: s, id: random(), place: g.placeOf(e.Client.Addr), host: e.Host, from: e.From.String(), bulk: bulk}
	if e.Client.Addr.IsValid() {
		tx.client = e.Client.Addr.Unmap().String()
	}
	return tx
}

// random is a number other than 0 that no other transaction has.
func random() uint64 {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails
		if n := binary.BigEndian.Uint64(b[:]); n != 0 {
			return n
		}
	}
}

// begin is MAIL.
func (tx *Transaction) begin(ctx context.Context) *mail.Reply {
	o := tx.decide(ctx, policy.Event{Kind: policy.KindMail})
	reply := replyTo(o.decision.Action)
	if reply != nil {
		tx.ended = true
		tx.fold(kindMail, &o, reply, nil)
	}
	return reply
}

// Recipient reserves one recipient; a reply refuses it.
func (tx *Transaction) Recipient(ctx context.Context, to mail.Address) *mail.Reply {
	if tx.takesLetterTo(to) {
		return nil
	}
	if reply := tx.judge(ctx); reply != nil {
		return reply
	}
	e := policy.Event{Kind: policy.KindReserve, Recipients: []uint64{tx.g.recipient(to)}}
	var t taken
	if !tx.bulk {
		e.Scope, t = tx.g.take(ctx, tx.sender)
	}
	o := tx.decide(ctx, e)
	reply := replyTo(o.decision.Action)
	if reply == nil {
		tx.recipients = append(tx.recipients, e.Recipients[0])
		if !tx.bulk {
			tx.counted = append(tx.counted, t)
		}
	} else if !tx.bulk {
		tx.g.giveBack(ctx, t)
	}
	// A client that tries a thousand recipients makes one row, and the rest of its events are in those that follow.
	switch {
	case reply != nil && !tx.explained:
		tx.explained = true
		tx.fold(kindRcpt, &o, reply, nil)
	case o.decision.Before != o.decision.After || len(tx.records) > maxRecords:
		tx.write(kindRcpt, &o, reply, nil)
	}
	return reply
}

// Refused tells of a recipient that Postfix refused, with its enhanced status code. Only 5.1.x counts, and of these
// what is about the recipient.
func (tx *Transaction) Refused(ctx context.Context, to mail.Address, status string) {
	if !strings.HasPrefix(status, "5.1.") || aboutSender(status) || tx.isLetterTo(to) {
		return
	}
	if tx.judge(ctx) != nil {
		return
	}
	tx.refused++
	o := tx.decide(ctx, policy.Event{Kind: policy.KindRefused, Recipients: []uint64{tx.g.recipient(to)}, DSN: status})
	if o.decision.Before != o.decision.After || len(tx.records) > maxRecords {
		tx.write(kindRcpt, &o, nil, nil)
	}
}

// aboutSender tells whether Postfix means the sender's address by a status, which it checks at RCPT: 5.1.0 is its "Sender address
// rejected: User unknown", 5.1.7 and 5.1.8 are malformed addresses and domains that do not exist (RFC 3463, section 3.2).
func aboutSender(status string) bool {
	return status == "5.1.0" || status == "5.1.7" || status == "5.1.8"
}

// End tells what became of the message: one whose verdict is tempfail or reject does not leave, but what the filter found in it
// counts. A reply refuses it all the same; hold wants it in Postfix's hold queue.
func (tx *Transaction) End(ctx context.Context, m *mail.Message, v mail.Verdict) (reply *mail.Reply, hold bool) {
	if tx.isLetter(m) {
		return nil, false
	}
	if reply := tx.judge(ctx); reply != nil {
		tx.Release()
		return reply, false
	}
	if tx.ended {
		return nil, false
	}
	leaves := v.Action < mail.Tempfail
	content, known := contentOf(m, v)
	e := policy.Event{Kind: policy.KindCommit, Recipients: tx.recipients, Content: content, QueueHost: tx.host, QueueID: m.QueueID}
	switch {
	case !leaves && !known:
		tx.Release()
		return nil, false
	case !leaves:
		e.Recipients = nil
	case !known && tx.g.filtered:
		e.Degraded |= policy.NoFilter
	}
	if tx.g.hasFeed != nil && !tx.g.hasFeed(tx.host) {
		e.Degraded |= policy.NoBounces
	}
	tx.ended = true
	if len(tx.records) > 0 && len(tx.records)+8*len(e.Recipients)+maxCommit > maxEvent {
		tx.write(kindRcpt, &tx.last, nil, nil)
	}
	o := tx.decide(ctx, e)
	reply = replyTo(o.decision.Action)
	leaves = leaves && reply == nil
	if !leaves {
		tx.giveBack(ctx)
	}
	keep := tx.write
	if reply != nil {
		keep = tx.fold
	}
	keep(kindEnd, &o, reply, ofMessage(m.QueueID, content, int64(len(tx.recipients)), o.decision.New, leaves))
	if leaves {
		tx.g.recent.add(&sent{tx.host, m.QueueID, tx.client, tx.sender, time.UnixMicro(o.nowUS)})
	}
	return reply, o.decision.Action == policy.Hold
}

// ofMessage is what the row of a message's end has beside its decision: recipients, of which some are new, when it leaves.
func ofMessage(queueID string, c policy.Content, recipients, strangers int64, leaves bool) func(*store.OutboundDecision) {
	return func(row *store.OutboundDecision) {
		row.QueueID, row.SizeBytes, row.Fingerprint = queueID, c.SizeBytes, c.Fingerprint
		if c.SpamKnown {
			milli := c.Spam / 1000
			row.SpamMilli = &milli
		}
		if leaves {
			row.Messages, row.Recipients, row.NewRecipients = 1, recipients, strangers
		}
	}
}

// Release gives back what was reserved, unless the message came to its end.
func (tx *Transaction) Release() {
	if tx.ended || tx.letter != nil {
		return
	}
	tx.ended = true
	ctx, cancel := context.WithTimeout(context.Background(), releasePatience)
	defer cancel()
	tx.giveBack(ctx)
	o := tx.decide(ctx, policy.Event{Kind: policy.KindRelease})
	tx.fold(kindRelease, &o, nil, nil)
}

func (tx *Transaction) giveBack(ctx context.Context) {
	for _, t := range tx.counted {
		tx.g.giveBack(ctx, t)
	}
	tx.counted = nil
}

// decide lets an event of this transaction happen.
func (tx *Transaction) decide(ctx context.Context, e policy.Event) outcome {
	e.Transaction, e.Place = tx.id, tx.place
	o := tx.g.decide(ctx, tx.sender, e)
	tx.g.writeActs(tx.sender, &o)
	tx.records, tx.last = o.record(tx.records), o
	return o
}

// write keeps a row of the decision with the events that no row has yet, and what follows from it.
func (tx *Transaction) write(kind string, o *outcome, reply *mail.Reply, more func(*store.OutboundDecision)) {
	row := tx.g.row(tx.sender, kind, o)
	row.QueueHost, row.Client, row.MailFrom = tx.host, tx.client, tx.from
	row.Refused, row.Event = tx.refused, tx.records
	if reply != nil {
		row.Reply = reply.String()
	}
	if more != nil {
		more(&row)
	}
	tx.records, tx.refused = nil, 0
	tx.g.keep(tx.sender, o, row)
}

// recipient is the keyed hash of an address.
func (g *Gate) recipient(to mail.Address) uint64 { return g.hash(to.Fold().String()) }

var (
	replySuspended = parseReply(policy.TextSuspended)
	replyRate      = parseReply(policy.TextRate)
)

// parseReply reads "550 5.7.1 text".
func parseReply(text string) mail.Reply {
	code, rest, _ := strings.Cut(text, " ")
	enhanced, rest, _ := strings.Cut(rest, " ")
	r := mail.Reply{Enhanced: enhanced, Text: rest}
	for _, c := range code {
		r.Code = 10*r.Code + int(c-'0')
	}
	return r
}

// replyTo is what an action says to the client; nil lets it go on.
func replyTo(a policy.Action) *mail.Reply {
	switch a {
	case policy.RefuseSuspended:
		return &replySuspended
	case policy.RefuseRate:
		return &replyRate
	}
	return nil
}

// recent remembers who sent the last messages, for bounces that come before their row is written.
type recent struct {
	ring [recentCount]atomic.Pointer[sent]
	next atomic.Uint64
}

type sent struct {
	host, queueID, client string
	sender                sender
	at                    time.Time
}

const recentCount = 4096

func newRecent() *recent { return &recent{} }

func (r *recent) add(m *sent) { r.ring[r.next.Add(1)%recentCount].Store(m) }

// find gives the newest message of that queue id that was sent from a time to another.
func (r *recent) find(host, queueID string, from, to time.Time) *sent {
	for next, i := r.next.Load(), uint64(0); i < recentCount; i++ {
		m := r.ring[(next-i)%recentCount].Load()
		if m != nil && m.queueID == queueID && m.host == host && !m.at.Before(from) && m.at.Before(to) {
			return m
		}
	}
	return nil
}

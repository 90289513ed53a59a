package outbound

import (
	"maps"
	"sync"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// repeats are tries that came to nothing: refusals that are like others before, and messages that were begun and never came.
// A program that goes on trying makes a row at once and then one a minute, which has the events of all its tries.
type repeats struct {
	mu   sync.Mutex
	list map[likeness]*repeat // those of which a row was written since the last time, or in the minute before
}

// likeness is what tries have in common that share a row. Addresses are no part of it: a thief has many.
type likeness struct {
	sender sender
	kind   string
	reason policy.Reason
}

// repeat is what no row has yet: the last try, and the events of all.
type repeat struct {
	tx    *Transaction // of the last try, with the events and refused recipients of all
	kind  string
	o     outcome
	reply *mail.Reply
	more  func(*store.OutboundDecision)
	count int
}

// fold is write of a try that came to nothing. Its row is written later, and for others too, when it is like one before.
func (tx *Transaction) fold(kind string, o *outcome, reply *mail.Reply, more func(*store.OutboundDecision)) {
	if o.changed() || o.decision.Notice != policy.NoticeNone {
		tx.write(kind, o, reply, more)
		return
	}
	try := &repeat{kind: kind, o: *o, reply: reply, more: more, count: 1}
	try.o.acts, try.o.checkpoint = nil, nil // they are kept already
	try.tx = &Transaction{
		g: tx.g, sender: tx.sender, client: tx.client, host: tx.host, from: tx.from, refused: tx.refused, records: tx.records,
	}
	tx.records, tx.refused = nil, 0
	if due := tx.g.repeats.take(try); due != nil {
		due.write()
	}
}

// take keeps a try for the next row, and gives what wants its row now, or nil: the first one, or those before when their events
// are enough for one.
func (r *repeats) take(try *repeat) (due *repeat) {
	r.mu.Lock()
	defer r.mu.Unlock()
	like := likeness{try.tx.sender, try.kind, try.o.decision.Reason}
	was := r.list[like]
	switch {
	case was == nil:
		r.list[like] = &repeat{}
		return try
	case was.count == 0:
	case len(was.tx.records)+len(try.tx.records) > maxRecords:
		due = was
	default:
		try.tx.records = append(was.tx.records, try.tx.records...)
		try.tx.refused += was.tx.refused
		try.count += was.count
	}
	r.list[like] = try
	return due
}

// next gives what waits, and forgets who made no further try.
func (r *repeats) next() []*repeat {
	r.mu.Lock()
	defer r.mu.Unlock()
	var due []*repeat
	for like, was := range r.list {
		if was.count == 0 {
			delete(r.list, like)
			continue
		}
		due = append(due, was)
		r.list[like] = &repeat{}
	}
	return due
}

// forget leaves out what waits of an account.
func (r *repeats) forget(a policy.Account) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.list, func(like likeness, _ *repeat) bool { return like.sender.account == a })
}

// writeRepeats writes a row of all those who went on trying.
func (g *Gate) writeRepeats() {
	for _, r := range g.repeats.next() {
		r.write()
	}
}

func (r *repeat) write() {
	r.o.count = r.count
	r.tx.write(r.kind, &r.o, r.reply, r.more)
}

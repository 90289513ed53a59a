package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/mairust/mairust/internal/lab"
)

// ledger knows what was sent and what was acknowledged before the lights went out. All methods may be called at once.
type ledger struct {
	mu      sync.Mutex
	changed chan struct{} // closed and made anew with every acknowledgement
	entries map[string]*entry
	// frozen is set while what the clients hear does not count any more.
	frozen bool
	acks   int
	// doubts are messages that no 250 came for, to be sent again as Postfix would; again counts those that were.
	doubts []parcel
	again  int
	// refused are replies with which Postfix would have bounced a message.
	refused []string
}

// entry is one message in the ledger.
type entry struct {
	parcel
	// sum is the object's digest; shown is that of what IMAP shows of it.
	sum, shown [sha256.Size]byte
	acked      map[string]bool // by mailbox
}

func newLedger() *ledger {
	return &ledger{entries: map[string]*entry{}, changed: make(chan struct{})}
}

// sent notes that p is about to be sent, of which message is what its sender sends.
func (l *ledger) sent(p parcel, message []byte) {
	object := p.object(message)
	e := &entry{parcel: p, sum: sha256.Sum256(object), shown: sha256.Sum256(throughIMAP(object)), acked: map[string]bool{}}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entries[p.id] == nil {
		l.entries[p.id] = e
	} else {
		l.again++
	}
}

// answered notes the replies to p that came, of which ok says which were a 250. Recipients without one are in doubt.
func (l *ledger) answered(p parcel, ok []bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[p.id]
	var open []string
	for i, rcpt := range p.rcpts {
		switch mailbox := mailboxOf(rcpt); {
		case i >= len(ok) || !ok[i] || l.frozen:
			open = append(open, rcpt)
		case !e.acked[mailbox]:
			e.acked[mailbox] = true
			l.acks++
		}
	}
	if len(open) > 0 && p.queued {
		p.rcpts = open
		l.doubts = append(l.doubts, p)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// noteRefusal notes a permanent reply, to what: nothing that a daemon goes through makes an address or a message bad for good.
func (l *ledger) noteRefusal(p parcel, what string, r lab.Reply) {
	if r.Code < 500 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = append(l.refused, fmt.Sprintf("%s, at %s: %s", p.id, what, r))
}

// isAcked says whether a message was acknowledged for all its mailboxes.
func (l *ledger) isAcked(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.entries[id]
	return e != nil && len(e.acked) == len(e.mailboxes())
}

// postpone keeps p, of which nothing was sent now, for later if it is in doubt.
func (l *ledger) postpone(p parcel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.entries[p.id] != nil {
		l.doubts = append(l.doubts, p)
	}
}

// doubt takes one message that is to be sent again.
func (l *ledger) doubt() (p parcel, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.doubts) == 0 {
		return parcel{}, false
	}
	p, l.doubts = l.doubts[0], l.doubts[1:]
	return p, true
}

// doubtCount is how many are to be sent again.
func (l *ledger) doubtCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.doubts)
}

// freeze ends the time in which acknowledgements count; thaw begins it again.
func (l *ledger) freeze() { l.setFrozen(true) }
func (l *ledger) thaw()   { l.setFrozen(false) }

func (l *ledger) setFrozen(to bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.frozen = to
}

// ackCount is how many copies have been acknowledged.
func (l *ledger) ackCount() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.acks
}

// await waits until n copies have been acknowledged.
func (l *ledger) await(ctx context.Context, n int) error {
	for {
		l.mu.Lock()
		acks, changed := l.acks, l.changed
		l.mu.Unlock()
		if acks >= n {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// all are the messages in the order of their ids.
func (l *ledger) all() []*entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]*entry, 0, len(l.entries))
	for _, id := range slices.Sorted(maps.Keys(l.entries)) {
		all = append(all, l.entries[id])
	}
	return all
}

// count is how many copies were sent and acknowledged, by mailbox and message.
func (l *ledger) count() (sent, acked int) {
	for _, e := range l.all() {
		sent += len(e.mailboxes())
		acked += len(e.acked)
	}
	return sent, acked
}

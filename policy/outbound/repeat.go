package outbound

import "sync"

// repeats are refusals at MAIL of senders that are stopped. A program that goes on trying makes a row at once and then one a
// minute, which has the events of all its tries.
type repeats struct {
	mu   sync.Mutex
	list map[sender]*repeat // those of which a row was written since the last time, or in the minute before
}

// repeat is what no row has yet: the last try, and the events of all.
type repeat struct {
	tx      *Transaction
	o       outcome
	records []byte
	count   int
}

// take keeps a refusal for the next row; false for one that wants its row now: the first, or when the events are enough for one.
func (r *repeats) take(tx *Transaction, o *outcome) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	was := r.list[tx.sender]
	if was == nil {
		r.list[tx.sender] = &repeat{}
		return false
	}
	was.tx, was.o, was.count = tx, *o, was.count+1
	was.records = append(was.records, tx.records...)
	if len(was.records) <= maxRecords {
		return true
	}
	tx.records, o.count = was.records, was.count
	*was = repeat{}
	return false
}

// next gives what waits, and forgets who made no further try.
func (r *repeats) next() []*repeat {
	r.mu.Lock()
	defer r.mu.Unlock()
	var due []*repeat
	for s, was := range r.list {
		if was.count == 0 {
			delete(r.list, s)
			continue
		}
		due = append(due, was)
		r.list[s] = &repeat{}
	}
	return due
}

// writeRepeats writes a row of each sender that went on trying.
func (g *Gate) writeRepeats() {
	for _, r := range g.repeats.next() {
		r.tx.records, r.o.count = r.records, r.count
		r.tx.write(kindMail, &r.o, replyTo(r.o.decision.Action), nil)
	}
}

package policy

// mail is MAIL FROM.
func (c *step) mail() {
	c.arrive()
	c.stopped()
}

// reserve is RCPT: the recipient counts from now on, until it is released.
func (c *step) reserve() {
	c.arrive()
	if len(c.e.Recipients) == 0 || c.stopped() {
		return
	}
	n, strangers := c.count(c.e.Recipients[:1])
	c.d.New = strangers
	c.windows.add(copies, n)
	c.windows.add(fresh, strangers)
	c.judge()
	c.weigh(c.level == soft && (c.now-c.levelUS >= reservationUS || c.j.pieces[persistence].value == Micro))
	if c.stopped() {
		c.windows.giveBack(copies, n, c.now)
		c.windows.giveBack(fresh, strangers, c.now)
		return
	}
	refused := c.overLimit() || c.overCap(c.p.hold)
	if !refused {
		c.book(n, strangers)
		return
	}
	c.windows.giveBack(copies, n, c.now)
	c.windows.giveBack(fresh, strangers, c.now)
	if c.d.Reason == ReasonSoftLimit && !c.missing {
		c.refuseAll(c.e.Recipients[:1], c.find(max(c.e.Transaction, 1)) == nil)
	}
}

// count is the number of recipients, and of those that the account never wrote to.
func (c *step) count(recipients []uint64) (n, strangers int64) {
	for _, r := range recipients {
		if !c.known.has(r) {
			strangers++
		}
	}
	return int64(len(recipients)), strangers
}

// commit is the end of a message. One without recipients does not leave: what was found in it counts, and nothing else.
func (c *step) commit() {
	c.arrive()
	held := c.take(c.e.Transaction)
	n, strangers := c.settle(held)
	c.d.New = strangers
	if c.stopped() {
		c.giveBack(&reservation{copies: uint32(n), fresh: uint32(strangers), atUS: held.atUS})
		return
	}
	c.note(&c.e.Content, &c.p.content, c.now)
	leaves, prints := n > 0, c.prints
	if leaves {
		c.usePrint(n, strangers)
	}
	c.judge()
	c.weigh(true)
	switch {
	case c.stopped():
		c.refuseAll(c.e.Recipients, c.level == soft && held.atUS > c.levelUS)
	case !leaves:
	case n > int64(held.copies) && c.overLimit(): // what is not reserved has not met the limits, or no longer counts
		c.prints = prints
	case c.overCap(false):
		if c.missing { // it is not held against anybody
			c.prints = prints
			break
		}
		c.refuseAll(c.e.Recipients, c.level == soft && held.atUS > c.levelUS)
	default:
		c.sent(n > strangers)
		return
	}
	c.giveBack(&reservation{copies: uint32(n), fresh: uint32(strangers), atUS: held.atUS})
}

// settle makes what is counted equal to what the message has, and gives its recipients and the new ones.
func (c *step) settle(held reservation) (n, strangers int64) {
	n, strangers = c.count(c.e.Recipients)
	had, hadFresh := int64(held.copies), int64(held.fresh)
	if n == had || n == MaxRecipients && had > n { // the event does not have them all
		return had, hadFresh
	}
	if n > had { // not all were reserved, or the reservation has run out
		c.windows.add(copies, n-had)
		c.windows.add(fresh, max(strangers-hadFresh, 0))
		return n, max(strangers, hadFresh)
	}
	c.windows.giveBack(copies, had-n, held.atUS)
	c.windows.giveBack(fresh, max(hadFresh-strangers, 0), held.atUS)
	return n, min(strangers, hadFresh)
}

// sent remembers a message that goes out; familiar says that some of its recipients were known before.
func (c *step) sent(familiar bool) {
	c.windows.add(messages, 1)
	c.total++
	c.countHour(c.now)
	c.used(familiar || c.ownTemplate(), &c.p.history, c.now)
	c.known.turn(c.now)
	for _, r := range c.e.Recipients {
		c.known.now.add(r)
	}
	if c.j.score < c.p.soft {
		c.learn(&c.j.sums, &c.p.rate, c.j.atHome || c.j.cold)
	}
}

// usePrint counts the message's body. One that a soft limit refused and that is tried again was counted then.
func (c *step) usePrint(n, strangers int64) {
	if c.e.Content.Fingerprint == 0 {
		return
	}
	p := c.seen(c.e.Content.Fingerprint, c.now)
	if p.times == 0 || !c.triedAgain() {
		p.use(c.now, n, strangers)
	}
}

// ownTemplate says that the account has used the message's body for days.
func (c *step) ownTemplate() bool {
	id := c.e.Content.Fingerprint
	return id != 0 && c.seen(id, c.now).template(c.now, &c.p.content)
}

// release ends a transaction without a message.
func (c *step) release() {
	r := c.take(c.e.Transaction)
	c.giveBack(&r)
}

// undeliverable is a recipient that does not exist. The same one counts once, however often it is tried.
func (c *step) undeliverable() {
	if !isUnknownAddress(c.e.DSN) {
		return
	}
	for _, r := range c.e.Recipients[:min(len(c.e.Recipients), 1)] {
		for _, old := range c.failed {
			if old == r {
				return
			}
		}
		c.failed[c.failedNext] = r
		c.failedNext = (c.failedNext + 1) % failedCount
	}
	c.windows.add(invalid, 1)
	c.judge()
	c.weigh(true)
}

// isUnknownAddress is true for 5.1.x (RFC 3463, section 3.2): the address is bad, not the mailbox full or the host
// unwilling.
func isUnknownAddress(dsn string) bool { return len(dsn) > 4 && dsn[:4] == "5.1." }

// spare is the reservation that holds what found no place of its own.
const spare = ^uint64(0)

// book adds to the reservation of the transaction.
func (c *step) book(n, strangers int64) {
	r := c.find(c.e.Transaction)
	if r == nil {
		r = c.find(0)
	}
	if r == nil {
		r = &c.open[reservationCount-1]
		r.transaction = spare // from now on it stands for many
		r.atUS = c.now
	}
	if r.transaction == 0 {
		*r = reservation{transaction: max(c.e.Transaction, 1), atUS: c.now}
	}
	r.copies = min(r.copies+uint32(n), maxBucket)
	r.fresh = min(r.fresh+uint32(strangers), maxBucket)
}

func (s *State) find(transaction uint64) *reservation {
	for i := range s.open {
		if s.open[i].transaction == transaction {
			return &s.open[i]
		}
	}
	return nil
}

// take removes the reservation of a transaction. One that found no place of its own takes as much of the spare one
// as its message has.
func (c *step) take(transaction uint64) reservation {
	r := c.find(max(transaction, 1))
	if r != nil && r.transaction != spare {
		held := *r
		*r = reservation{}
		return held
	}
	r = c.find(spare)
	if r == nil {
		return reservation{atUS: c.now}
	}
	n, strangers := c.count(c.e.Recipients)
	part := reservation{atUS: r.atUS, copies: min(r.copies, uint32(n)), fresh: min(r.fresh, uint32(strangers))}
	r.copies -= part.copies
	r.fresh -= part.fresh
	if r.copies == 0 {
		*r = reservation{}
	}
	return part
}

// giveBack takes what r holds out of the windows.
func (s *State) giveBack(r *reservation) {
	s.windows.giveBack(copies, int64(r.copies), r.atUS)
	s.windows.giveBack(fresh, int64(r.fresh), r.atUS)
	*r = reservation{}
}

package policy

// Record is one decided event as it is kept for replay.
type Record struct {
	// Seq is Decision.Seq: it orders the events of one account.
	Seq uint64
	// NowUS is what Decide was given.
	NowUS int64
	// Policy is the first 8 digits of Policy.Hash: it tells which policy decided.
	Policy string
	// Event without Account and Tenant, which the row has.
	Event Event
	// Action, Would, WouldLevel and Score of the decision.
	Action     Action
	Would      Action
	WouldLevel Level
	Score      int64
}

// recordVersion is the first byte of an encoded record; 1 had no SinceUS.
const recordVersion = 2

// The words that records hold as numbers; the order is part of the encoding.
var (
	recordActions = []Action{Allow, RefuseRate, RefuseSuspended, Hold}
	recordLevels  = []Level{"", Normal, SoftLimit, HardLimit}
	recordModes   = []Mode{"", Off, Shadow, Enforce}
)

// AppendRecord appends the encoding of one decided event to b: a blob holds as many as one likes, for instance
// all of a transaction. Every event belongs into the log, in whatever order: replay sorts by Seq and sees gaps.
func AppendRecord(b []byte, p *Policy, nowUS int64, e Event, d Decision) []byte {
	r := Record{
		Seq: d.Seq, NowUS: min(max(nowUS, 0), maxUS), Policy: p.hash[:8], Event: e.bounded(),
		Action: d.Action, Would: d.Would, WouldLevel: d.WouldLevel, Score: d.Score,
	}
	version := uint8(recordVersion)
	if r.Event.SinceUS == 0 {
		version = 1 // which nodes of the version before read, too
	}
	c := codec{b: append(b, version), version: version, write: true}
	c.record(&r)
	return c.b
}

// ParseRecords reads a blob of records. Errors: ErrRecord.
func ParseRecords(b []byte) ([]Record, error) {
	var list []Record
	c := codec{b: b}
	for len(c.b) > 0 {
		if c.b[0] < 1 || c.b[0] > recordVersion {
			return nil, ErrRecord
		}
		c.version, c.b = c.b[0], c.b[1:]
		var r Record
		if c.record(&r); c.bad {
			return nil, ErrRecord
		}
		list = append(list, r)
	}
	return list, nil
}

func (c *codec) record(r *Record) {
	c.u64(&r.Seq)
	c.time(&r.NowUS)
	c.text(&r.Policy, 8)
	word(c, &r.Action, recordActions)
	word(c, &r.Would, recordActions)
	word(c, &r.WouldLevel, recordLevels)
	c.i64(&r.Score, 0, Micro)
	c.event(&r.Event)
}

func (c *codec) event(e *Event) {
	c.u8((*uint8)(&e.Kind), 255)
	word(c, &e.Mode, recordModes)
	c.fixed(&e.Transaction)
	c.hashes(&e.Recipients)
	c.text(&e.DSN, maxText)
	c.text(&e.Place.Country, maxText)
	c.u64(&e.Place.Network)
	c.i64(&e.Scope.DomainHour, 0, maxUS)
	c.i64(&e.Scope.TenantHour, 0, maxUS)
	c.flag(&e.Scope.DomainStopped)
	c.i64(&e.Content.Spam, -maxUS, maxUS)
	c.flag(&e.Content.SpamKnown)
	c.flag(&e.Content.Malware)
	c.flag(&e.Content.ListedURL)
	c.fixed(&e.Content.Fingerprint)
	c.i64(&e.Content.SizeBytes, 0, maxUS)
	word(c, &e.Level, recordLevels)
	c.time(&e.UntilUS)
	c.i64(&e.Cap, 0, maxCount)
	c.u8((*uint8)(&e.Degraded), 255)
	c.text(&e.QueueHost, maxText)
	c.text(&e.QueueID, maxText)
	if c.version >= 2 {
		c.time(&e.SinceUS)
	}
}

// maxText bounds the texts of an event.
const maxText = 255

func (c *codec) text(s *string, most int) {
	n := uint64(len(*s))
	c.number(&n, uint64(most))
	if c.write {
		c.b = append(c.b, *s...)
		return
	}
	if uint64(len(c.b)) < n {
		c.bad, c.b = true, nil
		return
	}
	*s, c.b = string(c.b[:n]), c.b[n:]
}

func (c *codec) hashes(list *[]uint64) {
	n := uint64(len(*list))
	c.number(&n, MaxRecipients)
	if !c.write && uint64(len(c.b)) < 8*n {
		c.bad, c.b = true, nil
		return
	}
	if !c.write && n > 0 {
		*list = make([]uint64, n)
	}
	for i := range *list {
		c.fixed(&(*list)[i])
	}
}

// word writes one of a list of words as its number; one that is not in the list as the first.
func word[T ~string](c *codec, w *T, list []T) {
	n := uint64(0)
	for i := range list {
		if list[i] == *w {
			n = uint64(i)
		}
	}
	c.number(&n, uint64(len(list)-1))
	*w = list[n]
}

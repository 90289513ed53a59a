package policy

// Record is one decided event as it is kept for replay.
type Record struct {
	// Seq is Decision.Seq: it orders the events of one account.
	Seq uint64
	// NowUS is what Decide was given.
	NowUS int64
	// Event without Account and Tenant, which the row has.
	Event Event
	// Action, Would and WouldLevel of the decision, and its score.
	Action     Action
	Would      Action
	WouldLevel Level
	Score      int64
}

// AppendRecord appends the encoding of one decided event to b: a blob holds as many as one likes, for instance
// all of a transaction. Decisions with Seq 0 changed nothing and need not be kept.
func AppendRecord(b []byte, nowUS int64, e Event, d Decision) []byte {
	_, _, _ = nowUS, e, d
	return b
}

// ParseRecords reads a blob of records. Errors: ErrRecord.
func ParseRecords(b []byte) ([]Record, error) { _ = b; return nil, nil }

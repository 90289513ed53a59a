package policy

import (
	"cmp"
	"iter"
	"slices"
)

// Log is what is kept of one account: the state of a checkpoint, and the records since, in any order.
type Log struct {
	Account Account
	Tenant  string
	// Start is the state that the first record met; the zero State for an account without a checkpoint.
	Start State
	// Records that Start has seen already are skipped.
	Records []Record
}

// Step is one record decided again.
type Step struct {
	Record Record
	// Event is the record's with account and tenant.
	Event Event
	// Decision is what Decide says now.
	Decision Decision
	// Gap is the number of records that are missing before this one.
	Gap uint64
	// Same: action, level and score are bit for bit what they were.
	Same bool
}

// Replay decides the records of a log again, in their order, under p. What the recorded decisions allowed has been
// sent; under another policy the states drift apart from what the sender would then have done, as they must. It
// stops when the caller does, and gives the state at the end through end, when that is not nil.
func (l Log) Replay(p *Policy, end *State) iter.Seq[Step] {
	return func(yield func(Step) bool) {
		s := l.Start
		defer func() {
			if end != nil {
				*end = s
			}
		}()
		records := slices.Clone(l.Records)
		slices.SortStableFunc(records, func(a, b Record) int { return cmp.Compare(a.Seq, b.Seq) })
		for _, r := range records {
			if r.Seq <= s.seq {
				continue // the checkpoint knows it, or it is there twice
			}
			st := Step{Record: r, Event: r.Event, Gap: r.Seq - s.seq - 1}
			s.seq = r.Seq - 1
			st.Event.Account, st.Event.Tenant = l.Account, l.Tenant
			st.Decision, s = Decide(s, st.Event, p, r.NowUS)
			d := &st.Decision
			st.Same = d.Action == r.Action && d.Would == r.Would && d.WouldLevel == r.WouldLevel && d.Score == r.Score
			if !yield(st) {
				return
			}
		}
	}
}

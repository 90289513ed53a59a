package policy

// MaxStateBytes bounds the encoding of a State.
const MaxStateBytes = 12 << 10

// State is everything the engine remembers of one account. It holds no pointers: a copy is independent, and two
// states are compared with ==. The zero value is an account that nothing is known of.
type State struct {
	level uint8
}

// AppendBinary appends the versioned encoding of s, at most MaxStateBytes. It never fails.
func (s *State) AppendBinary(b []byte) ([]byte, error) { return append(b, 1, s.level), nil }

// MarshalBinary is AppendBinary to a new slice.
func (s *State) MarshalBinary() ([]byte, error) { return s.AppendBinary(nil) }

// ParseState reads what AppendBinary wrote; nothing at all gives the zero State. Errors: ErrState for bytes that
// are no state, or one of a later version.
func ParseState(b []byte) (State, error) {
	_ = b
	return State{}, nil
}

// Level is the account's level in the mode that was last in force.
func (s *State) Level() Level { return Normal }

// ByHand says that the level was set by a person.
func (s *State) ByHand() bool { return false }

// LastUS is the time of the last event; 0 when there was none.
func (s *State) LastUS() int64 { return 0 }

// Seq is the number of events so far that changed the state.
func (s *State) Seq() uint64 { return 0 }

// Totals of the state at nowUS, for pages and lists.
func (s *State) Totals(nowUS int64) Totals { _ = nowUS; return Totals{} }

// Totals are the counts of a state.
type Totals struct {
	Messages   Windows
	Recipients Windows
	New        Windows
	Invalid    Windows
	// Reserved recipients are part of Recipients and not yet sent.
	Reserved int64
	// UsualHour and UsualDay are the account's own peaks.
	UsualHour, UsualDay int64
}

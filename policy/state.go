package policy

// MaxStateBytes bounds the encoding of a State.
const MaxStateBytes = 12 << 10

// Sizes of what is kept beside windows, recipients, bodies and places.
const (
	scoreCount       = 12
	reservationCount = 32
	failedCount      = 16
	reservationUS    = 10 * minuteUS
)

// State is everything the engine remembers of one account. It holds no pointers: a copy is independent, and two
// states are compared with ==. The zero value is an account that nothing is known of.
type State struct {
	seq             uint64
	firstUS, lastUS int64

	standing
	windows windows
	// usual are the account's own peaks, decaying; today are those of peakDay, which become usual when it is over.
	usual, today peaks
	peakDay      int64
	known        known
	prints       [printCount]print
	scores       [scoreCount]spamScore
	next         uint8 // of scores
	// The last time that a message was certainly bad; minutes since 1970.
	spamMinute, malwareMinute, urlMinute uint32

	places [placeCount]place
	here   uint8 // the current place, from 1; 0: unknown
	hours  [24]uint16
	total  uint64 // messages of a lifetime

	open       [reservationCount]reservation
	failed     [failedCount]uint64 // hashes of the last invalid recipients
	failedNext uint8

	refused refused
	habit   habit
}

// standing is the level and what led to it.
type standing struct {
	level   uint8 // 0 normal, 1 soft limit, 2 hard limit
	byHand  bool
	shadow  bool // set by an automatic decision that did not take effect
	levelUS int64
	untilUS int64 // the level ends; 0: as its kind does, a stop by hand never
	// capHour replaces the configured soft cap; 0: as configured.
	capHour int64
	// breachUS is the last time that the score was over the soft threshold, strikeUS the last one that counted.
	breachUS, strikeUS int64
	strikes            int64 // Micro is one strike, decayed to strikeUS
	noticedUS          int64 // of the last uncorroborated notice
}

// spamScore is what the spam filter said of one message.
type spamScore struct {
	minute uint32 // since 1970; 0: an empty place
	milli  int32  // thousandths, within ±1000
}

// reservation is what one transaction holds.
type reservation struct {
	transaction   uint64 // 0: an empty place
	atUS          int64  // of the first recipient
	copies, fresh uint32
}

const (
	normal uint8 = iota
	soft
	hard
)

var levels = [...]Level{normal: Normal, soft: SoftLimit, hard: HardLimit}

// Level is the account's level. One that an automatic decision set in shadow is told too; see InShadow.
func (s *State) Level() Level { return levels[s.level] }

// InShadow says that the level has no effect, because mode shadow was in force when it was set.
func (s *State) InShadow() bool { return s.shadow }

// ByHand says that the level was set by a person.
func (s *State) ByHand() bool { return s.byHand }

// SinceUS is the time of the level, µs since 1970; 0 when it was always normal.
func (s *State) SinceUS() int64 { return s.levelUS }

// FirstUS and LastUS are the times of the first and the last event, µs since 1970; 0 when there was none.
func (s *State) FirstUS() int64 { return s.firstUS }

// LastUS is the time of the last event.
func (s *State) LastUS() int64 { return s.lastUS }

// Seq is the number of events so far.
func (s *State) Seq() uint64 { return s.seq }

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

// Totals of the state at nowUS, for pages and lists.
func (s State) Totals(nowUS int64) Totals {
	s.turn(max(nowUS, s.lastUS))
	w := s.windows.sums()
	t := Totals{
		Messages: w.windows(messages), Recipients: w.windows(copies), New: w.windows(fresh), Invalid: w.windows(invalid),
		UsualHour: s.usual.all[windowHour] / Micro, UsualDay: s.usual.all[windowDay] / Micro,
	}
	for _, r := range s.open {
		t.Reserved += int64(r.copies)
	}
	return t
}

func (w *sums) windows(kind int) Windows {
	return Windows{Hour: w[windowHour][kind], Day: w[windowDay][kind]}
}

// turn brings everything that moves with time to nowUS, except decay of peaks, which wants the policy.
func (s *State) turn(nowUS int64) {
	s.windows.turn(nowUS)
	s.known.turn(nowUS)
	s.refused.turn(nowUS)
	for i := range s.open {
		if r := &s.open[i]; r.transaction != 0 && nowUS-r.atUS >= reservationUS {
			s.giveBack(r)
		}
	}
}

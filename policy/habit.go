package policy

// habit is how often the account comes from a network that is new to it: telephones do so all the time, a desk never.
type habit struct {
	// usual is the number of past days with a new network, in millionths of a day; each day takes a twentieth away, so that a
	// new network every day comes to 20, one a week to 3, one in a month to less than 1.
	usual int64
	today bool // there was one today
}

// maxHabit is more than a new network every day comes to.
const maxHabit = 20 * Micro

// habitDecay is what a day leaves of the days before.
const habitDecay = 950_000

// turnHabit ends the days up to day. Today counts only when it is over: a thief is a new network too.
func (s *State) turnHabit(day int64) {
	for n := min(day-s.peakDay, 365); n > 0; n-- {
		s.habit.usual = mul(s.habit.usual, habitDecay)
		if s.habit.today {
			s.habit.usual += Micro
		}
		s.habit.today = false
	}
}

// arrive notes where the event comes from. While an account is limited nothing is learned of its habits.
func (c *step) arrive() {
	fresh := c.visit(c.e.Place, c.now)
	if fresh && c.level == normal && c.now-c.firstUS >= c.p.history.coldUS {
		c.habit.today = true
	}
}

// wandering is how far new networks are this account's habit, 0 to 1.
func (s *State) wandering(r *historyRules) int64 {
	return ramp(s.habit.usual, r.habitDays/2, r.habitDays)
}

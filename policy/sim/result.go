package sim

// Result of a run.
type Result struct {
	Options Options
	// Policy is the hash of the policy in force.
	Policy  string
	Honest  []HonestRun
	Attacks []AttackRun
	// Parts are the runs that were taken together, one of each seed; nil when there was one.
	Parts []*Result
}

// HonestSum are all accounts of one behaviour, or of all.
type HonestSum struct {
	Accounts, Days, Sent     int
	Soft, Hard, Plain, Fixed int
	Refused                  int
}

// SumHonest adds up the accounts that keep wants.
func (r *Result) SumHonest(keep func(HonestRun) bool) (s HonestSum) {
	for _, h := range r.Honest {
		if !keep(h) {
			continue
		}
		s.Accounts++
		s.Days += h.Days
		s.Sent += h.Sent
		s.Soft += h.Soft
		s.Hard += h.Hard
		s.Plain += h.Plain
		s.Fixed += h.Fixed
		s.Refused += h.Refused
	}
	return s
}

// Small is as much as a soft limit leaves anybody in an hour.
const Small = 20

// AttackSum are the attacks of one family, or of several.
type AttackSum struct {
	// Leaked and Fixed are the recipients of each attack, with the engine and with fixed limits.
	Leaked, Fixed []int
	// Contained are those that were limited or suspended, or that ended by themselves at no more than Small recipients;
	// Second are those with a second kind of evidence, SecondSuspended those of them that
	// were suspended.
	Contained, Suspended, Second, SecondSuspended int
	// Hidden are those in which nothing differs from the victim's own mail, HiddenPassed those of them that reach more
	// than Small where only fixed limits hold.
	Hidden, HiddenPassed int
	// Above counts those with more than 100 recipients, AboveOwn those of them from the victim's own network.
	Above, AboveOwn int
}

// SumAttacks adds up the attacks that keep wants.
func (r *Result) SumAttacks(keep func(AttackRun) bool) (s AttackSum) {
	one := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	for _, a := range r.Attacks {
		if !keep(a) {
			continue
		}
		s.Leaked = append(s.Leaked, a.Leaked)
		s.Fixed = append(s.Fixed, a.Fixed)
		s.Contained += one(a.Limited || a.Leaked <= Small)
		s.Suspended += one(a.Suspended)
		s.Second += one(a.Corroborated)
		s.SecondSuspended += one(a.Corroborated && a.Suspended)
		s.Hidden += one(a.Hidden)
		s.HiddenPassed += one(a.Hidden && a.Fixed > Small)
		s.Above += one(a.Leaked > 100)
		s.AboveOwn += one(a.Leaked > 100 && a.Own)
	}
	return s
}

// Blast says whether a family of that name is fast.
func Blast(name string) bool { return familyOf(name).Blast }

// Extra says whether a family of that name is beyond the targets.
func Extra(name string) bool { return familyOf(name).Extra }

func familyOf(name string) Family {
	for _, f := range Families {
		if f.Name == name {
			return f
		}
	}
	return Family{}
}

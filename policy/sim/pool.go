package sim

import "context"

// RunSeeds is Run with as many seeds, from o.Seed on, taken together; Parts are the runs by themselves.
func RunSeeds(ctx context.Context, o Options, seeds int) (*Result, error) {
	all := &Result{Options: o.withDefaults()}
	for i := range seeds {
		one := o
		one.Seed += uint64(i)
		r, err := Run(ctx, one)
		if err != nil {
			return nil, err
		}
		all.Policy = r.Policy
		all.Honest = append(all.Honest, r.Honest...)
		all.Attacks = append(all.Attacks, r.Attacks...)
		all.Parts = append(all.Parts, r)
	}
	return all, nil
}

// target is a figure that is wanted to be at least or at most so much.
type target struct {
	name, wanted, format string
	of                   func(r *Result) interval
	met                  func(value float64) bool
}

func atMost(n float64) func(float64) bool  { return func(v float64) bool { return v <= n } }
func atLeast(n float64) func(float64) bool { return func(v float64) bool { return v >= n } }

func isBlast(a AttackRun) bool    { return Blast(a.Family) }
func isSlow(a AttackRun) bool     { return !Blast(a.Family) && !Extra(a.Family) }
func isTargeted(a AttackRun) bool { return !Extra(a.Family) }

// targets are those that the engine was made for.
var targets = []target{
	{"blasts: leaked recipients, median", "≤ 20", "%.0f", leaked(isBlast, 0.5), atMost(20)},
	{"blasts: leaked recipients, p95", "≤ 50", "%.0f", leaked(isBlast, 0.95), atMost(50)},
	{"slow attacks and mixtures: leaked recipients, p95", "≤ 100", "%.0f", leaked(isSlow, 0.95), atMost(100)},
	{"contained, of all attacks", "≥ 99 %", "%.1f %%", contained, atLeast(99)},
	{"suspended, of blasts with a second kind of evidence", "≥ 95 %", "%.1f %%", suspended(isBlast), atLeast(95)},
	{"suspended, of slow attacks with a second kind of evidence", "≥ 95 %", "%.1f %%", suspended(isSlow), atLeast(95)},
	{"wrong suspensions per 1,000 account-days", "≤ 0.1", "%.2f", func(r *Result) interval {
		s := r.SumHonest(everybody)
		return rate(s.Hard, s.Days)
	}, atMost(0.1)},
	{"wrong soft limits per 1,000 account-days", "≤ 1", "%.2f", func(r *Result) interval {
		s := r.SumHonest(everybody)
		return rate(s.Soft, s.Days)
	}, atMost(1)},
}

func everybody(HonestRun) bool { return true }

func leaked(keep func(AttackRun) bool, p float64) func(*Result) interval {
	return func(r *Result) interval { return quantileOf(r.SumAttacks(keep).Leaked, p, r.Options.Seed) }
}

func suspended(keep func(AttackRun) bool) func(*Result) interval {
	return func(r *Result) interval {
		s := r.SumAttacks(keep)
		return share(s.SecondSuspended, s.Second)
	}
}

func contained(r *Result) interval {
	s := r.SumAttacks(isTargeted)
	return share(s.Contained, len(s.Leaked))
}

// Package sim measures how well the outbound engine tells a stolen account from an honest one. It makes accounts
// that behave as people, machines and attackers do, sends their mail through the engine as the milter would, and
// counts what attackers got out and where honest senders were stopped. The same seed gives the same traffic; the
// same traffic goes through fixed hourly limits for comparison.
//
// The traffic is invented, from what is known of such senders. It shows that the engine does what it is meant to
// and how its parts weigh against each other, not what it will catch at a given site.
package sim

import (
	"context"
	"math/rand/v2"
	"runtime"
	"sync"
	"time"

	"github.com/mairust/mairust/policy"
)

// Options of a run.
type Options struct {
	// Seed of all traffic; 0 is a seed like any other.
	Seed uint64
	// Accounts is the number of honest accounts (1,200) and Days how long each is watched (30), after Warmup days of
	// shadow mode (28).
	Accounts, Days, Warmup int
	// Attacks is the number of attacks of each family (300).
	Attacks int
	// NoCountries is a site without a database of countries: places are networks only.
	NoCountries bool
	// Policy is the engine's; its mode is ignored.
	Policy policy.Options
}

func (o Options) withDefaults() Options {
	def := func(n *int, value int) {
		if *n == 0 {
			*n = value
		}
	}
	def(&o.Accounts, 1200)
	def(&o.Days, 30)
	def(&o.Warmup, 28)
	def(&o.Attacks, 300)
	return o
}

// start is a Monday, 00:00 UTC. The accounts live at UTC+9.
var start = time.Date(2024, 4, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

const (
	second = int64(1_000_000)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
	zone   = 9 * hour
)

// Run simulates honest accounts and all families of attacks.
func Run(ctx context.Context, o Options) (*Result, error) {
	o = o.withDefaults()
	engines, err := newEngines(o.Policy)
	if err != nil {
		return nil, err
	}
	r := &Result{Options: o, Policy: engines.enforce.Hash()}
	r.Honest = parallel(ctx, o.Accounts, func(i int) HonestRun { return runHonest(o, engines, i) })
	for f, family := range Families {
		r.Attacks = append(r.Attacks, parallel(ctx, o.Attacks, func(i int) AttackRun {
			return runAttack(o, engines, family, f*1_000_000+i)
		})...)
	}
	return r, ctx.Err()
}

// engines are the two policies that an account meets: the days of learning, and then.
type engines struct{ shadow, enforce *policy.Policy }

func newEngines(o policy.Options) (engines, error) {
	var e engines
	var err error
	o.Mode, o.Modes = policy.Shadow, nil
	if e.shadow, err = policy.Compile(o, profiles()); err != nil {
		return e, err
	}
	o.Mode = policy.Enforce
	e.enforce, err = policy.Compile(o, profiles())
	return e, err
}

// parallel runs f for 0…n-1 on all cores; the order of the results does not depend on them.
func parallel[T any](ctx context.Context, n int, f func(int) T) []T {
	list := make([]T, n)
	next := make(chan int)
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for i := range next {
				list[i] = f(i)
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		next <- i
	}
	close(next)
	wg.Wait()
	return list
}

// dice is the randomness of one account.
type dice struct{ *rand.Rand }

func newDice(seed uint64, stream int) dice {
	return dice{rand.New(rand.NewPCG(seed, uint64(stream)+1))} //nolint:gosec // a simulation, which must repeat itself
}

func (d dice) chance(p float64) bool { return d.Float64() < p }

// between is evenly spread over a…b.
func (d dice) between(a, b int) int { return a + d.IntN(b-a+1) }

func (d dice) span(a, b int64) int64 { return a + d.Int64N(b-a+1) }

func (d dice) normal(mean, deviation float64) float64 { return mean + deviation*d.NormFloat64() }

// poisson is the number of events of a mean up to a few hundred.
func (d dice) poisson(mean float64) int {
	n, left := 0, mean
	for {
		left -= d.ExpFloat64()
		if left < 0 {
			return n
		}
		n++
	}
}

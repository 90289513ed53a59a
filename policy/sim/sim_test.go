package sim_test

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy/sim"
)

// TestShortRunKeepsTheTargets is make detection in small. Its bounds are wider than the targets, because a small
// sample scatters; what it would catch is a change that breaks detection, or stops honest senders.
func TestShortRunKeepsTheTargets(t *testing.T) {
	o := sim.Options{Seed: 7, Accounts: 120, Days: 14, Attacks: 30}
	if testing.Short() {
		o.Accounts, o.Attacks = 40, 10
	}
	r, err := sim.Run(context.Background(), o)
	require.NoError(t, err)
	blasts := r.SumAttacks(func(a sim.AttackRun) bool { return sim.Blast(a.Family) })
	require.LessOrEqual(t, median(blasts.Leaked), 25)
	require.GreaterOrEqual(t, float64(blasts.Contained), 0.97*float64(len(blasts.Leaked)))
	require.GreaterOrEqual(t, float64(blasts.SecondSuspended), 0.9*float64(blasts.Second))
	require.Greater(t, median(blasts.Fixed), 10*median(blasts.Leaked), "fixed limits let far more out")
	honest := r.SumHonest(func(sim.HonestRun) bool { return true })
	require.LessOrEqual(t, float64(honest.Soft), 4*float64(honest.Days)/1000)
	require.LessOrEqual(t, honest.Hard, 1)
	require.Greater(t, honest.Sent, 10*o.Accounts)

	var b strings.Builder
	require.NoError(t, r.Tables(&b))
	for _, f := range sim.Families {
		name := f.Name
		if f.Extra {
			name += " (beyond the targets)"
		}
		require.Contains(t, b.String(), "| "+name+" |")
	}
	require.NotContains(t, b.String(), "NaN")
}

func median(list []int) int {
	return slices.Sorted(slices.Values(list))[len(list)/2]
}

func TestSameSeedSameTraffic(t *testing.T) {
	o := sim.Options{Seed: 9, Accounts: 12, Days: 5, Warmup: 7, Attacks: 2}
	a, err := sim.Run(context.Background(), o)
	require.NoError(t, err)
	b, err := sim.Run(context.Background(), o)
	require.NoError(t, err)
	require.True(t, reflect.DeepEqual(a, b))
	o.Seed = 10
	c, err := sim.Run(context.Background(), o)
	require.NoError(t, err)
	require.False(t, reflect.DeepEqual(a.Honest, c.Honest))
}

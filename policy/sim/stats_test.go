package sim

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestIntervalsAreTheTabulatedOnes(t *testing.T) {
	// Garwood's interval of 0 and 10 events; Clopper and Pearson's of 8 of 10.
	r := rate(0, 1000)
	require.InDelta(t, 3.689, r.high, 0.001)
	require.Zero(t, r.low)
	r = rate(10, 1000)
	require.InDelta(t, 4.795, r.low, 0.001)
	require.InDelta(t, 18.390, r.high, 0.001)
	s := share(8, 10)
	require.InDelta(t, 44.39, s.low, 0.01)
	require.InDelta(t, 97.48, s.high, 0.01)
	require.Equal(t, interval{100, share(5, 5).low, 100}, share(5, 5))
	require.Equal(t, 3, quantile([]int{1, 2, 3, 4, 5}, 0.5))
	require.Equal(t, 5, quantile([]int{1, 2, 3, 4, 5}, 1))
	require.Equal(t, interval{2, 2, 2}, quantileOf([]int{2, 2, 2}, 0.95, 1))
}

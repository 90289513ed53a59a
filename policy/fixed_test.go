package policy

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestWilsonIsExactToThreeMillionths(t *testing.T) {
	exact := func(k, n float64) float64 {
		const z = 1.28
		p := k / n
		return (p + z*z/(2*n) - z*math.Sqrt(p*(1-p)/n+z*z/(4*n*n))) / (1 + z*z/n)
	}
	for _, n := range []int64{1, 2, 3, 7, 10, 50, 333, 1000, 99_999, 1_000_000} {
		for _, k := range []int64{1, 2, 5, n / 10, n / 2, n - 1, n} {
			if k < 1 || k > n {
				continue
			}
			require.InDelta(t, exact(float64(k), float64(n))*Micro, float64(wilson(k, n)), 3, "%d of %d", k, n)
		}
	}
	require.Zero(t, wilson(0, 0))
	require.Zero(t, wilson(0, 10))
	require.Positive(t, wilson(5_000_000, 9_000_000), "beyond its range it is that of a million")
}

func TestRootIsTheWholePart(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		x := rapid.Int64Range(-3, 1<<62).Draw(t, "x")
		r := root(x)
		if x <= 0 {
			require.Zero(t, r)
			return
		}
		require.LessOrEqual(t, r*r, x)
		require.True(t, r+1 > math.MaxInt64/(r+1) || (r+1)*(r+1) > x)
	})
}

func TestRampAndNor(t *testing.T) {
	require.Equal(t, int64(0), ramp(5, 5, 9))
	require.Equal(t, int64(Micro), ramp(9, 5, 9))
	require.Equal(t, int64(500_000), ramp(7, 5, 9))
	require.Equal(t, int64(Micro), ramp(maxLimit, -maxLimit, maxLimit-1))
	require.Equal(t, int64(499_999), max(499_999, ramp(maxLimit/2, 0, maxLimit)-1), "no overflow")
	require.Equal(t, int64(0), nor())
	require.Equal(t, int64(750_000), nor(500_000, 500_000))
	require.Equal(t, int64(Micro), nor(Micro, 0, 3))
}

// TestScoreRisesWithEachPiece raises one piece of evidence and leaves the others.
func TestScoreRisesWithEachPiece(t *testing.T) {
	p, err := Compile(Options{}, nil)
	require.NoError(t, err)
	value := rapid.Int64Range(0, Micro)
	rapid.Check(t, func(t *rapid.T) {
		var j judgement
		for i := range j.pieces {
			j.pieces[i].value = value.Draw(t, "value")
		}
		raised := j
		i := rapid.IntRange(0, pieceCount-1).Draw(t, "piece")
		raised.pieces[i].value = rapid.Int64Range(j.pieces[i].value, Micro).Draw(t, "raised")
		j.add(p)
		raised.add(p)
		require.GreaterOrEqual(t, raised.score, j.score)
		require.LessOrEqual(t, raised.score, int64(Micro))
	})
}

package sim

import (
	"fmt"
	"math"
	"slices"
)

// interval is a figure with its 95 % interval.
type interval struct{ value, low, high float64 }

func (i interval) text(format string) string {
	return fmt.Sprintf(format+" ("+format+"–"+format+")", i.value, i.low, i.high)
}

// quantile is that of sorted numbers: the least that at least the part p is not above.
func quantile(sorted []int, p float64) int {
	if len(sorted) == 0 {
		return 0
	}
	i := int(math.Ceil(p*float64(len(sorted)))) - 1
	return sorted[min(max(i, 0), len(sorted)-1)]
}

// bootstraps is how often a sample is drawn anew.
const bootstraps = 1000

// quantileOf is a quantile with its interval by the bootstrap.
func quantileOf(list []int, p float64, seed uint64) interval {
	sorted := slices.Sorted(slices.Values(list))
	d := newDice(seed, -2)
	values := make([]int, bootstraps)
	sample := make([]int, len(sorted))
	for i := range values {
		for k := range sample {
			sample[k] = sorted[d.IntN(len(sorted))]
		}
		slices.Sort(sample)
		values[i] = quantile(sample, p)
	}
	slices.Sort(values)
	return interval{float64(quantile(sorted, p)), float64(quantile(values, 0.025)), float64(quantile(values, 0.975))}
}

// share is k of n in percent, with the interval of Clopper and Pearson.
func share(k, n int) interval {
	if n == 0 {
		return interval{}
	}
	below := func(k int, p float64) float64 { return binomial(k, n, p) }
	low, high := 0.0, 1.0
	if k > 0 {
		low = root(func(p float64) float64 { return 1 - below(k-1, p) - 0.025 }, 0, 1)
	}
	if k < n {
		high = root(func(p float64) float64 { return 0.025 - below(k, p) }, 0, 1)
	}
	return interval{100 * float64(k) / float64(n), 100 * low, 100 * high}
}

// rate is k events in a thousand days, with the exact interval of Poisson.
func rate(k, days int) interval {
	if days == 0 {
		return interval{}
	}
	low, high := 0.0, root(func(m float64) float64 { return 0.025 - poisson(k, m) }, 0, float64(k)*2+20)
	if k > 0 {
		low = root(func(m float64) float64 { return 1 - poisson(k-1, m) - 0.025 }, 0, float64(k))
	}
	per := 1000 / float64(days)
	return interval{float64(k) * per, low * per, high * per}
}

// root finds where a rising function crosses 0.
func root(f func(float64) float64, low, high float64) float64 {
	for range 60 {
		middle := (low + high) / 2
		if f(middle) < 0 {
			low = middle
		} else {
			high = middle
		}
	}
	return low
}

// binomial is the probability of at most k of n.
func binomial(k, n int, p float64) (sum float64) {
	if p <= 0 {
		return 1
	}
	if p >= 1 {
		return 0
	}
	all, _ := math.Lgamma(float64(n + 1))
	for i := range k + 1 {
		a, _ := math.Lgamma(float64(i + 1))
		b, _ := math.Lgamma(float64(n - i + 1))
		sum += math.Exp(all - a - b + float64(i)*math.Log(p) + float64(n-i)*math.Log(1-p))
	}
	return min(sum, 1)
}

// poisson is the probability of at most k events where mean are expected.
func poisson(k int, mean float64) (sum float64) {
	if mean <= 0 {
		return 1
	}
	for i := range k + 1 {
		f, _ := math.Lgamma(float64(i + 1))
		sum += math.Exp(float64(i)*math.Log(mean) - mean - f)
	}
	return min(sum, 1)
}

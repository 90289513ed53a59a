package policy

import "math/bits"

// All numbers of the engine are integers; evidence, weights and scores are millionths (Micro). Each operation
// rounds down, by less than one millionth; a score is the sum of three products of such, so it is off by at most a
// few millionths from exact arithmetic, always the same on every machine.

// ramp is 0 up to a, Micro from b on, and straight between; b must be more than a. All three are at most
// 9·10^12 in size.
func ramp(x, a, b int64) int64 {
	switch {
	case x <= a:
		return 0
	case x >= b:
		return Micro
	}
	return (x - a) * Micro / (b - a)
}

// nor is 1 - (1-a)(1-b)…: independent pieces of evidence together.
func nor(evidence ...int64) int64 {
	rest := int64(Micro)
	for _, e := range evidence {
		rest = mul(rest, Micro-e)
	}
	return Micro - rest
}

// mul is a product of two numbers in millionths.
func mul(a, b int64) int64 { return a * b / Micro }

// wilson is the lower bound, in millionths, of the share of which k of n are a sample, at z = 1.28 (Wilson 1927).
// It is 0 without a sample. Against exact arithmetic it is off by at most 3 millionths.
func wilson(k, n int64) int64 {
	const (
		z, zz = 1_280_000, 1_638_400 // z and z², in millionths
		most  = 1_000_000            // keeps every product in 63 bits
	)
	n = min(n, most)
	k = min(k, n)
	if k <= 0 {
		return 0
	}
	spread := root((k*(n-k)*Micro/n + zz/4) * Micro)
	lower := k*Micro + zz/2 - mul(z, spread)
	return max(lower, 0) * Micro / (n*Micro + zz)
}

// root is the whole part of the square root of x.
func root(x int64) int64 {
	if x <= 0 {
		return 0
	}
	r := int64(1) << ((bits.Len64(uint64(x)) + 1) / 2) // at or above the root
	for {
		next := (r + x/r) / 2
		if next >= r {
			return r
		}
		r = next
	}
}

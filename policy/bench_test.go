package policy_test

import (
	"math/rand/v2"
	"testing"

	"github.com/mairust/mairust/policy"
)

// BenchmarkDecide is one recipient and one end of message of an account with a long history.
func BenchmarkDecide(b *testing.B) {
	p, err := policy.Compile(policy.Options{Mode: policy.Enforce}, nil)
	if err != nil {
		b.Fatal(err)
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	var s policy.State
	now := int64(1_700_000_000_000_000)
	send := func() {
		now += 300_000_000
		rcpt := []uint64{rnd.Uint64N(3000) * 0x9e3779b97f4a7c15}
		e := policy.Event{Kind: policy.KindReserve, Account: "a@example.com", Transaction: 7, Recipients: rcpt, Place: policy.Place{Network: 5}}
		_, s = policy.Decide(s, e, p, now)
		e.Kind = policy.KindCommit
		e.Content = policy.Content{SpamKnown: true, Spam: 1_000_000, Fingerprint: rnd.Uint64()}
		_, s = policy.Decide(s, e, p, now)
	}
	for range 5000 {
		send()
	}
	b.ReportAllocs()
	for b.Loop() {
		send()
	}
}

// BenchmarkState is reading and writing the state of an account that knows many.
func BenchmarkState(b *testing.B) {
	p, _ := policy.Compile(policy.Options{}, nil)
	rnd := rand.New(rand.NewPCG(1, 2))
	var s policy.State
	for i := range 4000 {
		_, s = policy.Decide(s, policy.Event{Kind: policy.KindCommit, Recipients: []uint64{rnd.Uint64()}}, p, 1_700_000_000_000_000+int64(i)*60_000_000)
	}
	text, _ := s.MarshalBinary()
	b.ReportMetric(float64(len(text)), "bytes")
	for b.Loop() {
		parsed, err := policy.ParseState(text)
		if err != nil {
			b.Fatal(err)
		}
		text, _ = parsed.AppendBinary(text[:0])
	}
}

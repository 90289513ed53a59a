package policy_test

import (
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mairust/mairust/policy"
)

// event draws any event that a caller could send, and some that none should.
func event(t *rapid.T, tx uint64) policy.Event {
	kinds := []policy.Kind{
		policy.KindMail, policy.KindReserve, policy.KindReserve, policy.KindCommit, policy.KindCommit, policy.KindCommit,
		policy.KindRelease, policy.KindRefused, policy.KindBounce, policy.KindStop, policy.KindReenable, policy.KindSetLevel,
		policy.KindLearnLevel, 0, 99,
	}
	e := policy.Event{
		Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), Account: "a@example.com", Transaction: tx,
		Mode: rapid.SampledFrom([]policy.Mode{"", policy.Enforce, policy.Enforce, policy.Shadow, policy.Off}).Draw(t, "mode"),
		DSN:  rapid.SampledFrom([]string{"", "5.1.1", "5.1.2", "4.1.1", "5.7.1"}).Draw(t, "dsn"),
		Place: policy.Place{
			Country: rapid.SampledFrom([]string{"", "JP", "NG", "US", "xx"}).Draw(t, "country"),
			Network: rapid.Uint64Range(0, 12).Draw(t, "network"),
		},
		Content: policy.Content{
			Spam: rapid.Int64Range(-20_000_000, 40_000_000).Draw(t, "spam"), SpamKnown: rapid.Bool().Draw(t, "known"),
			Malware: rapid.Float64().Draw(t, "malware") < 0.05, ListedURL: rapid.Float64().Draw(t, "url") < 0.05,
			Fingerprint: rapid.Uint64Range(0, 60).Draw(t, "print"),
		},
		Degraded: policy.Degraded(rapid.Uint8Range(0, 7).Draw(t, "degraded")),
		Level:    rapid.SampledFrom([]policy.Level{"", policy.Normal, policy.SoftLimit, policy.HardLimit}).Draw(t, "level"),
		Cap:      rapid.Int64Range(-5, 500).Draw(t, "cap"),
		SinceUS:  rapid.SampledFrom([]int64{0, -1, 1, monday, monday + 30*day, 1 << 60}).Draw(t, "since"),
		Scope:    policy.Scope{DomainHour: rapid.Int64Range(-1, 6000).Draw(t, "domain")},
	}
	for range rapid.IntRange(0, 30).Draw(t, "recipients") {
		e.Recipients = append(e.Recipients, mix(rapid.Uint64Range(0, 500).Draw(t, "recipient")))
	}
	return e
}

func options(t *rapid.T) policy.Options {
	return policy.Options{
		Mode:      rapid.SampledFrom([]policy.Mode{policy.Enforce, policy.Shadow}).Draw(t, "policy mode"),
		SoftLimit: policy.SoftLimitOptions{Action: rapid.SampledFrom([]string{policy.Action450, policy.ActionHold}).Draw(t, "action")},
	}
}

// history is a state after many events, its records and a checkpoint somewhere between.
func history(t *rapid.T, p *policy.Policy, each func(policy.State, policy.Decision)) (s, checkpoint policy.State, now int64, blob []byte) {
	now = monday
	n := rapid.IntRange(1, 80).Draw(t, "events")
	at := rapid.IntRange(0, n-1).Draw(t, "checkpoint")
	for i := range n {
		if i == at {
			checkpoint = s
		}
		now += rapid.SampledFrom([]int64{0, second, minute, 20 * minute, 3 * hour, day, 40 * day}).Draw(t, "gap")
		e := event(t, rapid.Uint64Range(0, 40).Draw(t, "transaction"))
		var d policy.Decision
		d, s = policy.Decide(s, e, p, now)
		blob = policy.AppendRecord(blob, p, now, e, d)
		each(s, d)
	}
	return s, checkpoint, now, blob
}

func TestScoresStayWithinBoundsAndStatesRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, err := policy.Compile(options(t), nil)
		require.NoError(t, err)
		history(t, p, func(s policy.State, d policy.Decision) {
			if d.Score < 0 || d.Score > policy.Micro {
				t.Fatalf("score %d", d.Score)
			}
			b, err := s.MarshalBinary()
			require.NoError(t, err)
			require.LessOrEqual(t, len(b), policy.MaxStateBytes)
			again, err := policy.ParseState(b)
			require.NoError(t, err)
			if again != s {
				t.Fatal("the state changed on its way through bytes")
			}
			if x := d.Explanation; x != nil {
				sum := int64(0)
				for _, f := range x.Factors {
					if f.Value < 0 || f.Value > policy.Micro {
						t.Fatalf("factor %s is %d", f.Name, f.Value)
					}
					sum += f.Share
				}
				require.Equal(t, d.Score, sum)
			}
		})
	})
}

func TestReplayFromACheckpointIsBitIdentical(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		p, err := policy.Compile(options(t), nil)
		require.NoError(t, err)
		end, checkpoint, _, blob := history(t, p, func(policy.State, policy.Decision) {})
		records, err := policy.ParseRecords(blob)
		require.NoError(t, err)
		shuffled := append([]policy.Record(nil), records...)
		rand.New(rand.NewPCG(1, uint64(len(blob)))).Shuffle(len(shuffled), func(i, j int) {
			shuffled[i], shuffled[j] = shuffled[j], shuffled[i]
		})
		for _, start := range []policy.State{{}, checkpoint} {
			var got policy.State
			l := policy.Log{Account: "a@example.com", Start: start, Records: shuffled}
			n := start.Seq()
			for st := range l.Replay(p, &got) {
				n++
				if !st.Same || st.Gap != 0 {
					t.Fatalf("record %d: %+v, now %+v", st.Record.Seq, st.Record, st.Decision)
				}
			}
			require.Equal(t, end.Seq(), n)
			if got != end {
				t.Fatal("replay ends in another state")
			}
		}
	})
}

// ladder has the levels from the mildest.
var ladder = []policy.Level{policy.Normal, policy.SoftLimit, policy.HardLimit}

// TestMoreEvidenceNeverLowersTheScore compares two ends of the same message that differ in one thing.
func TestMoreEvidenceNeverLowersTheScore(t *testing.T) {
	changes := map[string]func(e *policy.Event){
		"spam":    func(e *policy.Event) { e.Content.Spam, e.Content.SpamKnown = e.Content.Spam+3_000_000, true },
		"malware": func(e *policy.Event) { e.Content.Malware = true },
		"url":     func(e *policy.Event) { e.Content.ListedURL = true },
		"place":   func(e *policy.Event) { e.Place = policy.Place{Country: "RU", Network: 999} },
	}
	rapid.Check(t, func(t *rapid.T) {
		p, err := policy.Compile(policy.Options{Mode: policy.Shadow}, nil)
		require.NoError(t, err)
		s, _, now, _ := history(t, p, func(policy.State, policy.Decision) {})
		e := event(t, 1_000)
		e.Kind, e.Content.SpamKnown = policy.KindCommit, true
		less, _ := policy.Decide(s, e, p, now)
		for name, change := range changes {
			worse := e
			change(&worse)
			more, _ := policy.Decide(s, worse, p, now)
			if more.Score < less.Score {
				t.Fatalf("%s: %d became %d\n%+v\n%+v", name, less.Score, more.Score, less.Explanation, more.Explanation)
			}
		}
		_, after := policy.Decide(s, e, p, now)
		bounce := policy.Event{Kind: policy.KindBounce, Account: e.Account, DSN: "5.1.1", Recipients: []uint64{mix(1 << 40)}}
		_, bounced := policy.Decide(after, bounce, p, now)
		one := policy.Event{Kind: policy.KindReserve, Account: e.Account, Transaction: 2_000, Recipients: []uint64{mix(1 << 41)}}
		less, _ = policy.Decide(after, one, p, now)
		more, _ := policy.Decide(bounced, one, p, now)
		// Nor its level, and a score that suspends is not lowered by what it did.
		if more.Score < less.Score || slices.Index(ladder, bounced.Level()) < slices.Index(ladder, after.Level()) {
			t.Fatalf("bounce: %d became %d\n%+v\n%+v", less.Score, more.Score, less.Explanation, more.Explanation)
		}
	})
}

// TestFullestStateFits fills everything that a state holds.
func TestFullestStateFits(t *testing.T) {
	p, err := policy.Compile(policy.Options{Mode: policy.Shadow}, nil)
	require.NoError(t, err)
	rnd := rand.New(rand.NewPCG(3, 4))
	var s policy.State
	now := int64(1) << 55 // far in the future, where times are long
	most := 0
	list := make([]uint64, policy.MaxRecipients)
	for i := range 4000 {
		now += 61 * second
		if i == 3000 {
			now += 31 * day // the second filter
		}
		for k := range list {
			list[k] = rnd.Uint64()
		}
		for k := range 40 { // more transactions than there is room for
			_, s = policy.Decide(s, policy.Event{Kind: policy.KindReserve, Transaction: rnd.Uint64(), Recipients: list[k : k+1]}, p, now)
		}
		e := policy.Event{
			Kind: policy.KindCommit, Recipients: list, DSN: "5.1.1", Place: policy.Place{Country: "ZZ", Network: rnd.Uint64()},
			Content: policy.Content{Spam: -900_000_000, SpamKnown: true, Malware: true, ListedURL: true, Fingerprint: rnd.Uint64N(32) << 58},
		}
		if i%500 == 0 || i > 3900 {
			_, s = policy.Decide(s, e, p, now)
			e.Kind = policy.KindBounce
			_, s = policy.Decide(s, e, p, now)
			b, _ := s.MarshalBinary()
			most = max(most, len(b))
		}
	}
	t.Logf("the fullest state has %d bytes", most)
	require.Greater(t, most, 9<<10)
	require.LessOrEqual(t, most, policy.MaxStateBytes)
}

// TestMemoryOfAHundredThousandAccounts keeps states as the runtime does, as bytes.
func TestMemoryOfAHundredThousandAccounts(t *testing.T) {
	n := 100_000
	if testing.Short() {
		n = 5_000
	}
	p, err := policy.Compile(policy.Options{Mode: policy.Enforce}, nil)
	require.NoError(t, err)
	states := make([][]byte, n)
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	for i := range states {
		var s policy.State
		for k := range 3 {
			now := monday + int64(k)*hour
			list := []uint64{mix(uint64(i*10 + k)), mix(uint64(i*10 + k + 5))}
			_, s = policy.Decide(s, policy.Event{Kind: policy.KindCommit, Recipients: list, Place: office, Content: content(1)}, p, now)
		}
		b, _ := s.MarshalBinary()
		states[i] = append(make([]byte, 0, len(b)), b...)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	each := int(after.HeapAlloc-before.HeapAlloc) / n
	t.Logf("%d bytes for each of %d accounts", each, n)
	require.Less(t, each, policy.MaxStateBytes)
	runtime.KeepAlive(states)
}

package policy_test

import (
	"bytes"
	"testing"

	"github.com/mairust/mairust/policy"
)

// FuzzParseState takes bytes of a database or of Redis that somebody else may have written.
func FuzzParseState(f *testing.F) {
	p, err := policy.Compile(policy.Options{Mode: policy.Enforce}, nil)
	if err != nil {
		f.Fatal(err)
	}
	var s policy.State
	for i := range 300 {
		e := policy.Event{Kind: policy.KindCommit, Recipients: []uint64{mix(uint64(i)), mix(uint64(i + 1))}, Place: office, Content: content(2)}
		e.Content.Fingerprint = uint64(i % 40)
		_, s = policy.Decide(s, e, p, monday+int64(i)*hour)
		if i%99 == 0 {
			b, _ := s.MarshalBinary()
			f.Add(b)
		}
	}
	f.Add([]byte{})
	f.Add([]byte{2, 0})
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := policy.ParseState(b)
		if err != nil {
			return
		}
		again, _ := s.MarshalBinary()
		if len(b) > 0 && b[0] == 2 && !bytes.Equal(again, b) { // version 1 is only read
			t.Fatal("one state has two encodings")
		}
		for _, now := range []int64{0, monday, 1 << 60} {
			for _, kind := range []policy.Kind{policy.KindMail, policy.KindReserve, policy.KindCommit, policy.KindRelease, policy.KindBounce, policy.KindReenable} {
				e := policy.Event{Kind: kind, Recipients: []uint64{1}, DSN: "5.1.1", Place: abroad, Content: policy.Content{SpamKnown: true, Fingerprint: 3}}
				d, next := policy.Decide(s, e, p, now)
				if d.Score < 0 || d.Score > policy.Micro {
					t.Fatalf("score %d", d.Score)
				}
				b, _ := next.MarshalBinary()
				if parsed, err := policy.ParseState(b); err != nil || parsed != next {
					t.Fatalf("the next state does not survive its encoding: %v", err)
				}
			}
		}
	})
}

func FuzzParseRecords(f *testing.F) {
	p, err := policy.Compile(policy.Options{}, nil)
	if err != nil {
		f.Fatal(err)
	}
	e := policy.Event{Kind: policy.KindCommit, Recipients: []uint64{1, 2}, DSN: "5.1.1", Place: abroad, QueueID: "4XyZ", QueueHost: "mx"}
	d, _ := policy.Decide(policy.State{}, e, p, monday)
	f.Add(policy.AppendRecord(policy.AppendRecord(nil, p, monday, e, d), p, monday, policy.Event{}, policy.Decision{}))
	f.Fuzz(func(t *testing.T, b []byte) {
		records, err := policy.ParseRecords(b)
		if err != nil {
			return
		}
		var again []byte
		l := policy.Log{Records: records}
		for range l.Replay(p, nil) { // must end, whatever it says
		}
		for _, r := range records {
			d := policy.Decision{Seq: r.Seq, Action: r.Action, Would: r.Would, WouldLevel: r.WouldLevel, Score: r.Score}
			again = policy.AppendRecord(again, p, r.NowUS, r.Event, d)
		}
		if _, err := policy.ParseRecords(again); err != nil {
			t.Fatal(err)
		}
	})
}

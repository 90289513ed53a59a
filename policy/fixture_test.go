package policy_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy"
)

// The clock of these tests starts on a Monday at 09:00 UTC.
var monday = time.Date(2024, 4, 1, 9, 0, 0, 0, time.UTC).UnixMicro()

const (
	second = int64(1_000_000)
	minute = 60 * second
	hour   = 60 * minute
	day    = 24 * hour
)

var (
	office = policy.Place{Country: "JP", Network: 1}
	abroad = policy.Place{Country: "NG", Network: 2}
)

// sender is an account with its state and a clock.
type sender struct {
	t      *testing.T
	p      *policy.Policy
	s      policy.State
	now    int64
	place  policy.Place
	tx     uint64
	hashes uint64
	mode   policy.Mode
	last   policy.Decision
	extra  policy.Event // fields that every event has
	blob   []byte
}

func compile(t *testing.T, o policy.Options, profiles ...policy.Profile) *policy.Policy {
	t.Helper()
	if o.Mode == "" {
		o.Mode = policy.Enforce
	}
	p, err := policy.Compile(o, profiles)
	require.NoError(t, err)
	return p
}

func newSender(t *testing.T, o policy.Options, profiles ...policy.Profile) *sender {
	t.Helper()
	return &sender{t: t, p: compile(t, o, profiles...), now: monday, place: office}
}

// established has an account write a message a working hour to ten people for two weeks.
func established(t *testing.T, o policy.Options, profiles ...policy.Profile) *sender {
	t.Helper()
	s := newSender(t, o, profiles...)
	for range 14 {
		for i := range 8 {
			require.Equal(t, policy.Allow, s.send(content(0), friend(i)).Action)
			s.now += hour
		}
		s.now += 16 * hour
	}
	return s
}

func friend(i int) uint64 { return mix(uint64(i + 1)) }

// mix spreads a number over 64 bits, as a keyed hash does.
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// stranger is somebody nobody wrote to before.
func (s *sender) stranger() uint64 {
	s.hashes++
	return mix(1_000_000 + s.hashes)
}

func content(score float64) policy.Content {
	return policy.Content{Spam: int64(score * policy.Micro), SpamKnown: true}
}

func (s *sender) decide(e policy.Event) policy.Decision {
	e.Account, e.Tenant, e.Mode = "tanaka@example.com", "acme", s.mode
	e.Scope, e.Degraded = s.extra.Scope, s.extra.Degraded
	if e.Transaction == 0 {
		e.Transaction = s.tx
	}
	if e.Place == (policy.Place{}) {
		e.Place = s.place
	}
	s.last, s.s = policy.Decide(s.s, e, s.p, s.now)
	s.blob = policy.AppendRecord(s.blob, s.p, s.now, e, s.last)
	return s.last
}

func (s *sender) mail() policy.Decision {
	s.tx++
	return s.decide(policy.Event{Kind: policy.KindMail})
}

func (s *sender) rcpt(to uint64) policy.Decision {
	return s.decide(policy.Event{Kind: policy.KindReserve, Recipients: []uint64{to}})
}

func (s *sender) end(c policy.Content, to ...uint64) policy.Decision {
	return s.decide(policy.Event{Kind: policy.KindCommit, Recipients: to, Content: c})
}

func (s *sender) release() policy.Decision { return s.decide(policy.Event{Kind: policy.KindRelease}) }

// send is a whole message; its decision is the first refusal, else that of its end.
func (s *sender) send(c policy.Content, to ...uint64) policy.Decision {
	s.t.Helper()
	if d := s.mail(); d.Action != policy.Allow {
		return d
	}
	for _, r := range to {
		if d := s.rcpt(r); d.Action != policy.Allow {
			s.release()
			s.last = d
			return d
		}
	}
	return s.end(c, to...)
}

// blast sends single messages of one body to strangers, a second apart, until one is refused, and gives how many
// left.
func (s *sender) blast(c policy.Content, most int) int {
	s.t.Helper()
	for n := range most {
		s.now += second
		if s.send(c, s.stranger()).Action != policy.Allow {
			return n
		}
	}
	return most
}

func (s *sender) evidence(name string) policy.Evidence {
	s.t.Helper()
	require.NotNil(s.t, s.last.Explanation)
	for _, e := range s.last.Explanation.Evidence {
		if e.Name == name {
			return e
		}
	}
	return policy.Evidence{}
}

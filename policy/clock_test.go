package policy_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/mairust/mairust/policy"
)

// A clock nine hours ahead is one whose hardware keeps the time of Japan.
const ahead = 9 * hour

func TestTimeGoesOnAfterTheClockWasAhead(t *testing.T) {
	o := policy.Options{Weights: policy.WeightOptions{History: 1}, Limits: policy.LimitOptions{UserPerHour: 3}}
	s := newSender(t, o)
	s.now += ahead
	require.Equal(t, policy.Allow, s.send(content(0), friend(1)).Action)
	s.now -= ahead
	for range 2 {
		require.Equal(t, policy.Allow, s.send(content(0), friend(1)).Action)
	}
	require.Equal(t, policy.ReasonUserHour, s.send(content(0), friend(1)).Reason, "what was sent meanwhile counts")
	require.Equal(t, s.now, s.s.LastUS())
	s.now += 62 * minute
	require.Equal(t, policy.Allow, s.send(content(0), friend(1)).Action, "for an hour")
}

func TestAClockThatIsALittleBehindChangesNothing(t *testing.T) {
	s := established(t, policy.Options{})
	last := s.s.LastUS()
	before := s.s.Totals(0)
	s.now = last - 10*minute
	require.Equal(t, policy.Allow, s.send(content(0), friend(1)).Action)
	require.Equal(t, last, s.s.LastUS())
	require.Equal(t, before.Recipients.Day+1, s.s.Totals(0).Recipients.Day)
}

func TestCountsKeepTheirAgeWhenTheClockGoesBack(t *testing.T) {
	s := newSender(t, policy.Options{})
	s.now += ahead
	s.send(content(0), friend(1))
	s.now += 30 * minute
	s.send(content(0), friend(2), friend(3))
	before := s.s.Totals(s.now)
	s.now -= 5 * day
	s.decide(policy.Event{Kind: policy.KindMail})
	require.Equal(t, before, s.s.Totals(s.now))
	s.now += 32 * minute
	require.Equal(t, int64(2), s.s.Totals(s.now).Recipients.Hour)
	s.now += 30 * minute
	require.Zero(t, s.s.Totals(s.now).Recipients.Hour)
	s.now = 1 << 62
	require.Equal(t, policy.Allow, s.send(content(0), friend(1)).Action)
}

func TestAReservationIsStillThereWhenTheClockGoesBack(t *testing.T) {
	s := newSender(t, policy.Options{})
	s.now += ahead
	s.mail()
	s.rcpt(friend(1))
	s.now += 7 * minute
	s.rcpt(friend(2))
	s.now -= ahead
	s.decide(policy.Event{Kind: policy.KindBounce}) // something else
	require.Equal(t, int64(2), s.s.Totals(s.now).Reserved)
	s.end(content(0), friend(2))
	require.Equal(t, int64(1), s.s.Totals(s.now).Recipients.Hour)
	s.mail()
	s.rcpt(friend(3))
	s.release()
	require.Equal(t, int64(1), s.s.Totals(s.now).Recipients.Hour)
}

func TestALimitEndsAfterItsCleanHoursWhenTheClockWasAhead(t *testing.T) {
	s := established(t, policy.Options{})
	s.place = abroad
	s.now += 10 * day
	for s.s.Level() != policy.SoftLimit {
		s.now += second
		s.send(content(0), s.stranger())
	}
	s.now -= 10 * day
	s.place = office
	s.mail()
	require.Equal(t, policy.SoftLimit, s.s.Level(), "a clock that goes back is no release")
	require.LessOrEqual(t, s.s.SinceUS(), s.now)
	s.now += 25 * hour
	s.mail()
	require.Equal(t, policy.Normal, s.s.Level())
}

// TestAClockThatJumpsSuspendsNobody lets somebody with a few messages an hour have a clock that jumps.
func TestAClockThatJumpsSuspendsNobody(t *testing.T) {
	p, err := policy.Compile(policy.Options{Mode: policy.Enforce}, nil)
	require.NoError(t, err)
	rapid.Check(t, func(t *rapid.T) {
		now, real := monday, int64(0)
		var s policy.State
		var blob []byte
		decide := func(e policy.Event) policy.Decision {
			e.Account, e.Place = "a@example.com", office
			var d policy.Decision
			d, s = policy.Decide(s, e, p, now)
			blob = policy.AppendRecord(blob, p, now, e, d)
			return d
		}
		for i := range rapid.IntRange(1, 60).Draw(t, "messages") {
			gap := rapid.Int64Range(10*minute, 20*hour).Draw(t, "gap")
			now, real = now+gap, real+gap
			if rapid.Bool().Draw(t, "jumps") {
				now += rapid.Int64Range(-40*day, 40*day).Draw(t, "jump")
			}
			e := policy.Event{Transaction: uint64(i + 1), Recipients: []uint64{friend(i % 20)}}
			for _, e.Kind = range []policy.Kind{policy.KindMail, policy.KindReserve, policy.KindCommit} {
				e.Content = content(1)
				if d := decide(e); d.Action != policy.Allow || s.Level() != policy.Normal {
					t.Fatalf("message %d after %d hours: %+v", i, real/hour, d.Explanation)
				}
				if s.LastUS() > now+10*minute {
					t.Fatalf("time stands still: the state is at %d, the clock at %d", s.LastUS(), now)
				}
			}
		}
		records, err := policy.ParseRecords(blob)
		require.NoError(t, err)
		var end policy.State
		for st := range (policy.Log{Account: "a@example.com", Records: records}).Replay(p, &end) {
			require.True(t, st.Same)
		}
		require.Equal(t, s, end)
	})
}

func TestCounterGoesOnAfterTheClockWasAhead(t *testing.T) {
	var c policy.Counter
	c.Take(monday+ahead, 1)
	require.Equal(t, int64(1), c.Take(monday, 2), "what was taken meanwhile counts")
	c.GiveBack(monday, monday, 2)
	require.Equal(t, int64(1), c.Hour(monday))
	c.GiveBack(monday, monday+ahead, 1)
	require.Zero(t, c.Hour(monday))
	c.Take(monday+minute, 3)
	require.Zero(t, c.Hour(monday+62*minute))

	c.Take(monday+ahead, 4)
	require.Equal(t, int64(4), c.Hour(monday))
	require.Zero(t, c.Hour(monday+61*minute))
}

func TestCounterOfNodesWhoseClocksDifferALittle(t *testing.T) {
	var c policy.Counter
	c.Take(monday+9*minute, 5)
	require.Equal(t, int64(5), c.Take(monday, 2))
	c.GiveBack(monday, monday, 2)
	require.Equal(t, int64(5), c.Hour(monday))
	require.Equal(t, int64(5), c.Hour(monday+69*minute), "the hour is that of the clock that is ahead")
	require.Zero(t, c.Hour(monday+70*minute))
}

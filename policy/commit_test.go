package policy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy"
)

func TestAMessageThatWasParkedMeetsThePlainLimits(t *testing.T) {
	to := []uint64{friend(1), friend(2), friend(3)}
	o := policy.Options{Weights: policy.WeightOptions{History: 1}, Limits: policy.LimitOptions{UserPerHour: 3}}
	park := func(o policy.Options, profiles ...policy.Profile) *sender {
		s := newSender(t, o, profiles...)
		s.tx = 1
		for _, r := range to {
			require.Equal(t, policy.Allow, s.rcpt(r).Action)
		}
		s.now += 11 * minute
		require.Equal(t, policy.Allow, s.send(content(0), to...).Action, "the reservation has run out")
		s.tx = 1
		return s
	}
	s := park(o)
	require.Equal(t, policy.RefuseRate, s.end(content(0), to...).Action)
	require.Equal(t, policy.ReasonUserHour, s.last.Reason)
	require.Equal(t, &policy.Limit{Reason: policy.ReasonUserHour, Count: 6, Max: 3}, s.last.Explanation.Limit)
	require.Equal(t, policy.Windows{Hour: 3, Day: 3}, s.s.Totals(s.now).Recipients, "it is given back")
	require.Equal(t, policy.Windows{Hour: 1, Day: 1}, s.s.Totals(s.now).Messages)
	require.Equal(t, policy.Normal, s.s.Level())

	news := policy.Profile{ID: "news", Accounts: []string{"tanaka@example.com"}, MaxRate: "3 msgs/hour"}
	s = park(policy.Options{}, news)
	require.Equal(t, policy.RefuseRate, s.end(content(0), to...).Action)
	require.Equal(t, policy.ReasonProfile, s.last.Reason)

	o.Mode = policy.Shadow
	s = park(o)
	require.Equal(t, policy.Allow, s.end(content(0), to...).Action)
	require.Equal(t, policy.RefuseRate, s.last.Would)
	require.Equal(t, policy.Windows{Hour: 6, Day: 6}, s.s.Totals(s.now).Recipients)
}

func TestATextThatAPlainLimitRefusesIsNotUsed(t *testing.T) {
	o := policy.Options{Limits: policy.LimitOptions{UserPerHour: 12}}
	s := established(t, o)
	s.place = abroad
	group := make([]uint64, 12)
	for i := range group {
		group[i] = s.stranger()
	}
	s.tx = 1000
	for _, r := range group {
		s.rcpt(r)
	}
	s.now += 11 * minute
	s.place = office
	s.send(content(0), friend(1))
	s.place = abroad
	s.tx = 1000
	c := policy.Content{SpamKnown: true, Fingerprint: 5}
	require.Equal(t, policy.ReasonUserHour, s.end(c, group...).Reason)
	require.Positive(t, s.evidence("campaign").Value, "it is judged")
	require.Equal(t, policy.Allow, s.send(content(0), friend(1)).Action)
	require.Zero(t, s.evidence("campaign").Value)
}

// limited has an account limited by the engine, at a place that is new, two hours ago.
func limited(t *testing.T) *sender {
	t.Helper()
	s := established(t, policy.Options{})
	s.place = abroad
	for s.s.Level() == policy.Normal {
		s.now += second
		s.send(content(0), s.stranger())
	}
	require.Equal(t, policy.SoftLimit, s.s.Level())
	require.False(t, s.s.ByHand())
	s.now += 2 * hour
	return s
}

func TestWhatIsMissingIsNotHeldAgainstWhoTriesAgain(t *testing.T) {
	list := func(s *sender) []uint64 {
		to := make([]uint64, 13)
		for i := range to {
			to[i] = s.stranger()
		}
		return to
	}
	c := policy.Content{Fingerprint: 9}
	s := limited(t)
	to := list(s)
	for range 2 {
		s.mail()
		for _, r := range to {
			require.Equal(t, policy.Allow, s.rcpt(r).Action)
		}
		s.extra.Degraded = policy.NoFilter
		require.Equal(t, policy.RefuseRate, s.end(c, to...).Action)
		require.Equal(t, policy.ReasonSoftLimit, s.last.Reason)
		require.Equal(t, policy.SoftLimit, s.s.Level())
		require.Zero(t, s.evidence("persistence"))
		s.extra.Degraded = 0
		s.now += 5 * minute
	}
	require.Equal(t, policy.Allow, s.send(c, to...).Action, "the filter is back")
	require.Equal(t, policy.SoftLimit, s.s.Level())

	s = limited(t)
	require.Equal(t, policy.Allow, s.send(c, list(s)...).Action, "with a filter")

	s = limited(t)
	s.extra.Degraded = policy.NoStore
	for range 3 {
		s.send(c, list(s)...)
		require.Equal(t, policy.SoftLimit, s.s.Level())
		require.Zero(t, s.evidence("persistence"))
		s.now += 5 * minute
	}
}

func TestWhatAFilterRefusesIsNotSent(t *testing.T) {
	s := established(t, policy.Options{})
	before := s.s.Totals(s.now)
	s.mail()
	s.rcpt(friend(1))
	bad := policy.Content{SpamKnown: true, Spam: 20_000_000, Fingerprint: 5}
	require.Equal(t, policy.Allow, s.end(bad).Action)
	require.Positive(t, s.evidence("spam").Raw)
	require.Equal(t, before, s.s.Totals(s.now))

	s = newSender(t, policy.Options{})
	for range 3 {
		s.mail()
		s.end(bad)
	}
	require.Zero(t, s.s.Totals(s.now).Messages)
	require.True(t, s.last.Explanation.ColdStart)
}

func TestAGroupThatTheFilterPutOffIsStillOneMessage(t *testing.T) {
	send := func(first bool) int64 {
		s := withContacts(t, 40)
		s.place = abroad
		c := policy.Content{SpamKnown: true, Fingerprint: 5}
		if first {
			s.mail()
			s.end(c)
			s.now += 5 * minute
		}
		group := make([]uint64, 15)
		for i := range group {
			group[i] = friend(100 + i)
		}
		require.Equal(t, policy.Allow, s.send(c, group...).Action)
		return s.evidence("campaign").Value
	}
	require.Zero(t, send(false))
	require.Zero(t, send(true))
}

func TestATextThatTheFilterRefusedIsNoTemplate(t *testing.T) {
	c := policy.Content{SpamKnown: true, Fingerprint: 5}
	s := established(t, policy.Options{})
	for range 4 {
		s.mail()
		s.end(c)
		s.now += day
	}
	s.place = abroad
	s.blast(c, 20)
	require.Positive(t, s.evidence("campaign").Value)
}

func TestAStopHoldsForWhatTheFilterRefuses(t *testing.T) {
	s := established(t, policy.Options{})
	s.mail()
	s.rcpt(friend(1))
	s.decide(policy.Event{Kind: policy.KindStop})
	require.Equal(t, policy.RefuseSuspended, s.end(content(9)).Action)

	s = established(t, policy.Options{})
	s.place = abroad
	for i := 0; s.s.Level() != policy.HardLimit; i++ {
		require.Less(t, i, 30, "spam that the filter refuses suspends too")
		s.now += minute
		s.mail()
		s.rcpt(s.stranger())
		s.end(policy.Content{SpamKnown: true, Spam: 20_000_000, Malware: true, Fingerprint: 6})
		s.blast(content(9), 3)
	}
}

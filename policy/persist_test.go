package policy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy"
)

// withContacts has the account write to n more people, over days, so that it knows them.
func withContacts(t *testing.T, n int) *sender {
	t.Helper()
	s := established(t, policy.Options{})
	for i := range n {
		require.Equal(t, policy.Allow, s.send(content(0), friend(100+i)).Action)
		s.now += hour
	}
	return s
}

func TestWhoGoesOnThroughTheAddressBookAfterTheLimitIsSuspended(t *testing.T) {
	s := withContacts(t, 120)
	s.place = abroad
	left := 0
	for i := range 120 {
		s.now += 2 * minute
		if s.send(policy.Content{SpamKnown: true, Fingerprint: uint64(1000 + i)}, friend(100+i)).Action == policy.Allow {
			left++
		}
	}
	require.Equal(t, policy.HardLimit, s.s.Level(), "known people, a text of their own each, and no haste")
	require.LessOrEqual(t, left, 60)
}

func TestPersonWhoTriesTheSameMessageAgainIsNotSuspended(t *testing.T) {
	s := withContacts(t, 60)
	s.place = abroad
	group := make([]uint64, 45)
	for i := range group {
		group[i] = friend(100 + i)
	}
	for range 40 {
		s.now += 5 * minute
		s.send(policy.Content{SpamKnown: true, Fingerprint: 77}, group...)
	}
	require.Equal(t, policy.SoftLimit, s.s.Level())
	require.Zero(t, s.evidence("persistence").Value)
}

func TestPersistenceSaysNothingAtHome(t *testing.T) {
	s := withContacts(t, 100)
	s.decide(policy.Event{Kind: policy.KindSetLevel, Level: policy.SoftLimit})
	for i := range 100 {
		s.now += 10 * second
		s.send(content(0), friend(100+i))
	}
	require.Equal(t, policy.ReasonSoftLimit, s.last.Reason)
	require.Zero(t, s.evidence("persistence").Value)
	require.Equal(t, policy.SoftLimit, s.s.Level())
}

func TestOneMessageToStrangersIsRefusedAndSuspendsNobody(t *testing.T) {
	s := established(t, policy.Options{})
	s.place = abroad
	list := make([]uint64, 20)
	for i := range list {
		list[i] = s.stranger()
	}
	s.mail()
	for _, to := range list {
		s.rcpt(to)
	}
	require.Equal(t, policy.RefuseRate, s.end(policy.Content{SpamKnown: true, Fingerprint: 9}, list...).Action)
	require.Equal(t, policy.SoftLimit, s.s.Level())
}

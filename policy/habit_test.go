package policy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy"
)

var elsewhere = policy.Place{Country: "JP", Network: 77}

func TestStrangersDoNotMakeAPlaceFamiliar(t *testing.T) {
	trust := func(to func(s *sender, i int) uint64) string {
		s := established(t, policy.Options{})
		s.place = elsewhere
		for i := range 12 {
			s.send(content(0), to(s, i))
			s.now += 3 * hour
		}
		s.send(content(0), friend(0))
		return s.last.Explanation.Trust
	}
	require.Equal(t, "new", trust(func(s *sender, _ int) uint64 { return s.stranger() }))
	require.Equal(t, "away", trust(func(_ *sender, i int) uint64 { return friend(i % 8) }))
}

func TestNewNetworksThatAreAHabitAreWeakAndCorroborateNothing(t *testing.T) {
	for name, country := range map[string]string{"with countries": "JP", "without": ""} {
		t.Run(name, func(t *testing.T) {
			s := newSender(t, policy.Options{})
			for d := range 28 {
				s.place = policy.Place{Country: country, Network: uint64(1000 + d/3)} // another one every third day
				for i := range 8 {
					s.send(content(0), friend(i))
					s.now += hour
				}
				s.now += 16 * hour
			}
			s.place = policy.Place{Country: country, Network: 5}
			s.send(content(0), friend(0))
			require.LessOrEqual(t, s.evidence("place").Value, int64(250_000))
			require.Positive(t, s.evidence("place").Value)
			require.NotContains(t, s.last.Explanation.Corroborators, "place")
			if country != "" {
				s.place = abroad
				s.send(content(0), friend(0))
				require.Contains(t, s.last.Explanation.Corroborators, "place", "a new country is no habit")
			}
		})
	}
}

func TestThiefIsNoHabitOnHisFirstDay(t *testing.T) {
	s := established(t, policy.Options{})
	for i := range 10 {
		s.place = policy.Place{Country: "JP", Network: uint64(500 + i)}
		s.send(content(0), friend(0))
		s.now += minute
	}
	require.GreaterOrEqual(t, s.evidence("place").Value, int64(450_000))
}

func TestStateOfTheFirstVersionIsRead(t *testing.T) {
	s := established(t, policy.Options{})
	b, err := s.s.MarshalBinary()
	require.NoError(t, err)
	require.Equal(t, []byte{0, 0, 0}, b[len(b)-3:], "nothing refused, no habit")
	old := append([]byte{1}, b[1:len(b)-3]...)
	got, err := policy.ParseState(old)
	require.NoError(t, err)
	require.Equal(t, s.s, got)
	_, err = policy.ParseState(append([]byte{3}, b[1:]...))
	require.ErrorIs(t, err, policy.ErrState)
}

package policy_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy"
)

// from sends one message from a place.
func (s *sender) from(country string, network uint64) *policy.Explanation {
	s.t.Helper()
	s.place = policy.Place{Country: country, Network: network}
	s.now += minute
	return s.send(content(0), friend(1)).Explanation
}

func TestAnotherNetworkOfTheCountryIsLessThanAnotherCountry(t *testing.T) {
	s := established(t, policy.Options{})
	x := s.from("JP", 7)
	e := s.evidence("place")
	require.EqualValues(t, 450_000, e.Value)
	require.Equal(t, "network", e.Kind)
	require.Equal(t, []string{"JP"}, e.Countries)
	require.Equal(t, "JP", x.Country)

	x = s.from("NG", 8)
	e = s.evidence("place")
	require.EqualValues(t, 600_000, e.Value)
	require.Equal(t, "country", e.Kind)
	require.Equal(t, []string{"NG"}, e.Countries)
	require.Contains(t, x.Text("en"), "first mail from this country, NG\n")
	require.Contains(t, x.Text("ja"), "この国からは初めて、NG\n")
	require.Contains(t, x.Text("en"), "sent from NG\n")
	require.Contains(t, x.Text("ja"), "送信元の国 NG\n")

	s.from("BR", 9)
	e = s.evidence("place")
	require.EqualValues(t, policy.Micro, e.Value)
	require.Equal(t, "countries", e.Kind)
	require.ElementsMatch(t, []string{"JP", "NG", "BR"}, e.Countries)
}

func TestANetworkWithoutACountryIsToldAsOne(t *testing.T) {
	s := established(t, policy.Options{})
	x := s.from("", 7)
	e := s.evidence("place")
	require.EqualValues(t, 450_000, e.Value, "nobody knows whether its country is new")
	require.Equal(t, "network", e.Kind)
	require.Empty(t, e.Countries)
	require.Empty(t, x.Country)
}

// withoutCountries has lived without a database of countries.
func withoutCountries(t *testing.T) *sender {
	t.Helper()
	s := newSender(t, policy.Options{})
	for range 10 {
		for h := range int64(8) {
			s.place = policy.Place{Network: 1 + uint64(h%2)}
			s.send(content(0), friend(int(h)))
			s.now += hour
		}
		s.now += 16 * hour
	}
	s.from("", 1)
	require.Zero(t, s.evidence("place").Value)
	return s
}

func TestTheDayOnWhichASiteLearnsOfCountriesMakesNobodyAStranger(t *testing.T) {
	s := withoutCountries(t)
	for _, network := range []uint64{1, 2} {
		x := s.from("JP", network)
		require.Zero(t, s.evidence("place").Value, "network %d", network)
		require.Equal(t, "home", x.Trust)
	}
	s.from("JP", 7)
	require.EqualValues(t, 450_000, s.evidence("place").Value, "the country is known by its old networks")
	s = withoutCountries(t)
	s.from("JP", 1)
	s.from("NG", 7)
	e := s.evidence("place")
	require.EqualValues(t, 600_000, e.Value)
	require.Equal(t, []string{"NG"}, e.Countries)
}

func TestANetworkThatWasNewBeforeItsCountryWasKnownIsNoNewerWithIt(t *testing.T) {
	s := withoutCountries(t)
	s.from("", 7)
	require.EqualValues(t, 450_000, s.evidence("place").Value)
	s.from("JP", 1)
	s.from("JP", 7)
	require.EqualValues(t, 450_000, s.evidence("place").Value)
}

func TestTheDayOnWhichTheCountriesAreLostMakesNobodyAStranger(t *testing.T) {
	s := established(t, policy.Options{})
	x := s.from("", office.Network)
	require.Zero(t, s.evidence("place").Value)
	require.Equal(t, "home", x.Trust)
	s.from("JP", office.Network)
	require.Zero(t, s.evidence("place").Value)
	s.from("JP", 7)
	require.EqualValues(t, 450_000, s.evidence("place").Value, "the country is still known")
}

func TestANetworkInTwoCountriesIsTwoPlaces(t *testing.T) {
	s := established(t, policy.Options{})
	s.from("NG", office.Network)
	e := s.evidence("place")
	require.EqualValues(t, 600_000, e.Value)
	require.Equal(t, "country", e.Kind)
}

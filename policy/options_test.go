package policy_test

import (
	"net/netip"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy"
)

func TestBadOptionsNameTheirKeyAndWhatIsAllowed(t *testing.T) {
	for want, o := range map[string]policy.Options{
		`mode: "on" is none of off, shadow, enforce`:                      {Mode: "on"},
		"limits.user_per_hour: -1 is not allowed (allowed: 1 to 1000000)": {Limits: policy.LimitOptions{UserPerHour: -1}},
		"weights: rate, content and history add up to 0.5, not 1":         {Weights: policy.WeightOptions{Rate: 0.5}},
		"thresholds.soft: 0.9 must be less than thresholds.hard (0.8)":    {Thresholds: policy.ThresholdOptions{Soft: 0.9}},
		"rate.onset: 1.5 is not allowed (allowed: 0 to 0.99)":             {Rate: policy.RateOptions{Onset: 1.5}},
		"content.spam_from: 7 must be less than content.spam_full (6)":    {Content: policy.ContentOptions{SpamFrom: 7}},
		`soft_limit.action: "drop" is neither "450" nor "hold"`:           {SoftLimit: policy.SoftLimitOptions{Action: "drop"}},
		"modes[0]: wants either tenant or account":                        {Modes: []policy.ModeOptions{{Mode: policy.Off}}},
		"history.many_networks: 99 is not allowed (allowed: 2 to 8)":      {History: policy.HistoryOptions{ManyNetworks: 99}},
	} {
		_, err := policy.Compile(o, nil)
		require.EqualError(t, err, want)
		var bad *policy.OptionError
		require.ErrorAs(t, err, &bad)
	}
	for want, p := range map[string]policy.Profile{
		"outbound_whitelist[0].id: is empty":                                            {},
		`outbound_whitelist[0] (n): accounts: wants at least one login with its domain`: {ID: "n", MaxRate: "5/day"},
		`outbound_whitelist[0] (n): accounts: "A@x" is in n as well`:                    {ID: "n", MaxRate: "5/day", Accounts: []string{"a@x", "A@x"}},
	} {
		_, err := policy.Compile(policy.Options{}, []policy.Profile{p})
		require.EqualError(t, err, want)
	}
	for _, s := range []string{"", "5", "x/hour", "5 msgs/week", "0/hour", "-1/hour", "9999999999/day", "5 mails/hour"} {
		_, err := policy.ParseRate(s)
		require.Error(t, err, s)
	}
	r, err := policy.ParseRate(" 5000 msgs / hour ")
	require.NoError(t, err)
	require.Equal(t, policy.Rate{Copies: 5000, WindowUS: hour}, r)
}

func TestProfilesThatCannotBeUsedDoNotTakeTheOthersWithThem(t *testing.T) {
	profile := func(id, tenant string, accounts ...string) policy.Profile {
		return policy.Profile{ID: id, Tenant: tenant, MaxRate: "5/day", Accounts: accounts}
	}
	good := []policy.Profile{profile("a", "t", "a@x"), profile("a", "u", "a@x"), profile("d", "t", "b@x")}
	usable, err := policy.UsableProfiles([]policy.Profile{good[0], good[1], profile("b", "t", "b@x", "A@x"), profile("", "t", "c@x"), good[2]})
	require.Equal(t, good, usable, "one that is refused holds none of its accounts")
	require.EqualError(t, err, "profile of tenant t (b): accounts: \"A@x\" is in a as well\nprofile of tenant t.id: is empty")
	compile(t, policy.Options{}, usable...)
}

func TestHashChangesWithThePolicyOnly(t *testing.T) {
	hash := func(o policy.Options, list ...policy.Profile) string { return compile(t, o, list...).Hash() }
	require.Equal(t, hash(policy.Options{}), hash(policy.Options{Mode: policy.Enforce}.WithDefaults(), []policy.Profile{}...))
	require.Equal(t, hash(policy.Options{}), hash(policy.Options{Modes: []policy.ModeOptions{}}))
	require.NotEqual(t, hash(policy.Options{}), hash(policy.Options{Limits: policy.LimitOptions{UserPerDay: 999}}))
	require.NotEqual(t, hash(policy.Options{}), hash(policy.Options{}, policy.Profile{ID: "n", Accounts: []string{"a@x"}, MaxRate: "5/day"}))
	require.Len(t, hash(policy.Options{}), 12)
}

func TestNetworks(t *testing.T) {
	of := func(s string) uint64 { return policy.NetworkOf(netip.MustParseAddr(s)) }
	require.Equal(t, of("192.0.2.1"), of("192.0.77.9"))
	require.Equal(t, of("192.0.2.1"), of("::ffff:192.0.2.1"))
	require.NotEqual(t, of("192.0.2.1"), of("192.1.2.1"))
	require.Equal(t, of("2001:db8:1::1"), of("2001:db8:2::1"))
	require.NotEqual(t, of("2001:db8::1"), of("2001:db9::1"))
	require.Zero(t, policy.NetworkOf(netip.Addr{}))
}

func TestCounterOfADomain(t *testing.T) {
	var c policy.Counter
	require.Zero(t, c.Take(monday, 5))
	require.Equal(t, int64(5), c.Take(monday+30*minute, 2))
	c.GiveBack(monday+31*minute, monday, 3)
	require.Equal(t, int64(4), c.Hour(monday+59*minute))
	require.Equal(t, int64(2), c.Hour(monday+62*minute))
	c.GiveBack(monday+62*minute, monday-day, 100)
	require.Equal(t, int64(2), c.Hour(monday+62*minute))
	require.Zero(t, c.Hour(monday+day))
}

func TestAccountsOfLogins(t *testing.T) {
	require.Equal(t, policy.Account("tanaka@example.com"), policy.LoginAccount(" Tanaka ", "Example.com"))
	require.Equal(t, policy.Account("a@b.test"), policy.LoginAccount("A@B.test", "example.com"))
	require.Empty(t, policy.LoginAccount("  ", "example.com"))
	require.Equal(t, "b.test", policy.Account("a@x@b.test").Domain())
	require.Empty(t, policy.Account("192.0.2.7").Domain())
}

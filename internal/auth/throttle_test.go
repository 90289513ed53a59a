package auth

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

var throttleStart = time.Date(2026, 4, 1, 9, 0, 0, 0, time.UTC)

// fail tries and fails, if the try is admitted.
func fail(t *throttle, login string, from netip.Addr) error {
	a, err := t.begin(login, from)
	if err == nil {
		a.end(true)
	}
	return err
}

// address is another one for each i.
func address(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}

func TestInventedNamesDoNotPushOutADebt(t *testing.T) {
	now := throttleStart
	th := newThrottle(func() time.Time { return now })
	attacker := address(0)
	for range pairBurst {
		require.NoError(t, fail(th, "bob@example.test", attacker))
	}
	for i := range 2 * remembered {
		_ = fail(th, fmt.Sprintf("invented-%d", i), attacker)
	}
	require.Error(t, fail(th, "bob@example.test", address(1)), "bob is still throttled")
	require.LessOrEqual(t, len(th.logins.byKey), addrBurst, "a refused try leaves no trace")
	require.LessOrEqual(t, len(th.pairs.byKey), addrBurst)

	for i := range 2 * remembered { // each from an address of its own
		_ = fail(th, fmt.Sprintf("more-%d", i), address(i+10))
	}
	require.Error(t, fail(th, "bob@example.test", address(1)))
	require.Len(t, th.logins.byKey, remembered)
	require.Len(t, th.pairs.byKey, remembered)
	require.Len(t, th.addrs.byKey, remembered)
}

func TestAFullLedgerSharesAndRecovers(t *testing.T) {
	now := throttleStart
	th := newThrottle(func() time.Time { return now })
	for i := range remembered {
		require.NoError(t, fail(th, fmt.Sprintf("name-%d", i), address(i)))
	}
	refused := 0
	for i := range 2 * crowdSize * addrBurst {
		if fail(th, fmt.Sprintf("other-%d", i), address(remembered+i)) != nil {
			refused++
		}
	}
	require.GreaterOrEqual(t, refused, 2*crowdSize*addrBurst-crowdSize*pairBurst, "the rest shares a bounded allowance")
	require.Len(t, th.logins.byKey, remembered)

	now = now.Add(pairInterval)
	require.NoError(t, fail(th, "new@example.test", address(1)))
	require.Len(t, th.logins.byKey, 1, "who has paid is forgotten")
}

func TestSuccessesAreNotRemembered(t *testing.T) {
	th := newThrottle(func() time.Time { return throttleStart })
	for i := range 100 {
		a, err := th.begin(fmt.Sprintf("name-%d", i), address(i))
		require.NoError(t, err)
		a.end(false)
	}
	require.Empty(t, th.logins.byKey)
	require.Empty(t, th.addrs.byKey)
}

func TestTriesUnderWayCountBeforeTheyFail(t *testing.T) {
	th := newThrottle(func() time.Time { return throttleStart })
	var under []*attempt
	for i := range pairBurst {
		a, err := th.begin("bob@example.test", address(i))
		require.NoError(t, err)
		under = append(under, a)
	}
	_, err := th.begin("bob@example.test", address(99))
	require.Error(t, err)
	for _, a := range under {
		a.end(false)
	}
	require.NoError(t, fail(th, "bob@example.test", address(99)))
}

// succeed logs in, if the try is admitted.
func succeed(t *throttle, login string, from netip.Addr) error {
	a, err := t.begin(login, from)
	if err == nil {
		a.end(false)
		t.succeeded(login, from)
	}
	return err
}

// networkOf is another /24 for each i, with another address in it each time.
func networkOf(i, address int) netip.Addr {
	return netip.AddrFrom4([4]byte{20, byte(i >> 8), byte(i), byte(address)})
}

func TestStrangersDoNotKeepOutWhoComesFromAKnownNetwork(t *testing.T) {
	const bob = "bob@example.test"
	for name, networks := range map[string]int{"one stranger": 1, "a thousand": 1000} {
		now := throttleStart
		th := newThrottle(func() time.Time { return now })
		require.NoError(t, succeed(th, "Bob@example.test", address(1)), name)
		for second := range 3600 {
			now = now.Add(time.Second)
			_ = fail(th, bob, networkOf(second%networks, second))
			if second%600 == 599 {
				require.NoError(t, succeed(th, bob, address(2)), "%s: another address of the network, after %d s", name, second)
			}
		}
		err := fail(th, bob, netip.MustParseAddr("198.51.100.1"))
		if networks == 1 {
			require.NoError(t, err, "one stranger does not use up what all strangers have")
		} else {
			require.Error(t, err, "many strangers are no longer let try")
		}

		// Whoever is in a known network is bounded as well.
		for range pairBurst {
			require.NoError(t, fail(th, bob, address(1)))
		}
		require.Error(t, fail(th, bob, address(3)))
	}
}

func TestANetworkIsKnownForAMonth(t *testing.T) {
	now := throttleStart
	th := newThrottle(func() time.Time { return now })
	require.NoError(t, succeed(th, "bob", address(1)))
	k := pair{"bob", wideNetwork(address(1))}
	now = now.Add(knownFor - time.Second)
	require.True(t, th.known.has(k, now))
	require.False(t, th.known.has(pair{"eve", k.network}, now))
	require.False(t, th.known.has(pair{"bob", wideNetwork(networkOf(1, 1))}, now))
	require.False(t, th.known.has(k, now.Add(time.Second)))
	require.NoError(t, succeed(th, "bob", address(1)))
	require.True(t, th.known.has(k, now.Add(knownFor-time.Second)), "each login counts anew")
}

func TestGuessingFromAThousandNetworksIsBounded(t *testing.T) {
	now := throttleStart
	th := newThrottle(func() time.Time { return now })
	tried := func() (n int) { // in an hour
		for tenth := range 36_000 {
			now = now.Add(100 * time.Millisecond)
			if fail(th, "bob@example.test", networkOf(tenth%1000, tenth/1000)) == nil {
				n++
			}
		}
		return n
	}
	require.LessOrEqual(t, tried(), loginBurst+360, "the first hour")
	require.LessOrEqual(t, tried(), 360+1, "every other")
	require.Len(t, th.logins.byKey, 1)
	require.LessOrEqual(t, len(th.pairs.byKey), loginBurst+360, "what is refused leaves no trace")
}

func TestWhatIsKnownIsBounded(t *testing.T) {
	th := newThrottle(func() time.Time { return throttleStart })
	for i := range knownLogins + 100 {
		require.NoError(t, succeed(th, fmt.Sprintf("name-%d", i), address(1)))
	}
	require.Len(t, th.known.logins.byKey, knownLogins)
	for i := range 1000 {
		require.NoError(t, succeed(th, "traveller", networkOf(i, 1)))
	}
	list, ok := th.known.logins.get("traveller")
	require.True(t, ok)
	require.Len(t, list, knownNetworks)
	require.Len(t, th.known.logins.byKey, knownLogins, "one name takes one name's room")
	require.True(t, th.known.has(pair{"traveller", wideNetwork(networkOf(999, 1))}, throttleStart))
	require.False(t, th.known.has(pair{"traveller", wideNetwork(networkOf(0, 1))}, throttleStart))
}

func TestOnePlaceIsA24OrA64(t *testing.T) {
	for addr, want := range map[string]string{
		"192.0.2.7": "192.0.2.0/24", "::ffff:192.0.2.7": "192.0.2.0/24", "2001:db8:1:2:3::4": "2001:db8:1:2::/64",
	} {
		require.Equal(t, want, wideNetwork(netip.MustParseAddr(addr)).String())
	}
	require.False(t, wideNetwork(netip.Addr{}).IsValid(), "a unix socket")
}

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
	for range loginBurst {
		require.NoError(t, fail(th, "bob@example.test", attacker))
	}
	for i := range 2 * remembered {
		_ = fail(th, fmt.Sprintf("invented-%d", i), attacker)
	}
	require.Error(t, fail(th, "bob@example.test", address(1)), "bob is still throttled")
	require.LessOrEqual(t, len(th.logins.byKey), addrBurst, "a refused try leaves no trace")

	for i := range 2 * remembered { // each from an address of its own
		_ = fail(th, fmt.Sprintf("more-%d", i), address(i+10))
	}
	require.Error(t, fail(th, "bob@example.test", address(1)))
	require.Len(t, th.logins.byKey, remembered)
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
	require.GreaterOrEqual(t, refused, 2*crowdSize*addrBurst-crowdSize*loginBurst, "the rest shares a bounded allowance")
	require.Len(t, th.logins.byKey, remembered)

	now = now.Add(loginInterval)
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
	for i := range loginBurst {
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

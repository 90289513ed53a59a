package auth_test

import (
	"context"
	"errors"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

const password = "correct horse battery"

var client = netip.MustParseAddr("192.0.2.7")

// clock is moved by hand.
type clock struct{ at atomic.Int64 }

func newClock() *clock {
	c := &clock{}
	c.at.Store(time.Date(2026, 4, 1, 9, 0, 0, 0, time.UTC).UnixMicro())
	return c
}

func (c *clock) now() time.Time          { return time.UnixMicro(c.at.Load()).UTC() }
func (c *clock) advance(d time.Duration) { c.at.Add(d.Microseconds()) }

// onStores runs a test on every database, with a user "bob@example.test" who has a password.
func onStores(t *testing.T, test func(t *testing.T, s *store.Store, a *auth.Authenticator, c *clock, bob *store.User)) {
	t.Helper()
	on(t, storetest.Backends(), test)
}

func on(t *testing.T, backends []string, test func(t *testing.T, s *store.Store, a *auth.Authenticator, c *clock, bob *store.User)) {
	t.Helper()
	hash, err := auth.HashPassword(password)
	require.NoError(t, err)
	for _, backend := range backends {
		t.Run(backend, func(t *testing.T) {
			c := newClock()
			s := store.New(store.Options{DB: storetest.OpenDB(t, storetest.Options(t, backend)), Now: c.now})
			site := storetest.NewSite(t, s, "example", "example.test")
			bob, _, err := s.EnsureUser(t.Context(), store.User{
				Tenant: site.Tenant.ID, Login: "bob@example.test", Role: "user", PasswordHash: hash,
			})
			require.NoError(t, err)
			a, err := auth.New(auth.Options{Store: s, Now: c.now})
			require.NoError(t, err)
			test(t, s, a, c, bob)
		})
	}
}

func TestLoginOpensASessionThatEndsAfterTwelveHours(t *testing.T) {
	onStores(t, func(t *testing.T, s *store.Store, a *auth.Authenticator, c *clock, bob *store.User) {
		token, session, p, err := a.Login(t.Context(), "bob@example.test", password, client)
		require.NoError(t, err)
		require.Equal(t, auth.Principal{
			Kind: auth.KindUser, ID: string(bob.ID), Login: "bob@example.test", Tenant: bob.Tenant, Role: auth.User, User: bob.ID,
		}, p)
		require.Equal(t, c.now().Add(12*time.Hour), session.Expires)
		require.Equal(t, "192.0.2.7", session.ClientAddr)
		require.NotContains(t, session.TokenHash, token)

		c.advance(12*time.Hour - time.Second)
		again, err := a.Authenticate(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, p, again)
		c.advance(time.Second)
		_, err = a.Authenticate(t.Context(), token)
		require.ErrorIs(t, err, auth.ErrCredentials)
	})
}

func TestLogoutEndsTheSessionAndTwiceIsNoError(t *testing.T) {
	onStores(t, func(t *testing.T, _ *store.Store, a *auth.Authenticator, _ *clock, _ *store.User) {
		token, _, _, err := a.Login(t.Context(), "bob@example.test", password, client)
		require.NoError(t, err)
		require.NoError(t, a.Logout(t.Context(), token))
		require.NoError(t, a.Logout(t.Context(), token))
		_, err = a.Authenticate(t.Context(), token)
		require.ErrorIs(t, err, auth.ErrCredentials)
	})
}

func TestWhatIsWrongWithALoginIsNotTold(t *testing.T) {
	onStores(t, func(t *testing.T, _ *store.Store, a *auth.Authenticator, _ *clock, _ *store.User) {
		for name, in := range map[string][2]string{
			"wrong password": {"bob@example.test", "wrong horse battery"},
			"unknown login":  {"eve@example.test", password},
			"empty":          {"", ""},
			"long login":     {strings.Repeat("b", 1000), password},
			"long password":  {"bob@example.test", strings.Repeat("p", 2000)},
			"odd bytes":      {"bob\x00@example.test\xff", "\x00\xff"},
		} {
			_, _, _, err := a.Login(t.Context(), in[0], in[1], client)
			require.Equal(t, auth.ErrCredentials, err, name)
		}
	})
}

func TestAUserWithoutPasswordCannotLogIn(t *testing.T) {
	onStores(t, func(t *testing.T, s *store.Store, a *auth.Authenticator, _ *clock, bob *store.User) {
		_, _, err := s.EnsureUser(t.Context(), store.User{Tenant: bob.Tenant, Login: "ann@example.test", Role: "user"})
		require.NoError(t, err)
		_, _, _, err = a.Login(t.Context(), "ann@example.test", "", client)
		require.ErrorIs(t, err, auth.ErrCredentials)
	})
}

func TestFailedLoginsAreThrottledByNameAndNetwork(t *testing.T) {
	onStores(t, func(t *testing.T, _ *store.Store, a *auth.Authenticator, c *clock, _ *store.User) {
		for i := range 10 {
			from := netip.AddrFrom4([4]byte{198, 51, 100, byte(i)})
			_, _, _, err := a.Login(t.Context(), "Bob@example.test ", strings.Repeat("p", 2000), from)
			require.ErrorIs(t, err, auth.ErrCredentials)
		}
		neighbour := netip.MustParseAddr("198.51.100.99")
		var throttled *auth.ThrottledError
		_, _, _, err := a.Login(t.Context(), "bob@example.test", password, neighbour)
		require.ErrorAs(t, err, &throttled)
		require.InDelta(t, 30, throttled.After.Seconds(), 1)
		_, _, _, err = a.Login(t.Context(), "bob@example.test", password, client)
		require.NoError(t, err, "other networks have their own")

		c.advance(throttled.After + time.Second)
		_, _, _, err = a.Login(t.Context(), "bob@example.test", password, neighbour)
		require.NoError(t, err)
	})
}

func TestAStrangerKeepsNobodyOut(t *testing.T) {
	onStores(t, func(t *testing.T, s *store.Store, a *auth.Authenticator, c *clock, bob *store.User) {
		made := auth.NewAppPassword()
		_, err := s.CreateAppPassword(t.Context(), store.AppPassword{Tenant: bob.Tenant, User: bob.ID, Name: "phone", Hash: made.Hash, Created: c.now()})
		require.NoError(t, err)
		_, _, _, err = a.Login(t.Context(), "bob@example.test", password, client)
		require.NoError(t, err)
		refused := 0
		for second := range 3600 { // from everywhere, a wrong password a second
			c.advance(time.Second)
			var throttled *auth.ThrottledError
			from := netip.AddrFrom4([4]byte{198, byte(second), 100, byte(second)})
			if _, _, _, err := a.Login(t.Context(), "bob@example.test", strings.Repeat("p", 2000), from); errors.As(err, &throttled) {
				refused++
			}
		}
		require.Greater(t, refused, 3000)
		elsewhere := netip.MustParseAddr("203.0.113.5")
		_, _, _, err = a.Login(t.Context(), "bob@example.test", password, elsewhere)
		require.Error(t, err, "that is what the strangers reach: a place where bob never was")
		_, _, _, err = a.Login(t.Context(), "bob@example.test", password, client)
		require.NoError(t, err)
		_, err = a.CheckLogin(t.Context(), "bob@example.test", password, client)
		require.NoError(t, err)
		_, err = a.CheckLogin(t.Context(), "bob@example.test", made.Secret, elsewhere)
		require.NoError(t, err, "an app password is let in from everywhere")
		_, _, _, err = a.Login(t.Context(), "bob@example.test", password, elsewhere)
		require.NoError(t, err, "and makes the place known")
	})
}

// A new password may have deleted them all: the programs that have one go on trying, from where their owner is.
func TestDeletedAppPasswordKeepsItsOwnerInNoPlaceOut(t *testing.T) {
	on(t, []string{"sqlite"}, func(t *testing.T, _ *store.Store, a *auth.Authenticator, _ *clock, _ *store.User) {
		_, _, _, err := a.Login(t.Context(), "bob@example.test", password, client)
		require.NoError(t, err)
		for range 20 {
			_, err := a.CheckLogin(t.Context(), "bob@example.test", auth.NewAppPassword().Secret, client)
			require.ErrorIs(t, err, auth.ErrCredentials)
		}
		_, _, _, err = a.Login(t.Context(), "bob@example.test", password, client)
		require.NoError(t, err)

		var throttled *auth.ThrottledError
		elsewhere := netip.MustParseAddr("203.0.113.5")
		for range 10 {
			_, err := a.CheckLogin(t.Context(), "bob@example.test", auth.NewAppPassword().Secret, elsewhere)
			require.ErrorIs(t, err, auth.ErrCredentials)
		}
		_, err = a.CheckLogin(t.Context(), "bob@example.test", auth.NewAppPassword().Secret, elsewhere)
		require.ErrorAs(t, err, &throttled, "a guess at a password that is as long")
	})
}

func TestTryingAppPasswordsUsesUpTheAddress(t *testing.T) {
	on(t, []string{"sqlite"}, func(t *testing.T, _ *store.Store, a *auth.Authenticator, _ *clock, _ *store.User) {
		var throttled *auth.ThrottledError
		for range 10 {
			_, err := a.CheckLogin(t.Context(), "bob@example.test", strings.Repeat("p", 2000), client)
			require.ErrorIs(t, err, auth.ErrCredentials)
		}
		for range 20 {
			_, err := a.CheckLogin(t.Context(), "bob@example.test", auth.NewAppPassword().Secret, client)
			require.ErrorAs(t, err, &throttled)
			require.Greater(t, throttled.After, 20*time.Second, "the name's")
		}
		_, err := a.CheckLogin(t.Context(), "somebody@example.test", "x", client)
		require.ErrorAs(t, err, &throttled)
		require.Less(t, throttled.After, 10*time.Second, "the address's")
	})
}

func TestFailedLoginsAreThrottledByNetwork(t *testing.T) {
	onStores(t, func(t *testing.T, _ *store.Store, a *auth.Authenticator, _ *clock, _ *store.User) {
		long := strings.Repeat("p", 2000) // refused before it is hashed: the test is about counting
		from := func(i byte) netip.Addr {
			return netip.AddrFrom16([16]byte{0x20, 0x01, 0x0d, 0xb8, 8: i, 15: 1}) // one /64
		}
		for i := range 30 {
			_, _, _, err := a.Login(t.Context(), strings.Repeat("x", i+1), long, from(byte(i)))
			require.ErrorIs(t, err, auth.ErrCredentials)
		}
		var throttled *auth.ThrottledError
		_, _, _, err := a.Login(t.Context(), "bob@example.test", password, from(200))
		require.ErrorAs(t, err, &throttled)
		_, _, _, err = a.Login(t.Context(), "bob@example.test", password, client)
		require.NoError(t, err, "others are not touched")
	})
}

func TestManyAtOnceDoNotSlipThroughTheThrottle(t *testing.T) {
	onStores(t, func(t *testing.T, _ *store.Store, a *auth.Authenticator, _ *clock, _ *store.User) {
		var tried atomic.Int32
		var all sync.WaitGroup
		for range 100 {
			all.Go(func() {
				_, _, _, err := a.Login(t.Context(), "bob@example.test", strings.Repeat("p", 2000), client)
				if errors.Is(err, auth.ErrCredentials) {
					tried.Add(1)
				}
			})
		}
		all.Wait()
		require.LessOrEqual(t, tried.Load(), int32(10))
		require.Positive(t, tried.Load())
	})
}

func TestSuccessfulLoginsCostNothing(t *testing.T) {
	on(t, []string{"sqlite"}, func(t *testing.T, _ *store.Store, a *auth.Authenticator, _ *clock, _ *store.User) {
		for range 11 {
			_, _, _, err := a.Login(t.Context(), "bob@example.test", password, client)
			require.NoError(t, err)
		}
	})
}

func TestAPIKeyHasItsRoleUntilItExpires(t *testing.T) {
	onStores(t, func(t *testing.T, s *store.Store, a *auth.Authenticator, c *clock, bob *store.User) {
		k := auth.NewKey()
		require.Regexp(t, `^mk_live_[A-Za-z0-9_-]{43}$`, k.Secret)
		id := store.NewAPIKeyID()
		require.NoError(t, s.CreateAPIKey(t.Context(), store.APIKey{
			ID: id, Tenant: bob.Tenant, Name: "reports", Role: "auditor", Hash: k.Hash, Prefix: k.Prefix,
			Created: c.now(), Expires: c.now().Add(24 * time.Hour),
		}))
		p, err := a.Authenticate(t.Context(), k.Secret)
		require.NoError(t, err)
		require.Equal(t, auth.Principal{
			Kind: auth.KindAPIKey, ID: string(id), Login: "reports", Tenant: bob.Tenant, Role: auth.Auditor,
			Expires: c.now().Add(24 * time.Hour),
		}, p)
		require.Equal(t, "reports ("+string(id)+")", p.Actor())
		_, err = a.Authenticate(t.Context(), k.Secret+"x")
		require.ErrorIs(t, err, auth.ErrCredentials)
		c.advance(24 * time.Hour)
		_, err = a.Authenticate(t.Context(), k.Secret)
		require.ErrorIs(t, err, auth.ErrCredentials)
	})
}

// countingStore counts the notes of use.
type countingStore struct {
	*store.Store
	touches atomic.Int32
}

func (s *countingStore) TouchAPIKey(ctx context.Context, id store.APIKeyID, at time.Time) error {
	s.touches.Add(1)
	return s.Store.TouchAPIKey(ctx, id, at)
}

func TestUseOfAKeyIsNotedAtMostOnceAMinute(t *testing.T) {
	onStores(t, func(t *testing.T, s *store.Store, _ *auth.Authenticator, c *clock, bob *store.User) {
		counting := &countingStore{Store: s}
		a, err := auth.New(auth.Options{Store: counting, Now: c.now})
		require.NoError(t, err)
		k := auth.NewKey()
		require.NoError(t, s.CreateAPIKey(t.Context(), store.APIKey{
			ID: store.NewAPIKeyID(), Tenant: bob.Tenant, Name: "busy", Role: "helpdesk", Hash: k.Hash, Prefix: k.Prefix, Created: c.now(),
		}))
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				_, err := a.Authenticate(t.Context(), k.Secret)
				require.NoError(t, err)
			})
		}
		all.Wait()
		require.Equal(t, int32(1), counting.touches.Load())
		c.advance(time.Minute)
		_, err = a.Authenticate(t.Context(), k.Secret)
		require.NoError(t, err)
		require.Equal(t, int32(2), counting.touches.Load())
		list, err := s.APIKeys(t.Context(), store.System, "", 10)
		require.NoError(t, err)
		require.Equal(t, c.now(), list[0].LastUsed.UTC())
	})
}

// slowUsers holds logins at the point where the password is about to be checked.
type slowUsers struct {
	auth.Store
	gate chan struct{}
}

func (s *slowUsers) UserByLogin(ctx context.Context, login string) (*store.User, error) {
	u, err := s.Store.UserByLogin(ctx, login)
	<-s.gate
	return u, err
}

func TestAFloodOfLoginsIsAnsweredBusyInsteadOfTakingAllMemory(t *testing.T) {
	s := store.New(store.Options{DB: storetest.OpenDB(t, storetest.Options(t, "sqlite"))})
	slow := &slowUsers{Store: s, gate: make(chan struct{})}
	a, err := auth.New(auth.Options{Store: slow, MaxHashes: 1})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var busy, ended atomic.Int32
	var all sync.WaitGroup
	for i := range 120 {
		all.Go(func() {
			from := netip.AddrFrom4([4]byte{10, 0, 0, byte(i)})
			_, _, _, err := a.Login(ctx, "nobody"+string(rune('a'+i)), "some password", from)
			if errors.Is(err, auth.ErrBusy) {
				busy.Add(1)
			}
			if ended.Add(1) == 60 {
				cancel() // whoever waits leaves, so that the test does not take 33 hashes
			}
		})
	}
	close(slow.gate)
	all.Wait()
	cancel()
	require.Positive(t, busy.Load())
}

func TestUnavailableStoreIsNotAWrongPassword(t *testing.T) {
	db := storetest.OpenDB(t, storetest.Options(t, "sqlite"))
	a, err := auth.New(auth.Options{Store: store.New(store.Options{DB: db})})
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, _, err = a.Login(ctx, "bob@example.test", password, client)
	require.Error(t, err)
	require.NotErrorIs(t, err, auth.ErrCredentials)
	_, err = a.Authenticate(ctx, "some-token")
	require.Error(t, err)
	require.NotErrorIs(t, err, auth.ErrCredentials)
}

package auth_test

import (
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestAppPasswordLogsInItsUserOnly(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "acme", "acme.test", "bob", "eve")
		now := time.Now()
		a, err := auth.New(auth.Options{Store: s, Now: func() time.Time { return now }})
		require.NoError(t, err)
		made := auth.NewAppPassword()
		p, err := s.CreateAppPassword(t.Context(), store.AppPassword{
			Tenant: site.Tenant.ID, User: site.Users["bob"].ID, Name: "phone", Hash: made.Hash, Created: now,
		})
		require.NoError(t, err)
		client := netip.MustParseAddr("192.0.2.1")
		for _, typed := range []string{made.Secret, strings.ToUpper(made.Secret), strings.ReplaceAll(made.Secret, "-", " ")} {
			who, err := a.CheckLogin(t.Context(), "BOB@acme.test", typed, client)
			require.NoError(t, err, typed)
			require.Equal(t, site.Users["bob"].ID, who.User)
		}
		_, err = a.CheckLogin(t.Context(), "eve@acme.test", made.Secret, client)
		require.ErrorIs(t, err, auth.ErrCredentials)
		_, err = a.CheckLogin(t.Context(), "bob@acme.test", auth.NewAppPassword().Secret, client)
		require.ErrorIs(t, err, auth.ErrCredentials)

		list, err := s.AppPasswords(t.Context(), site.Users["bob"].ID)
		require.NoError(t, err)
		require.WithinDuration(t, now, list[0].LastUsed, time.Millisecond)
		require.NoError(t, s.DeleteAppPassword(t.Context(), site.Users["bob"].ID, p.ID))
		_, err = a.CheckLogin(t.Context(), "bob@acme.test", made.Secret, client)
		require.ErrorIs(t, err, auth.ErrCredentials)
	})
}

func TestCheckLoginTakesThePasswordAndThrottles(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "acme", "acme.test", "bob")
		hash, err := auth.HashPassword("correct horse")
		require.NoError(t, err)
		require.NoError(t, s.SetPassword(t.Context(), site.Users["bob"].ID, hash))
		now := time.Now()
		a, err := auth.New(auth.Options{Store: s, Now: func() time.Time { return now }})
		require.NoError(t, err)
		client := netip.MustParseAddr("192.0.2.1")
		who, err := a.CheckLogin(t.Context(), "bob@acme.test", "correct horse", client)
		require.NoError(t, err)
		require.Equal(t, auth.User, who.Role)
		var throttled *auth.ThrottledError
		for range 100 {
			if _, err = a.CheckLogin(t.Context(), "bob@acme.test", strings.Repeat("x", 2000), client); err != nil && !isCredentials(err) {
				break
			}
		}
		require.ErrorAs(t, err, &throttled)
	})
}

func TestAppPasswordIsLongAndReadable(t *testing.T) {
	t.Parallel()
	made := auth.NewAppPassword()
	require.Regexp(t, `^([a-km-np-z2-9]{4}-){6}[a-km-np-z2-9]{2}$`, made.Secret)
	require.Len(t, made.Hash, 64)
	require.NotEqual(t, made.Secret, auth.NewAppPassword().Secret)
}

func isCredentials(err error) bool { return errors.Is(err, auth.ErrCredentials) }

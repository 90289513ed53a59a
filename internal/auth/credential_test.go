package auth_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestCredentialsEndOneByOne(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "acme", "acme.test", "bob", "eve")
		a, err := auth.New(auth.Options{Store: s})
		require.NoError(t, err)
		client := netip.MustParseAddr("192.0.2.1")
		come := func(local, word string) auth.Credential {
			who, err := a.CheckLogin(t.Context(), local+"@acme.test", word, client)
			require.NoError(t, err)
			require.Equal(t, site.Users[local].ID, who.Credential.User)
			return who.Credential
		}
		set := func(local, word string) auth.Credential {
			hash, err := auth.HashPassword(word)
			require.NoError(t, err)
			require.NoError(t, s.SetPassword(t.Context(), site.Users[local].ID, hash))
			return come(local, word)
		}
		made := auth.NewAppPassword()
		app, err := s.CreateAppPassword(t.Context(), store.AppPassword{
			Tenant: site.Tenant.ID, User: site.Users["bob"].ID, Name: "phone", Hash: made.Hash, Created: time.Now(),
		})
		require.NoError(t, err)
		phone := come("bob", made.Secret)
		bob, eve := set("bob", "correct horse"), set("eve", "correct horse")
		require.Equal(t, bob, come("bob", "correct horse"), "equal logins are asked for once")
		all := []auth.Credential{bob, phone, eve}
		requireEnded := func(want ...auth.Credential) {
			t.Helper()
			ended, err := a.Ended(t.Context(), all)
			require.NoError(t, err)
			require.Equal(t, append([]auth.Credential{}, want...), append([]auth.Credential{}, ended...))
		}
		requireEnded()
		set("eve", "correct horse")
		requireEnded(eve)
		require.NoError(t, s.SetPassword(t.Context(), site.Users["bob"].ID, ""))
		requireEnded(bob, eve)
		require.NoError(t, s.DeleteAppPassword(t.Context(), site.Users["bob"].ID, app.ID))
		requireEnded(bob, phone, eve)
		ended, err := a.Ended(t.Context(), []auth.Credential{{}, {User: "nobody"}})
		require.NoError(t, err)
		require.Len(t, ended, 2)
		ended, err = a.Ended(t.Context(), nil)
		require.NoError(t, err)
		require.Empty(t, ended)
	})
}

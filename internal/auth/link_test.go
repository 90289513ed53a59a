package auth_test

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

func TestLoginLinkOpensOneSessionInTime(t *testing.T) {
	onStores(t, func(t *testing.T, s *store.Store, a *auth.Authenticator, c *clock, bob *store.User) {
		link := auth.NewLinkToken()
		require.Len(t, link.Secret, 43, "256 bits")
		require.NotContains(t, link.Hash, link.Secret)
		require.NoError(t, s.CreateLoginLink(t.Context(), link.Hash, bob.ID, c.now().Add(auth.LinkLifetime)))
		c.advance(auth.LinkLifetime - time.Second)
		token, session, p, err := a.LoginByLink(t.Context(), link.Secret, client)
		require.NoError(t, err)
		require.Equal(t, bob.ID, p.User)
		require.Equal(t, c.now().Add(12*time.Hour), session.Expires)
		again, err := a.Authenticate(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, p, again)
		_, _, _, err = a.LoginByLink(t.Context(), link.Secret, client)
		require.ErrorIs(t, err, auth.ErrCredentials, "it was used")

		late := auth.NewLinkToken()
		require.NoError(t, s.CreateLoginLink(t.Context(), late.Hash, bob.ID, c.now().Add(auth.LinkLifetime)))
		c.advance(auth.LinkLifetime + time.Second)
		for _, token := range []string{late.Secret, "", late.Hash, string(make([]byte, 1000))} {
			_, _, _, err = a.LoginByLink(t.Context(), token, client)
			require.ErrorIs(t, err, auth.ErrCredentials)
		}
	})
}

func TestGuessingLoginLinksIsThrottled(t *testing.T) {
	onStores(t, func(t *testing.T, _ *store.Store, a *auth.Authenticator, _ *clock, _ *store.User) {
		var throttled *auth.ThrottledError
		for range 40 {
			_, _, _, err := a.LoginByLink(t.Context(), auth.NewLinkToken().Secret, client)
			require.Error(t, err)
			if errors.As(err, &throttled) {
				return
			}
		}
		t.Fatal("40 guesses were answered")
	})
}

func TestSessionCookieSuitsTheAddress(t *testing.T) {
	for text, want := range map[string]http.Cookie{
		"":                         {Name: "mairust", Secure: false},
		"http://localhost:8080":    {Name: "mairust", Secure: false},
		"https://mail.example.jp":  {Name: "__Host-mairust", Secure: true},
		"https://mail.example.jp/": {Name: "__Host-mairust", Secure: true},
	} {
		public, err := auth.ParsePublicURL(text)
		require.NoError(t, err, text)
		c := auth.NewSessionCookie(public)
		got := c.With("token", time.Unix(1<<31, 0))
		require.Equal(t, want.Name, got.Name)
		require.Equal(t, want.Secure, got.Secure)
		require.True(t, got.HttpOnly)
		require.Equal(t, "/", got.Path)
		require.Equal(t, http.SameSiteLaxMode, got.SameSite)
		require.Equal(t, "token", c.Token([]*http.Cookie{{Name: "x", Value: "y"}, &got}))
		gone := c.Gone()
		require.Equal(t, -1, gone.MaxAge)
		require.Empty(t, c.Token(nil))
	}
	for _, text := range []string{"http://mail.example.jp", "ftp://localhost", "https://", "https://u@host", "https://host/path", "https://host?q", "::"} {
		_, err := auth.ParsePublicURL(text)
		require.ErrorContains(t, err, "http.public_url", text)
	}
}

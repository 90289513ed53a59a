package auth_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"sync"
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

func TestANewPasswordThroughALink(t *testing.T) {
	onStores(t, func(t *testing.T, s *store.Store, a *auth.Authenticator, c *clock, bob *store.User) {
		const wanted = "a whole new sentence"
		session, _, _, err := a.Login(t.Context(), "bob@example.test", password, client)
		require.NoError(t, err)
		ann, _, err := s.EnsureUser(t.Context(), store.User{Tenant: bob.Tenant, Login: "ann@example.test", Role: "user"})
		require.NoError(t, err)
		made, others := auth.NewAppPassword(), auth.NewAppPassword()
		for _, p := range []store.AppPassword{{User: bob.ID, Hash: made.Hash}, {User: bob.ID, Hash: "x"}, {User: ann.ID, Hash: others.Hash}} {
			p.Tenant, p.Name, p.Created = bob.Tenant, "phone", c.now()
			_, err := s.CreateAppPassword(t.Context(), p)
			require.NoError(t, err)
		}
		link := newLink(t, s, bob, c.now())
		for _, bad := range []string{"", "short", strings.Repeat("x", 1025)} {
			_, _, err := a.SetPasswordByLink(t.Context(), link, bad, client)
			require.ErrorIs(t, err, auth.ErrPassword, "the link is not used up")
		}
		who, ended, err := a.SetPasswordByLink(t.Context(), link, wanted, client)
		require.NoError(t, err)
		require.Equal(t, bob.ID, who.User)
		require.Equal(t, 2, ended)
		_, err = a.CheckLogin(t.Context(), "bob@example.test", made.Secret, client)
		require.ErrorIs(t, err, auth.ErrCredentials, "so have the app passwords")
		_, err = a.CheckLogin(t.Context(), "ann@example.test", others.Secret, client)
		require.NoError(t, err, "those of others stay")
		_, _, err = a.SetPasswordByLink(t.Context(), link, "another new sentence", client)
		require.ErrorIs(t, err, auth.ErrCredentials, "it was used")
		_, err = a.Authenticate(t.Context(), session)
		require.ErrorIs(t, err, auth.ErrCredentials, "the sessions have ended")
		_, _, _, err = a.Login(t.Context(), "bob@example.test", password, client)
		require.ErrorIs(t, err, auth.ErrCredentials)
		_, _, _, err = a.Login(t.Context(), "bob@example.test", wanted, client)
		require.NoError(t, err)

		token, opened, err := a.OpenSession(t.Context(), who, client)
		require.NoError(t, err)
		require.Equal(t, c.now().Add(12*time.Hour), opened.Expires)
		again, err := a.Authenticate(t.Context(), token)
		require.NoError(t, err)
		require.Equal(t, who, again)
	})
}

func TestAThrottledClientKeepsItsLink(t *testing.T) {
	onStores(t, func(t *testing.T, s *store.Store, a *auth.Authenticator, c *clock, bob *store.User) {
		link := newLink(t, s, bob, c.now())
		for range 10 {
			_, _, err := a.SetPasswordByLink(t.Context(), "guess", password, client)
			require.ErrorIs(t, err, auth.ErrCredentials)
		}
		var throttled *auth.ThrottledError
		_, _, err := a.SetPasswordByLink(t.Context(), link, password, client)
		require.ErrorAs(t, err, &throttled)
		c.advance(throttled.After)
		_, _, err = a.SetPasswordByLink(t.Context(), link, password, client)
		require.NoError(t, err)
	})
}

// linkStore calls taken when a link is being taken.
type linkStore struct {
	*store.Store
	taken func()
}

func (s *linkStore) TakeLoginLink(ctx context.Context, hash string) (store.UserID, error) {
	id, err := s.Store.TakeLoginLink(ctx, hash)
	s.taken()
	return id, err
}

func TestWhoeverLeavesWaitingKeepsTheLink(t *testing.T) {
	onStores(t, func(t *testing.T, s *store.Store, _ *auth.Authenticator, c *clock, bob *store.User) {
		entered, goOn := make(chan struct{}), make(chan struct{})
		slow := &linkStore{Store: s, taken: sync.OnceFunc(func() { close(entered); <-goOn })}
		a, err := auth.New(auth.Options{Store: slow, Now: c.now, MaxHashes: 1})
		require.NoError(t, err)
		var other sync.WaitGroup
		other.Go(func() {
			_, _, err := a.SetPasswordByLink(t.Context(), "guess", password, client)
			require.ErrorIs(t, err, auth.ErrCredentials)
		})
		<-entered // the only turn is taken
		ctx, leave := context.WithCancel(t.Context())
		leave()
		link := newLink(t, s, bob, c.now())
		_, _, err = a.SetPasswordByLink(ctx, link, password, client)
		require.ErrorIs(t, err, context.Canceled)
		close(goOn)
		other.Wait()
		_, _, err = a.SetPasswordByLink(t.Context(), link, password, client)
		require.NoError(t, err)
	})
}

func TestWhoeverLeavesAfterTheLinkWasTakenHasTheNewPassword(t *testing.T) {
	onStores(t, func(t *testing.T, s *store.Store, _ *auth.Authenticator, c *clock, bob *store.User) {
		const wanted = "a whole new sentence"
		ctx, leave := context.WithCancel(t.Context())
		a, err := auth.New(auth.Options{Store: &linkStore{Store: s, taken: leave}, Now: c.now})
		require.NoError(t, err)
		_, _, err = a.SetPasswordByLink(ctx, newLink(t, s, bob, c.now()), wanted, client)
		require.NoError(t, err)
		_, _, _, err = a.Login(t.Context(), "bob@example.test", wanted, client)
		require.NoError(t, err)
	})
}

// newLink makes a login link.
func newLink(t *testing.T, s *store.Store, u *store.User, now time.Time) string {
	t.Helper()
	link := auth.NewLinkToken()
	require.NoError(t, s.CreateLoginLink(t.Context(), link.Hash, u.ID, now.Add(auth.LinkLifetime)))
	return link.Secret
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

package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/mairust/mairust/store"
)

// LinkLifetime is how long a login link can be used.
const LinkLifetime = 15 * time.Minute

// LoginLinks keeps one-time logins. TakeLoginLink answers ErrNotFound for one that was used or has expired.
type LoginLinks interface {
	TakeLoginLink(ctx context.Context, tokenHash string) (store.UserID, error)
}

// LinkToken is a new token for a one-time login.
type LinkToken struct {
	// Secret is the whole token. It is shown once and kept nowhere.
	Secret string
	// Hash is what the database keeps: SHA-256 in hex.
	Hash string
}

// NewLinkToken makes a token of 256 random bits for a login link.
func NewLinkToken() LinkToken {
	secret := newToken()
	return LinkToken{Secret: secret, Hash: hashSecret(secret)}
}

// LoginByLink uses up the token of a login link and opens a session, as Login does.
//
// Errors: ErrCredentials when the token is unknown, was used, has expired or belongs to nobody who may come in;
// *ThrottledError when too many were tried from this client, or an error of the store.
func (a *Authenticator) LoginByLink(ctx context.Context, token string, client netip.Addr) (string, store.Session, Principal, error) {
	attempt, err := a.throttle.begin("link from "+addrText(client), client)
	if err != nil {
		a.metrics.logins.WithLabelValues("throttled").Inc()
		return "", store.Session{}, Principal{}, err
	}
	u, err := a.takeLink(ctx, token)
	attempt.end(errors.Is(err, ErrCredentials))
	a.metrics.logins.WithLabelValues(outcome(err)).Inc()
	if err != nil {
		return "", store.Session{}, Principal{}, err
	}
	return a.openSession(ctx, u, client)
}

func (a *Authenticator) takeLink(ctx context.Context, token string) (*store.User, error) {
	if token == "" || len(token) > maxToken {
		return nil, ErrCredentials
	}
	id, err := a.store.TakeLoginLink(ctx, hashSecret(token))
	if err != nil {
		return nil, notFoundIsDenied("take login link", err)
	}
	u, err := a.store.User(ctx, id)
	if err != nil {
		return nil, notFoundIsDenied("find user of login link", err)
	}
	if u.Disabled || !Role(u.Role).known() {
		return nil, ErrCredentials
	}
	return u, nil
}

// openSession opens a session for a user who has proved who they are.
func (a *Authenticator) openSession(ctx context.Context, u *store.User, client netip.Addr) (string, store.Session, Principal, error) {
	token := newToken()
	now := a.now().UTC()
	s := store.Session{
		TokenHash: hashSecret(token), User: u.ID, Created: now, Expires: now.Add(a.lifetime),
		ClientAddr: addrText(client),
	}
	if err := a.store.CreateSession(ctx, s); err != nil {
		return "", store.Session{}, Principal{}, fmt.Errorf("open session: %w", err)
	}
	return token, s, userPrincipal(u), nil
}

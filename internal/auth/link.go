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

// changeTime bounds a change that goes on when the client has left.
const changeTime = 10 * time.Second

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
	var u *store.User
	err := a.tryLink(client, func() (err error) {
		u, err = a.takeLink(ctx, token)
		return err
	})
	if err != nil {
		return "", store.Session{}, Principal{}, err
	}
	a.throttle.succeeded(u.Login, client)
	return a.enter(ctx, u, client)
}

// SetPasswordByLink uses up the token of a login link for a new password, for somebody who has forgotten the old one.
// It ends all sessions of the person and opens none: see OpenSession. App passwords are deleted, and their number is given.
//
// Errors: ErrPassword, ErrBusy and *ThrottledError leave the link usable; those of LoginByLink.
func (a *Authenticator) SetPasswordByLink(ctx context.Context, token, password string, client netip.Addr) (who Principal, appPasswords int, err error) {
	if err := usable(password); err != nil {
		return Principal{}, 0, err
	}
	err = a.tryLink(client, func() error {
		// The turn comes before the link is taken, so that a busy server costs nobody the link.
		return a.passwords.inTurn(ctx, func() (err error) {
			who, appPasswords, err = a.setByLink(ctx, token, password)
			return err
		})
	})
	if err == nil {
		a.throttle.succeeded(who.Login, client)
	}
	return who, appPasswords, err
}

// setByLink is SetPasswordByLink when its turn has come. The link is taken before anything is hashed, so that nobody
// without one can make the server hash. Then the change is made even if the client leaves, after a second click on
// the button for example: the link would be lost for nothing.
func (a *Authenticator) setByLink(ctx context.Context, token, password string) (Principal, int, error) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), changeTime)
	defer cancel()
	u, err := a.takeLink(ctx, token)
	if err != nil {
		return Principal{}, 0, err
	}
	hash, err := HashPassword(password)
	if err != nil {
		return Principal{}, 0, err
	}
	appPasswords, err := a.store.ResetPassword(ctx, u.ID, hash)
	if err != nil {
		return Principal{}, 0, notFoundIsDenied("set password", err)
	}
	return userPrincipal(u), appPasswords, nil
}

// tryLink counts one try to use a link, and what came of it.
func (a *Authenticator) tryLink(client netip.Addr, use func() error) error {
	attempt, err := a.throttle.begin("link from "+addrText(client), client)
	if err != nil {
		a.metrics.logins.WithLabelValues("throttled").Inc()
		return err
	}
	err = use()
	attempt.end(errors.Is(err, ErrCredentials))
	a.metrics.logins.WithLabelValues(outcome(err)).Inc()
	return err
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

// enter opens a session for a user who has proved who they are.
func (a *Authenticator) enter(ctx context.Context, u *store.User, client netip.Addr) (string, store.Session, Principal, error) {
	who := userPrincipal(u)
	token, s, err := a.OpenSession(ctx, who, client)
	if err != nil {
		return "", store.Session{}, Principal{}, err
	}
	return token, s, who, nil
}

// OpenSession opens a session for somebody who has just proved to be who, a user. It checks nothing. The token is
// that of Login; the error is one of the store.
func (a *Authenticator) OpenSession(ctx context.Context, who Principal, client netip.Addr) (string, store.Session, error) {
	token := newToken()
	now := a.now().UTC()
	s := store.Session{
		TokenHash: hashSecret(token), User: who.User, Created: now, Expires: now.Add(a.lifetime),
		ClientAddr: addrText(client),
	}
	if err := a.store.CreateSession(ctx, s); err != nil {
		return "", store.Session{}, fmt.Errorf("open session: %w", err)
	}
	return token, s, nil
}

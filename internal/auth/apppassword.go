package auth

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/mairust/mairust/store"
)

// appPasswordChars of 5 bits each make the 128 bits of an app password, and two more.
const appPasswordChars = 26

// AppPassword is a new app password: a password for one program of one user, such as an IMAP client.
type AppPassword struct {
	// Secret is shown once and kept nowhere. People type it, so it comes in groups; groups and case don't count.
	Secret string
	// Hash is what the database keeps: SHA-256 in hex. The secret is random, so it needs no slow hash.
	Hash string
}

// NewAppPassword makes an app password of 130 random bits.
func NewAppPassword() AppPassword {
	plain := lowerText(appPasswordChars)
	groups := make([]string, 0, appPasswordChars/4+1)
	for i := 0; i < len(plain); i += 4 {
		groups = append(groups, plain[i:min(i+4, len(plain))])
	}
	return AppPassword{Secret: strings.Join(groups, "-"), Hash: hashSecret(plain)}
}

// AppPasswords is what a Store must do beside for app passwords to work.
type AppPasswords interface {
	AppPasswordByHash(ctx context.Context, hash string) (*store.AppPassword, error)
	AppPasswordsByID(ctx context.Context, ids []string) ([]store.AppPassword, error)
	TouchAppPassword(ctx context.Context, id string, at time.Time) error
}

// CheckLogin checks a login's password, or one of its app passwords, without opening a session: for protocols that
// log in once for each connection. The principal has its Credential, to be given to Ended from time to time.
//
// Errors: ErrCredentials, *ThrottledError when too many logins of this name or from this client failed, ErrBusy, or an
// error of the store. An unknown login takes as long as a wrong password; an app password is quick, and is taken however
// many logins of the name have failed: nobody guesses one.
func (a *Authenticator) CheckLogin(ctx context.Context, login, password string, client netip.Addr) (Principal, error) {
	attempt, err := a.throttle.beginNameless(client)
	if err != nil {
		a.metrics.logins.WithLabelValues("throttled").Inc()
		return Principal{}, err
	}
	who, err := a.checkAppPassword(ctx, login, password)
	if errors.Is(err, ErrCredentials) {
		if refused := attempt.name(login); refused != nil {
			// Else an address could go on for ever to look up what has the form of an app password.
			attempt.end(looksLikeAppPassword(password))
			a.metrics.logins.WithLabelValues("throttled").Inc()
			return Principal{}, refused
		}
		who, err = a.checkOwnPassword(ctx, login, password)
	}
	if failed := errors.Is(err, ErrCredentials); failed && attempt.known && looksLikeAppPassword(password) {
		// Most likely one that was deleted: the programs that have it must not keep its owner out. From elsewhere it may be a guess at a long password.
		attempt.endForAddress()
	} else {
		attempt.end(failed)
	}
	a.metrics.logins.WithLabelValues(outcome(err)).Inc()
	if err == nil {
		a.throttle.succeeded(login, client)
	}
	return who, err
}

func (a *Authenticator) checkOwnPassword(ctx context.Context, login, password string) (Principal, error) {
	u, err := a.checkPassword(ctx, login, password)
	if err != nil {
		return Principal{}, err
	}
	who := userPrincipal(u)
	who.Credential = passwordCredential(u)
	return who, nil
}

// checkAppPassword gives whom login and app password belong to.
func (a *Authenticator) checkAppPassword(ctx context.Context, login, password string) (Principal, error) {
	passwords, ok := a.store.(AppPasswords)
	plain, looks := plainAppPassword(password)
	if !ok || !looks || len(login) > maxLogin {
		return Principal{}, ErrCredentials
	}
	p, err := passwords.AppPasswordByHash(ctx, hashSecret(plain))
	if err != nil {
		return Principal{}, notFoundIsDenied("find app password", err)
	}
	u, err := a.store.User(ctx, p.User)
	if err != nil {
		return Principal{}, notFoundIsDenied("find user of app password", err)
	}
	if loginKey(u.Login) != loginKey(login) || !mayEnter(u) {
		return Principal{}, ErrCredentials
	}
	// At most once a minute: a busy client must not turn every login into a write.
	if now := a.now(); now.Sub(p.LastUsed) >= time.Minute {
		if err := passwords.TouchAppPassword(ctx, p.ID, now.UTC()); err != nil {
			a.log.WarnContext(ctx, "app password use not noted", "app_password", p.ID, "err", fmt.Errorf("touch: %w", err))
		}
	}
	who := userPrincipal(u)
	who.Credential = Credential{User: u.ID, app: p.ID}
	return who, nil
}

// plainAppPassword takes out what people put between the groups, and says whether it can be an app password.
func plainAppPassword(s string) (plain string, ok bool) {
	if len(s) > 2*appPasswordChars {
		return "", false
	}
	plain = strings.ToLower(strings.NewReplacer("-", "", " ", "").Replace(s))
	return plain, len(plain) == appPasswordChars
}

func looksLikeAppPassword(s string) bool {
	_, ok := plainAppPassword(s)
	return ok
}

// Package auth knows who is asking and what they may do: passwords, sessions, API keys, roles.
//
// Secrets that the database keeps are hashed: passwords with argon2id, because people choose them; session
// tokens and API keys with SHA-256, because they are 256 random bits and need no slow hash.
package auth

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/store"
)

// Errors that callers test for. Any other error is a fault of the store, which is temporary.
var (
	// ErrCredentials says that login and password, or the token, do not belong to anyone who may come in.
	// It never says which part was wrong.
	ErrCredentials = errors.New("unknown login or wrong password")
	// ErrForbidden says that somebody is known and may not do this.
	ErrForbidden = errors.New("not allowed for this role")
	// ErrBusy says that too many passwords are being checked at this moment.
	ErrBusy = errors.New("too many logins at once")
)

// ThrottledError refuses a login because too many before it failed.
type ThrottledError struct {
	// After is how long to wait until the next try can be accepted.
	After time.Duration
}

// Error names the waiting time.
func (e *ThrottledError) Error() string {
	return fmt.Sprintf("too many failed logins, next try in %s", e.After.Round(time.Second))
}

// Store is what auth needs of package store.
type Store interface {
	Users
	Sessions
	APIKeys
	LoginLinks
}

// Users finds people. ResetPassword replaces what HashPassword has given, ends the sessions of the user, and deletes the
// app passwords, whose number it gives.
type Users interface {
	UserByLogin(ctx context.Context, login string) (*store.User, error)
	User(ctx context.Context, id store.UserID) (*store.User, error)
	UsersByID(ctx context.Context, ids []store.UserID) ([]store.User, error)
	ResetPassword(ctx context.Context, id store.UserID, hash string) (appPasswords int, err error)
}

// Sessions keeps logins. SessionByHash answers ErrNotFound for one that has expired.
type Sessions interface {
	CreateSession(ctx context.Context, s store.Session) error
	SessionByHash(ctx context.Context, hash string) (*store.Session, error)
	DeleteSession(ctx context.Context, hash string) error
}

// APIKeys finds keys and notes their use.
type APIKeys interface {
	APIKeyByHash(ctx context.Context, hash string) (*store.APIKey, error)
	TouchAPIKey(ctx context.Context, id store.APIKeyID, at time.Time) error
}

// Options of an Authenticator. Store is required.
type Options struct {
	Store Store
	// SessionLifetime is counted from the login and not prolonged by use; default 12 hours.
	SessionLifetime time.Duration
	// MaxHashes bounds how many passwords are hashed at once, each with 64 MiB; default 2.
	MaxHashes int
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log may be nil.
	Log *slog.Logger
	// Registerer takes the metrics; nil means none are kept.
	Registerer prometheus.Registerer
}

// Authenticator turns credentials into a Principal. All methods may be called at once.
type Authenticator struct {
	store     Store
	lifetime  time.Duration
	passwords *hasher
	throttle  *throttle
	touched   *lru[store.APIKeyID, time.Time]
	now       func() time.Time
	log       *slog.Logger
	metrics   *metrics
}

// New makes an Authenticator.
func New(o Options) (*Authenticator, error) {
	if o.Store == nil {
		return nil, errors.New("auth: Options.Store is required")
	}
	if o.SessionLifetime <= 0 {
		o.SessionLifetime = 12 * time.Hour
	}
	if o.MaxHashes <= 0 {
		o.MaxHashes = 2
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	return &Authenticator{
		store: o.Store, lifetime: o.SessionLifetime, passwords: newHasher(o.MaxHashes), throttle: newThrottle(o.Now),
		touched: newLRU[store.APIKeyID, time.Time](10_000), now: o.Now, log: o.Log, metrics: m,
	}, nil
}

// Login checks a password and opens a session. It answers with the token, which is shown nowhere else and
// is usable as a cookie and as a Bearer token (RFC 6750), and with the time at which it ends.
//
// Errors: ErrCredentials, *ThrottledError when too many logins of this name or from this client failed,
// ErrBusy, or an error of the store. An unknown login takes as long as a wrong password.
func (a *Authenticator) Login(ctx context.Context, login, password string, client netip.Addr) (string, store.Session, Principal, error) {
	attempt, err := a.throttle.begin(login, client)
	if err != nil {
		a.metrics.logins.WithLabelValues("throttled").Inc()
		return "", store.Session{}, Principal{}, err
	}
	u, err := a.checkPassword(ctx, login, password)
	attempt.end(errors.Is(err, ErrCredentials))
	a.metrics.logins.WithLabelValues(outcome(err)).Inc()
	if err != nil {
		return "", store.Session{}, Principal{}, err
	}
	a.throttle.succeeded(login, client)
	return a.enter(ctx, u, client)
}

// checkPassword gives the user that login and password belong to. A login that is unknown or disabled is
// checked against a password nobody has, so that the time taken tells nothing.
func (a *Authenticator) checkPassword(ctx context.Context, login, password string) (*store.User, error) {
	if len(login) > maxLogin || len(password) > maxPassword {
		return nil, ErrCredentials
	}
	u, err := a.store.UserByLogin(ctx, login)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return nil, fmt.Errorf("find user: %w", err)
	}
	known := err == nil && !u.Disabled && u.PasswordHash != ""
	hash := a.passwords.nobody
	if known {
		hash = u.PasswordHash
	}
	ok, err := a.passwords.verify(ctx, password, hash)
	switch {
	case err != nil:
		return nil, err
	case !ok || !known || !Role(u.Role).known():
		return nil, ErrCredentials
	}
	return u, nil
}

// Authenticate finds who a token belongs to: an API key by its prefix, else a session. What changed since
// the login (role, disabled) counts at once. Errors: ErrCredentials, else an error of the store.
func (a *Authenticator) Authenticate(ctx context.Context, token string) (Principal, error) {
	if token == "" || len(token) > maxToken {
		return Principal{}, ErrCredentials
	}
	if strings.HasPrefix(token, KeyPrefix) {
		return a.byKey(ctx, token)
	}
	return a.bySession(ctx, token)
}

func (a *Authenticator) bySession(ctx context.Context, token string) (Principal, error) {
	s, err := a.store.SessionByHash(ctx, hashSecret(token))
	if err != nil {
		return Principal{}, notFoundIsDenied("find session", err)
	}
	if !a.now().Before(s.Expires) {
		return Principal{}, ErrCredentials
	}
	u, err := a.store.User(ctx, s.User)
	if err != nil {
		return Principal{}, notFoundIsDenied("find user of session", err)
	}
	if !mayEnter(u) {
		return Principal{}, ErrCredentials
	}
	return userPrincipal(u), nil
}

func (a *Authenticator) byKey(ctx context.Context, token string) (Principal, error) {
	k, err := a.store.APIKeyByHash(ctx, hashSecret(token))
	if err != nil {
		return Principal{}, notFoundIsDenied("find api key", err)
	}
	now := a.now()
	if !k.Expires.IsZero() && !now.Before(k.Expires) || !Role(k.Role).known() {
		return Principal{}, ErrCredentials
	}
	a.touch(ctx, k, now)
	return Principal{
		Kind: KindAPIKey, ID: string(k.ID), Login: k.Name, Tenant: k.Tenant, Role: Role(k.Role), Expires: k.Expires,
	}, nil
}

// touch notes the use of a key, at most once a minute: a busy key must not turn every read into a write.
func (a *Authenticator) touch(ctx context.Context, k *store.APIKey, now time.Time) {
	if now.Sub(k.LastUsed) < time.Minute {
		return
	}
	first := false
	a.touched.update(k.ID, func(last time.Time, ok bool) time.Time {
		if first = !ok || now.Sub(last) >= time.Minute; first {
			return now
		}
		return last
	})
	if !first {
		return
	}
	if err := a.store.TouchAPIKey(ctx, k.ID, now.UTC()); err != nil {
		a.log.WarnContext(ctx, "api key use not noted", "api_key", k.ID, "err", err)
	}
}

// Logout ends the session of a token. Ending one that is not there is no error.
func (a *Authenticator) Logout(ctx context.Context, token string) error {
	if err := a.store.DeleteSession(ctx, hashSecret(token)); err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("end session: %w", err)
	}
	return nil
}

func userPrincipal(u *store.User) Principal {
	return Principal{Kind: KindUser, ID: string(u.ID), Login: u.Login, Tenant: u.Tenant, Role: Role(u.Role), User: u.ID}
}

func notFoundIsDenied(doing string, err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return ErrCredentials
	}
	return fmt.Errorf("%s: %w", doing, err)
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.Unmap().String()
}

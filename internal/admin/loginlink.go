package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// CreateLoginLink makes the token of a link that logs a person in once, within auth.LinkLifetime; it is in the
// answer and nowhere else. auth.ErrForbidden, or a *Refused for a login that does not exist or is disabled.
func (a *Admin) CreateLoginLink(ctx context.Context, p auth.Principal, want wire.NewLoginLink) (wire.LoginLinkCreated, error) {
	if !p.Can(auth.SetUp) {
		return wire.LoginLinkCreated{}, auth.ErrForbidden
	}
	u, err := a.store.UserByLogin(ctx, want.Login)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return wire.LoginLinkCreated{}, refuse("no_such_user", mail.Clean(want.Login, 80))
	case err != nil:
		return wire.LoginLinkCreated{}, fmt.Errorf("find user: %w", err)
	case u.Disabled:
		return wire.LoginLinkCreated{}, refuse("user_disabled", u.Login)
	}
	link, expires := auth.NewLinkToken(), a.now().Add(auth.LinkLifetime)
	if err := a.store.CreateLoginLink(ctx, link.Hash, u.ID, expires); err != nil {
		return wire.LoginLinkCreated{}, fmt.Errorf("create login link: %w", err)
	}
	if err := a.audit(ctx, p, u.Tenant, "login_link.create", u.Login, map[string]string{"user": string(u.ID)}); err != nil {
		return wire.LoginLinkCreated{}, err
	}
	return wire.LoginLinkCreated{Login: u.Login, Token: link.Secret, ExpiresAt: expires.UTC()}, nil
}

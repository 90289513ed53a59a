package admin

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// Setup makes what is missing of a tenant with its domains, a super_admin and mailboxes; what is there stays as
// it is, so that it may be repeated. Everything is checked before anything is made. Each new mailbox gets a user
// whose login is its address. auth.ErrForbidden, a *Refused for bad input, or store.ErrExists.
func (a *Admin) Setup(ctx context.Context, p auth.Principal, s wire.Setup) (wire.SetupResult, error) {
	if !p.Can(auth.SetUp) {
		return wire.SetupResult{}, auth.ErrForbidden
	}
	w, err := newSetup(a, p, s)
	if err != nil {
		return wire.SetupResult{}, err
	}
	for _, step := range []func(context.Context) error{w.makeTenant, w.makeDomains, w.makeAdmin, w.makeMailboxes} {
		if err := step(ctx); err != nil {
			return w.result, err
		}
	}
	return w.result, nil
}

// setup is one Setup under way.
type setup struct {
	*Admin
	by        auth.Principal
	want      wire.Setup
	domains   []string
	admin     mail.Address
	mailboxes []mail.Address
	// mailboxHash is of the password that all new mailboxes share; made once, empty when they have their own.
	mailboxHash string
	tenant      *store.Tenant
	result      wire.SetupResult
}

func newSetup(a *Admin, p auth.Principal, want wire.Setup) (*setup, error) {
	w := &setup{Admin: a, by: p, want: want, result: wire.SetupResult{Things: []wire.Made{}}}
	w.want.Tenant = strings.TrimSpace(want.Tenant)
	if w.want.Tenant == "" || strings.ContainsAny(w.want.Tenant, "\r\n\t\x00") || len(w.want.Tenant) > 100 {
		return nil, refuse("tenant_name")
	}
	if strings.EqualFold(w.want.Tenant, store.TenantSystem) {
		return nil, refuse("tenant_reserved", store.TenantSystem)
	}
	if len(want.Domains) == 0 {
		return nil, refuse("domains_empty")
	}
	for _, d := range want.Domains {
		parsed, err := mail.ParseAddress("postmaster@" + d)
		if err != nil || parsed.Domain == "" {
			return nil, refuse(notADomain, mail.Clean(d, 80))
		}
		w.domains = append(w.domains, parsed.Domain)
	}
	if err := w.parseAddresses(); err != nil {
		return nil, err
	}
	return w, w.checkPasswords()
}

func (w *setup) parseAddresses() error {
	var err error
	if w.want.Admin != "" {
		if w.admin, err = parseAddress(w.want.Admin); err != nil {
			return err
		}
	}
	for _, text := range w.want.Mailboxes {
		address, err := parseAddress(text)
		if err != nil {
			return err
		}
		w.mailboxes = append(w.mailboxes, address)
	}
	return nil
}

func parseAddress(text string) (mail.Address, error) {
	address, err := mail.ParseAddress(strings.TrimSpace(text))
	if err != nil || address.IsZero() || address.Domain == "" {
		return mail.Address{}, refuse("not_an_address", mail.Clean(text, 80))
	}
	return address, nil
}

func (w *setup) checkPasswords() error {
	var err error
	if w.want.MailboxPassword != "" {
		w.mailboxHash, err = auth.HashPassword(w.want.MailboxPassword)
	}
	if errors.Is(err, auth.ErrPassword) {
		return refuse("mailbox_password", err)
	}
	return err
}

// made notes what a step did, and audits it when something was created.
func (w *setup) made(ctx context.Context, m wire.Made) error {
	w.result.Things = append(w.result.Things, m)
	if !m.Created {
		return nil
	}
	return w.audit(ctx, w.by, w.tenant.ID, m.Kind+".create", m.Name, map[string]string{"id": m.ID})
}

func (w *setup) makeTenant(ctx context.Context) error {
	t, created, err := w.store.EnsureTenant(ctx, w.want.Tenant)
	if err != nil {
		return fmt.Errorf("tenant %s: %w", w.want.Tenant, err)
	}
	w.tenant = t
	return w.made(ctx, wire.Made{Kind: "tenant", ID: string(t.ID), Name: t.Name, Created: created})
}

func (w *setup) makeDomains(ctx context.Context) error {
	for _, name := range w.domains {
		d, created, err := w.store.EnsureDomain(ctx, w.tenant.ID, name, "")
		if errors.Is(err, store.ErrExists) {
			return refuse("domain_taken", name)
		}
		if err != nil {
			return fmt.Errorf("domain %s: %w", name, err)
		}
		if err := w.made(ctx, wire.Made{Kind: "domain", ID: string(d.ID), Name: d.Name, Created: created}); err != nil {
			return err
		}
	}
	return nil
}

func (w *setup) makeAdmin(ctx context.Context) error {
	if w.admin.IsZero() {
		return nil
	}
	_, err := w.makeUser(ctx, w.admin, auth.SuperAdmin, w.want.AdminPassword, "")
	return err
}

func (w *setup) makeMailboxes(ctx context.Context) error {
	for _, address := range w.mailboxes {
		user, err := w.makeUser(ctx, address, auth.User, w.want.MailboxPassword, w.mailboxHash)
		if err != nil {
			return err
		}
		m, created, err := w.store.EnsureMailbox(ctx, w.tenant.ID, address, user)
		switch {
		case errors.Is(err, store.ErrNotFound):
			return refuse("domain_foreign", address)
		case errors.Is(err, store.ErrExists):
			return refuse("address_taken", address)
		case err != nil:
			return err
		}
		if err := w.made(ctx, wire.Made{Kind: "mailbox", ID: string(m.ID), Name: m.Address, Created: created}); err != nil {
			return err
		}
	}
	return nil
}

// makeUser finds or makes a user. Of password and hash the hash is used when both are set; with neither, a
// random password is made and shown. An admin of a higher role keeps it and owns the mailbox too.
func (w *setup) makeUser(ctx context.Context, login mail.Address, role auth.Role, password, hash string) (store.UserID, error) {
	name := login.Fold().String()
	switch u, err := w.store.UserByLogin(ctx, name); {
	case err == nil && u.Tenant == w.tenant.ID && (u.Role == string(role) || role == auth.User):
		return u.ID, w.made(ctx, wire.Made{Kind: "user", ID: string(u.ID), Name: u.Login})
	case err == nil:
		return "", refuse("user_elsewhere", name)
	case !errors.Is(err, store.ErrNotFound):
		return "", fmt.Errorf("user %s: %w", name, err)
	}
	made := wire.Made{Kind: "user", Name: name, Created: true}
	if password == "" {
		password = auth.RandomPassword()
		made.Password = password
	}
	if hash == "" {
		var err error
		if hash, err = auth.HashPassword(password); errors.Is(err, auth.ErrPassword) {
			return "", refuse("user_password_bad", name, err)
		} else if err != nil {
			return "", err
		}
	}
	u, created, err := w.store.EnsureUser(ctx, store.User{
		Tenant: w.tenant.ID, Login: name, PasswordHash: hash, Role: string(role),
	})
	if err != nil {
		return "", fmt.Errorf("user %s: %w", name, err)
	}
	made.ID, made.Created = string(u.ID), created
	if !created { // somebody was quicker; the password is theirs
		made.Password = ""
	}
	return u.ID, w.made(ctx, made)
}

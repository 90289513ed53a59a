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
// it is, so that it may be repeated. What can be known before is checked before anything is made; where an alias leads, and
// whether its address is a mailbox's, is known when those are there. Each new mailbox gets a user whose login is its address. The result has what was made,
// also beside an error. auth.ErrForbidden, a *Refused for bad input, or store.ErrExists.
func (a *Admin) Setup(ctx context.Context, p auth.Principal, s wire.Setup) (wire.SetupResult, error) {
	if !p.Can(auth.SetUp) {
		return wire.SetupResult{}, auth.ErrForbidden
	}
	w, err := newSetup(a, p, s)
	if err != nil {
		return wire.SetupResult{}, err
	}
	for _, step := range []func(context.Context) error{w.check, w.makeTenant, w.makeDomains, w.makeAliasDomains, w.makeAdmin, w.makeMailboxes, w.makeAliases} {
		if err := step(ctx); err != nil {
			return w.result, err
		}
	}
	return w.result, nil
}

// setup is one Setup under way.
type setup struct {
	*Admin
	by      auth.Principal
	want    wire.Setup
	domains []string
	// aliasDomains are pairs of a domain and the one that it stands for, aliases of an address and its target.
	aliasDomains [][2]string
	aliases      [][2]mail.Address
	admin        mail.Address
	mailboxes    []mail.Address
	// adminHash is of the admin's password, mailboxHash of the one that all new mailboxes share; empty for a random one each.
	adminHash, mailboxHash string
	// tenant is an empty one until it is made.
	tenant *store.Tenant
	result wire.SetupResult
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
	if err := w.parseDomains(); err != nil {
		return nil, err
	}
	if err := w.parseAddresses(); err != nil {
		return nil, err
	}
	return w, w.hashPasswords()
}

func (w *setup) parseDomains() error {
	for _, text := range w.want.Domains {
		domain, err := parseDomain(text)
		if err != nil {
			return err
		}
		w.domains = append(w.domains, domain)
	}
	for _, pair := range w.want.AliasDomains {
		domain, err := parseDomain(pair.Domain)
		if err != nil {
			return err
		}
		of, err := parseDomain(pair.Of)
		if err != nil {
			return err
		}
		w.aliasDomains = append(w.aliasDomains, [2]string{domain, of})
	}
	return nil
}

func parseDomain(text string) (string, error) {
	parsed, err := mail.ParseAddress("postmaster@" + text)
	if err != nil || parsed.Domain == "" {
		return "", refuse(notADomain, mail.Clean(text, 80))
	}
	return parsed.Domain, nil
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
	for _, a := range w.want.Aliases {
		address, target, err := parseAlias(a.Address, a.Target)
		if err != nil {
			return err
		}
		w.aliases = append(w.aliases, [2]mail.Address{address, target})
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

func (w *setup) hashPasswords() error {
	var err error
	if w.want.MailboxPassword != "" {
		w.mailboxHash, err = auth.HashPassword(w.want.MailboxPassword)
	}
	if errors.Is(err, auth.ErrPassword) {
		return refuse("mailbox_password", err)
	}
	if err == nil && w.want.AdminPassword != "" && !w.admin.IsZero() {
		w.adminHash, err = auth.HashPassword(w.want.AdminPassword)
	}
	if errors.Is(err, auth.ErrPassword) {
		return refuse("user_password_bad", w.admin.Fold(), err)
	}
	return err
}

// made notes what a step did, and audits it when something was created.
func (w *setup) made(ctx context.Context, m wire.Made) error {
	return w.madeSo(ctx, m, m.Kind+".create", map[string]string{"id": m.ID})
}

func (w *setup) madeSo(ctx context.Context, m wire.Made, action string, after any) error {
	w.result.Things = append(w.result.Things, m)
	if !m.Created {
		return nil
	}
	return w.audit(ctx, w.by, w.tenant.ID, action, m.Name, after)
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

func (w *setup) makeAliasDomains(ctx context.Context) error {
	for _, pair := range w.aliasDomains {
		name, of := pair[0], pair[1]
		stands, err := w.store.DomainByName(ctx, of)
		if errors.Is(err, store.ErrNotFound) || err == nil && (stands.Tenant != w.tenant.ID || stands.AliasOf != "") {
			return refuse("alias_domain_of", of)
		}
		if err != nil {
			return fmt.Errorf("domain %s: %w", of, err)
		}
		d, created, err := w.store.EnsureDomain(ctx, w.tenant.ID, name, stands.ID)
		if errors.Is(err, store.ErrExists) {
			return refuse("domain_taken_otherwise", name)
		}
		if err != nil {
			return fmt.Errorf("domain %s: %w", name, err)
		}
		m := wire.Made{Kind: "domain", ID: string(d.ID), Name: d.Name, Created: created}
		if err := w.madeSo(ctx, m, "domain.create", map[string]string{"id": m.ID, "alias_of": of}); err != nil {
			return err
		}
	}
	return nil
}

// makeAliases makes aliases in the order given: one may lead to another.
func (w *setup) makeAliases(ctx context.Context) error {
	for _, pair := range w.aliases {
		address, target := pair[0], pair[1]
		if domain, err := w.store.DomainByName(ctx, strings.ToLower(address.Domain)); errors.Is(err, store.ErrNotFound) || err == nil && domain.Tenant != w.tenant.ID {
			return refuse("domain_foreign", address)
		} else if err != nil {
			return fmt.Errorf("domain %s: %w", address.Domain, err)
		}
		if err := w.checkAlias(ctx, w.by, w.tenant.ID, address, target); err != nil {
			return err
		}
		created, err := w.store.EnsureAlias(ctx, w.tenant.ID, address, target)
		if err != nil {
			return refuseAlias(w.by, err, address, target)
		}
		m := wire.Made{Kind: "alias", Name: address.String(), Created: created}
		if err := w.madeSo(ctx, m, "alias.set", wire.AliasTarget{Target: target.Fold().String()}); err != nil {
			return err
		}
	}
	return nil
}

func (w *setup) makeAdmin(ctx context.Context) error {
	if w.admin.IsZero() {
		return nil
	}
	_, err := w.makeUser(ctx, w.admin, auth.SuperAdmin, w.adminHash)
	return err
}

func (w *setup) makeMailboxes(ctx context.Context) error {
	for _, address := range w.mailboxes {
		if err := w.makeMailbox(ctx, address); err != nil {
			return err
		}
	}
	return nil
}

// makeMailbox makes the mailbox before its user: should it not be possible after all, no user is left that nobody asked for. A
// mailbox without its user gets one when the setup is repeated.
func (w *setup) makeMailbox(ctx context.Context, address mail.Address) error {
	m, created, err := w.ensureMailbox(ctx, address, "")
	if err == nil {
		err = w.made(ctx, wire.Made{Kind: "mailbox", ID: string(m.ID), Name: m.Address, Created: created})
	}
	if err != nil {
		return err
	}
	user, err := w.makeUser(ctx, address, auth.User, w.mailboxHash)
	if err == nil {
		_, _, err = w.ensureMailbox(ctx, address, user)
	}
	return err
}

func (w *setup) ensureMailbox(ctx context.Context, address mail.Address, owner store.UserID) (*store.Mailbox, bool, error) {
	m, created, err := w.store.EnsureMailbox(ctx, w.tenant.ID, address, owner)
	switch {
	case errors.Is(err, store.ErrNotFound):
		err = refuse("domain_foreign", address)
	case errors.Is(err, store.ErrExists):
		err = refuse("address_taken", address)
	}
	return m, created, err
}

// makeUser finds or makes a user. Without a hash a random password is made and shown.
func (w *setup) makeUser(ctx context.Context, login mail.Address, role auth.Role, hash string) (store.UserID, error) {
	switch u, err := w.findUser(ctx, login, role); {
	case err == nil:
		return u.ID, w.made(ctx, wire.Made{Kind: "user", ID: string(u.ID), Name: u.Login})
	case !errors.Is(err, store.ErrNotFound):
		return "", err
	}
	name := login.Fold().String()
	made := wire.Made{Kind: "user", Name: name, Created: true}
	if hash == "" {
		var err error
		made.Password = auth.RandomPassword()
		if hash, err = auth.HashPassword(made.Password); err != nil {
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

// findUser finds a user that the setup would make. An admin of a higher role keeps it and owns the mailbox too. store.ErrNotFound, or a
// *Refused when it is another tenant's or has another role.
func (w *setup) findUser(ctx context.Context, login mail.Address, role auth.Role) (*store.User, error) {
	name := login.Fold().String()
	u, err := w.store.UserByLogin(ctx, name)
	switch {
	case err != nil:
		return nil, fmt.Errorf("user %s: %w", name, err)
	case u.Tenant != w.tenant.ID, u.Role != string(role) && role != auth.User:
		return nil, refuse("user_elsewhere", name)
	}
	return u, nil
}

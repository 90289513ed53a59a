package admin

import (
	"context"
	"errors"
	"strings"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// Aliases lists the aliases in scope by address, at most limit of those after the given one. auth.ErrForbidden.
func (a *Admin) Aliases(ctx context.Context, p auth.Principal, after string, limit int) ([]wire.Alias, error) {
	if !p.Can(auth.ListMailboxes) {
		return nil, auth.ErrForbidden
	}
	rows, err := a.store.Aliases(ctx, p.Scope(), after, limit)
	list := make([]wire.Alias, 0, len(rows))
	for _, row := range rows {
		list = append(list, aliasWire(row))
	}
	return list, err
}

// Alias shows an alias in scope. auth.ErrForbidden, store.ErrNotFound or a *Refused.
func (a *Admin) Alias(ctx context.Context, p auth.Principal, text string) (wire.Alias, error) {
	if !p.Can(auth.ListMailboxes) {
		return wire.Alias{}, auth.ErrForbidden
	}
	address, err := parseListed(text)
	if err != nil {
		return wire.Alias{}, err
	}
	has, err := a.store.Alias(ctx, p.Scope(), address)
	if err != nil {
		return wire.Alias{}, err
	}
	return aliasWire(*has), nil
}

// SetAlias makes an alias of a domain in scope, or changes where it leads. auth.ErrForbidden or a *Refused.
func (a *Admin) SetAlias(ctx context.Context, p auth.Principal, text string, w wire.AliasTarget) (wire.Alias, error) {
	if !p.Can(auth.ManageMailboxes) {
		return wire.Alias{}, auth.ErrForbidden
	}
	address, target, err := parseAlias(text, w.Target)
	if err != nil {
		return wire.Alias{}, err
	}
	domain, err := a.store.DomainByName(ctx, strings.ToLower(address.Domain))
	if errors.Is(err, store.ErrNotFound) || err == nil && !p.Scope().All && domain.Tenant != p.Scope().Tenant {
		return wire.Alias{}, refuse("alias_domain", address.Domain)
	}
	if err != nil {
		return wire.Alias{}, err
	}
	if err := a.checkAlias(ctx, p, domain.Tenant, address, target); err != nil {
		return wire.Alias{}, err
	}
	var before any
	if has, err := a.store.Alias(ctx, p.Scope(), address); err == nil {
		before = wire.AliasTarget{Target: has.Target}
	} else if !errors.Is(err, store.ErrNotFound) {
		return wire.Alias{}, err
	}
	e := store.AuditEntry{Tenant: domain.Tenant, Action: "alias.set", Target: address.String()}
	entry, err := auditEntry(ctx, p, e, before, wire.AliasTarget{Target: target.Fold().String()})
	if err == nil {
		err = a.store.SetAlias(ctx, domain.Tenant, address, target, store.Beside{Audit: &entry})
	}
	if err != nil {
		return wire.Alias{}, refuseAlias(p, err, address, target)
	}
	return a.Alias(ctx, p, text)
}

// RemoveAlias removes an alias in scope. auth.ErrForbidden, store.ErrNotFound or a *Refused.
func (a *Admin) RemoveAlias(ctx context.Context, p auth.Principal, text string) error {
	if !p.Can(auth.ManageMailboxes) {
		return auth.ErrForbidden
	}
	address, err := parseListed(text)
	if err != nil {
		return err
	}
	has, err := a.store.Alias(ctx, p.Scope(), address)
	if err != nil {
		return err
	}
	e := store.AuditEntry{Tenant: has.Tenant, Action: "alias.remove", Target: has.Address}
	entry, err := auditEntry(ctx, p, e, wire.AliasTarget{Target: has.Target}, nil)
	if err != nil {
		return err
	}
	return a.store.RemoveAlias(ctx, has.Tenant, address, store.Beside{Audit: &entry})
}

func parseAlias(from, to string) (address, target mail.Address, err error) {
	if address, err = parseListed(from); err == nil {
		target, err = parseListed(to)
	}
	return address, target, err
}

// parseListed takes an address also without the quotes that its dots need, as lists give it.
func parseListed(text string) (mail.Address, error) {
	address, err := parseAddress(text)
	if err == nil || strings.ContainsAny(text, " \t,;:<>()[]\"\\") {
		return address, err
	}
	if listed, errListed := mail.ParseUnquoted(text); errListed == nil && listed.Local != "" && listed.Domain != "" {
		return listed, nil
	}
	return address, err
}

// checkAlias refuses an alias whose mail would arrive nowhere, or with another tenant.
func (a *Admin) checkAlias(ctx context.Context, p auth.Principal, tenant store.TenantID, address, target mail.Address) error {
	end, here, err := a.store.LeadsTo(ctx, address, target, a.recipientDelimiter)
	if err == nil && here && end.Tenant != tenant {
		err = store.ErrExists
	}
	return refuseAlias(p, err, address, target)
}

// refuseAlias gives the sentence for what the store refuses. Whether another tenant has an address is told to those who see all.
func refuseAlias(p auth.Principal, err error, address, target mail.Address) error {
	switch {
	case errors.Is(err, store.ErrLoop):
		return refuse("alias_loop", address)
	case errors.Is(err, store.ErrNotFound):
		return refuse("alias_nowhere", target)
	case errors.Is(err, store.ErrConflict):
		return refuse("alias_otherwise", address)
	case errors.Is(err, store.ErrTaken):
		return refuse("alias_mailbox", address)
	case errors.Is(err, store.ErrExists) && p.Scope().All:
		return refuse("alias_foreign", target)
	case errors.Is(err, store.ErrExists):
		return refuse("alias_nowhere", target)
	}
	return err
}

func aliasWire(a store.Alias) wire.Alias {
	return wire.Alias{TenantID: string(a.Tenant), Address: a.Address, Target: a.Target, CreatedAt: a.Created.UTC()}
}

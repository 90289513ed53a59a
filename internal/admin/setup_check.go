package admin

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// check refuses what cannot be made before anything is. Others may be quicker, so whoever makes a thing sees to it again.
func (w *setup) check(ctx context.Context) error {
	t, err := w.store.TenantByName(ctx, w.want.Tenant)
	if errors.Is(err, store.ErrNotFound) {
		t, err = &store.Tenant{}, nil // nothing is its own yet
	}
	if err != nil {
		return fmt.Errorf("tenant %s: %w", w.want.Tenant, err)
	}
	w.tenant = t
	for _, step := range []func(context.Context) error{w.checkDomains, w.checkAliasDomains, w.checkAdmin, w.checkMailboxes, w.checkAliases} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *setup) checkDomains(ctx context.Context) error {
	for _, name := range w.domains {
		d, err := w.store.DomainByName(ctx, name)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return fmt.Errorf("domain %s: %w", name, err)
		case d.Tenant != w.tenant.ID || d.AliasOf != "":
			return refuse("domain_taken", name)
		}
	}
	return nil
}

func (w *setup) checkAliasDomains(ctx context.Context) error {
	for _, pair := range w.aliasDomains {
		name, of := pair[0], pair[1]
		switch isAlias, err := w.domainToBe(ctx, of); {
		case err == nil && isAlias, errors.Is(err, store.ErrNotFound):
			return refuse("alias_domain_of", of)
		case err != nil:
			return err
		}
		d, err := w.store.DomainByName(ctx, name)
		switch {
		case errors.Is(err, store.ErrNotFound):
		case err != nil:
			return fmt.Errorf("domain %s: %w", name, err)
		case d.Tenant != w.tenant.ID || d.AliasOf == "":
			return refuse("domain_taken_otherwise", name)
		}
	}
	return nil
}

func (w *setup) checkAdmin(ctx context.Context) error {
	if w.admin.IsZero() {
		return nil
	}
	_, err := w.findUser(ctx, w.admin, auth.SuperAdmin)
	return unlessMissing(err)
}

func (w *setup) checkMailboxes(ctx context.Context) error {
	for _, address := range w.mailboxes {
		if err := w.checkMailbox(ctx, address); err != nil {
			return err
		}
	}
	return nil
}

func (w *setup) checkMailbox(ctx context.Context, address mail.Address) error {
	switch isAlias, err := w.domainToBe(ctx, address.Domain); {
	case errors.Is(err, store.ErrNotFound):
		return refuse("domain_foreign", address)
	case err != nil:
		return err
	case isAlias:
		return refuse("address_taken", address)
	}
	switch _, err := w.store.Alias(ctx, store.System, address); {
	case err == nil:
		return refuse("address_taken", address)
	case !errors.Is(err, store.ErrNotFound):
		return err
	}
	_, err := w.findUser(ctx, address, auth.User)
	return unlessMissing(err)
}

func (w *setup) checkAliases(ctx context.Context) error {
	for _, pair := range w.aliases {
		_, err := w.domainToBe(ctx, pair[0].Domain)
		if errors.Is(err, store.ErrNotFound) {
			return refuse("domain_foreign", pair[0])
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// domainToBe says whether a domain stands for another one, once the setup is done. store.ErrNotFound when it is not the tenant's then.
func (w *setup) domainToBe(ctx context.Context, name string) (isAlias bool, err error) {
	name = strings.ToLower(name)
	if slices.Contains(w.domains, name) {
		return false, nil
	}
	if slices.ContainsFunc(w.aliasDomains, func(pair [2]string) bool { return pair[0] == name }) {
		return true, nil
	}
	d, err := w.store.DomainByName(ctx, name)
	if err == nil && d.Tenant != w.tenant.ID {
		err = store.ErrNotFound
	}
	if err != nil {
		return false, fmt.Errorf("domain %s: %w", name, err)
	}
	return d.AliasOf != "", nil
}

// unlessMissing is err, but nil for store.ErrNotFound.
func unlessMissing(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

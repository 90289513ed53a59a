package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// Domain is a mail domain of a tenant.
type Domain struct {
	ID     DomainID
	Tenant TenantID
	// Name is in lower-case A-label form.
	Name string
	// AliasOf is the domain that this one stands for, empty for a domain of its own.
	AliasOf DomainID
}

// DomainByName finds a domain by its lower-case A-label name. ErrNotFound.
func (s *Store) DomainByName(ctx context.Context, name string) (*Domain, error) {
	const query = `SELECT id, tenant_id, name, COALESCE(alias_of, '') FROM domains WHERE name = $1`
	var d Domain
	err := s.get(ctx, query, []any{mail.Clean(name, maxAddress)}, &d.ID, &d.Tenant, &d.Name, &d.AliasOf)
	if err != nil {
		return nil, err
	}
	return &d, nil
}

// EnsureDomain finds or makes a domain of the tenant. aliasOf, when not empty, is the domain of the same tenant
// that it stands for. ErrNotFound when the tenant has no domain aliasOf; ErrExists when another tenant has the name, or when
// it stands for another domain.
func (s *Store) EnsureDomain(ctx context.Context, tenant TenantID, name string, aliasOf DomainID) (d *Domain, created bool, err error) {
	const query = `INSERT INTO domains (id, tenant_id, name, alias_of, created_us) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (name) DO NOTHING`
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := holdDomain(ctx, tx, tenant, aliasOf); err != nil {
			return err
		}
		n, err := tx.Exec(ctx, query, newID(), string(tenant), name, textOrNull(string(aliasOf)), micros(s.now()))
		if created = n == 1; created {
			s.noteRecipients(tx, tenant)
		}
		return err
	})
	if err != nil {
		return nil, false, notFound(err)
	}
	if d, err = s.DomainByName(ctx, name); err != nil {
		return nil, false, err
	}
	if d.Tenant != tenant || d.AliasOf != aliasOf {
		return nil, false, fmt.Errorf("domain %s: %w elsewhere", name, ErrExists)
	}
	return d, created, nil
}

// holdDomain is sqldb.ErrNoRows unless the domain is the tenant's. An empty id is nobody's and passes.
func holdDomain(ctx context.Context, tx *sqldb.Tx, tenant TenantID, id DomainID) error {
	if id == "" {
		return nil
	}
	var has string
	return tx.Get(ctx, `SELECT id FROM domains WHERE id = $1 AND tenant_id = $2`, []any{string(id), string(tenant)}, &has)
}

// lockDomain locks a domain's row until the transaction ends. Whoever makes a mailbox or an alias locks that of its domain first, so that
// the next statement sees what others have made of the same address. Deliveries lock no domains, and never wait for it. ErrNotFound.
func lockDomain(ctx context.Context, tx *sqldb.Tx, id DomainID) error {
	var has string
	return notFound(tx.Get(ctx, `SELECT id FROM domains WHERE id = $1`+tx.ForUpdate(), []any{string(id)}, &has))
}

// domainOf finds the domain of an address and holds it to the tenant. ErrNotFound.
func (s *Store) domainOf(ctx context.Context, tenant TenantID, address mail.Address) (*Domain, error) {
	domain, err := s.DomainByName(ctx, strings.ToLower(address.Domain))
	if err == nil && domain.Tenant != tenant {
		err = ErrNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("domain %s: %w", address.Domain, err)
	}
	return domain, nil
}

// ownOrExternal keeps mail of one tenant from being delivered within another by an alias. ErrExists.
func (s *Store) ownOrExternal(ctx context.Context, tenant TenantID, target mail.Address) error {
	domain, err := s.DomainByName(ctx, target.Fold().Domain)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return fmt.Errorf("domain %s: %w", target.Domain, err)
	case domain.Tenant != tenant:
		return fmt.Errorf("alias target %s: its domain %w in another tenant", target, ErrExists)
	}
	return nil
}

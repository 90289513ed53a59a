package store

import (
	"context"
	"errors"
	"fmt"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// TenantDescription is what of a tenant must be known, beside its mailboxes, to make it again.
type TenantDescription struct {
	Tenant
	Domains []DescribedDomain
	Aliases []Alias
}

// DescribedDomain is a domain of a described tenant; Of is the one that it stands for, empty for one of its own.
type DescribedDomain struct{ Name, Of string }

// DescribeTenant describes a tenant. ErrNotFound.
func (s *Store) DescribeTenant(ctx context.Context, id TenantID) (*TenantDescription, error) {
	t, err := s.Tenant(ctx, id)
	if err != nil {
		return nil, err
	}
	d := &TenantDescription{Tenant: *t}
	const domains = `SELECT d.name, COALESCE(o.name, '') FROM domains d LEFT JOIN domains o ON o.id = d.alias_of
		WHERE d.tenant_id = $1 ORDER BY d.name`
	err = s.each(ctx, domains, []any{string(id)}, func(scan sqldb.Scan) error {
		var domain DescribedDomain
		err := scan(&domain.Name, &domain.Of)
		d.Domains = append(d.Domains, domain)
		return err
	})
	if err == nil {
		d.Aliases, err = s.aliases(ctx, selectAliases+`ORDER BY address_fold`, Scope{Tenant: id}.args()...)
	}
	return d, err
}

// errNotApplied takes back what a restoration that is only tried has written.
var errNotApplied = errors.New("not applied")

// RestoreTenant makes what is missing of a tenant: itself with its quota and suspension, its domains and its aliases. What is there
// stays as it is. It gives the names of what was missing; with apply false nothing is written. left are those that cannot be made, because
// another tenant has the name or the domain, or a mailbox the address.
func (s *Store) RestoreTenant(ctx context.Context, d TenantDescription, apply bool) (missing, left []string, err error) {
	defer s.recipients.forgetAll()
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		r := tenantRestorer{Store: s, tx: tx, d: d}
		err := r.run(ctx)
		missing, left = r.missing, r.left
		switch {
		case err != nil:
			return err
		case !apply:
			return errNotApplied
		case len(missing) > 0:
			s.noteRecipients(tx, d.ID)
		}
		return nil
	})
	if errors.Is(err, errNotApplied) {
		err = nil
	}
	if err != nil {
		return nil, nil, fmt.Errorf("restore tenant %s (%s): %w", d.ID, d.Name, err)
	}
	return missing, left, nil
}

type tenantRestorer struct {
	*Store
	tx            *sqldb.Tx
	d             TenantDescription
	missing, left []string
}

func (r *tenantRestorer) run(ctx context.Context) error {
	state := tenantActive
	if r.d.Suspended {
		state = tenantSuspended
	}
	const tenant = `INSERT INTO tenants (id, name, name_fold, state, quota_bytes, created_us) VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`
	name := mail.Clean(r.d.Name, maxWord)
	there, err := r.make(ctx, "tenant "+name, `SELECT id FROM tenants WHERE id = $1`, []any{string(r.d.ID)},
		tenant, string(r.d.ID), name, fold(name), state, max(r.d.QuotaBytes, 0), micros(r.d.Created))
	if err != nil || !there {
		return err
	}
	for _, own := range []bool{true, false} { // those first that others stand for
		for _, domain := range r.d.Domains {
			if (domain.Of == "") != own {
				continue
			}
			if err := r.domain(ctx, domain); err != nil {
				return err
			}
		}
	}
	if err := r.lockDomains(ctx); err != nil {
		return err
	}
	for _, a := range r.d.Aliases {
		if err := r.alias(ctx, a); err != nil {
			return err
		}
	}
	return nil
}

func (r *tenantRestorer) domain(ctx context.Context, d DescribedDomain) error {
	const insert = `INSERT INTO domains (id, tenant_id, name, alias_of, created_us)
		SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), (SELECT id FROM domains WHERE name = $4 AND tenant_id = $2), CAST($5 AS BIGINT)
		WHERE CAST($4 AS TEXT) = '' OR EXISTS (SELECT 1 FROM domains WHERE name = $4 AND tenant_id = $2) ON CONFLICT DO NOTHING`
	name, of := mail.Clean(d.Name, maxAddress), mail.Clean(d.Of, maxAddress)
	_, err := r.make(ctx, "domain "+name, `SELECT id FROM domains WHERE name = $1 AND tenant_id = $2`, []any{name, string(r.d.ID)},
		insert, newID(), string(r.d.ID), name, of, micros(r.now()))
	return err
}

// lockDomains is lockDomain for all that the tenant has.
func (r *tenantRestorer) lockDomains(ctx context.Context) error {
	query := `SELECT id FROM domains WHERE tenant_id = $1 ORDER BY id` + r.tx.ForUpdate()
	return r.tx.Each(ctx, query, []any{string(r.d.ID)}, func(scan sqldb.Scan) error { return scan(new(string)) })
}

func (r *tenantRestorer) alias(ctx context.Context, a Alias) error {
	address, err := mail.ParseUnquoted(mail.Clean(a.Address, maxAddress))
	if err != nil {
		r.left = append(r.left, "alias "+mail.Clean(a.Address, maxAddress))
		return nil //nolint:nilerr // one that is damaged keeps no other back
	}
	target := mail.Clean(a.Target, maxAddress)
	const insert = `INSERT INTO aliases (id, tenant_id, domain_id, address, address_fold, target, created_us)
		SELECT CAST($1 AS TEXT), d.tenant_id, d.id, CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS BIGINT)
		FROM domains d WHERE d.name = $6 AND d.tenant_id = $7 AND NOT EXISTS (SELECT 1 FROM mailboxes WHERE address_fold = $3) ON CONFLICT DO NOTHING`
	folded := foldedAddress(address)
	_, err = r.make(ctx, "alias "+address.String(), `SELECT id FROM aliases WHERE address_fold = $1 AND tenant_id = $2`, []any{folded, string(r.d.ID)},
		insert, newID(), address.String(), folded, target, micros(a.Created), address.Fold().Domain, string(r.d.ID))
	return err
}

// make inserts what a query does not find, and says whether it is there then.
func (r *tenantRestorer) make(ctx context.Context, name, find string, by []any, insert string, args ...any) (there bool, err error) {
	switch err := mustHave(ctx, r.tx, find, by...); {
	case err == nil:
		return true, nil
	case !errors.Is(err, ErrExists):
		return false, err
	}
	n, err := r.tx.Exec(ctx, insert, args...)
	switch {
	case err != nil:
		return false, err
	case n == 0:
		r.left = append(r.left, name)
	default:
		r.missing = append(r.missing, name)
	}
	return n == 1, nil
}

package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// ErrTaken says that an address is a mailbox, and can be no alias. It is an ErrExists.
var ErrTaken = fmt.Errorf("the address of a mailbox: %w", ErrExists)

// ErrLoop says that mail for an alias would come back to it.
var ErrLoop = errors.New("comes back to itself")

// Alias is an address whose mail goes to another one.
type Alias struct {
	Tenant TenantID
	// Address and Target are unquoted; Target is folded, and may be an alias too, or elsewhere.
	Address, Target string
	Created         time.Time
}

// selectAliases is held to a Scope, in which a single user sees none; its arguments are $1 to $3.
const selectAliases = `SELECT tenant_id, address, target, created_us FROM aliases WHERE ($1 = 1 OR tenant_id = $2) AND $3 = '' `

// Aliases lists aliases by address, after the given folded address, at most limit of them.
func (s *Store) Aliases(ctx context.Context, sc Scope, after string, limit int) ([]Alias, error) {
	const query = selectAliases + `AND address_fold > $4 ORDER BY address_fold LIMIT $5`
	return s.aliases(ctx, query, append(sc.args(), mail.Clean(after, maxAddress), limit)...)
}

// Alias finds an alias by its address. ErrNotFound, also for what the scope hides.
func (s *Store) Alias(ctx context.Context, sc Scope, address mail.Address) (*Alias, error) {
	list, err := s.aliases(ctx, selectAliases+`AND address_fold = $4`, append(sc.args(), foldedAddress(address))...)
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

func (s *Store) aliases(ctx context.Context, query string, args ...any) ([]Alias, error) {
	var list []Alias
	err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
		var a Alias
		var created int64
		err := scan(&a.Tenant, &a.Address, &a.Target, &created)
		a.Created = fromMicros(created)
		list = append(list, a)
		return err
	})
	return list, err
}

func foldedAddress(a mail.Address) string { return mail.Clean(a.Fold().String(), maxAddress) }

// EnsureAlias is SetAlias for one that is not there. ErrConflict when it has another target.
func (s *Store) EnsureAlias(ctx context.Context, tenant TenantID, address, target mail.Address) (created bool, err error) {
	err = s.writeAlias(ctx, tenant, address, target, func(ctx context.Context, tx *sqldb.Tx, domain *Domain) error {
		var has string
		const query = `SELECT target FROM aliases WHERE address_fold = $1 AND tenant_id = $2`
		err := tx.Get(ctx, query, []any{foldedAddress(address), string(tenant)}, &has)
		if created = errors.Is(err, sqldb.ErrNoRows); created {
			return s.putAlias(ctx, tx, domain, address, target)
		}
		if err == nil && has != target.Fold().String() {
			err = fmt.Errorf("alias %s: %w", address, ErrConflict)
		}
		return err
	})
	return created && err == nil, err
}

// SetAlias makes an alias, or changes where it leads: mail for address goes to target, which may be an alias too. The domain of
// address must be the tenant's, else ErrNotFound; that of target may be the tenant's or not of this installation.
// ErrTaken when address is a mailbox, ErrExists when another tenant has the target's domain.
func (s *Store) SetAlias(ctx context.Context, tenant TenantID, address, target mail.Address, beside Beside) error {
	return s.writeAlias(ctx, tenant, address, target, func(ctx context.Context, tx *sqldb.Tx, domain *Domain) error {
		beside.queue(tx, s.now())
		return s.putAlias(ctx, tx, domain, address, target)
	})
}

// writeAlias calls put, which may write an alias, when the tenant may have it, and while nobody else makes an address of its domain.
func (s *Store) writeAlias(ctx context.Context, tenant TenantID, address, target mail.Address,
	put func(ctx context.Context, tx *sqldb.Tx, domain *Domain) error,
) error {
	domain, err := s.domainOf(ctx, tenant, address)
	if err != nil {
		return err
	}
	if err := s.ownOrExternal(ctx, tenant, target); err != nil {
		return err
	}
	defer s.recipients.forgetAll()
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := lockDomain(ctx, tx, domain.ID); err != nil {
			return err
		}
		return put(ctx, tx, domain)
	})
}

// putAlias makes an alias, or changes it. ErrTaken when its address is a mailbox, or another tenant's alias.
func (s *Store) putAlias(ctx context.Context, tx *sqldb.Tx, domain *Domain, address, target mail.Address) error {
	const query = `INSERT INTO aliases (id, tenant_id, domain_id, address, address_fold, target, created_us)
		SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($5 AS TEXT), CAST($6 AS TEXT), CAST($7 AS BIGINT)
		WHERE NOT EXISTS (SELECT 1 FROM mailboxes WHERE address_fold = $5)
		ON CONFLICT (address_fold) DO UPDATE SET target = excluded.target WHERE aliases.tenant_id = excluded.tenant_id`
	n, err := tx.Exec(ctx, query, newID(), string(domain.Tenant), string(domain.ID), address.String(), foldedAddress(address),
		target.Fold().String(), micros(s.now()))
	if err == nil && n == 0 {
		err = fmt.Errorf("alias %s: %w", address, ErrTaken)
	}
	s.noteRecipients(tx, domain.Tenant)
	return err
}

// RemoveAlias removes an alias of the tenant. Others that lead to it then lead nowhere. ErrNotFound.
func (s *Store) RemoveAlias(ctx context.Context, tenant TenantID, address mail.Address, beside Beside) error {
	defer s.recipients.forgetAll()
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, `DELETE FROM aliases WHERE address_fold = $1 AND tenant_id = $2`, foldedAddress(address), string(tenant))
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		beside.queue(tx, s.now())
		s.noteRecipients(tx, tenant)
		return err
	})
}

// LeadsTo finds out where mail for address would end if it were an alias of target, as Resolve would: a mailbox, or, with ok false,
// an address elsewhere. ErrNotFound when it would end nowhere here, ErrLoop when it would come back to address, which may be zero.
func (s *Store) LeadsTo(ctx context.Context, address, target mail.Address, delimiters string) (end Target, ok bool, err error) {
	elsewhere := errors.New("elsewhere")
	from := address.Fold()
	steps := maxAliasSteps
	if !address.IsZero() {
		steps -= 2 // one is its own, and one an alias domain's through which mail may come
	}
	end, err = s.follow(ctx, target, delimiters, steps, func(ctx context.Context, rcpt mail.Address) (Target, mail.Address, error) {
		if rcpt == from {
			return Target{}, mail.Address{}, ErrLoop
		}
		found, next, err := s.step(ctx, rcpt)
		if !errors.Is(err, ErrNotFound) {
			return found, next, err
		}
		if here, err := s.HasDomain(ctx, rcpt.Domain); err != nil || here {
			return Target{}, mail.Address{}, errors.Join(err, ErrNotFound)
		}
		return Target{}, mail.Address{}, elsewhere
	})
	switch {
	case errors.Is(err, elsewhere):
		return Target{}, false, nil
	case errors.Is(err, ErrSuspended), errors.Is(err, ErrQuota): // mail is deferred there, for a while
		err = nil
	}
	return end, err == nil, err
}

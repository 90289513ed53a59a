package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// TenantKey is a key pair that objects of a tenant are encrypted to. Its private half is here only encrypted to the
// operator.
type TenantKey struct {
	// ID is a UUIDv7.
	ID     string
	Tenant TenantID
	// Recipient is the public key, as age writes it.
	Recipient string
	// Wrapped is the private key, an age file in text form (armor); empty when it was destroyed.
	Wrapped   string
	Created   time.Time
	Destroyed time.Time // zero: it was not
	// Operator tells the recipients of the operator that a new key is encrypted to from others, as NoteOperator has it. It is compared when the key is
	// added, and recorded if nothing is recorded yet. Empty, it is not looked at.
	Operator string
}

const selectTenantKeys = `SELECT id, tenant_id, recipient, wrapped, created_us, destroyed_us FROM tenant_keys`

func (s *Store) tenantKeys(ctx context.Context, where string, args ...any) ([]TenantKey, error) {
	var list []TenantKey
	err := s.each(ctx, selectTenantKeys+where+` ORDER BY tenant_id, id`, args, func(scan sqldb.Scan) error {
		var k TenantKey
		var created int64
		var destroyed *int64
		err := scan(&k.ID, &k.Tenant, &k.Recipient, &k.Wrapped, &created, &destroyed)
		k.Created, k.Destroyed = fromMicros(created), fromNull(destroyed)
		list = append(list, k)
		return err
	})
	return list, err
}

// TenantKeys lists a tenant's keys, destroyed ones too, oldest first.
func (s *Store) TenantKeys(ctx context.Context, tenant TenantID) ([]TenantKey, error) {
	return s.tenantKeys(ctx, ` WHERE tenant_id = $1`, string(tenant))
}

// AllTenantKeys lists the keys of all tenants, by tenant, oldest first.
func (s *Store) AllTenantKeys(ctx context.Context) ([]TenantKey, error) {
	return s.tenantKeys(ctx, ``)
}

// NewestTenantKey gives the newest key of all tenants that was not destroyed. ErrNotFound when there is none.
func (s *Store) NewestTenantKey(ctx context.Context) (TenantKey, error) {
	const query = `SELECT id, tenant_id, recipient, wrapped, created_us FROM tenant_keys WHERE destroyed_us IS NULL ORDER BY id DESC LIMIT 1`
	var k TenantKey
	var created int64
	err := s.get(ctx, query, nil, &k.ID, &k.Tenant, &k.Recipient, &k.Wrapped, &created)
	k.Created = fromMicros(created)
	return k, err
}

// ErrShredded says that a tenant's keys were destroyed so short a time ago that mail may be under way which is encrypted to
// them.
var ErrShredded = errors.New("the keys of the tenant were destroyed a short while ago")

// AddTenantKey stores a key. ErrExists when there is one with this id, ErrNotFound when there is no such tenant, ErrShredded, ErrOperator.
func (s *Store) AddTenantKey(ctx context.Context, k TenantKey, beside Beside) error {
	return s.addTenantKey(ctx, k, beside, func(ctx context.Context, tx *sqldb.Tx) error { return s.waitAfterShredding(ctx, tx, k.Tenant) })
}

// waitAfterShredding gives ErrShredded, with the time that is left, until ShredWait has passed.
func (s *Store) waitAfterShredding(ctx context.Context, tx *sqldb.Tx, tenant TenantID) error {
	var destroyed *int64
	err := tx.Get(ctx, `SELECT MAX(destroyed_us) FROM tenant_keys WHERE tenant_id = $1`, []any{string(tenant)}, &destroyed)
	if err != nil || destroyed == nil {
		return err
	}
	if left := fromMicros(*destroyed).Add(s.shredWait).Sub(s.now()); left > 0 {
		return fmt.Errorf("%w: wait another %s", ErrShredded, left.Round(time.Second))
	}
	return nil
}

// AddFirstTenantKey stores a key of a tenant that has none, destroyed ones included. ErrExists when it has, ErrNotFound
// when there is no such tenant, ErrOperator.
func (s *Store) AddFirstTenantKey(ctx context.Context, k TenantKey) error {
	return s.addTenantKey(ctx, k, Beside{}, func(ctx context.Context, tx *sqldb.Tx) error {
		var n int64
		err := tx.Get(ctx, `SELECT COUNT(*) FROM tenant_keys WHERE tenant_id = $1`, []any{string(k.Tenant)}, &n)
		if err == nil && n > 0 {
			return ErrExists
		}
		return err
	})
}

func (s *Store) addTenantKey(ctx context.Context, k TenantKey, beside Beside, allowed func(context.Context, *sqldb.Tx) error) error {
	const query = `INSERT INTO tenant_keys (id, tenant_id, recipient, wrapped, created_us) VALUES ($1, $2, $3, $4, $5)`
	return notFound(s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		if err := lockTenant(ctx, tx, k.Tenant); err != nil {
			return err
		}
		if err := allowed(ctx, tx); err != nil {
			return err
		}
		if k.Operator != "" {
			if err := holdOperator(ctx, tx, k.Operator); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, query, k.ID, string(k.Tenant), k.Recipient, k.Wrapped, micros(k.Created))
		beside.queue(tx, s.now())
		return err
	}))
}

// lockTenant holds a tenant's row. ErrNotFound.
func lockTenant(ctx context.Context, tx *sqldb.Tx, tenant TenantID) error {
	var id string
	err := tx.Get(ctx, `SELECT id FROM tenants WHERE id = $1`+tx.ForUpdate(), []any{string(tenant)}, &id)
	if errors.Is(err, sqldb.ErrNoRows) {
		return ErrNotFound
	}
	return err
}

// RewrapTenantKey stores the private key of a key encrypted anew. ErrNotFound, also when it was destroyed.
func (s *Store) RewrapTenantKey(ctx context.Context, tenant TenantID, id, wrapped string, beside Beside) error {
	const query = `UPDATE tenant_keys SET wrapped = $1 WHERE tenant_id = $2 AND id = $3 AND destroyed_us IS NULL`
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, query, wrapped, string(tenant), id)
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		beside.queue(tx, s.now())
		return err
	})
}

// DestroyTenantKeys forgets the private keys of a tenant and suspends it, so that no mail comes in that nobody can read.
// n is how many were not destroyed before. ErrNotFound when there is no such tenant.
func (s *Store) DestroyTenantKeys(ctx context.Context, tenant TenantID, beside Beside) (n int64, err error) {
	defer s.recipients.forgetAll()
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		defer s.noteRecipients(tx, tenant)
		if err := lockTenant(ctx, tx, tenant); err != nil {
			return err
		}
		const query = `UPDATE tenant_keys SET wrapped = '', destroyed_us = $1 WHERE tenant_id = $2 AND destroyed_us IS NULL`
		if n, err = tx.Exec(ctx, query, micros(s.now()), string(tenant)); err != nil {
			return err
		}
		_, err := tx.Exec(ctx, `UPDATE tenants SET state = 'suspended' WHERE id = $1`, string(tenant))
		beside.queue(tx, s.now())
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("destroy keys of tenant %s: %w", tenant, err)
	}
	return n, nil
}

// TenantNames gives the name of each tenant.
func (s *Store) TenantNames(ctx context.Context) (map[TenantID]string, error) {
	names := map[TenantID]string{}
	err := s.each(ctx, `SELECT id, name FROM tenants`, nil, func(scan sqldb.Scan) error {
		var id TenantID
		var name string
		err := scan(&id, &name)
		names[id] = name
		return err
	})
	return names, err
}

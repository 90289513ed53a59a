package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

const (
	tenantActive    = "active"
	tenantSuspended = "suspended"
)

// TenantSystem is the reserved tenant of what belongs to nobody's domain, super admins among it.
const TenantSystem = "system"

// Tenant is the unit of administration; every row of data belongs to exactly one.
type Tenant struct {
	ID         TenantID
	Name       string
	Suspended  bool
	QuotaBytes int64
	UsedBytes  int64
	Created    time.Time
}

// TenantByName finds a tenant by its name, whatever its case. ErrNotFound.
func (s *Store) TenantByName(ctx context.Context, name string) (*Tenant, error) {
	return s.tenant(ctx, "name_fold", fold(name))
}

// Tenant finds a tenant by its id. ErrNotFound.
func (s *Store) Tenant(ctx context.Context, id TenantID) (*Tenant, error) {
	return s.tenant(ctx, "id", mail.Clean(string(id), maxWord))
}

const tenantColumns = `id, name, state, quota_bytes, used_bytes, created_us`

func scanTenant(scan sqldb.Scan) (Tenant, error) {
	var t Tenant
	var state string
	var created int64
	err := scan(&t.ID, &t.Name, &state, &t.QuotaBytes, &t.UsedBytes, &created)
	t.Suspended, t.Created = state != tenantActive, fromMicros(created)
	return t, err
}

func (s *Store) tenant(ctx context.Context, column, value string) (*Tenant, error) {
	var found *Tenant
	err := s.each(ctx, `SELECT `+tenantColumns+` FROM tenants WHERE `+column+` = $1`, []any{value}, func(scan sqldb.Scan) error {
		t, err := scanTenant(scan)
		found = &t
		return err
	})
	if err == nil && found == nil {
		err = ErrNotFound
	}
	return found, err
}

// Tenants lists the tenants in scope by name, but for TenantSystem, after the given folded name, at most limit of them.
func (s *Store) Tenants(ctx context.Context, sc Scope, after string, limit int) ([]Tenant, error) {
	const query = `SELECT ` + tenantColumns + ` FROM tenants
		WHERE ($1 = 1 OR id = $2) AND name_fold > $3 AND name_fold <> $4 ORDER BY name_fold LIMIT $5`
	var list []Tenant
	err := s.each(ctx, query, []any{boolInt(sc.All), string(sc.Tenant), fold(after), TenantSystem, limit}, func(scan sqldb.Scan) error {
		t, err := scanTenant(scan)
		list = append(list, t)
		return err
	})
	return list, err
}

// NamesOfTenants gives the names of tenants in scope by their ids; what is not in scope is left out.
func (s *Store) NamesOfTenants(ctx context.Context, sc Scope, ids []TenantID) (map[TenantID]string, error) {
	values := make([]any, 0, len(ids))
	for _, id := range ids {
		values = append(values, mail.Clean(string(id), maxWord))
	}
	names := map[TenantID]string{}
	err := chunks(values, 1, func(piece []any, n int) error {
		query := `SELECT id, name FROM tenants WHERE ($1 = 1 OR id = $2) AND id IN (` + placeholders(3, n) + `)`
		return s.each(ctx, query, append([]any{boolInt(sc.All), string(sc.Tenant)}, piece...), func(scan sqldb.Scan) error {
			var id TenantID
			var name string
			err := scan(&id, &name)
			names[id] = name
			return err
		})
	})
	return names, err
}

// EnsureTenant finds or makes a tenant.
func (s *Store) EnsureTenant(ctx context.Context, name string) (t *Tenant, created bool, err error) {
	const query = `INSERT INTO tenants (id, name, name_fold, state, created_us) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (name_fold) DO NOTHING`
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, query, newID(), mail.Clean(name, maxWord), fold(name), tenantActive, micros(s.now()))
		created = n == 1
		return err
	})
	if err != nil {
		return nil, false, err
	}
	t, err = s.TenantByName(ctx, name)
	return t, created, err
}

// SetTenantQuota changes how many bytes the messages of a tenant may have together; 0 lifts the limit. ErrNotFound.
func (s *Store) SetTenantQuota(ctx context.Context, id TenantID, bytes int64, beside Beside) error {
	defer s.recipients.forgetAll()
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE tenants SET quota_bytes = $1 WHERE id = $2`, bytes, string(id))
		if err == nil && n == 0 {
			err = ErrNotFound
		}
		beside.queue(tx, s.now())
		s.noteRecipients(tx, id)
		return err
	})
}

// SuspendTenant stops or resumes mail for a tenant; its mail is deferred meanwhile, not refused. ErrNotFound; ErrShredded
// when it is too early to resume.
func (s *Store) SuspendTenant(ctx context.Context, id TenantID, suspended bool, beside Beside) error {
	state := tenantActive
	if suspended {
		state = tenantSuspended
	}
	defer s.recipients.forgetAll()
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		defer s.noteRecipients(tx, id)
		if err := lockTenant(ctx, tx, id); err != nil {
			return err
		}
		if !suspended {
			if err := s.waitAfterShredding(ctx, tx, id); err != nil {
				return err
			}
		}
		_, err := tx.Exec(ctx, `UPDATE tenants SET state = $1 WHERE id = $2`, state, string(id))
		beside.queue(tx, s.now())
		return err
	})
}

// changeOne runs a statement that must change a row. ErrNotFound when it did not.
func (s *Store) changeOne(ctx context.Context, query string, args ...any) error {
	err := s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, query, args...)
		if err == nil && n == 0 {
			return ErrNotFound
		}
		return err
	})
	if errors.Is(err, sqldb.ErrConflict) {
		return notFound(err)
	}
	return err
}

// fold is how names are compared: lower case, bounded, clean.
func fold(name string) string { return strings.ToLower(mail.Clean(name, maxWord)) }

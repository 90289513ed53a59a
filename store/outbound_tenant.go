package store

import (
	"context"

	"github.com/mairust/mairust/store/sqldb"
)

// SystemTenant is the reserved tenant of senders that belong to none.
const SystemTenant TenantID = "system"

// TenantsOfSenders gives what tells the tenant of a sender: all domains, by their lower-case A-label names, and all tenants by
// their folded names.
func (s *Store) TenantsOfSenders(ctx context.Context) (domains, names map[string]TenantID, err error) {
	collect := func(query string) (map[string]TenantID, error) {
		found := map[string]TenantID{}
		return found, s.each(ctx, query, nil, func(scan sqldb.Scan) error {
			var name string
			var id TenantID
			err := scan(&name, &id)
			found[name] = id
			return err
		})
	}
	if domains, err = collect(`SELECT name, tenant_id FROM domains`); err != nil {
		return nil, nil, err
	}
	names, err = collect(`SELECT name_fold, id FROM tenants`)
	return domains, names, err
}

package store_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestTenantsAreListedByName(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		_, _, err := s.EnsureTenant(ctx, store.TenantSystem)
		require.NoError(t, err)
		ids := map[string]store.TenantID{}
		for _, name := range []string{"beta", "Alpha", "株式会社 三", "gamma"} {
			made, _, err := s.EnsureTenant(ctx, name)
			require.NoError(t, err)
			ids[name] = made.ID
		}
		var names []string
		for after := ""; ; {
			page, err := s.Tenants(ctx, store.System, after, 2)
			require.NoError(t, err)
			for _, tenant := range page {
				names = append(names, tenant.Name)
				after = tenant.Name
			}
			if len(page) < 2 {
				break
			}
		}
		require.Equal(t, []string{"Alpha", "beta", "gamma", "株式会社 三"}, names)
		own, err := s.Tenants(ctx, store.Scope{Tenant: ids["beta"]}, "", 10)
		require.NoError(t, err)
		require.Len(t, own, 1)
		require.Equal(t, "beta", own[0].Name)
		none, err := s.Tenants(ctx, store.Scope{}, "", 10)
		require.NoError(t, err)
		require.Empty(t, none)
	})
}

func TestAQuotaOfATenantKeepsMailOutUntilItIsLifted(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		site := storetest.NewSite(t, s, "example", "example.test", "bob", "ann")
		first := storetest.NewCopy(t, site.Target("bob"), "first")
		storetest.Deliver(t, s, first)
		require.NoError(t, s.SetTenantQuota(ctx, site.Tenant.ID, first.Content.SizeBytes+1, store.Beside{}))
		require.ErrorIs(t, s.Deliver(ctx, []store.Copy{storetest.NewCopy(t, site.Target("ann"), "second")})[0].Err, store.ErrQuota)
		_, err := s.Resolve(ctx, address(t, "ann@example.test"), "+")
		require.NoError(t, err, "a smaller message would fit")

		require.NoError(t, s.SetTenantQuota(ctx, site.Tenant.ID, 1, store.Beside{}))
		_, err = s.Resolve(ctx, address(t, "ann@example.test"), "+")
		require.ErrorIs(t, err, store.ErrQuota)
		require.NoError(t, s.SetTenantQuota(ctx, site.Tenant.ID, 0, store.Beside{}))
		storetest.Deliver(t, s, storetest.NewCopy(t, site.Target("ann"), "third"))
		require.ErrorIs(t, s.SetTenantQuota(ctx, "nobody", 5, store.Beside{}), store.ErrNotFound)
	})
}

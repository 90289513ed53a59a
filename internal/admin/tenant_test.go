package admin_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestQuotasAndSuspensionsAreAuditedOrDoNotHappen(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			db := storetest.OpenDB(t, storetest.Options(t, backend))
			s := store.New(store.Options{DB: db})
			a := admin.New(admin.Options{Store: s})
			site := storetest.NewSite(t, s, "one", "one.test", "bob")
			ctx := t.Context()
			state := func() string {
				tenant, err := s.Tenant(ctx, site.Tenant.ID)
				require.NoError(t, err)
				bob, err := s.MailboxByAddress(ctx, store.System, "bob@one.test")
				require.NoError(t, err)
				return fmt.Sprint(tenant.Suspended, tenant.QuotaBytes, bob.QuotaBytes)
			}
			because := wire.TenantAct{Reason: "moves", Ticket: "T-1"}
			for _, row := range []struct {
				action, before, after, reason, state string
				act                                  func() error
			}{
				{"mailbox.quota", `{"quota_bytes":0}`, `{"quota_bytes":7}`, "", "false 0 7", func() error {
					_, err := a.SetMailboxQuota(ctx, root, "Bob@one.test", wire.Quota{QuotaBytes: 7})
					return err
				}},
				{"tenant.quota", `{"quota_bytes":0}`, `{"quota_bytes":9}`, "", "false 9 7", func() error {
					_, err := a.SetTenantQuota(ctx, root, "ONE", wire.Quota{QuotaBytes: 9})
					return err
				}},
				{"tenant.suspend", `{"suspended":false}`, `{"suspended":true}`, "moves (T-1)", "true 9 7", func() error {
					_, err := a.SuspendTenant(ctx, root, "one", because)
					return err
				}},
				{"tenant.resume", `{"suspended":true}`, `{"suspended":false}`, "moves (T-1)", "false 9 7", func() error {
					_, err := a.ResumeTenant(ctx, root, string(site.Tenant.ID), because)
					return err
				}},
			} {
				was := state()
				mend := refuseRows(t, db, "audit_log")
				require.Error(t, row.act(), row.action)
				mend()
				require.Equal(t, was, state(), "%s without its line in the audit log", row.action)
				require.NoError(t, row.act(), row.action)
				require.Equal(t, row.state, state(), row.action)
				log, err := s.AuditLog(ctx, store.System, time.Time{}, 1)
				require.NoError(t, err)
				require.Equal(t, row.action, log[0].Action)
				assert.Equal(t, site.Tenant.ID, log[0].Tenant)
				assert.Equal(t, row.before, log[0].Before)
				assert.Equal(t, row.after, log[0].After)
				assert.Equal(t, row.reason, log[0].Reason)
			}
		})
	}
}

func TestWhoLimitsWhat(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		a := admin.New(admin.Options{Store: s})
		one := storetest.NewSite(t, s, "one", "one.test", "bob")
		storetest.NewSite(t, s, "two", "two.test", "eve")
		_, _, err := s.EnsureTenant(ctx, store.TenantSystem)
		require.NoError(t, err)
		boss := auth.Principal{Kind: auth.KindUser, Role: auth.TenantAdmin, Tenant: one.Tenant.ID, User: "u"}
		desk := auth.Principal{Kind: auth.KindUser, Role: auth.Helpdesk, Tenant: one.Tenant.ID, User: "u"}
		narrow := auth.Principal{Kind: auth.KindAPIKey, Role: auth.SuperAdmin, Tenant: one.Tenant.ID}
		quota, reason := wire.Quota{QuotaBytes: 5}, wire.TenantAct{Reason: "x"}

		_, err = a.SetMailboxQuota(ctx, boss, "bob@one.test", quota)
		require.NoError(t, err)
		_, err = a.SetMailboxQuota(ctx, boss, "eve@two.test", quota)
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = a.SetMailboxQuota(ctx, desk, "bob@one.test", quota)
		require.ErrorIs(t, err, auth.ErrForbidden)
		for _, p := range []auth.Principal{boss, desk, narrow} {
			_, err = a.SetTenantQuota(ctx, p, "one", quota)
			require.ErrorIs(t, err, auth.ErrForbidden)
			_, err = a.SuspendTenant(ctx, p, "one", reason)
			require.ErrorIs(t, err, auth.ErrForbidden)
			_, err = a.ResumeTenant(ctx, p, "one", reason)
			require.ErrorIs(t, err, auth.ErrForbidden)
			list, err := a.Tenants(ctx, p, "", 10)
			require.NoError(t, err)
			require.Len(t, list, 1)
			_, err = a.Tenant(ctx, p, "two")
			require.ErrorIs(t, err, store.ErrNotFound)
		}
		_, err = a.Tenants(ctx, auth.Principal{Kind: auth.KindUser, Role: auth.User, Tenant: one.Tenant.ID, User: "u"}, "", 10)
		require.ErrorIs(t, err, auth.ErrForbidden)

		var refused *admin.Refused
		for _, bad := range []int64{-1, 1 << 53} {
			_, err = a.SetMailboxQuota(ctx, root, "bob@one.test", wire.Quota{QuotaBytes: bad})
			require.ErrorAs(t, err, &refused)
			_, err = a.SetTenantQuota(ctx, root, "one", wire.Quota{QuotaBytes: bad})
			require.ErrorAs(t, err, &refused)
		}
		_, err = a.SuspendTenant(ctx, root, "one", wire.TenantAct{Reason: " "})
		require.ErrorAs(t, err, &refused)
		_, err = a.SuspendTenant(ctx, root, store.TenantSystem, reason)
		require.ErrorIs(t, err, store.ErrNotFound, "the operators' own")
		_, err = a.SuspendTenant(ctx, root, "three", reason)
		require.ErrorIs(t, err, store.ErrNotFound)
	})
}

func TestATenantWhoseKeysWereJustDestroyedIsNotResumed(t *testing.T) {
	for _, backend := range storetest.Backends() {
		s := store.New(store.Options{DB: storetest.OpenDB(t, storetest.Options(t, backend)), ShredWait: time.Hour})
		ctx := t.Context()
		a := admin.New(admin.Options{Store: s})
		site := storetest.NewSite(t, s, "one", "one.test", "bob")
		require.NoError(t, s.AddFirstTenantKey(ctx, store.TenantKey{ID: "k1", Tenant: site.Tenant.ID, Recipient: "age1x", Wrapped: "w", Created: time.Now()}))
		_, err := s.DestroyTenantKeys(ctx, site.Tenant.ID, store.Beside{})
		require.NoError(t, err)
		_, err = a.ResumeTenant(ctx, root, "one", wire.TenantAct{Reason: "x"})
		var refused *admin.Refused
		require.ErrorAs(t, err, &refused)
		require.Contains(t, err.Error(), "try again in some minutes")
		require.Contains(t, refused.In("ja"), "まだ受信を再開できません")
	}
}

package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

func TestATenantBeginsAnewWhenNothingIsUnderWayToADestroyedKey(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			ctx, now := t.Context(), time.Now()
			s := store.New(store.Options{
				DB: storetest.OpenDB(t, storetest.Options(t, backend)), ShredWait: 5 * time.Minute, Now: func() time.Time { return now },
			})
			site := storetest.NewSite(t, s, "one", "one.test", "bob")
			bob := mail.Address{Local: "bob", Domain: "one.test"}
			key := store.TenantKey{ID: "1", Tenant: site.Tenant.ID, Recipient: "age1", Wrapped: "wrapped", Created: now}
			require.NoError(t, s.AddTenantKey(ctx, key, store.Beside{}))
			_, err := s.DestroyTenantKeys(ctx, site.Tenant.ID, store.Beside{})
			require.NoError(t, err)
			now = now.Add(5*time.Minute - time.Second)
			key.ID = "2"
			require.ErrorIs(t, s.AddTenantKey(ctx, key, store.Beside{}), store.ErrShredded)
			require.ErrorIs(t, s.SuspendTenant(ctx, site.Tenant.ID, false, store.Beside{}), store.ErrShredded)
			_, err = s.Resolve(ctx, bob, "+")
			require.ErrorIs(t, err, store.ErrSuspended)
			require.NoError(t, s.SuspendTenant(ctx, site.Tenant.ID, true, store.Beside{}))
			require.ErrorIs(t, s.SuspendTenant(ctx, "nobody", false, store.Beside{}), store.ErrNotFound)

			now = now.Add(time.Second)
			require.NoError(t, s.AddTenantKey(ctx, key, store.Beside{}))
			require.NoError(t, s.SuspendTenant(ctx, site.Tenant.ID, false, store.Beside{}))
			_, err = s.Resolve(ctx, bob, "+")
			require.NoError(t, err)
		})
	}
}

func TestTenantKeys(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		one := storetest.NewSite(t, s, "one", "one.test", "bob")
		two := storetest.NewSite(t, s, "two", "two.test", "carol")
		key := func(tenant store.TenantID, id string) store.TenantKey {
			return store.TenantKey{ID: id, Tenant: tenant, Recipient: "age1" + id, Wrapped: "wrapped " + id, Created: time.Now().Truncate(time.Microsecond).UTC()}
		}
		first := key(one.Tenant.ID, "1")
		require.NoError(t, s.AddFirstTenantKey(ctx, first))
		require.ErrorIs(t, s.AddFirstTenantKey(ctx, key(one.Tenant.ID, "2")), store.ErrExists)
		require.NoError(t, s.AddTenantKey(ctx, key(one.Tenant.ID, "3"), store.Beside{}))
		require.ErrorIs(t, s.AddTenantKey(ctx, key(one.Tenant.ID, "3"), store.Beside{}), store.ErrExists)
		require.NoError(t, s.AddFirstTenantKey(ctx, key(two.Tenant.ID, "0")))
		require.ErrorIs(t, s.AddFirstTenantKey(ctx, key("nobody", "4")), store.ErrNotFound)

		list, err := s.TenantKeys(ctx, one.Tenant.ID)
		require.NoError(t, err)
		require.Len(t, list, 2)
		require.Equal(t, first, list[0])
		all, err := s.AllTenantKeys(ctx)
		require.NoError(t, err)
		require.Len(t, all, 3)
		names, err := s.TenantNames(ctx)
		require.NoError(t, err)
		require.Equal(t, "two", names[two.Tenant.ID])

		require.NoError(t, s.RewrapTenantKey(ctx, one.Tenant.ID, "1", "anew", store.Beside{}))
		require.ErrorIs(t, s.RewrapTenantKey(ctx, two.Tenant.ID, "1", "another tenant's", store.Beside{}), store.ErrNotFound)
		n, err := s.DestroyTenantKeys(ctx, one.Tenant.ID, store.Beside{})
		require.NoError(t, err)
		require.EqualValues(t, 2, n)
		n, err = s.DestroyTenantKeys(ctx, one.Tenant.ID, store.Beside{})
		require.NoError(t, err)
		require.Zero(t, n)
		list, err = s.TenantKeys(ctx, one.Tenant.ID)
		require.NoError(t, err)
		for _, k := range list {
			require.Empty(t, k.Wrapped)
			require.False(t, k.Destroyed.IsZero())
		}
		require.ErrorIs(t, s.RewrapTenantKey(ctx, one.Tenant.ID, "1", "back again", store.Beside{}), store.ErrNotFound)
		_, err = s.DestroyTenantKeys(ctx, "nobody", store.Beside{})
		require.ErrorIs(t, err, store.ErrNotFound)
		_, err = s.Resolve(ctx, mail.Address{Local: "bob", Domain: "one.test"}, "+")
		require.ErrorIs(t, err, store.ErrSuspended, "no mail comes in that nobody can read")
		_, err = s.Resolve(ctx, mail.Address{Local: "carol", Domain: "two.test"}, "+")
		require.NoError(t, err)
	})
}

func TestNoKeyIsAddedThatGoesToOtherRecipientsOfTheOperator(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		site := storetest.NewSite(t, s, "one", "one.test", "bob")
		key := store.TenantKey{ID: "1", Tenant: site.Tenant.ID, Recipient: "age1", Wrapped: "wrapped", Operator: "old", Created: time.Now()}
		require.NoError(t, s.CheckOperator(ctx, "old"))
		require.NoError(t, s.AddFirstTenantKey(ctx, key), "nobody has claimed the database")
		require.ErrorIs(t, s.NoteOperator(ctx, "new"), store.ErrNotFound)
		_, err := s.Claim(ctx, "keyring")
		require.NoError(t, err)
		require.NoError(t, s.CheckOperator(ctx, "new"), "nothing was noted")
		key.ID = "2"
		require.NoError(t, s.AddTenantKey(ctx, key, store.Beside{}))
		require.ErrorIs(t, s.CheckOperator(ctx, "new"), store.ErrOperator, "noted with the key")
		require.NoError(t, s.CheckOperator(ctx, "old"))

		require.NoError(t, s.NoteOperator(ctx, "new"))
		require.ErrorIs(t, s.CheckOperator(ctx, "old"), store.ErrOperator)
		require.NoError(t, s.CheckOperator(ctx, "new"))
		two := storetest.NewSite(t, s, "two", "two.test", "carol")
		first := store.TenantKey{ID: "3", Tenant: two.Tenant.ID, Recipient: "age1", Wrapped: "wrapped", Operator: "old", Created: time.Now()}
		require.ErrorIs(t, s.AddFirstTenantKey(ctx, first), store.ErrOperator)
		key.ID = "4"
		require.ErrorIs(t, s.AddTenantKey(ctx, key, store.Beside{}), store.ErrOperator)
		key.Operator = "" // it was found beside the objects
		require.NoError(t, s.AddTenantKey(ctx, key, store.Beside{}))
		first.Operator = "new"
		require.NoError(t, s.AddFirstTenantKey(ctx, first))
		list, err := s.TenantKeys(ctx, two.Tenant.ID)
		require.NoError(t, err)
		require.Len(t, list, 1)
	})
}

func TestTheOperatorIsNotedWithTheFirstKeyOrNotAtAll(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		_, err := s.Claim(ctx, "keyring")
		require.NoError(t, err)
		site := storetest.NewSite(t, s, "one", "one.test", "bob")
		key := store.TenantKey{ID: "1", Tenant: site.Tenant.ID, Recipient: "age1", Wrapped: "wrapped", Created: time.Now()}
		_, err = s.NewestTenantKey(ctx)
		require.ErrorIs(t, err, store.ErrNotFound)
		require.NoError(t, s.AddTenantKey(ctx, key, store.Beside{})) // it was found beside the objects
		key.Operator = "one"
		require.ErrorIs(t, s.AddFirstTenantKey(ctx, key), store.ErrExists)
		require.NoError(t, s.CheckOperator(ctx, "two"), "no key was added by who goes to one")
		noted, err := s.AdoptOperator(ctx, "two")
		require.NoError(t, err)
		require.True(t, noted)
		noted, err = s.AdoptOperator(ctx, "three")
		require.NoError(t, err)
		require.False(t, noted)
		require.NoError(t, s.CheckOperator(ctx, "two"))

		key.ID, key.Operator = "3", "two"
		require.NoError(t, s.AddTenantKey(ctx, key, store.Beside{}))
		newest, err := s.NewestTenantKey(ctx)
		require.NoError(t, err)
		require.Equal(t, "3", newest.ID)
		require.Equal(t, "wrapped", newest.Wrapped)
		_, err = s.DestroyTenantKeys(ctx, site.Tenant.ID, store.Beside{})
		require.NoError(t, err)
		_, err = s.NewestTenantKey(ctx)
		require.ErrorIs(t, err, store.ErrNotFound, "destroyed ones do not count")
	})
}

func TestNoActOnKeysIsDoneWithoutItsLineInTheAuditLog(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			ctx := t.Context()
			db := storetest.OpenDB(t, storetest.Options(t, backend))
			s := store.New(store.Options{DB: db})
			site := storetest.NewSite(t, s, "one", "one.test", "bob")
			key := store.TenantKey{ID: "1", Tenant: site.Tenant.ID, Recipient: "age1", Wrapped: "wrapped", Created: time.Now()}
			beside := func(action string) store.Beside {
				return store.Beside{Audit: &store.AuditEntry{Tenant: site.Tenant.ID, ActorKind: "socket", Actor: "0", Action: action, Target: "1"}}
			}
			acts := []func() error{
				func() error { return s.AddTenantKey(ctx, key, beside("add")) },
				func() error { return s.RewrapTenantKey(ctx, key.Tenant, "1", "anew", beside("rewrap")) },
				func() error {
					_, err := s.DestroyTenantKeys(ctx, key.Tenant, beside("destroy"))
					return err
				},
			}
			change := func(query string) {
				require.NoError(t, db.Write(ctx, func(tx *sqldb.Tx) error {
					_, err := tx.Exec(ctx, query)
					return err
				}))
			}
			for done, act := range acts {
				before, err := s.TenantKeys(ctx, key.Tenant)
				require.NoError(t, err)
				change(`ALTER TABLE audit_log RENAME TO away`)
				require.Error(t, act())
				after, err := s.TenantKeys(ctx, key.Tenant)
				require.NoError(t, err)
				require.Equal(t, before, after)
				change(`ALTER TABLE away RENAME TO audit_log`)
				require.NoError(t, act())
				log, err := s.AuditLog(ctx, store.System, time.Time{}, 10)
				require.NoError(t, err)
				require.Len(t, log, done+1)
				require.Contains(t, []string{"add", "rewrap", "destroy"}[done], log[0].Action)
			}
			require.ErrorIs(t, acts[1](), store.ErrNotFound)
			log, err := s.AuditLog(ctx, store.System, time.Time{}, 10)
			require.NoError(t, err)
			require.Len(t, log, len(acts), "what was not done has no line")
		})
	}
}

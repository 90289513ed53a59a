package admin_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// refuseRows makes the database fail at each new row of a table, which is the last statement but one of an act.
func refuseRows(t *testing.T, db *sqldb.DB, table string) (mend func()) {
	t.Helper()
	begin := []string{`CREATE TRIGGER refuse_rows BEFORE INSERT ON ` + table + ` BEGIN SELECT RAISE(ABORT, 'refused'); END`}
	end := `DROP TRIGGER refuse_rows`
	if db.Backend() == sqldb.Postgres {
		begin = []string{
			`CREATE OR REPLACE FUNCTION refuse_rows() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused'; END $$`,
			`CREATE TRIGGER refuse_rows BEFORE INSERT ON ` + table + ` FOR EACH ROW EXECUTE FUNCTION refuse_rows()`,
		}
		end += ` ON ` + table
	}
	run := func(statements ...string) {
		require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
			for _, statement := range statements {
				if _, err := tx.Exec(t.Context(), statement); err != nil {
					return err
				}
			}
			return nil
		}))
	}
	run(begin...)
	return func() { run(end) }
}

// traces counts all that acts leave behind, and shows how things stand.
func traces(t *testing.T, db *sqldb.DB) map[string]string {
	t.Helper()
	found := map[string]string{}
	for name, query := range map[string]string{
		"history":  `SELECT COUNT(*) FROM outbound_history`,
		"audit":    `SELECT COUNT(*) FROM audit_log`,
		"notices":  `SELECT COUNT(*) FROM notices`,
		"changes":  `SELECT COUNT(*) FROM changes`,
		"stopped":  `SELECT COUNT(*) FROM outbound_accounts WHERE level = 'hard_limit'`,
		"own mode": `SELECT COUNT(*) FROM outbound_accounts WHERE mode <> ''`,
		"domains":  `SELECT COUNT(*) FROM outbound_domains`,
		"modes":    `SELECT COUNT(*) FROM outbound_modes`,
		"profiles": `SELECT COALESCE(SUM(LENGTH(id || max_rate)), 0) FROM outbound_profiles`,
	} {
		var n string
		require.NoError(t, db.Get(t.Context(), `SELECT CAST((`+query+`) AS TEXT)`, nil, &n))
		found[name] = n
	}
	return found
}

func TestAnActWithoutItsTracesDoesNotHappen(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			db := storetest.OpenDB(t, storetest.Options(t, backend))
			s := store.New(store.Options{DB: db})
			o := admin.NewOutbound(admin.New(admin.Options{Store: s}), nil)
			site := storetest.NewSite(t, s, "one", "one.test", "bob", "ann")
			ctx := t.Context()
			boss := auth.Principal{Kind: auth.KindUser, Role: auth.TenantAdmin, Tenant: site.Tenant.ID, User: "u", Login: "boss@one.test"}
			whole := wire.OutboundDomainAct{Reason: "x"}
			set := func(id, rate string) error {
				_, _, err := o.SetProfile(ctx, boss, id, wire.NewOutboundProfile{MaxRate: rate, Accounts: []string{id + "@one.test"}, OutboundAct: because("x")})
				return err
			}
			acts := []struct {
				name string
				act  func() error
			}{
				{"suspend", func() error {
					_, err := o.Suspend(ctx, boss, "bob@one.test", wire.OutboundSuspend{OutboundAct: because("x")})
					return err
				}},
				{"release", func() error {
					_, err := o.Release(ctx, boss, "bob@one.test", wire.OutboundRelease{OutboundAct: because("x")})
					return err
				}},
				{"mode of an account", func() error {
					_, err := o.SetMode(ctx, boss, "ann@one.test", wire.OutboundMode{OutboundAct: because("x"), Mode: "enforce"})
					return err
				}},
				{"mode of a tenant", func() error {
					_, err := o.SetTenantMode(ctx, boss, "one", wire.OutboundTenantModeAct{OutboundDomainAct: whole, Mode: "enforce"})
					return err
				}},
				{"stop of a domain", func() error {
					_, err := o.SuspendDomain(ctx, boss, "one.test", wire.OutboundDomainSuspend{OutboundDomainAct: whole})
					return err
				}},
				{"release of a domain", func() error { return o.ReleaseDomain(ctx, boss, "one.test", whole) }},
				{"new profile", func() error { return set("news", "5/hour") }},
				{"other rate", func() error { return set("news", "50/hour") }},
				{"no profile", func() error { return o.DeleteProfile(ctx, boss, "", "news", because("x")) }},
			}
			for _, a := range acts {
				before := traces(t, db)
				for _, table := range []string{"audit_log", "notices"} {
					mend := refuseRows(t, db, table)
					require.Error(t, a.act(), "%s without a row in %s", a.name, table)
					mend()
					assert.Equal(t, before, traces(t, db), "%s without a row in %s", a.name, table)
				}
				require.NoError(t, a.act(), a.name)
				after := traces(t, db)
				assert.NotEqual(t, before["history"], after["history"], a.name)
				assert.NotEqual(t, before["audit"], after["audit"], a.name)
				assert.NotEqual(t, before["notices"], after["notices"], a.name)
			}
		})
	}
}

func TestModesAndProfilesAreToldAndAudited(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		o := admin.NewOutbound(admin.New(admin.Options{Store: s}), nil)
		site := storetest.NewSite(t, s, "one", "one.test", "bob")
		ctx := t.Context()
		boss := auth.Principal{Kind: auth.KindUser, Role: auth.TenantAdmin, Tenant: site.Tenant.ID, User: "u", Login: "boss@one.test"}
		_, err := o.SetTenantMode(ctx, boss, "", wire.OutboundTenantModeAct{OutboundDomainAct: wire.OutboundDomainAct{Reason: "two weeks are over", Ticket: "T-1"}, Mode: "enforce"})
		require.NoError(t, err)
		_, err = o.SetMode(ctx, boss, "bob@one.test", wire.OutboundMode{OutboundAct: because("the copier"), Mode: "shadow"})
		require.NoError(t, err)
		p := wire.NewOutboundProfile{MaxRate: "50 msgs/hour", Accounts: []string{"news@one.test"}, OutboundAct: because("agreed")}
		for _, rate := range []string{"50 msgs/hour", "70 msgs/hour"} {
			p.MaxRate = rate
			_, _, err = o.SetProfile(ctx, boss, "news", p)
			require.NoError(t, err)
		}
		require.NoError(t, o.DeleteProfile(ctx, boss, "", "news", because("no letters any more")))

		notices, err := s.DueNotices(ctx, 9)
		require.NoError(t, err)
		var told []string
		for _, n := range notices {
			told = append(told, n.Kind+" "+n.Account)
		}
		assert.Equal(t, []string{"mode_changed *", "mode_changed bob@one.test", "profile_set *news", "profile_set *news", "profile_deleted *news"}, told)
		assert.JSONEq(t, `{"tenant":"one","mode":"enforce","reason":"two weeks are over","by":"boss@one.test"}`, notices[0].Facts)
		assert.JSONEq(t, `{"action":"allow","level_before":"normal","level_after":"normal","mode_before":"enforce","mode":"shadow","reason":"the copier","by":"boss@one.test"}`, notices[1].Facts)
		assert.JSONEq(t, `{"tenant":"one","profile":"news","max_rate":"70 msgs/hour","profile_accounts":1,"reason":"agreed","by":"boss@one.test"}`, notices[3].Facts)

		log, err := s.AuditLog(ctx, store.Scope{Tenant: site.Tenant.ID}, timeZero, 9)
		require.NoError(t, err)
		require.Len(t, log, 5)
		assert.Equal(t, "outbound_profile.delete", log[0].Action)
		assert.Contains(t, log[0].Before, "70 msgs/hour")
		assert.Empty(t, log[0].After)
		assert.Equal(t, "agreed", log[1].Reason)
		assert.Contains(t, log[1].Before, "50 msgs/hour")
		assert.Contains(t, log[1].After, "70 msgs/hour")
		events, err := o.TenantHistory(ctx, boss, "one", store.LogKey{}, 9)
		require.NoError(t, err)
		require.Len(t, events, 4)
		assert.Equal(t, "T-1", events[3].Ticket)
		assert.False(t, events[0].Automatic)
		_, err = o.TenantHistory(ctx, boss, "two", store.LogKey{}, 9)
		require.ErrorIs(t, err, store.ErrNotFound)
	})
}

func TestTenantsSeeTheirOwnProfilesOnly(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		o := admin.NewOutbound(admin.New(admin.Options{Store: s}), nil)
		one := storetest.NewSite(t, s, "one", "one.test")
		two := storetest.NewSite(t, s, "two", "two.test")
		ctx := t.Context()
		boss := auth.Principal{Kind: auth.KindUser, Role: auth.TenantAdmin, Tenant: two.Tenant.ID, User: "u", Login: "boss@two.test"}
		p := wire.NewOutboundProfile{Tenant: "one", MaxRate: "5/hour", Accounts: []string{"news@one.test"}, OutboundAct: because("x")}
		_, _, err := o.SetProfile(ctx, root, "news", p)
		require.NoError(t, err)
		for _, tenant := range []string{"one", string(one.Tenant.ID), "no-such"} {
			_, err := o.Profile(ctx, boss, tenant, "news")
			require.ErrorIs(t, err, store.ErrNotFound, tenant)
			p.Tenant = tenant
			_, _, err = o.SetProfile(ctx, boss, "news", p)
			require.EqualError(t, err, `there is no tenant "`+tenant+`"`)
			require.EqualError(t, o.DeleteProfile(ctx, boss, tenant, "news", because("x")), `there is no tenant "`+tenant+`"`)
		}
		_, err = o.Profile(ctx, boss, "", "news")
		require.ErrorIs(t, err, store.ErrNotFound)
		names, err := o.TenantNames(ctx, boss, one.Tenant.ID, two.Tenant.ID)
		require.NoError(t, err)
		assert.Equal(t, map[store.TenantID]string{two.Tenant.ID: "two"}, names)
		desk := boss
		desk.Role, desk.Tenant = auth.Helpdesk, one.Tenant.ID
		p.Tenant = ""
		_, _, err = o.SetProfile(ctx, desk, "news", p)
		require.ErrorIs(t, err, auth.ErrForbidden)
		require.ErrorIs(t, o.DeleteProfile(ctx, desk, "", "news", because("x")), auth.ErrForbidden)
		shown, err := o.Profile(ctx, desk, "", "news")
		require.NoError(t, err, "helpdesk looks")
		assert.Equal(t, "5/hour", shown.MaxRate)
	})
}

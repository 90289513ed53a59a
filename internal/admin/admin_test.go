package admin_test

import (
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

var root = auth.Socket("0")

func TestSetupMakesWhatIsMissingAndMayBeRepeated(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		a := admin.New(admin.Options{Store: s})
		want := wire.Setup{
			Tenant: "example", Domains: []string{"Example.TEST", "日本.example"}, Admin: "admin@example.test", AdminPassword: "correct horse",
			Mailboxes: []string{"bob@example.test", "admin@example.test"},
		}
		first, err := a.Setup(t.Context(), root, want)
		require.NoError(t, err)
		created, random := 0, 0
		for _, m := range first.Things {
			if m.Created {
				created++
			}
			if m.Password != "" {
				random++
				assert.Equal(t, "bob@example.test", m.Name)
			}
		}
		assert.Equal(t, 1+2+1+1+2, created, "tenant, domains, admin, bob, mailboxes")
		assert.Equal(t, 1, random)
		again, err := a.Setup(t.Context(), root, want)
		require.NoError(t, err)
		for _, m := range again.Things {
			assert.False(t, m.Created, m.Name)
			assert.Empty(t, m.Password)
		}
		log, err := s.AuditLog(t.Context(), store.System, timeZero, 100)
		require.NoError(t, err)
		assert.Len(t, log, created)
	})
}

func TestBadSetupIsRefusedBeforeAnythingIsMade(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		a := admin.New(admin.Options{Store: s})
		good := wire.Setup{Tenant: "example", Domains: []string{"example.test"}}
		for name, spoil := range map[string]func(*wire.Setup){
			"no tenant":      func(w *wire.Setup) { w.Tenant = " " },
			"reserved":       func(w *wire.Setup) { w.Tenant = "System" },
			"no domain":      func(w *wire.Setup) { w.Domains = nil },
			"bad domain":     func(w *wire.Setup) { w.Domains = []string{"a b"} },
			"bad admin":      func(w *wire.Setup) { w.Admin = "admin" },
			"bad mailbox":    func(w *wire.Setup) { w.Mailboxes = []string{"bob@example.test", "@"} },
			"short password": func(w *wire.Setup) { w.MailboxPassword = "x" },
			"short password of the admin": func(w *wire.Setup) {
				w.Admin, w.AdminPassword = "admin@example.test", "x"
			},
			"foreign mailbox": func(w *wire.Setup) { w.Mailboxes = []string{"bob@example.test", "hanako@exmaple.test"} },
			"mailbox in an alias domain": func(w *wire.Setup) {
				w.AliasDomains = []wire.AliasDomain{{Domain: "alias.test", Of: "example.test"}}
				w.Mailboxes = []string{"bob@example.test", "hanako@alias.test"}
			},
			"alias domain of nothing": func(w *wire.Setup) {
				w.AliasDomains = []wire.AliasDomain{{Domain: "alias.test", Of: "exmaple.test"}}
			},
			"foreign alias": func(w *wire.Setup) {
				w.Mailboxes = []string{"bob@example.test"}
				w.Aliases = []wire.SetupAlias{{Address: "info@exmaple.test", AliasTarget: wire.AliasTarget{Target: "bob@example.test"}}}
			},
		} {
			bad := good
			spoil(&bad)
			_, err := a.Setup(t.Context(), root, bad)
			var refused *admin.Refused
			assert.ErrorAs(t, err, &refused, name)
		}
		requireNothing(t, s, "example", "admin@example.test", "bob@example.test", "hanako@exmaple.test", "hanako@alias.test")

		foreign := good
		foreign.Mailboxes = []string{"bob@other.test"}
		_, err := a.Setup(t.Context(), root, foreign)
		require.ErrorContains(t, err, "--domain")
		for _, role := range []auth.Role{auth.TenantAdmin, auth.Helpdesk, auth.Auditor, auth.User, ""} {
			_, err = a.Setup(t.Context(), auth.Principal{Role: role, Tenant: "x", User: "y"}, good)
			assert.ErrorIs(t, err, auth.ErrForbidden, role)
		}
	})
}

// requireNothing holds that there is no such tenant, and none of the users.
func requireNothing(t *testing.T, s *store.Store, tenant string, logins ...string) {
	t.Helper()
	_, err := s.TenantByName(t.Context(), tenant)
	require.ErrorIs(t, err, store.ErrNotFound)
	for _, login := range logins {
		_, err := s.UserByLogin(t.Context(), login)
		require.ErrorIs(t, err, store.ErrNotFound, login)
	}
}

func TestSetupMakesNoUserWithoutAMailbox(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		a := admin.New(admin.Options{Store: s})
		_, err := a.Setup(t.Context(), root, wire.Setup{
			Tenant: "first", Domains: []string{"example.test"}, Mailboxes: []string{"hanako@example.test"},
			AliasDomains: []wire.AliasDomain{{Domain: "alias.test", Of: "example.test"}},
			Aliases:      []wire.SetupAlias{{Address: "info@example.test", AliasTarget: wire.AliasTarget{Target: "hanako@example.test"}}},
		})
		require.NoError(t, err)
		other := func(w *wire.Setup) { w.Tenant, w.Domains = "other", []string{"other.test"} }
		for name, spoil := range map[string]func(*wire.Setup){
			"an alias":               func(w *wire.Setup) { w.Mailboxes[1] = "info@example.test" },
			"in an alias domain":     func(w *wire.Setup) { w.Mailboxes[1] = "hanako@alias.test" },
			"a domain of another":    func(w *wire.Setup) { other(w); w.Mailboxes[0], w.Mailboxes[1] = "bob@other.test", "kim@example.test" },
			"a domain that is taken": func(w *wire.Setup) { other(w); w.Domains, w.Mailboxes = []string{"other.test", "example.test"}, nil },
			"an alias domain of another": func(w *wire.Setup) {
				other(w)
				w.Mailboxes, w.AliasDomains = nil, []wire.AliasDomain{{Domain: "alias.test", Of: "other.test"}}
			},
			"a domain of another as an alias domain": func(w *wire.Setup) {
				other(w)
				w.Mailboxes, w.AliasDomains = nil, []wire.AliasDomain{{Domain: "example.test", Of: "other.test"}}
			},
			"an admin of another": func(w *wire.Setup) { other(w); w.Mailboxes = nil; w.Admin = "hanako@example.test" },
		} {
			bad := wire.Setup{Tenant: "first", Domains: []string{"example.test"}, Mailboxes: []string{"bob@example.test", ""}}
			spoil(&bad)
			made, err := a.Setup(t.Context(), root, bad)
			var refused *admin.Refused
			require.ErrorAs(t, err, &refused, name)
			require.Empty(t, made.Things, name)
		}
		requireNothing(t, s, "other", "bob@example.test", "bob@other.test", "info@example.test", "hanako@alias.test", "kim@example.test")
	})
}

func TestAPIKeysStayInTheirTenant(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		a := admin.New(admin.Options{Store: s})
		one := storetest.NewSite(t, s, "one", "one.test").Tenant.ID
		storetest.NewSite(t, s, "two", "two.test")
		ctx := t.Context()
		boss := auth.Principal{Kind: auth.KindUser, Role: auth.TenantAdmin, Tenant: one, User: "u"}

		key, err := a.CreateAPIKey(ctx, root, wire.NewAPIKey{Name: "all", Role: "super_admin"})
		require.NoError(t, err)
		assert.Empty(t, key.TenantID)
		own, err := a.CreateAPIKey(ctx, boss, wire.NewAPIKey{Name: "desk", Role: "helpdesk", ExpiresDays: 1})
		require.NoError(t, err)
		assert.Equal(t, string(one), own.TenantID)
		assert.NotNil(t, own.ExpiresAt)

		for _, bad := range []wire.NewAPIKey{
			{Name: "x", Role: "super_admin"}, {Name: "x", Role: "helpdesk", Tenant: "two"}, {Name: "x", Role: "user"},
			{Name: "x", Role: "helpdesk", Tenant: "nowhere"}, {Name: "x", Role: "super_admin", Tenant: "one"}, {Name: "x", Role: "boss"},
		} {
			_, err := a.CreateAPIKey(ctx, boss, bad)
			assert.Error(t, err, bad)
		}
		_, err = a.CreateAPIKey(ctx, root, wire.NewAPIKey{Name: "x", Role: "helpdesk"})
		require.ErrorContains(t, err, "needs a tenant")

		require.ErrorIs(t, a.RevokeAPIKey(ctx, boss, store.APIKeyID(key.ID)), store.ErrNotFound)
		require.NoError(t, a.RevokeAPIKey(ctx, boss, store.APIKeyID(own.ID)))
		require.ErrorIs(t, a.RevokeAPIKey(ctx, auth.Principal{Role: auth.Helpdesk, Tenant: one}, store.APIKeyID(key.ID)), auth.ErrForbidden)
	})
}

func TestAKeyMakesNoKeyThatOutlivesIt(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		now := time.Date(2026, 4, 1, 9, 0, 0, 0, time.UTC)
		a := admin.New(admin.Options{Store: s, Now: func() time.Time { return now }})
		tenant := storetest.NewSite(t, s, "one", "one.test").Tenant.ID
		ends := now.Add(36 * time.Hour)
		maker := auth.Principal{Kind: auth.KindAPIKey, ID: "key-1", Login: "ci", Role: auth.TenantAdmin, Tenant: tenant, Expires: ends}
		for days, want := range map[int]time.Time{0: ends, 1: now.Add(24 * time.Hour), 2: ends} {
			made, err := a.CreateAPIKey(t.Context(), maker, wire.NewAPIKey{Name: "x", Role: "helpdesk", ExpiresDays: days})
			require.NoError(t, err)
			require.NotNil(t, made.ExpiresAt)
			assert.True(t, want.Equal(*made.ExpiresAt), days)
		}
		log, err := s.AuditLog(t.Context(), store.System, timeZero, 1)
		require.NoError(t, err)
		assert.Equal(t, "ci (key-1)", log[0].Actor)
	})
}

func TestARevocationIsAuditedInTheTenantOfTheKey(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		a := admin.New(admin.Options{Store: s})
		tenant := storetest.NewSite(t, s, "one", "one.test").Tenant.ID
		key, err := a.CreateAPIKey(t.Context(), root, wire.NewAPIKey{Name: "desk", Role: "helpdesk", Tenant: "one"})
		require.NoError(t, err)
		require.NoError(t, a.RevokeAPIKey(t.Context(), root, store.APIKeyID(key.ID)))
		log, err := s.AuditLog(t.Context(), store.Scope{Tenant: tenant}, timeZero, 1)
		require.NoError(t, err)
		require.Len(t, log, 1)
		assert.Equal(t, "api_key.revoke", log[0].Action)
		assert.Equal(t, key.ID, log[0].Target)
	})
}

var timeZero time.Time

package admin_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestLoginLinksAreMadeOnTheHostAndAudited(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "bob")
		a := admin.New(admin.Options{Store: s})
		who, err := auth.New(auth.Options{Store: s})
		require.NoError(t, err)
		made, err := a.CreateLoginLink(t.Context(), auth.Socket("0"), wire.NewLoginLink{Login: "BOB@example.test"})
		require.NoError(t, err)
		require.Equal(t, "bob@example.test", made.Login)
		require.WithinDuration(t, time.Now().Add(auth.LinkLifetime), made.ExpiresAt, time.Minute)
		log, err := s.AuditLog(t.Context(), store.Scope{Tenant: site.Tenant.ID}, time.Time{}, 1)
		require.NoError(t, err)
		require.Equal(t, "login_link.create", log[0].Action)
		require.Equal(t, "bob@example.test", log[0].Target)
		require.NotContains(t, log[0].After, made.Token)
		_, _, p, err := who.LoginByLink(t.Context(), made.Token, netip.Addr{})
		require.NoError(t, err)
		require.Equal(t, site.Users["bob"].ID, p.User)

		var refused *admin.Refused
		_, err = a.CreateLoginLink(t.Context(), auth.Socket("0"), wire.NewLoginLink{Login: "nobody@example.test"})
		require.ErrorAs(t, err, &refused)
		for _, role := range []auth.Role{auth.TenantAdmin, auth.Helpdesk, auth.Auditor, auth.User} {
			p := auth.Principal{Kind: auth.KindUser, Tenant: site.Tenant.ID, User: "x", Role: role}
			_, err = a.CreateLoginLink(t.Context(), p, wire.NewLoginLink{Login: "bob@example.test"})
			require.ErrorIs(t, err, auth.ErrForbidden, role)
		}
	})
}

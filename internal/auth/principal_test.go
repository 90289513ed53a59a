package auth_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

func TestScopeIsNeverWiderThanTheRole(t *testing.T) {
	for name, row := range map[string]struct {
		p    auth.Principal
		want store.Scope
	}{
		"nobody":                    {auth.Principal{}, store.Scope{}},
		"unknown role":              {auth.Principal{Role: "owner", Tenant: "t1", User: "u1"}, store.Scope{}},
		"super admin":               {auth.Principal{Kind: auth.KindUser, Role: auth.SuperAdmin, Tenant: "system", User: "u1"}, store.Scope{All: true}},
		"socket":                    {auth.Socket("0"), store.Scope{All: true}},
		"key of the installation":   {auth.Principal{Kind: auth.KindAPIKey, Role: auth.SuperAdmin}, store.Scope{All: true}},
		"super admin key of tenant": {auth.Principal{Kind: auth.KindAPIKey, Role: auth.SuperAdmin, Tenant: "t1"}, store.Scope{Tenant: "t1"}},
		"tenant admin":              {auth.Principal{Role: auth.TenantAdmin, Tenant: "t1", User: "u1"}, store.Scope{Tenant: "t1"}},
		"helpdesk":                  {auth.Principal{Role: auth.Helpdesk, Tenant: "t1"}, store.Scope{Tenant: "t1"}},
		"auditor":                   {auth.Principal{Role: auth.Auditor, Tenant: "t1"}, store.Scope{Tenant: "t1"}},
		"auditor without tenant":    {auth.Principal{Role: auth.Auditor}, store.Scope{}},
		"user":                      {auth.Principal{Role: auth.User, Tenant: "t1", User: "u1"}, store.Scope{Tenant: "t1", User: "u1"}},
		"postfix":                   {auth.Principal{Kind: auth.KindAPIKey, Role: auth.Postfix}, store.Scope{}},
		"postfix with a tenant":     {auth.Principal{Kind: auth.KindAPIKey, Role: auth.Postfix, Tenant: "t1"}, store.Scope{}},
		"user role without user":    {auth.Principal{Kind: auth.KindAPIKey, Role: auth.User, Tenant: "t1"}, store.Scope{}},
	} {
		require.Equal(t, row.want, row.p.Scope(), name)
	}
}

func TestRolesAllow(t *testing.T) {
	read := []auth.Action{auth.ListMailboxes, auth.ReadMessages}
	for role, want := range map[auth.Role][]auth.Action{
		auth.SuperAdmin: auth.Actions(),
		auth.TenantAdmin: {
			auth.ListMailboxes, auth.ManageMailboxes, auth.ReadMessages, auth.ListTenants, auth.ListAPIKeys, auth.ManageAPIKeys,
			auth.ReadOutbound, auth.ExplainOutbound, auth.StopOutbound, auth.ManageOutbound,
		},
		auth.Helpdesk: append(read[:2:2], auth.ListTenants, auth.ReadOutbound, auth.ExplainOutbound, auth.StopOutbound),
		auth.Auditor:  append(read[:2:2], auth.ListTenants, auth.ListAPIKeys, auth.ReadOutbound, auth.ExplainOutbound),
		auth.User:     append(read[:2:2], auth.ReadOutbound),
		auth.Postfix:  nil,
		"":            nil,
		"owner":       nil,
	} {
		var can []auth.Action
		for _, a := range append(auth.Actions(), "anything else") {
			if (auth.Principal{Role: role, Tenant: "t1", User: "u1"}).Can(a) {
				can = append(can, a)
			}
		}
		require.Equal(t, want, can, string(role))
	}
}

func TestKeyOfAPostfixHostReportsBouncesAndNothingElse(t *testing.T) {
	key := auth.Principal{Kind: auth.KindAPIKey, Role: auth.Postfix}
	for _, a := range append(auth.Actions(), "anything else") {
		require.Equal(t, a == auth.ReportBounces, key.Can(a), string(a))
	}
	require.False(t, auth.Principal{Kind: auth.KindAPIKey, Role: auth.Postfix, Tenant: "t1"}.Can(auth.ReportBounces))
	require.False(t, auth.Principal{Kind: auth.KindAPIKey, Role: auth.SuperAdmin, Tenant: "t1"}.Can(auth.ReportBounces))
	require.True(t, auth.Socket("0").Can(auth.ReportBounces))
}

func TestNobodyGrantsMoreThanTheyHave(t *testing.T) {
	super := auth.Principal{Kind: auth.KindUser, Role: auth.SuperAdmin, Tenant: "system", User: "u1"}
	tenantKey := auth.Principal{Kind: auth.KindAPIKey, Role: auth.SuperAdmin, Tenant: "t1"}
	admin := auth.Principal{Kind: auth.KindUser, Role: auth.TenantAdmin, Tenant: "t1", User: "u2"}
	helpdesk := auth.Principal{Kind: auth.KindUser, Role: auth.Helpdesk, Tenant: "t1", User: "u3"}
	for name, row := range map[string]struct {
		p      auth.Principal
		role   auth.Role
		tenant store.TenantID
		want   bool
	}{
		"super admin, installation":     {super, auth.SuperAdmin, "", true},
		"super admin role in a tenant":  {super, auth.SuperAdmin, "t1", false},
		"super admin, tenant":           {super, auth.TenantAdmin, "t1", true},
		"tenant role of no tenant":      {super, auth.Helpdesk, "", false},
		"key of a tenant, installation": {tenantKey, auth.SuperAdmin, "", false},
		"key of a tenant, its tenant":   {tenantKey, auth.Auditor, "t1", true},
		"tenant admin, own":             {admin, auth.TenantAdmin, "t1", true},
		"tenant admin, other":           {admin, auth.Auditor, "t2", false},
		"tenant admin, installation":    {admin, auth.SuperAdmin, "", false},
		"keys are not people":           {super, auth.User, "t1", false},
		"key of a Postfix host":         {super, auth.Postfix, "", true},
		"postfix in a tenant":           {super, auth.Postfix, "t1", false},
		"postfix by a tenant admin":     {admin, auth.Postfix, "", false},
		"unknown role":                  {super, "owner", "t1", false},
		"helpdesk":                      {helpdesk, auth.Helpdesk, "t1", false},
	} {
		require.Equal(t, row.want, row.p.MayGrant(row.role, row.tenant), name)
	}
}

func TestPasswordsThatCannotBeUsedAreRefused(t *testing.T) {
	for _, bad := range []string{"", "short", string(make([]byte, 1025))} {
		_, err := auth.HashPassword(bad)
		require.ErrorIs(t, err, auth.ErrPassword)
	}
	require.Len(t, auth.RandomPassword(), 26)
	require.NotEqual(t, auth.RandomPassword(), auth.RandomPassword())
}

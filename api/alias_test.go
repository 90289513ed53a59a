package api_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestAliasesAreSetListedAndRemoved(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		ours := storetest.NewSite(t, r.store, "ours", "ours.test", "bob", "ab..c")
		storetest.NewSite(t, r.store, "two", "two.test", "eve")
		_, _, err := r.store.EnsureDomain(t.Context(), ours.Tenant.ID, "xn--eckwd4c7c.xn--zckzah", "")
		require.NoError(t, err)
		super, admin := r.key(t, "", auth.SuperAdmin), r.person(t, ours.Tenant.ID, "admin@ours.test", auth.TenantAdmin)
		desk, user := r.person(t, ours.Tenant.ID, "desk@ours.test", auth.Helpdesk), r.session(t, ours.Users["bob"].ID)
		const path = "/api/v1/aliases/"
		set := func(token, from, to string) answer { return r.do(t, token, "PUT", path+from, `{"target":"`+to+`"}`) }

		made := decode[wire.Alias](t, set(admin, "Info@ours.test", "Bob@ours.test"))
		require.Equal(t, "Info@ours.test bob@ours.test "+string(ours.Tenant.ID), made.Address+" "+made.Target+" "+made.TenantID)
		require.Equal(t, made, decode[wire.Alias](t, r.get(t, desk, path+"info@OURS.test")))
		require.Equal(t, "ab..c@ours.test", decode[wire.Alias](t, set(super, "info@ours.test", "ab..c@ours.test")).Target, "it is changed")
		require.Equal(t, "info@ours.test", decode[wire.Alias](t, set(admin, "sales@ours.test", "info@ours.test")).Target, "an alias of an alias")
		require.Equal(t, "x@elsewhere.test", decode[wire.Alias](t, set(admin, "a..b@ours.test", "x@elsewhere.test")).Target)
		require.Equal(t, http.StatusOK, set(admin, "営業@ドメイン.テスト", "bob@ours.test").StatusCode)

		r.deliver(t, ours.Mailboxes["ab..c"], store.Inbox, plain)
		require.NoError(t, r.store.SetMailboxQuota(t.Context(), ours.Tenant.ID, ours.Mailboxes["ab..c"].ID, 1, store.Beside{}))
		require.Equal(t, http.StatusOK, set(admin, "full@ours.test", "ab..c@ours.test").StatusCode, "a full mailbox is one too")
		require.Equal(t, http.StatusNoContent, r.do(t, admin, "DELETE", path+"full@ours.test", "").StatusCode)

		first := decode[wire.List[wire.Alias]](t, r.get(t, super, "/api/v1/aliases?limit=2"))
		require.Equal(t, "a..b@ours.test", first.Data[0].Address)
		require.True(t, first.Pagination.HasMore)
		second := decode[wire.List[wire.Alias]](t, r.get(t, super, "/api/v1/aliases?limit=2&cursor="+first.Pagination.Cursor))
		require.Equal(t, "sales@ours.test", second.Data[0].Address)
		require.Equal(t, "営業@xn--eckwd4c7c.xn--zckzah", second.Data[1].Address)
		require.False(t, second.Pagination.HasMore)
		require.Empty(t, decode[wire.List[wire.Alias]](t, r.get(t, user, "/api/v1/aliases")).Data)

		for name, row := range map[string]struct {
			token, from, to string
			status          int
			says            string
		}{
			"helpdesk":            {desk, "n@ours.test", "bob@ours.test", http.StatusForbidden, ""},
			"user":                {user, "n@ours.test", "bob@ours.test", http.StatusForbidden, ""},
			"a mailbox":           {admin, "bob@ours.test", "info@ours.test", http.StatusUnprocessableEntity, "bob@ours.test is a mailbox, and cannot be an alias too"},
			"nowhere":             {admin, "n@ours.test", "tanka@ours.test", http.StatusUnprocessableEntity, "there is no mailbox or alias tanka@ours.test: make it first"},
			"itself":              {admin, "n@ours.test", "N@ours.test", http.StatusUnprocessableEntity, "mail for n@ours.test would come back to it"},
			"round":               {admin, "info@ours.test", "sales@ours.test", http.StatusUnprocessableEntity, "mail for info@ours.test would come back to it"},
			"another tenant's":    {admin, "n@ours.test", "eve@two.test", http.StatusUnprocessableEntity, "there is no mailbox or alias eve@two.test: make it first"},
			"their domain":        {admin, "n@two.test", "bob@ours.test", http.StatusUnprocessableEntity, "the domain two.test is not here: an alias has a domain of its tenant"},
			"nobody's domain":     {super, "n@nobody.test", "bob@ours.test", http.StatusUnprocessableEntity, "the domain nobody.test is not here: an alias has a domain of its tenant"},
			"over tenants, super": {super, "n@ours.test", "eve@two.test", http.StatusUnprocessableEntity, "eve@two.test belongs to another tenant"},
			"no address":          {admin, "n", "bob@ours.test", http.StatusUnprocessableEntity, `"n" is not a mail address`},
			"two targets":         {admin, "n@ours.test", "bob@ours.test, ab@ours.test", http.StatusUnprocessableEntity, `"bob@ours.test, ab@ours.test" is not a mail address`},
			"none":                {admin, "n@ours.test", "", http.StatusUnprocessableEntity, ""},
		} {
			got := set(row.token, row.from, row.to)
			require.Equal(t, row.status, got.StatusCode, name)
			if row.says != "" {
				require.Equal(t, row.says, got.problem(t).Detail, name)
			}
		}

		require.Equal(t, http.StatusForbidden, r.do(t, desk, "DELETE", path+"info@ours.test", "").StatusCode)
		require.Equal(t, http.StatusNoContent, r.do(t, admin, "DELETE", path+"info@ours.test", "").StatusCode)
		require.Equal(t, http.StatusNotFound, r.do(t, admin, "DELETE", path+"info@ours.test", "").StatusCode)
		require.Equal(t, http.StatusNotFound, r.get(t, admin, path+"info@ours.test").StatusCode)
		log, err := r.store.AuditLog(t.Context(), store.Scope{Tenant: ours.Tenant.ID}, time.Time{}, 1)
		require.NoError(t, err)
		require.Equal(t, `alias.remove Info@ours.test {"target":"ab..c@ours.test"}`, log[0].Action+" "+log[0].Target+" "+log[0].Before)
	})
}

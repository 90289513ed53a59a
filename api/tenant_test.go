package api_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

const nobodysID = "019d0000-0000-7000-8000-00000000000a"

// TestTenantsNeverSeeEachOther asks for everything of a tenant as everyone who must not see it. The answer
// must be, but for the request id, the one about what does not exist.
func TestTenantsNeverSeeEachOther(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		theirs := storetest.NewSite(t, r.store, "theirs", "theirs.test", "eve")
		ours := storetest.NewSite(t, r.store, "ours", "ours.test", "bob", "ann")
		id := string(r.deliver(t, ours.Mailboxes["bob"], store.Inbox, withParts))
		r.deliver(t, ours.Mailboxes["bob"], store.Inbox, withParts)
		r.deliver(t, theirs.Mailboxes["eve"], store.Inbox, plain)
		r.key(t, ours.Tenant.ID, auth.Auditor)
		ourKeys, err := r.store.APIKeys(t.Context(), store.Scope{Tenant: ours.Tenant.ID}, "", 1)
		require.NoError(t, err)
		mbox := ours.Mailboxes["bob"]
		info, err := mail.ParseAddress("info@ours.test")
		require.NoError(t, err)
		to, err := mail.ParseAddress("bob@ours.test")
		require.NoError(t, err)
		require.NoError(t, r.store.SetAlias(t.Context(), ours.Tenant.ID, info, to, store.Beside{}))

		admin := r.person(t, ours.Tenant.ID, "admin@ours.test", auth.TenantAdmin)
		cursor := decode[wire.List[wire.Message]](t, r.get(t, admin, "/api/v1/messages?limit=1&mailbox=bob@ours.test")).Pagination.Cursor
		require.NotEmpty(t, cursor)

		askers := map[string]string{
			"user of another tenant":      r.session(t, theirs.Users["eve"].ID),
			"admin of another tenant":     r.person(t, theirs.Tenant.ID, "admin@theirs.test", auth.TenantAdmin),
			"helpdesk of another tenant":  r.person(t, theirs.Tenant.ID, "help@theirs.test", auth.Helpdesk),
			"auditor of another tenant":   r.person(t, theirs.Tenant.ID, "audit@theirs.test", auth.Auditor),
			"key of another tenant":       r.key(t, theirs.Tenant.ID, auth.TenantAdmin),
			"super key of another tenant": r.key(t, theirs.Tenant.ID, auth.SuperAdmin),
			"another user of the tenant":  r.session(t, ours.Users["ann"].ID),
		}
		for who, token := range askers {
			for _, row := range []struct{ method, path, nobodys string }{
				{"GET", "/api/v1/messages/" + id, "/api/v1/messages/" + nobodysID},
				{"GET", "/api/v1/messages/" + id + "/raw", "/api/v1/messages/" + nobodysID + "/raw"},
				{"GET", "/api/v1/messages/" + id + "/attachments/2", "/api/v1/messages/" + nobodysID + "/attachments/2"},
				{"GET", "/api/v1/messages?mailbox=" + string(mbox.ID), "/api/v1/messages?mailbox=" + nobodysID},
				{"GET", "/api/v1/messages?mailbox=bob@ours.test", "/api/v1/messages?mailbox=no@ours.test"},
				{"GET", "/api/v1/messages?mailbox=bob@ours.test&cursor=" + cursor, "/api/v1/messages?mailbox=no@ours.test&cursor=" + cursor},
				{"GET", "/api/v1/tenants/ours", "/api/v1/tenants/nobody"},
				{"GET", "/api/v1/tenants/" + string(ours.Tenant.ID), "/api/v1/tenants/" + nobodysID},
				{"GET", "/api/v1/mailboxes/" + string(mbox.ID), "/api/v1/mailboxes/" + nobodysID},
				{"GET", "/api/v1/mailboxes/bob@ours.test", "/api/v1/mailboxes/no@ours.test"},
				{"GET", "/api/v1/aliases/info@ours.test", "/api/v1/aliases/no@ours.test"},
				{"DELETE", "/api/v1/aliases/info@ours.test", "/api/v1/aliases/no@ours.test"},
				{"DELETE", "/api/v1/api-keys/" + string(ourKeys[0].ID), "/api/v1/api-keys/" + nobodysID},
			} {
				is, isNot := r.do(t, token, row.method, row.path, ""), r.do(t, token, row.method, row.nobodys, "")
				require.Contains(t, []int{http.StatusNotFound, http.StatusForbidden}, is.StatusCode, "%s: %s", who, row.path)
				p, q := is.problem(t), isNot.problem(t)
				p.RequestID, q.RequestID = "", ""
				require.Equal(t, q, p, "%s: %s", who, row.path)
			}
			for _, list := range []string{"/api/v1/mailboxes", "/api/v1/aliases", "/api/v1/tenants", "/api/v1/api-keys", "/api/v1/messages?limit=100"} {
				body := string(r.get(t, token, list).body)
				if !strings.Contains(who, "of the tenant") {
					require.NotContains(t, body, string(ours.Tenant.ID), "%s: %s", who, list)
				}
				require.NotContains(t, body, string(mbox.ID), "%s: %s", who, list)
				require.NotContains(t, body, id, "%s: %s", who, list)
			}
		}
		theirAdmin := askers["admin of another tenant"]
		require.Equal(t, http.StatusUnprocessableEntity, r.do(t, theirAdmin, "PUT", "/api/v1/aliases/info@ours.test", `{"target":"eve@theirs.test"}`).StatusCode)
		require.Equal(t, http.StatusUnprocessableEntity, r.do(t, theirAdmin, "PUT", "/api/v1/aliases/x@theirs.test", `{"target":"bob@ours.test"}`).StatusCode)
		require.Equal(t, "bob@ours.test", decode[wire.Alias](t, r.get(t, admin, "/api/v1/aliases/INFO@ours.test")).Target)
		is := r.do(t, theirAdmin, "PUT", "/api/v1/mailboxes/bob@ours.test/quota", `{"quota_bytes":5}`).problem(t)
		isNot := r.do(t, theirAdmin, "PUT", "/api/v1/mailboxes/no@ours.test/quota", `{"quota_bytes":5}`).problem(t)
		require.Equal(t, http.StatusNotFound, is.Status)
		require.Zero(t, decode[wire.Mailbox](t, r.get(t, admin, "/api/v1/mailboxes/bob@ours.test")).QuotaBytes)
		is.RequestID, isNot.RequestID = "", ""
		require.Equal(t, isNot, is)
		require.Equal(t, http.StatusOK, r.get(t, admin, "/api/v1/messages/"+id).StatusCode)
		require.Equal(t, http.StatusOK, r.get(t, r.key(t, "", auth.SuperAdmin), "/api/v1/messages/"+id).StatusCode)
	})
}

func TestQuotasAreSetAndMailIsKeptBack(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "営業/一課", "ours.test", "bob")
		storetest.NewSite(t, r.store, "two", "two.test", "eve")
		super, admin := r.key(t, "", auth.SuperAdmin), r.person(t, site.Tenant.ID, "admin@ours.test", auth.TenantAdmin)
		tenant := "/api/v1/tenants/" + url.PathEscape("営業/一課")

		set := r.do(t, admin, "PUT", "/api/v1/mailboxes/BOB@ours.test/quota", `{"quota_bytes":5000000000}`)
		require.Equal(t, int64(5_000_000_000), decode[wire.Mailbox](t, set).QuotaBytes)
		require.Equal(t, int64(5_000_000_000), decode[wire.Mailbox](t, r.get(t, admin, "/api/v1/mailboxes/bob@ours.test")).QuotaBytes)
		require.Equal(t, int64(7), decode[wire.Tenant](t, r.do(t, super, "PUT", tenant+"/quota", `{"quota_bytes":7}`)).QuotaBytes)
		stopped := decode[wire.Tenant](t, r.do(t, super, "POST", tenant+"/suspend", `{"reason":"moves"}`))
		require.Equal(t, "suspended", stopped.State)
		require.Equal(t, stopped, decode[wire.Tenant](t, r.get(t, admin, tenant)))
		require.Equal(t, "active", decode[wire.Tenant](t, r.do(t, super, "POST", tenant+"/resume", `{"reason":"moved"}`)).State)

		first := decode[wire.List[wire.Tenant]](t, r.get(t, super, "/api/v1/tenants?limit=1"))
		require.Equal(t, "two", first.Data[0].Name)
		second := decode[wire.List[wire.Tenant]](t, r.get(t, super, "/api/v1/tenants?limit=1&cursor="+first.Pagination.Cursor))
		require.Equal(t, "営業/一課", second.Data[0].Name)
		require.False(t, second.Pagination.HasMore)

		for name, row := range map[string]struct {
			token, method, path, body string
			status                    int
		}{
			"tenant's admin, tenant's quota": {admin, "PUT", tenant + "/quota", `{"quota_bytes":0}`, http.StatusForbidden},
			"tenant's admin, suspension":     {admin, "POST", tenant + "/suspend", `{"reason":"x"}`, http.StatusForbidden},
			"tenant's admin, resumption":     {admin, "POST", tenant + "/resume", `{"reason":"x"}`, http.StatusForbidden},
			"user":                           {r.session(t, site.Users["bob"].ID), "PUT", "/api/v1/mailboxes/bob@ours.test/quota", `{"quota_bytes":0}`, http.StatusForbidden},
			"user, tenants":                  {r.session(t, site.Users["bob"].ID), "GET", "/api/v1/tenants", "", http.StatusForbidden},
			"below 0":                        {admin, "PUT", "/api/v1/mailboxes/bob@ours.test/quota", `{"quota_bytes":-1}`, http.StatusUnprocessableEntity},
			"more than a number in JSON":     {admin, "PUT", "/api/v1/mailboxes/bob@ours.test/quota", `{"quota_bytes":9007199254740992}`, http.StatusUnprocessableEntity},
			"no number":                      {admin, "PUT", "/api/v1/mailboxes/bob@ours.test/quota", `{"quota_bytes":"5GB"}`, http.StatusUnprocessableEntity},
			"nothing":                        {admin, "PUT", "/api/v1/mailboxes/bob@ours.test/quota", `{}`, http.StatusUnprocessableEntity},
			"no reason":                      {super, "POST", tenant + "/suspend", `{"reason":" "}`, http.StatusUnprocessableEntity},
			"no such tenant":                 {super, "POST", "/api/v1/tenants/three/suspend", `{"reason":"x"}`, http.StatusNotFound},
			"no such mailbox":                {super, "PUT", "/api/v1/mailboxes/no@ours.test/quota", `{"quota_bytes":0}`, http.StatusNotFound},
		} {
			require.Equal(t, row.status, r.do(t, row.token, row.method, row.path, row.body).StatusCode, name)
		}
		require.Equal(t, int64(5_000_000_000), decode[wire.Mailbox](t, r.get(t, admin, "/api/v1/mailboxes/bob@ours.test")).QuotaBytes)
	})
}

func TestCursorIsGoodForItsOwnQuestionOnly(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		ours := storetest.NewSite(t, r.store, "ours", "ours.test", "ann", "bob")
		theirs := storetest.NewSite(t, r.store, "theirs", "theirs.test", "carl", "eve")
		for _, m := range []*store.Mailbox{ours.Mailboxes["ann"], ours.Mailboxes["bob"], theirs.Mailboxes["eve"]} {
			for range 3 {
				r.deliver(t, m, store.Inbox, plain)
			}
		}
		bob := r.session(t, ours.Users["bob"].ID)
		admin := r.person(t, ours.Tenant.ID, "admin@ours.test", auth.TenantAdmin)
		other := r.person(t, theirs.Tenant.ID, "admin@theirs.test", auth.TenantAdmin)
		super := r.key(t, "", auth.SuperAdmin)

		messages := "/api/v1/messages?limit=1&mailbox="
		cursor := decode[wire.List[wire.Message]](t, r.get(t, admin, messages+"bob@ours.test")).Pagination.Cursor
		boxes := decode[wire.List[wire.Mailbox]](t, r.get(t, admin, "/api/v1/mailboxes?limit=1")).Pagination.Cursor
		require.NotEmpty(t, boxes)
		require.Equal(t, http.StatusOK, r.get(t, admin, messages+"bob@ours.test&cursor="+cursor).StatusCode)
		require.Equal(t, http.StatusOK, r.get(t, admin, "/api/v1/messages?limit=2&mailbox=bob@ours.test&cursor="+cursor).StatusCode, "another limit is fine")

		for name, row := range map[string]struct{ token, path string }{
			"another mailbox": {admin, messages + "ann@ours.test&cursor=" + cursor},
			"another folder":  {admin, messages + "bob@ours.test&folder=INBOX&cursor=" + cursor},
			"another list":    {admin, "/api/v1/mailboxes?cursor=" + cursor},
			"list of keys":    {admin, "/api/v1/api-keys?cursor=" + cursor},
			"list, other way": {admin, messages + "bob@ours.test&cursor=" + boxes},
			"the owner":       {bob, messages + "bob@ours.test&cursor=" + cursor},
			"a super admin":   {super, messages + "bob@ours.test&cursor=" + cursor},
			"another tenant":  {other, messages + "eve@theirs.test&cursor=" + cursor},
			"tenant's list":   {other, "/api/v1/mailboxes?cursor=" + boxes},
			"cut":             {admin, messages + "bob@ours.test&cursor=" + cursor[:len(cursor)-1]},
			"longer":          {admin, messages + "bob@ours.test&cursor=" + cursor + "A"},
			"changed":         {admin, messages + "bob@ours.test&cursor=" + flip(cursor)},
			"no base64":       {admin, messages + "bob@ours.test&cursor=%2B%2F%3D"},
		} {
			a := r.get(t, row.token, row.path)
			require.Equal(t, http.StatusBadRequest, a.StatusCode, name)
			require.Equal(t, "invalid_cursor", a.problem(t).Code, name)
		}
	})
}

// flip changes the position in a cursor and leaves the rest.
func flip(cursor string) string {
	b := []byte(cursor)
	at := len(b) - 6
	if b[at] == 'A' {
		b[at] = 'B'
	} else {
		b[at] = 'A'
	}
	return string(b)
}

func FuzzCursor(f *testing.F) {
	r := newRig(f, "sqlite", apiDefaults)
	site := storetest.NewSite(f, r.store, "ours", "ours.test", "ann", "bob")
	token := r.person(f, site.Tenant.ID, "admin@ours.test", auth.TenantAdmin)
	good := decode[wire.List[wire.Mailbox]](f, r.get(f, token, "/api/v1/mailboxes?limit=1")).Pagination.Cursor
	handler := r.server.Handler()
	for _, seed := range []string{good, good[1:], flip(good), "", "AAAA", "dg", "====", "dGVzdCB0ZXN0", strings.Repeat("A", 2000)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		status := serveOnce(handler, token, "/api/v1/mailboxes", "cursor", cursor)
		switch cursor {
		case "", good:
			require.Equal(t, http.StatusOK, status)
		default:
			require.Contains(t, []int{http.StatusBadRequest, http.StatusUnprocessableEntity}, status)
		}
	})
}

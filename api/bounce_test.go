package api_test

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestPostfixHostReportsBouncesAndCanDoNothingElse(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		key := r.key(t, "", auth.Postfix)
		at := time.Now().UTC().Format(time.RFC3339)
		report := `{"host":"mx2.one.test","lag_bytes":7,"bounces":[{"at":"` + at + `","queue_id":"4XyZ15","recipient":"no@x.test","dsn":"5.1.1"}]}`
		for range 2 {
			require.Equal(t, http.StatusNoContent, r.do(t, key, "POST", outbound+"/bounces", report).StatusCode)
		}
		waiting, err := r.store.WaitingBounces(t.Context())
		require.NoError(t, err)
		require.Equal(t, int64(1), waiting)
		feeds, err := r.store.BounceFeeds(t.Context())
		require.NoError(t, err)
		require.Equal(t, "mx2.one.test", feeds[0].Host)
		require.Equal(t, int64(7), feeds[0].LagBytes)

		for _, path := range []string{outbound + "/accounts", outbound + "/suspensions", "/api/v1/mailboxes", "/api/v1/messages", "/api/v1/api-keys"} {
			require.Equal(t, http.StatusForbidden, r.get(t, key, path).StatusCode, path)
		}
		for role, tenant := range map[auth.Role]store.TenantID{auth.TenantAdmin: site.Tenant.ID, auth.Helpdesk: site.Tenant.ID, auth.Auditor: site.Tenant.ID} {
			require.Equal(t, http.StatusForbidden, r.do(t, r.key(t, tenant, role), "POST", outbound+"/bounces", report).StatusCode, role)
		}
		require.Equal(t, http.StatusUnauthorized, r.do(t, "mk_live_wrong", "POST", outbound+"/bounces", report).StatusCode)
		require.Equal(t, http.StatusNoContent, r.do(t, r.key(t, "", auth.SuperAdmin), "POST", outbound+"/bounces", `{"host":"mx2.one.test","bounces":[]}`).StatusCode)
	})
}

func TestReportsThatNoFeedSendsAreRefused(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		key := r.key(t, "", auth.Postfix)
		bounce := map[string]any{"at": time.Now(), "queue_id": "4XyZ15", "recipient": "no@x.test", "dsn": "5.1.1"}
		for name, change := range map[string]func(m map[string]any){
			"no host":       func(m map[string]any) { m["host"] = "" },
			"odd host":      func(m map[string]any) { m["host"] = "a b" },
			"odd queue id":  func(m map[string]any) { m["bounces"] = []any{with(bounce, "queue_id", "../../x")} },
			"other dsn":     func(m map[string]any) { m["bounces"] = []any{with(bounce, "dsn", "5.7.1")} },
			"of the sender": func(m map[string]any) { m["bounces"] = []any{with(bounce, "dsn", "5.1.8")} },
			"long":          func(m map[string]any) { m["bounces"] = []any{with(bounce, "recipient", strings.Repeat("x", 2000))} },
			"many": func(m map[string]any) {
				list := make([]any, 201)
				for i := range list {
					list[i] = bounce
				}
				m["bounces"] = list
			},
		} {
			body := map[string]any{"host": "mx1", "bounces": []any{bounce}}
			change(body)
			raw, err := json.Marshal(body)
			require.NoError(t, err)
			require.Equal(t, http.StatusUnprocessableEntity, r.do(t, key, "POST", outbound+"/bounces", string(raw)).StatusCode, name)
		}
		waiting, err := r.store.WaitingBounces(t.Context())
		require.NoError(t, err)
		require.Zero(t, waiting)
	})
}

// with is a copy of m with another value.
func with(m map[string]any, name string, value any) map[string]any {
	changed := map[string]any{name: value}
	for k, v := range m {
		if k != name {
			changed[k] = v
		}
	}
	return changed
}

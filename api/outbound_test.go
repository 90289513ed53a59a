package api_test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

const outbound = "/api/v1/outbound"

func TestAStoppedAccountIsExplainedAndReleased(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		desk := r.person(t, site.Tenant.ID, "desk@one.test", auth.Helpdesk)
		storetest.Blast(t, r.store, site.Tenant.ID, "bob@one.test", time.Now().Add(-time.Minute))

		list := decode[wire.List[wire.OutboundAccount]](t, r.get(t, desk, outbound+"/suspensions"))
		require.Len(t, list.Data, 1)
		require.True(t, list.Data[0].Automatic)
		a := decode[wire.OutboundAccountDetail](t, r.get(t, desk, outbound+"/accounts/BOB@one.test"))
		require.Equal(t, "hard_limit", a.Level)
		require.Equal(t, storetest.SuspendedReply, a.Reply)
		require.Equal(t, int64(13), a.Day.Messages)
		require.Equal(t, int64(12*33), a.Hour.Recipients)
		require.Equal(t, int64(1), a.Hour.Stopped)

		x := decode[wire.OutboundExplanation](t, r.get(t, desk, outbound+"/accounts/bob@one.test/explain"))
		require.InDelta(t, 0.87, x.Score, 1e-9)
		require.Len(t, x.Factors, 3)
		require.Equal(t, "volume", x.Evidence[0].Name)
		require.InDelta(t, 412, x.Evidence[0].Raw, 0)
		require.InDelta(t, 7, x.Evidence[0].Usual, 0)
		require.InDelta(t, 0.38, x.Evidence[0].Share, 1e-9)
		require.InDelta(t, 0.31*0.6, x.Evidence[1].Share, 1e-9, "of two pieces of one factor")
		require.InDelta(t, 0.148, x.Evidence[2].Raw, 1e-9)
		require.Equal(t, []string{"invalid", "place"}, x.Corroborators)
		require.Equal(t, storetest.SuspendedReply, x.Reply)
		require.Len(t, x.Groups, 2)
		require.Equal(t, int64(10), x.Groups[0].Count, "nine and the refused one")
		require.Equal(t, "8000000000000007", x.Groups[0].Fingerprint)
		require.Equal(t, "refuse_suspended", x.Groups[0].Messages[0].Action)
		require.Len(t, x.Places, 2)
		require.NotEmpty(t, x.Series.Columns)
		require.Contains(t, x.Sentence, "412 recipients in 1 h; the usual peak of this account is 7.")
		require.Contains(t, x.Text, "The sender saw: 550 5.7.1")
		ja := decode[wire.OutboundExplanation](t, r.get(t, desk, outbound+"/accounts/bob@one.test/explain?timezone=Asia/Tokyo", "Accept-Language: ja"))
		require.Contains(t, ja.Sentence, "1 時間で宛先 412 件。このアカウントの普段の最大は 7 件です。")
		require.Contains(t, ja.Text, "JST")

		released := decode[wire.OutboundAccount](t, r.do(t, desk, "POST", outbound+"/accounts/bob@one.test/release",
			`{"reason":"password changed","ticket":"T-7","cap_per_hour":20}`))
		require.Equal(t, "soft_limit", released.Level)
		require.Equal(t, int64(20), released.CapPerHour)
		require.WithinDuration(t, time.Now().Add(24*time.Hour), *released.Until, time.Minute)
		require.Equal(t, "desk@one.test", released.By)
		x = decode[wire.OutboundExplanation](t, r.get(t, desk, outbound+"/accounts/bob@one.test/explain"))
		require.Equal(t, "4XyZ15", x.Decision.QueueID, "the last stop is still explained")
		history := decode[wire.List[wire.OutboundEvent]](t, r.get(t, desk, outbound+"/accounts/bob@one.test/history"))
		require.Equal(t, "release", history.Data[0].Act)
		require.Equal(t, "password changed", history.Data[0].Reason)
		require.True(t, history.Data[1].Automatic)
		log, err := r.store.AuditLog(t.Context(), store.Scope{Tenant: site.Tenant.ID}, timeZero, 9)
		require.NoError(t, err)
		require.Equal(t, "outbound_account.release", log[0].Action)
		require.Equal(t, "password changed", log[0].Reason)
		require.Contains(t, log[0].Before, "hard_limit")
		require.Contains(t, log[0].After, "soft_limit")

		again := r.do(t, desk, "POST", outbound+"/accounts/bob@one.test/release", `{"reason":"x","probation_hours":0}`)
		require.Equal(t, "normal", decode[wire.OutboundAccount](t, again).Level)
		refused := r.do(t, desk, "POST", outbound+"/accounts/bob@one.test/release", `{"reason":"x"}`)
		require.Equal(t, "refused", refused.problem(t).Code)
	})
}

func TestEachRoleDoesWithSendingWhatItMay(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		storetest.Blast(t, r.store, site.Tenant.ID, "bob@one.test", time.Now())
		reads := []string{"/accounts", "/accounts/bob@one.test", "/accounts/bob@one.test/decisions", "/accounts/bob@one.test/series"}
		explains := []string{"/accounts/bob@one.test/explain", "/accounts/bob@one.test/history", "/suspensions", "/domains", "/profiles", "/tenants/one/history", "/tenants/one/mode"}
		stops := []string{"suspend", "extend", "limit", "release"}
		manages := []struct{ method, path, body string }{
			{"POST", "/domains/one.test/suspend", `{"reason":"x"}`},
			{"POST", "/domains/one.test/release", `{"reason":"x"}`},
			{"POST", "/accounts/bob@one.test/mode", `{"reason":"x","mode":"shadow"}`},
			{"POST", "/tenants/one/mode", `{"reason":"x","mode":"enforce"}`},
			{"PUT", "/profiles/news", `{"tenant":"one","accounts":["bob@one.test"],"max_rate":"5000 msgs/hour","reason":"x"}`},
			{"DELETE", "/profiles/news?tenant=one&reason=x", ""},
			{"DELETE", "/accounts/bob@one.test/data?reason=asked", ""},
		}
		for role, may := range map[auth.Role]string{
			auth.User: "r", auth.Auditor: "re", auth.Helpdesk: "res", auth.TenantAdmin: "resm", auth.SuperAdmin: "resm",
		} {
			login := string(role) + "@one.test"
			if role == auth.User {
				login = "bob@one.test"
			}
			token := r.person(t, site.Tenant.ID, login, role)
			allowed := func(letter string, a answer, what string) {
				if strings.Contains(may, letter) {
					require.Less(t, a.StatusCode, 300, "%s: %s: %s", role, what, a.body)
				} else {
					require.Equal(t, http.StatusForbidden, a.StatusCode, "%s: %s", role, what)
				}
			}
			for _, path := range reads {
				allowed("r", r.get(t, token, outbound+path), path)
			}
			for _, path := range explains {
				allowed("e", r.get(t, token, outbound+path), path)
			}
			for _, verb := range stops {
				allowed("s", r.do(t, token, "POST", outbound+"/accounts/bob@one.test/"+verb, `{"reason":"x"}`), verb)
			}
			for _, row := range manages {
				allowed("m", r.do(t, token, row.method, outbound+row.path, row.body), row.path)
			}
			if !strings.Contains(may, "s") { // others find what the next one expects
				continue
			}
			r.do(t, r.key(t, site.Tenant.ID, auth.TenantAdmin), "POST", outbound+"/accounts/bob@one.test/suspend", `{"reason":"secret ticket words"}`)
		}
		bob := r.session(t, site.Users["bob"].ID)
		body := string(r.get(t, bob, outbound+"/accounts/bob@one.test").body)
		require.Contains(t, body, "hard_limit")
		require.NotContains(t, body, "secret ticket words", "staff only")
		require.Equal(t, http.StatusUnauthorized, r.get(t, "", outbound+"/accounts").StatusCode)
	})
}

func TestSendingOfOtherTenantsIsLikeWhatDoesNotExist(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		ours := storetest.NewSite(t, r.store, "ours", "ours.test", "bob", "ann")
		theirs := storetest.NewSite(t, r.store, "theirs", "theirs.test", "eve")
		key := storetest.Blast(t, r.store, ours.Tenant.ID, "bob@ours.test", time.Now())
		made := r.do(t, r.key(t, "", auth.SuperAdmin), "PUT", outbound+"/profiles/news",
			`{"tenant":"ours","accounts":["bob@ours.test"],"max_rate":"5 msgs/hour","reason":"x"}`)
		require.Equal(t, http.StatusCreated, made.StatusCode, string(made.body))
		boss := r.person(t, theirs.Tenant.ID, "boss@theirs.test", auth.TenantAdmin)
		for who, token := range map[string]string{
			"admin": boss, "user": r.session(t, theirs.Users["eve"].ID), "another user": r.session(t, ours.Users["ann"].ID),
		} {
			for _, row := range []struct{ method, path, body string }{
				{"GET", "/accounts/NAME", ""}, {"GET", "/accounts/NAME/explain", ""}, {"GET", "/accounts/NAME/decisions", ""},
				{"GET", "/accounts/NAME/history", ""}, {"GET", "/accounts/NAME/series", ""},
				{"POST", "/accounts/NAME/suspend", `{"reason":"x"}`}, {"POST", "/accounts/NAME/release", `{"reason":"x"}`},
				{"POST", "/accounts/NAME/mode", `{"reason":"x","mode":"off"}`}, {"DELETE", "/accounts/NAME/data?reason=x", ""},
			} {
				is := r.do(t, token, row.method, outbound+strings.Replace(row.path, "NAME", "bob@ours.test", 1), row.body)
				isNot := r.do(t, token, row.method, outbound+strings.Replace(row.path, "NAME", "bob@nowhere.test", 1), row.body)
				p, q := is.problem(t), isNot.problem(t)
				p.RequestID, q.RequestID = "", ""
				require.Equal(t, q, p, "%s: %s", who, row.path)
				require.Contains(t, []int{http.StatusNotFound, http.StatusForbidden}, is.StatusCode)
			}
			for _, path := range []string{"/tenants/ours/history", "/tenants/ours/mode", "/profiles/news?tenant=ours"} {
				is, isNot := r.get(t, token, outbound+path), r.get(t, token, outbound+strings.Replace(path, "ours", "nowhere", 1))
				require.Contains(t, []int{http.StatusNotFound, http.StatusForbidden}, is.StatusCode)
				require.Equal(t, isNot.StatusCode, is.StatusCode, "%s: %s", who, path)
				require.Equal(t, isNot.problem(t).Detail, is.problem(t).Detail, "%s: %s", who, path)
			}
			for _, list := range []string{"/accounts", "/accounts?prefix=bob", "/suspensions", "/domains", "/profiles"} {
				require.NotContains(t, string(r.get(t, token, outbound+list).body), "bob@ours.test", "%s: %s", who, list)
			}
		}
		for _, row := range []struct{ method, path, body string }{
			{"POST", "/domains/ours.test/suspend", `{"reason":"x"}`}, {"POST", "/domains/ours.test/release", `{"reason":"x"}`},
		} {
			require.Equal(t, http.StatusNotFound, r.do(t, boss, row.method, outbound+row.path, row.body).StatusCode)
		}
		refusals := []struct{ method, path, body string }{
			{"PUT", "/profiles/news", `{"accounts":["bob@ours.test"],"max_rate":"5 msgs/hour","reason":"x"}`},
			{"PUT", "/profiles/news", `{"tenant":"ours","accounts":["eve@theirs.test"],"max_rate":"5 msgs/hour","reason":"x"}`},
			{"DELETE", "/profiles/news?tenant=ours&reason=x", ""}, {"POST", "/tenants/ours/mode", `{"reason":"x","mode":"off"}`},
		}
		for _, row := range refusals {
			require.Equal(t, "refused", r.do(t, boss, row.method, outbound+row.path, row.body).problem(t).Code, row.path)
		}
		decision := decode[wire.OutboundExplanation](t, r.get(t, r.key(t, "", auth.SuperAdmin), outbound+"/accounts/bob@ours.test/explain")).Decision
		require.Equal(t, key.At.UnixMicro(), decision.At.UnixMicro())
		foreign := r.get(t, boss, outbound+"/accounts/eve@theirs.test/explain?decision="+decision.ID)
		require.Equal(t, http.StatusNotFound, foreign.StatusCode)
	})
}

func TestABulkSenderIsReadByTenantAndID(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		root := r.key(t, "", auth.SuperAdmin)
		tenants := map[string]store.TenantID{}
		for _, name := range []string{"one", "two"} {
			tenants[name] = storetest.NewSite(t, r.store, name, name+".test", "bob").Tenant.ID
			a := r.do(t, root, "PUT", outbound+"/profiles/news",
				`{"tenant":"`+name+`","accounts":["bob@`+name+`.test"],"max_rate":"5 msgs/hour","reason":"x"}`)
			require.Equal(t, http.StatusCreated, a.StatusCode, string(a.body))
		}
		for name, id := range tenants {
			for _, tenant := range []string{name, string(id)} {
				p := decode[wire.OutboundProfile](t, r.get(t, root, outbound+"/profiles/news?tenant="+tenant))
				require.Equal(t, string(id), p.TenantID)
				require.Equal(t, []string{"bob@" + name + ".test"}, p.Accounts)
			}
			own := decode[wire.OutboundProfile](t, r.get(t, r.key(t, id, auth.Auditor), outbound+"/profiles/news"))
			require.Equal(t, string(id), own.TenantID)
		}
		require.Equal(t, "refused", r.get(t, root, outbound+"/profiles/news").problem(t).Code, "which one?")
		require.Equal(t, "not_found", r.get(t, root, outbound+"/profiles/none?tenant=one").problem(t).Code)
		require.Equal(t, "not_found", r.get(t, root, outbound+"/profiles/news?tenant=none").problem(t).Code)
	})
}

func TestListsOfSendingArePaged(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "a")
		for _, local := range []string{"a", "b", "c"} {
			storetest.Blast(t, r.store, site.Tenant.ID, local+"@one.test", time.Now())
		}
		boss := r.person(t, site.Tenant.ID, "boss@one.test", auth.TenantAdmin)
		for _, name := range []string{"x", "y", "z"} {
			a := r.do(t, boss, "PUT", outbound+"/profiles/"+name, `{"accounts":["`+strings.ToUpper(name)+`@one.test","`+name+`@one.test"],"max_rate":"5 msgs/hour","reason":"x"}`)
			require.Equal(t, http.StatusCreated, a.StatusCode, string(a.body))
		}
		for path, want := range map[string]int{
			"/accounts?": 3, "/accounts?level=hard_limit&": 3, "/accounts?level=normal&": 0, "/accounts?prefix=b&": 1, "/suspensions?": 3,
			"/accounts/b@one.test/decisions?": 14, "/accounts/b@one.test/decisions?limited=true&": 1, "/accounts/b@one.test/history?": 1,
			"/profiles?": 3, "/domains?": 0, "/tenants/one/history?": 3,
		} {
			seen, cursor := 0, ""
			for {
				page := decode[wire.List[json.RawMessage]](t, r.get(t, boss, outbound+path+"limit=2&cursor="+url.QueryEscape(cursor)))
				seen += len(page.Data)
				if cursor = page.Pagination.Cursor; cursor == "" {
					break
				}
				other := r.get(t, boss, outbound+"/accounts?prefix=q&cursor="+url.QueryEscape(cursor))
				require.Equal(t, "invalid_cursor", other.problem(t).Code, "a cursor is good for its own question only")
			}
			require.Equal(t, want, seen, path)
		}
	})
}

func TestBadActsAreRefusedWithAReason(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		boss := r.person(t, site.Tenant.ID, "boss@one.test", auth.TenantAdmin)
		storetest.Blast(t, r.store, site.Tenant.ID, "bob@one.test", time.Now())
		bob := "/accounts/bob@one.test"
		for _, row := range []struct{ method, path, body, code string }{
			{"POST", bob + "/suspend", `{}`, "validation_failed"},
			{"POST", bob + "/suspend", `{"reason":""}`, "validation_failed"},
			{"POST", bob + "/suspend", `{"reason":"  "}`, "refused"},
			{"POST", bob + "/suspend", `{"reason":"x","hours":-1}`, "validation_failed"},
			{"POST", bob + "/suspend", `{"reason":"x","hours":9999}`, "validation_failed"},
			{"POST", bob + "/suspend", `{"reason":"x","until":"tomorrow"}`, "validation_failed"},
			{"POST", bob + "/suspend", `{"reason":"x","revision":77}`, "conflict"},
			{"POST", bob + "/release", `{"reason":"x","probation_hours":0,"cap_per_hour":3}`, "refused"},
			{"POST", bob + "/mode", `{"reason":"x","mode":"loud"}`, "validation_failed"},
			{"POST", "/accounts/ann@one.test/extend", `{"reason":"x"}`, "refused"},
			{"POST", "/accounts/%20/suspend", `{"reason":"x"}`, "refused"},
			{"POST", "/accounts/a%00b@one.test/suspend", `{"reason":"x"}`, "refused"},
			{"GET", bob + "/explain?timezone=Mars/Olympus", "", "validation_failed"},
			{"GET", bob + "/explain?timezone=../../etc/passwd", "", "validation_failed"},
			{"POST", "/policy/test", `{"account":"bob@one.test","recipients":["a@b.test"],"message":"eA==","timezone":"Local"}`, "validation_failed"},
			{"GET", bob + "/explain?decision=7", "", "not_found"},
			{"GET", bob + "/series?step_seconds=60&from=2026-01-01T00:00:00Z&to=2026-03-01T00:00:00Z", "", "refused"},
			{"GET", "/accounts/ann@one.test/explain", "", "not_found"},
			{"POST", "/domains/a%20b/suspend", `{"reason":"x"}`, "refused"},
			{"POST", "/domains/one.test/release", `{"reason":"x"}`, "not_found"},
			{"PUT", "/profiles/News!", `{"accounts":["bob@one.test"],"max_rate":"5 msgs/hour","reason":"x"}`, "refused"},
			{"PUT", "/profiles/news", `{"accounts":[],"max_rate":"5 msgs/hour","reason":"x"}`, "validation_failed"},
			{"PUT", "/profiles/news", `{"accounts":["bob@one.test"],"max_rate":"5 msgs/hour"}`, "validation_failed"},
			{"PUT", "/profiles/news", `{"accounts":["bob@one.test"],"max_rate":"fast","reason":"x"}`, "refused"},
			{"PUT", "/profiles/news", `{"accounts":["bob@one.test"],"max_rate":"5 msgs/hour","reason":"x","revision":77}`, "conflict"},
			{"DELETE", "/profiles/none?reason=x", "", "not_found"},
			{"DELETE", "/profiles/none", "", "validation_failed"},
			{"GET", "/tenants/two/history", "", "not_found"},
			{"DELETE", bob + "/data", "", "validation_failed"},
			{"GET", "/policy", "", "no_outbound_engine"},
			{"POST", "/policy/test", `{"account":"bob@one.test","recipients":["a@b.test"],"message":"eA=="}`, "no_outbound_engine"},
		} {
			require.Equal(t, row.code, r.do(t, boss, row.method, outbound+row.path, row.body).problem(t).Code, "%s %s %s", row.method, row.path, row.body)
		}
	})
}

func TestAccountsOfAnyNameCanBeAskedFor(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	storetest.NewSite(t, r.store, "one", "one.test")
	root := r.key(t, "", auth.SuperAdmin)
	for path, name := range map[string]string{
		"a%2Fb@one.test": "a/b@one.test", "%E7%94%B0@one.test": "田@one.test", "%22a..b%22@one.test": `"a..b"@one.test`, "a%25b@one.test": "a%b@one.test",
		"a+b@one.test": "a+b@one.test",
	} {
		require.Equal(t, name, decode[wire.OutboundAccountDetail](t, r.get(t, root, outbound+"/accounts/"+path)).Account)
	}
}

func TestADomainIsStoppedAndAPersonsDataDeleted(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		boss := r.person(t, site.Tenant.ID, "boss@one.test", auth.TenantAdmin)
		d := decode[wire.OutboundDomain](t, r.do(t, boss, "POST", outbound+"/domains/ONE.test/suspend", `{"reason":"flood","hours":2}`))
		require.Equal(t, "one.test", d.Domain)
		a := decode[wire.OutboundAccountDetail](t, r.get(t, boss, outbound+"/accounts/bob@one.test"))
		require.Equal(t, "flood", a.DomainStop.Reason)
		require.Equal(t, storetest.SuspendedReply, a.Reply)
		require.Equal(t, "normal", a.Level)
		require.Equal(t, http.StatusNoContent, r.do(t, boss, "POST", outbound+"/domains/one.test/release", `{"reason":"over"}`).StatusCode)
		a = decode[wire.OutboundAccountDetail](t, r.get(t, boss, outbound+"/accounts/bob@one.test"))
		require.Nil(t, a.DomainStop)
		require.Empty(t, a.Reply)

		storetest.Blast(t, r.store, site.Tenant.ID, "bob@one.test", time.Now())
		gone := decode[wire.OutboundForgotten](t, r.do(t, boss, "DELETE", outbound+"/accounts/bob@one.test/data?reason=asked+for", ""))
		require.Equal(t, int64(15), gone.Rows, "14 decisions and a line of history")
		a = decode[wire.OutboundAccountDetail](t, r.get(t, boss, outbound+"/accounts/bob@one.test"))
		require.Equal(t, "hard_limit", a.Level, "a stop stays")
		require.Zero(t, a.Day.Messages)
		log, err := r.store.AuditLog(t.Context(), store.Scope{Tenant: site.Tenant.ID}, timeZero, 1)
		require.NoError(t, err)
		require.Equal(t, "outbound_account.forget asked for", log[0].Action+" "+log[0].Reason)
	})
}

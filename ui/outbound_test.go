package ui_test

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/ui"
)

// inLanguage chooses the language of a page.
const inLanguage = "Accept-Language"

func TestWhyAnAccountWasStoppedIsToldWithItsEvidence(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		at := time.Now().Add(-time.Minute)
		r.usual(t, stolen, at.Add(-170*time.Minute))
		r.blast(t, stolen, at)
		b := r.as(t, r.person(t, "help@example.test", auth.Helpdesk))
		page := b.page(t, stolenURL+"/why", inLanguage, "en")
		said := words(page)
		for _, want := range []string{
			"SENDING STOPPED since", "· automatic",
			"412 recipients in 1 h; the usual peak of this account is 7. The same text went to 398 recipients.",
			"Score 0.87 (stop at 0.80) rate 0.38 content 0.31 history 0.18",
			"Recipients in an hour 412 80 7 0.20", "Same text 398 30 – 0.13", "Spam score second kind of evidence 7.4 6.0 0.3 0.07",
			"Sign-in place: Nigeria (NG) second kind of evidence 1 – –",
			"From address 203.0.113.77 Nigeria (NG)",
			"20 of 108 messages of the hour before, grouped by text.", "97 messages with the text 7d1f0aa9",
			"Whether the password leaked.", "How many recipients bounced: no bounce log reached us.", "The password was changed",
			policy.TextSuspended, "Release…", "Keep stopped", "Limit to 20/h",
		} {
			require.Contains(t, said, want)
		}
		require.NotContains(t, said, "Stop again")
		require.Equal(t, 20, strings.Count(page, `<td class="nowrap"><a href="/outbound/accounts/hanako@example.test/why?decision=`))
		require.Contains(t, page, `<details open><summary>The same as a table</summary>`, "scripts fold it away")
		require.Contains(t, page, `data-limit="16.666`, "200 an hour is 17 in 5 minutes")
		require.Contains(t, page, `<span data-event="stop">stopped</span>`)
		require.Contains(t, page, `<bdi data-place="203.0.113.77">`)
		japanese := words(b.page(t, stolenURL+"/why", inLanguage, "ja"))
		for _, want := range []string{
			"送信停止中 開始: 20", "接続元の変化（ナイジェリア (NG)）", "接続元 203.0.113.77 ナイジェリア (NG)",
		} {
			require.Contains(t, japanese, want)
		}

		list := words(b.page(t, "/outbound/suspensions", inLanguage, "en"))
		require.Regexp(t, `hanako@example.test .* automatic 412 recipients in 1 h.* when somebody releases it Why\?`, list)
		list = words(b.page(t, "/outbound/accounts?q=HANA&level=hard_limit", inLanguage, "en"))
		require.Regexp(t, `hanako@example.test Stopped 0.87 .* Stopped · automatic`, list)
		require.Contains(t, words(b.page(t, "/outbound/accounts?q=nobody", inLanguage, "en")), "No account matches")
		require.Contains(t, words(b.page(t, stolenURL, inLanguage, "en")), "Refused: stopped 0 0.87 203.0.113.77 Nigeria (NG) hanako@example.test")
	})
}

func TestForgottenAccountsEndNoPage(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		r.blast(t, stolen, time.Now().Add(-time.Minute))
		r.blast(t, "bob@example.test", time.Now().Add(-2*time.Minute))
		_, err := r.store.ForgetOutbound(t.Context(), r.site.Tenant.ID, stolen)
		require.NoError(t, err)
		b := r.as(t, r.person(t, "help@example.test", auth.Helpdesk))
		list := words(b.page(t, "/outbound/suspensions", inLanguage, "en"))
		require.Regexp(t, `hanako@example.test .* automatic The decision behind it is kept no more.`, list)
		require.Regexp(t, `bob@example.test .* automatic 412 recipients in 1 h`, list)
		page := b.page(t, stolenURL, inLanguage, "en")
		require.Contains(t, page, stolenURL+"/why")
		said := words(b.page(t, stolenURL+"/why", inLanguage, "en"))
		require.Contains(t, said, "SENDING STOPPED since")
		require.Contains(t, said, "The decision behind it is kept no more.")
		require.NotContains(t, said, "A person stopped this account")
		require.Contains(t, said, "Release…")
		require.Contains(t, words(b.page(t, stolenURL+"/why", inLanguage, "ja")), "この判定の記録はもう保存されていません。")

		// A super admin sees accounts that are stopped in a tenant that has lost their domain.
		r.engine.tenants["example.test"] = r.other.Tenant.ID
		root := r.person(t, "root@example.test", auth.SuperAdmin)
		require.Contains(t, words(r.as(t, root).page(t, "/outbound/suspensions", inLanguage, "en")), "bob@example.test")
		delete(r.engine.tenants, "example.test")
		require.Contains(t, words(r.as(t, root).page(t, "/outbound/suspensions", inLanguage, "en")), "bob@example.test")
	})
}

func TestReleaseNeedsAReasonAndStaysOnTheRecord(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		stopped := r.blast(t, stolen, time.Now().Add(-time.Minute))
		b := r.as(t, r.person(t, "help@example.test", auth.Helpdesk))
		page := b.page(t, stolenURL+"/why?act=release", inLanguage, "en")
		require.Contains(t, page, `<details class="act" name="act" open><summary class="button primary">Release…`)
		require.Regexp(t, `name="hours"[^>]* value="24"`, page, "a probation is filled in")
		require.Regexp(t, `name="cap"[^>]* value="20"`, page)
		for _, c := range []struct {
			pairs  []string
			want   string
			status int
		}{
			{[]string{"hours", "24", "cap", "20"}, "State a reason", http.StatusUnprocessableEntity},
			{[]string{"reason", "all is well", "hours", "soon"}, "whole numbers", http.StatusUnprocessableEntity},
			{[]string{"reason", "all is well", "hours", "99999"}, "hours are 0 to 8760", http.StatusUnprocessableEntity},
			{[]string{"reason", "all is well", "revision", "7"}, "Somebody else has changed", http.StatusConflict},
		} {
			a := b.post(t, stolenURL+"/release", c.pairs...)
			require.Equal(t, c.status, a.StatusCode, c.want)
			require.Contains(t, a.body, c.want)
			require.Contains(t, a.body, `<details class="act" name="act" open><summary class="button primary">Release…`, "the form comes back")
		}
		require.Contains(t, b.post(t, stolenURL+"/release", "reason", "all is <well>", "hours", "x").body, `value="all is &lt;well&gt;"`)
		revision := regexp.MustCompile(`name="revision" value="(\d+)"`).FindStringSubmatch(page)[1]
		page = b.act(t, stolenURL+"/release", "reason", "the owner called", "ticket", "HD-1", "checked", "password", "checked", "sessions",
			"checked", "<b>", "hours", "24", "cap", "20", "revision", revision)
		said := words(page)
		require.Contains(t, said, "The account may send again.")
		require.Contains(t, said, "SENDING LIMITED since")
		require.Contains(t, said, "at most 20 recipients an hour")
		require.Contains(t, said, "the owner called (checked: password, sessions)")
		require.Contains(t, said, "Stop again", "it can be stopped again from there")
		a, err := r.store.OutboundAccount(t.Context(), store.System, stolen)
		require.NoError(t, err)
		require.Equal(t, store.LevelSoftLimit, a.Level)
		require.Equal(t, "HD-1", a.Ticket)
		require.WithinDuration(t, time.Now().Add(24*time.Hour), a.Until, time.Minute)
		log, err := r.store.AuditLog(t.Context(), store.System, timeZero, 10)
		require.NoError(t, err)
		require.Equal(t, "outbound_account.release", log[0].Action)
		require.Equal(t, "help@example.test", log[0].Actor)
		require.Contains(t, words(b.page(t, stolenURL+"/why", inLanguage, "en")), "This is about the last stop.", "the stop is still explained")
		require.Contains(t, b.page(t, stolenURL), admin.LogID(stopped.Decision))

		said = words(b.act(t, stolenURL+"/suspend", "reason", "again the same", "hours", "0"))
		require.Contains(t, said, "Sending from the account is stopped.")
		require.Regexp(t, "SENDING STOPPED since .* · by help@example.test", said)
		said = words(b.act(t, stolenURL+"/extend", "reason", "seen, stays stopped", "hours", "48"))
		require.Contains(t, said, "Sending stays stopped.")
		require.Contains(t, said, "· until ")
		said = words(b.act(t, stolenURL+"/limit", "reason", "a bit is fine", "cap", "7", "hours", "12"))
		require.Contains(t, said, "at most 7 recipients an hour")
		require.Equal(t, http.StatusNotFound, b.post(t, stolenURL+"/explode", "reason", "why not this").StatusCode)
	})
}

func TestAccountsAreStoppedByHand(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.as(t, r.person(t, "help@example.test", auth.Helpdesk))
		require.Contains(t, words(b.page(t, "/outbound/suspensions", inLanguage, "en")), "No account is stopped")
		said := words(b.act(t, "/outbound/suspensions", "account", " Never.Sent@example.test ", "reason", "a phone was stolen", "hours", "0"))
		require.Contains(t, said, "never.sent@example.test")
		require.Contains(t, said, "SENDING STOPPED")
		said = words(b.page(t, "/outbound/accounts/never.sent@example.test/why", inLanguage, "en"))
		require.Contains(t, said, "A person stopped this account; the engine had no part in it.")
		require.Contains(t, said, "Reason: a phone was stolen")
		require.Contains(t, said, policy.TextSuspended)
		for _, c := range []struct{ account, want string }{
			{"eve@other.test", "There is no account eve@other.test that you may stop."}, {"nobody@nowhere.test", "that you may stop"},
			{"two words", "That was refused"}, {"", "That was refused"},
		} {
			a := b.post(t, "/outbound/suspensions", "account", c.account, "reason", "long enough")
			require.Equal(t, http.StatusUnprocessableEntity, a.StatusCode, c.account)
			require.Contains(t, words(a.body), c.want)
		}
	})
}

func TestDomainsAreStoppedByAdministrators(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		help, boss := r.as(t, r.person(t, "help@example.test", auth.Helpdesk)), r.as(t, r.person(t, "admin@example.test", auth.TenantAdmin))
		require.NotContains(t, help.page(t, "/outbound/suspensions"), "/outbound/domains")
		require.Equal(t, http.StatusForbidden, help.post(t, "/outbound/domains", "domain", "example.test", "reason", "not mine to do").StatusCode)
		said := words(boss.act(t, "/outbound/domains", "domain", "Example.TEST", "reason", "web form is abused", "ticket", "HD-9"))
		require.Contains(t, said, "Sending from the whole domain is stopped.")
		require.Regexp(t, `example.test .* admin@example.test web form is abused · HD-9`, said)
		require.Contains(t, words(help.page(t, stolenURL, inLanguage, "en")), "All accounts of example.test are stopped: web form is abused")
		for _, person := range []string{"hanako", "bob"} {
			page := words(r.as(t, r.site.Users[person].ID).page(t, "/sending", inLanguage, "en"))
			require.Contains(t, page, "Sending from your account is temporarily suspended")
			require.Contains(t, page, "Your administrator has stopped sending from all accounts of example.test.")
			require.NotContains(t, page, "web form", "the reason is for those who act")
		}
		require.NotContains(t, r.as(t, r.other.Users["eve"].ID).page(t, "/settings"), "temporarily suspended")
		for _, domain := range []string{"other.test", "nowhere.test"} {
			a := boss.post(t, "/outbound/domains", "domain", domain, "reason", "long enough")
			require.Equal(t, http.StatusUnprocessableEntity, a.StatusCode)
			require.Contains(t, a.body, "There is no such domain")
		}
		require.Contains(t, words(boss.act(t, "/outbound/domains/example.test/release", "reason", "form is mended")), "The domain may send again.")
		require.NotContains(t, r.hanako(t).page(t, "/settings"), "temporarily suspended")
	})
}

func TestLongListsGoOn(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		var sent []store.OutboundDecision
		for i := range 120 {
			account := fmt.Sprintf("user%03d@example.test", i)
			r.change(t, account, func(c *store.OutboundChange) {
				c.Level, c.Reason, c.ActorKind, c.Actor = store.LevelHardLimit, "a test", "user", "root"
			})
			sent = append(sent, store.OutboundDecision{
				LogKey: store.LogKey{At: time.Now().Add(-time.Duration(i) * time.Second)}, Tenant: r.site.Tenant.ID, Account: account, Kind: "end", Action: "allow",
			})
		}
		require.NoError(t, r.store.InsertOutboundDecisions(t.Context(), sent))
		b := r.as(t, r.person(t, "help@example.test", auth.Helpdesk))
		for _, path := range []string{"/outbound/suspensions", "/outbound/accounts?level=hard_limit", "/outbound/decisions", "/outbound/accounts?q=user"} {
			seen, pages := map[string]bool{}, 0
			for next := path; next != ""; pages++ {
				page := b.page(t, next)
				for _, m := range regexp.MustCompile(`href="/outbound/accounts/(user\d+)@example.test"`).FindAllStringSubmatch(page, -1) {
					require.False(t, seen[m[1]], "%s: %s comes twice", path, m[1])
					seen[m[1]] = true
				}
				next = ""
				if m := regexp.MustCompile(`rel="next" href="([^"]+)"`).FindStringSubmatch(page); m != nil {
					next = html.UnescapeString(m[1])
				}
			}
			require.Len(t, seen, 120, path)
			require.Equal(t, 3, pages, path)
		}
	})
}

func TestOnlyThoseWhoMayLookOrActDo(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		stopped := r.blast(t, stolen, time.Now().Add(-time.Minute))
		pages := []string{
			"/outbound/suspensions", "/outbound/accounts", stolenURL, stolenURL + "/why", stolenURL + "/why?decision=" + admin.LogID(stopped.Decision),
			"/outbound/decisions", "/outbound/profiles", "/outbound/policy",
		}
		posts := []string{stolenURL + "/release", stolenURL + "/suspend", stolenURL + "/extend", stolenURL + "/limit"}
		auditor := r.as(t, r.person(t, "audit@example.test", auth.Auditor))
		for _, path := range pages {
			page := auditor.page(t, path)
			require.NotContains(t, page, `name="reason"`, "%s: who only looks has no buttons", path)
		}
		for _, path := range posts {
			require.Equal(t, http.StatusForbidden, auditor.post(t, path, "reason", "long enough", "hours", "1", "cap", "1").StatusCode, path)
		}
		boss, _, err := r.store.EnsureUser(t.Context(), store.User{Tenant: r.other.Tenant.ID, Login: "boss@other.test", Role: string(auth.TenantAdmin)})
		require.NoError(t, err)
		elsewhere := r.as(t, boss.ID)
		for _, path := range []string{"/outbound/suspensions", "/outbound/accounts", "/outbound/decisions", "/outbound/decisions?account=" + stolen} {
			require.NotContains(t, elsewhere.page(t, path), stolenURL, path)
		}
		for _, path := range pages[2:5] {
			require.Equal(t, http.StatusNotFound, elsewhere.get(t, path).StatusCode, path)
		}
		for _, path := range posts {
			require.Equal(t, http.StatusNotFound, elsewhere.post(t, path, "reason", "long enough", "hours", "1", "cap", "1").StatusCode, path)
		}
		for _, user := range []*browser{r.hanako(t), r.as(t, r.site.Users["bob"].ID), r.as(t, r.other.Users["eve"].ID)} {
			for _, path := range pages {
				require.Equal(t, http.StatusNotFound, user.get(t, path).StatusCode, path)
			}
			for _, path := range append(posts, "/outbound/suspensions", "/outbound/domains") {
				require.Equal(t, http.StatusNotFound, user.post(t, path, "reason", "let me go", "hours", "0").StatusCode, path)
			}
			require.NotContains(t, user.page(t, "/settings"), `href="/outbound`)
		}
		require.Equal(t, http.StatusSeeOther, r.as(t, "").get(t, stolenURL).StatusCode, "nobody is signed in")
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "", "Origin", "https://evil.test"}} {
			a := r.as(t, r.person(t, "help@example.test", auth.Helpdesk)).do(t, http.MethodPost, posts[0], "reason=long+enough&hours=0", header...)
			require.Equal(t, http.StatusForbidden, a.StatusCode)
		}
		a, err := r.store.OutboundAccount(t.Context(), store.System, stolen)
		require.NoError(t, err)
		require.Equal(t, stopped.Revision, a.Revision, "nothing has changed")
	})
}

func TestWhoIsStoppedIsToldOnEveryPage(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		r.usual(t, stolen, time.Now().Add(-170*time.Minute))
		id := r.deliver(t, store.Inbox, plainMail)
		b := r.hanako(t)
		paths := []string{inbox, "/message/" + string(id), "/settings", "/access", "/help", "/sending", "/nothing", inbox + "?folder=nowhere"}
		for _, path := range paths {
			require.NotContains(t, b.get(t, path, inLanguage, "ja").body, "送信一時停止中", path)
		}
		require.Contains(t, words(b.page(t, "/sending", inLanguage, "en")), "You can send normally.")
		r.blast(t, stolen, time.Now().Add(-time.Minute))
		for _, path := range paths {
			body := b.get(t, path, inLanguage, "ja").body
			require.Contains(t, body, "<strong>あなたのアカウントは送信一時停止中です</strong>", path)
			require.Equal(t, path == "/sending", !strings.Contains(body, `<a href="/sending">状況`), path)
			require.Contains(t, b.get(t, path, inLanguage, "en").body, "<strong>Sending from your account is temporarily suspended</strong>", path)
		}
		for _, other := range []store.UserID{r.site.Users["bob"].ID, r.other.Users["eve"].ID, r.person(t, "help@example.test", auth.Helpdesk)} {
			require.NotContains(t, r.as(t, other).page(t, "/help", inLanguage, "ja"), "送信一時停止中")
		}
		require.NotContains(t, r.as(t, "").page(t, "/help", inLanguage, "ja"), "送信一時停止中")

		said := words(b.page(t, "/sending", inLanguage, "en"))
		for _, want := range []string{"hanako@example.test", "has been stopped to protect you and others", "Change your password", "Last hour", "200", "1,000"} {
			require.Contains(t, said, want)
		}
		for _, secret := range []string{"203.0.113.77", "0.87", "same text", "new recipients 4"} {
			require.NotContains(t, said, secret, "a thief is not told what gave them away")
		}
		require.NotContains(t, words(r.as(t, r.site.Users["bob"].ID).page(t, "/sending", inLanguage, "en")), "hanako")

		require.NoError(t, r.store.SetOutboundMode(t.Context(), r.site.Tenant.ID, "off", store.OutboundBy{Reason: "a test", ActorKind: "user", Actor: "root"}, nil))
		require.NotContains(t, b.page(t, "/help", inLanguage, "ja"), "送信一時停止中", "in mode off nothing holds")
	})
}

func TestALoginWithoutADomainHasOne(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		r.engine.options.DefaultDomain = "example.test"
		ichiro := r.as(t, r.person(t, "Ichiro", auth.User))
		require.Contains(t, ichiro.page(t, "/sending"), "<strong>ichiro@example.test</strong>")
		r.blast(t, "ichiro@example.test", time.Now().Add(-time.Minute))
		require.Contains(t, ichiro.page(t, "/help", inLanguage, "ja"), "あなたのアカウントは送信一時停止中です")
		require.Contains(t, words(ichiro.page(t, "/sending", inLanguage, "en")), "Often this means that somebody else knows the password.")
		// The same login in another tenant is another account.
		other, _, err := r.store.EnsureUser(t.Context(), store.User{Tenant: r.other.Tenant.ID, Login: "ichiro2", Role: string(auth.User)})
		require.NoError(t, err)
		r.blast(t, "ichiro2@example.test", time.Now().Add(-time.Minute))
		require.NotContains(t, r.as(t, other.ID).page(t, "/help", inLanguage, "ja"), "送信一時停止中")
	})
}

func TestShadowIsSaidPlainly(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.as(t, r.person(t, "admin@example.test", auth.TenantAdmin))
		said := words(b.page(t, "/outbound/policy", inLanguage, "en"))
		require.Contains(t, said, "Enforce Automatic decisions take effect.")
		require.Contains(t, said, "Recipients per account and hour limits.user_per_hour 200")
		require.Contains(t, said, "Stopped from this score on thresholds.hard 0.8")
		require.NoError(t, r.store.SetOutboundMode(t.Context(), r.site.Tenant.ID, "shadow", store.OutboundBy{Reason: "a test", ActorKind: "user", Actor: "root"}, nil))
		require.Contains(t, words(b.page(t, "/outbound/policy", inLanguage, "en")), "Shadow Automatic decisions are recorded only")
		require.Contains(t, words(b.page(t, "/outbound/suspensions", inLanguage, "en")), "Shadow mode: Automatic decisions are recorded but do not take effect.")

		d := store.OutboundDecision{
			Tenant: r.site.Tenant.ID, Account: stolen, Kind: "end", Messages: 1, Recipients: 3, Action: "allow", LevelBefore: "normal",
			LevelAfter: "normal", Would: "refuse_suspended", WouldLevel: "hard_limit", ScoreMicro: 900_000, Mode: "shadow", Explanation: explanation(t, time.Now()),
		}
		list := []store.OutboundDecision{d}
		require.NoError(t, r.store.InsertOutboundDecisions(t.Context(), list))
		log := b.page(t, "/outbound/decisions?limited=1", inLanguage, "en")
		require.Contains(t, words(log), "Refused: stopped Shadow 3 0.90")
		require.Contains(t, log, admin.LogID(list[0].LogKey))
		said = words(b.page(t, stolenURL+"/why?decision="+admin.LogID(list[0].LogKey), inLanguage, "en"))
		require.Contains(t, said, "Why was this decided?")
		require.Contains(t, said, "Shadow mode:")
		require.Contains(t, said, "Level Normal → Normal (in mode enforce: Stopped )")
		said = words(b.page(t, stolenURL+"/why", inLanguage, "en"))
		require.NotContains(t, said, "about the last stop", "there was none")
		require.Contains(t, said, "Why was this decided?")
		for _, path := range []string{stolenURL + "/why?decision=x", stolenURL + "/why?decision=1-2", "/outbound/accounts/bob@example.test/why?decision=" + admin.LogID(list[0].LogKey), "/outbound/decisions?before=x"} {
			require.Equal(t, http.StatusNotFound, b.get(t, path).StatusCode, path)
		}
		require.Contains(t, words(b.page(t, "/outbound/profiles", inLanguage, "en")), "newsletter news@example.test 5000 msgs/hour 週刊ニュース configuration file")
	})
}

func TestWithoutAnEngineNothingIsMadeUp(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		r.usual(t, stolen, time.Now().Add(-170*time.Minute))
		r.engine = nil
		r = r.with(t, func(s ui.Store) ui.Store { return s })
		b := r.as(t, r.person(t, "admin@example.test", auth.TenantAdmin))
		require.Contains(t, words(b.page(t, "/outbound/policy", inLanguage, "en")), "The outbound engine runs in another process")
		said := words(b.page(t, stolenURL, inLanguage, "en"))
		require.Contains(t, said, "Last 24 hours 27 14 –", "no limit that may be wrong")
		b.page(t, "/outbound/suspensions")
		require.Contains(t, words(r.hanako(t).page(t, "/sending", inLanguage, "en")), "You can send normally.")
	})
}

func TestFactsOfStrangersAreOnlyText(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		const evil = `"><script>alert(1)</script>`
		r.blast(t, stolen, time.Now().Add(-time.Minute))
		require.NoError(t, r.store.InsertOutboundDecisions(t.Context(), []store.OutboundDecision{{
			Tenant: r.site.Tenant.ID, Account: stolen, Kind: "end", QueueHost: evil, QueueID: evil, Client: evil, MailFrom: evil, Action: evil,
			Reply: evil, LevelBefore: evil, LevelAfter: evil, Mode: evil, Would: evil, PolicyHash: evil, LogKey: store.LogKey{At: time.Now().Add(-2 * time.Minute)},
			Explanation: `{"v":1,"score":1,"factors":[{"name":"<script>"}],"evidence":[{"name":"<script>"},{"name":"volume","unit":"<script>"}],"unknown":["<script>"]}`,
		}}))
		b := r.as(t, r.person(t, "help@example.test", auth.Helpdesk))
		list, err := r.store.OutboundDecisions(t.Context(), store.System, store.DecisionFilter{Account: stolen, Limit: 20})
		require.NoError(t, err)
		for _, d := range list {
			if d.MailFrom == evil {
				require.NotContains(t, b.page(t, stolenURL+"/why?decision="+admin.LogID(d.LogKey)), "<script>alert")
			}
		}
		for _, path := range []string{stolenURL, stolenURL + "/why", "/outbound/decisions", "/outbound/accounts?q=" + evil, "/outbound/accounts/%22%3E%3Cscript%3E@example.test"} {
			page := b.get(t, path).body
			require.NotContains(t, page, "<script>alert", path)
			require.NotContains(t, page, "><script>@", path)
		}
	})
}

func TestWhatTheEngineSaysIsUnderstood(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		var state policy.State
		now := time.Now()
		event := policy.Event{
			Account: stolen, Tenant: string(r.site.Tenant.ID), Place: policy.Place{Country: "ZZ", Network: 7},
			Content: policy.Content{Spam: 9_000_000, SpamKnown: true, Fingerprint: stolenText, SizeBytes: 2000},
		}
		var d policy.Decision
		for i := range uint64(60) {
			event.Transaction, event.Recipients = i+1, nil
			at := now.Add(time.Duration(i)*10*time.Second - 12*time.Minute).UnixMicro()
			for n := range uint64(5) {
				reserve := event
				reserve.Kind, reserve.Recipients = policy.KindReserve, []uint64{1 + i*5 + n}
				event.Recipients = append(event.Recipients, reserve.Recipients...)
				_, state = policy.Decide(state, reserve, r.engine.compiled, at)
			}
			event.Kind = policy.KindCommit
			if d, state = policy.Decide(state, event, r.engine.compiled, at); d.After == policy.HardLimit {
				break
			}
		}
		require.Equal(t, policy.HardLimit, d.After)
		raw, err := json.Marshal(d.Explanation)
		require.NoError(t, err)
		stop := []store.OutboundDecision{{
			Tenant: r.site.Tenant.ID, Account: stolen, Kind: "end", Client: "203.0.113.7", Action: string(d.Action), LevelBefore: "normal",
			LevelAfter: string(d.After), ScoreMicro: d.Score, Mode: "enforce", Reply: policy.TextSuspended, Explanation: string(raw), Fingerprint: stolenText,
		}}
		require.NoError(t, r.store.InsertOutboundDecisions(t.Context(), stop))
		r.change(t, stolen, func(c *store.OutboundChange) {
			c.Act, c.Level, c.ActorKind, c.Decision = "auto_suspend", store.LevelHardLimit, "system", stop[0].LogKey
		})
		b := r.as(t, r.person(t, "help@example.test", auth.Helpdesk))
		said := words(b.page(t, stolenURL+"/why", inLanguage, "en"))
		for _, want := range []string{"SENDING STOPPED", "Spam score second kind of evidence 9.0", "Recipients in", "New recipients in", "Same text"} {
			require.Contains(t, said, want)
		}
		for _, e := range d.Explanation.Evidence {
			require.NotContains(t, said, "evidence_of."+e.Name)
		}
	})
}

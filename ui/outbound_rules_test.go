package ui_test

import (
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

// value finds the value of a hidden field of a page.
func value(t *testing.T, page, name string) string {
	t.Helper()
	m := regexp.MustCompile(`name="` + name + `" value="([^"]*)"`).FindStringSubmatch(page)
	require.NotNil(t, m, "%s in %s", name, page)
	return strings.ReplaceAll(m[1], "&gt;", ">")
}

func TestBulkSendersAreAddedChangedAndDeleted(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.as(t, r.person(t, "admin@example.test", auth.TenantAdmin))
		require.Contains(t, words(b.page(t, "/outbound/profiles", inLanguage, "en")), "Add a bulk sender")
		require.NotContains(t, b.page(t, "/outbound/new-profile"), `name="tenant"`, "it is one's own")
		form := func(change ...string) []string {
			pairs := map[string]string{
				"id": "invoices", "accounts": "Billing@example.test、billing2@example.test\r\n billing@example.test", "count": "2000", "unit": "hour",
				"description": "monthly <b>", "reason": "agreed with accounting", "ticket": "HD-7",
			}
			for i := 0; i < len(change); i += 2 {
				pairs[change[i]] = change[i+1]
			}
			var list []string
			for name, text := range pairs {
				list = append(list, name, text)
			}
			return list
		}
		for _, c := range []struct{ field, text, en, ja string }{
			{"reason", "no", "State a reason", "理由を5文字以上で"},
			{"count", "fast", "The rate is a whole number of 1 to 1,000,000.", "上限は 1～1,000,000 の整数"},
			{"count", "0", "The rate is a whole number", "上限は 1～"},
			{"count", "1000001", "The rate is a whole number", "上限は 1～"},
			{"unit", "year", "The rate is a whole number", "上限は 1～"},
			{"id", "In voices", "a profile&#39;s id has 1 to 60 of", "プロファイルの ID は、"},
			{"id", "", "a profile&#39;s id has 1 to 60 of", "プロファイルの ID は、"},
			{"id", "newsletter", "belongs to the configuration", "設定ファイルで定義されています"},
			{"accounts", " \r\n", "name at least one account", "アカウントを 1 つ以上指定"},
			{"accounts", "eve@other.test", "eve@other.test is no account of this tenant", "eve@other.test はこのテナントのアカウントではありません"},
			{"accounts", strings.Repeat("a", 330) + "@example.test", "an account is a login with its domain", "アカウントは、ドメイン付きのログイン名"},
			{"count", "20000", "is for operators of the installation to allow", "設定ができるのはシステム管理者だけです"},
			{"description", strings.Repeat("あ", 501), "a description has at most 500 characters", "説明は 500 文字以内"},
		} {
			for language, want := range map[string]string{"en": c.en, "ja": c.ja} {
				a := b.postIn(t, language, "/outbound/new-profile", form(c.field, c.text)...)
				require.Equal(t, http.StatusUnprocessableEntity, a.StatusCode, "%s %q", c.field, c.text)
				require.Contains(t, a.body, want, "%s %q", c.field, c.text)
				if c.field != "accounts" {
					require.Contains(t, a.body, "Billing@example.test\nbilling2@example.test", "what was typed comes back")
				}
			}
		}
		list, err := r.store.OutboundProfiles(t.Context(), store.System, "", "", 9)
		require.NoError(t, err)
		require.Empty(t, list)

		said := words(b.act(t, "/outbound/new-profile", form()...))
		require.Contains(t, said, "The bulk sender is added.")
		require.Contains(t, said, "invoices billing@example.test billing2@example.test 2000 msgs/hour monthly <b> admin@example.test")
		a := b.post(t, "/outbound/new-profile", form("accounts", "news2@example.test")...)
		require.Equal(t, http.StatusUnprocessableEntity, a.StatusCode)
		require.Contains(t, a.body, "there is a profile invoices already")
		a = b.post(t, "/outbound/new-profile", form("id", "second")...)
		require.Contains(t, a.body, "billing@example.test has the profile invoices already")

		own := "/outbound/profiles/" + string(r.site.Tenant.ID) + "/invoices"
		page := b.page(t, own, inLanguage, "en")
		require.Contains(t, page, "billing@example.test\nbilling2@example.test</textarea>")
		require.Contains(t, page, `value="2000"`)
		revision := value(t, page, "revision")
		said = words(b.act(t, own, form("accounts", "billing2@example.test", "count", "300", "unit", "day", "revision", revision, "reason", "fewer letters")...))
		require.Contains(t, said, "The bulk sender is changed.")
		require.Contains(t, said, "300 msgs/day")
		a = b.post(t, own, form("revision", revision)...)
		require.Equal(t, http.StatusConflict, a.StatusCode)
		require.Contains(t, a.body, "Somebody else has changed this bulk sender")
		a = b.post(t, own+"/delete", "reason", "no letters any more", "revision", revision)
		require.Equal(t, http.StatusConflict, a.StatusCode)
		a = b.post(t, own+"/delete", "reason", "")
		require.Equal(t, http.StatusUnprocessableEntity, a.StatusCode)
		require.Contains(t, a.body, "State a reason")

		history := words(b.page(t, "/outbound/accounts/billing@example.test", inLanguage, "en"))
		require.Contains(t, history, "Taken out of bulk profile: invoices admin@example.test fewer letters")
		require.Contains(t, history, "Added to bulk profile: invoices admin@example.test agreed with accounting · HD-7")
		require.Contains(t, words(b.page(t, "/outbound/accounts/billing2@example.test", inLanguage, "ja")), "一括送信プロファイルの上限を変更: invoices")

		said = words(b.act(t, own+"/delete", "reason", "no letters any more", "revision", value(t, b.page(t, own), "revision")))
		require.Contains(t, said, "The bulk sender is deleted.")
		require.Equal(t, http.StatusNotFound, b.get(t, own).StatusCode)
		require.Equal(t, http.StatusNotFound, b.post(t, own, form()...).StatusCode, "what is gone is not made again")
		said = words(b.page(t, "/outbound/policy", inLanguage, "en"))
		require.Contains(t, said, "Bulk profile invoices – Deleted admin@example.test no letters any more")
		require.Contains(t, said, "Bulk profile invoices – Set: 300 msgs/day admin@example.test fewer letters")
		log, err := r.store.AuditLog(t.Context(), store.Scope{Tenant: r.site.Tenant.ID}, timeZero, 3)
		require.NoError(t, err)
		require.Equal(t, "outbound_profile.delete admin@example.test no letters any more", log[0].Action+" "+log[0].Actor+" "+log[0].Reason)
	})
}

func TestAModeIsConfirmedBeforeItHolds(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.as(t, r.person(t, "admin@example.test", auth.TenantAdmin))
		mode := func() string {
			modes, err := r.store.OutboundModes(t.Context(), store.System)
			require.NoError(t, err)
			return modes[r.site.Tenant.ID]
		}
		tenant := string(r.site.Tenant.ID)
		page := b.page(t, "/outbound/policy", inLanguage, "en")
		require.Contains(t, words(page), "Enforce Automatic decisions take effect. (of the configuration)")
		require.NotContains(t, page, `name="mode" value="off"`, "it is not theirs to turn off")

		asked := b.post(t, "/outbound/modes", "tenant", tenant, "mode", "shadow", "reason", "a migration of mail", "ticket", "HD-9")
		require.Equal(t, http.StatusOK, asked.StatusCode)
		require.Contains(t, words(asked.body), "Enforce → Shadow")
		require.Contains(t, asked.body, "a stolen account is not stopped by itself")
		require.Empty(t, mode(), "nothing is done before the answer")
		confirmed := []string{
			"tenant", value(t, asked.body, "tenant"), "mode", value(t, asked.body, "mode"), "confirm", value(t, asked.body, "confirm"),
			"reason", value(t, asked.body, "reason"), "ticket", value(t, asked.body, "ticket"),
		}
		said := words(b.act(t, "/outbound/modes", confirmed...))
		require.Contains(t, said, "The mode is changed.")
		require.Contains(t, said, "(set by hand)")
		require.Contains(t, said, "Tenant – Mode changed: Shadow admin@example.test a migration of mail · HD-9")
		require.Equal(t, "shadow", mode())

		asked = b.post(t, "/outbound/modes", "tenant", tenant, "mode", "default", "reason", "it is over now")
		require.Contains(t, words(asked.body), "Shadow → Enforce", "the configuration enforces")
		require.Contains(t, asked.body, "automatic decisions take effect")
		require.Contains(t, asked.body, `href="/outbound/decisions?limited=1"`)
		asked = b.post(t, "/outbound/modes", "tenant", tenant, "mode", "enforce", "reason", "it is over now", "confirm", "off>enforce")
		require.Contains(t, words(asked.body), "Shadow → Enforce", "another question was answered")
		require.Equal(t, "shadow", mode())
		b.act(t, "/outbound/modes", "tenant", tenant, "mode", "enforce", "reason", "it is over now", "confirm", "shadow>enforce")
		require.Equal(t, "enforce", mode())
		said = words(b.act(t, "/outbound/modes", "tenant", tenant, "mode", "default", "reason", "as it is configured"))
		require.Contains(t, said, "The mode is changed.", "the same holds, nothing is asked")
		require.Empty(t, mode())

		for _, c := range []struct{ mode, reason, confirm, en, ja string }{
			{"loud", "why not this", "", "Choose a mode.", "モードを選んでください。"},
			{"", "why not this", "", "Choose a mode.", "モードを選んでください。"},
			{"shadow", "no", "", "State a reason", "理由を5文字以上で"},
			{"off", "too many stops", "enforce>off", "only operators of the installation can set the mode off", "モードを off にできるのはシステム管理者だけです"},
		} {
			for language, want := range map[string]string{"en": c.en, "ja": c.ja} {
				a := b.postIn(t, language, "/outbound/modes", "tenant", tenant, "mode", c.mode, "reason", c.reason, "confirm", c.confirm)
				require.Equal(t, http.StatusUnprocessableEntity, a.StatusCode, c.mode)
				require.Contains(t, a.body, want)
			}
		}
		require.Empty(t, mode())

		// An account.
		said = words(b.page(t, stolenURL, inLanguage, "en"))
		require.Contains(t, said, "Mode: Enforce (of the tenant or the configuration)")
		asked = b.post(t, stolenURL+"/mode", "mode", "shadow", "reason", "the copier of the office")
		require.Contains(t, words(asked.body), stolen+" : Enforce → Shadow")
		said = words(b.act(t, stolenURL+"/mode", "mode", "shadow", "reason", "the copier of the office", "confirm", "enforce>shadow"))
		require.Contains(t, said, "Mode: Shadow (set by hand)")
		require.Contains(t, said, "Mode changed: Shadow admin@example.test the copier of the office")
		a := b.post(t, stolenURL+"/mode", "mode", "enforce", "reason", "no copier any more", "confirm", "shadow>enforce", "revision", "7")
		require.Equal(t, http.StatusConflict, a.StatusCode)
		notices, err := r.store.DueNotices(t.Context(), 9)
		require.NoError(t, err)
		require.Len(t, notices, 4, "each change is told")
		require.Equal(t, "mode_changed "+stolen, notices[3].Kind+" "+notices[3].Account)
	})
}

func TestModesAndProfilesStayInTheirTenantAndWithThoseWhoMay(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		_, _, err := r.store.SetOutboundProfile(t.Context(), store.OutboundProfileChange{Profile: store.OutboundProfile{
			Tenant: r.other.Tenant.ID, ID: "theirs", Accounts: []string{"secret@other.test"}, MaxRate: "5 msgs/hour",
		}})
		require.NoError(t, err)
		theirs := "/outbound/profiles/" + string(r.other.Tenant.ID) + "/theirs"
		ours := "/outbound/profiles/" + string(r.site.Tenant.ID) + "/ours"
		profile := []string{"accounts", "bob@example.test", "count", "5", "unit", "hour", "reason", "why not this"}
		boss := r.as(t, r.person(t, "admin@example.test", auth.TenantAdmin))
		for _, path := range []string{theirs, "/outbound/profiles/no-such/theirs", "/outbound/profiles/" + string(r.site.Tenant.ID) + "/theirs"} {
			require.Equal(t, http.StatusNotFound, boss.get(t, path).StatusCode, path)
			require.Equal(t, http.StatusNotFound, boss.post(t, path, profile...).StatusCode, path)
			require.Equal(t, http.StatusNotFound, boss.post(t, path+"/delete", "reason", "why not this").StatusCode, path)
		}
		for _, tenant := range []string{string(r.other.Tenant.ID), "other", "no-such"} {
			a := boss.post(t, "/outbound/modes", "tenant", tenant, "mode", "shadow", "reason", "why not this", "confirm", "enforce>shadow")
			require.Equal(t, http.StatusNotFound, a.StatusCode, tenant)
			a = boss.get(t, "/outbound/policy?tenant="+tenant, inLanguage, "en")
			require.Equal(t, http.StatusNotFound, a.StatusCode, tenant)
			require.Contains(t, a.body, "There is no tenant")
			require.NotContains(t, a.body, "secret@other.test")
		}
		require.NotContains(t, boss.page(t, "/outbound/profiles"), "theirs")
		modes, err := r.store.OutboundModes(t.Context(), store.System)
		require.NoError(t, err)
		require.Empty(t, modes)

		for _, role := range []auth.Role{auth.Helpdesk, auth.Auditor} {
			b := r.as(t, r.person(t, string(role)+"@example.test", role))
			require.Equal(t, http.StatusForbidden, b.get(t, "/outbound/new-profile").StatusCode, role)
			for path, pairs := range map[string][]string{
				"/outbound/new-profile": append([]string{"id", "mine"}, profile...), ours: profile, ours + "/delete": {"reason", "why not this"},
				"/outbound/modes":   {"mode", "shadow", "reason", "why not this", "confirm", "enforce>shadow"},
				stolenURL + "/mode": {"mode", "shadow", "reason", "why not this", "confirm", "enforce>shadow"},
			} {
				require.Equal(t, http.StatusForbidden, b.post(t, path, pairs...).StatusCode, "%s %s", role, path)
			}
			for _, path := range []string{"/outbound/profiles", "/outbound/policy", stolenURL} {
				page := b.page(t, path)
				require.NotContains(t, page, "/outbound/new-profile")
				require.NotContains(t, page, `name="mode"`)
			}
		}
		bob := r.as(t, r.site.Users["bob"].ID)
		for _, path := range []string{"/outbound/new-profile", ours, "/outbound/policy"} {
			require.Equal(t, http.StatusNotFound, bob.get(t, path).StatusCode, path)
		}
		require.Equal(t, http.StatusNotFound, bob.post(t, "/outbound/modes", "mode", "shadow", "reason", "why not this").StatusCode)
	})
}

func TestSuperAdminsSeeTenantsByName(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		_, _, err := r.store.SetOutboundProfile(t.Context(), store.OutboundProfileChange{Profile: store.OutboundProfile{
			Tenant: r.site.Tenant.ID, ID: "news", Accounts: []string{"news2@example.test"}, MaxRate: "5 msgs/hour",
		}})
		require.NoError(t, err)
		r.change(t, stolen, func(c *store.OutboundChange) { c.Level = store.LevelHardLimit })
		name, id := r.site.Tenant.Name, string(r.site.Tenant.ID)
		b := r.as(t, r.superAdmin(t))
		mark := `title="Tenant ` + id + `"><bdi>` + name + `</bdi>`
		for _, path := range []string{"/outbound/profiles", "/outbound/profiles/" + id + "/news", "/outbound/accounts", "/outbound/suspensions", stolenURL, stolenURL + "/why"} {
			page := b.page(t, path, inLanguage, "en")
			require.Contains(t, page, mark, path)
			require.NotContains(t, words(page), id, path)
		}
		require.Contains(t, b.page(t, "/outbound/new-profile"), `name="tenant"`)
		a := b.post(t, "/outbound/new-profile", "tenant", "nowhere", "id", "x", "accounts", "a@example.test", "count", "5", "unit", "hour", "reason", "why not this")
		require.Contains(t, a.body, "there is no tenant &#34;nowhere&#34;")
		require.Contains(t, a.body, `value="nowhere"`)
		b.act(t, "/outbound/new-profile", "tenant", name, "id", "x", "accounts", "a@example.test", "count", "5", "unit", "hour", "reason", "why not this")

		page := b.page(t, "/outbound/policy?tenant="+name, inLanguage, "en")
		require.Contains(t, page, `value="off"`, "they may turn it off")
		asked := b.post(t, "/outbound/modes", "tenant", id, "mode", "off", "reason", "an emergency here")
		require.Contains(t, asked.body, "the stops that are there do not hold")
		said := words(b.act(t, "/outbound/modes", "tenant", id, "mode", "off", "reason", "an emergency here", "confirm", "enforce>off"))
		require.Contains(t, said, "The mode is changed.")
		require.Contains(t, said, "Tenant – Mode changed: Off")
		said = words(b.page(t, "/outbound/policy", inLanguage, "en"))
		require.Contains(t, said, name+" Off")
		for _, own := range []auth.Role{auth.TenantAdmin, auth.Helpdesk} {
			p := r.as(t, r.person(t, string(own)+"@example.test", own)).page(t, "/outbound/accounts", inLanguage, "en")
			require.NotContains(t, p, mark, "who sees one tenant needs no name of it")
		}
	})
}

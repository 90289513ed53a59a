package ui_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/ui"
)

var timeZero time.Time

func TestWhatIsOthersIsAnsweredLikeWhatIsNotThere(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		id := r.deliver(t, store.Inbox, letter{from: "a@example.org", subject: "secret", html: "<p>x</p>", files: []string{"a.pdf"}}.data())
		eve, bob := r.as(t, r.other.Users["eve"].ID), r.as(t, r.site.Users["bob"].ID)
		admin, _, err := r.store.EnsureUser(t.Context(), store.User{Tenant: r.other.Tenant.ID, Login: "boss@other.test", Role: string(auth.TenantAdmin)})
		require.NoError(t, err)
		for _, b := range []*browser{eve, bob, r.as(t, admin.ID)} {
			for _, path := range []string{
				inbox, "/mail/" + string(r.site.Mailboxes["hanako"].ID), "/message/" + string(id), "/message/" + string(id) + "/body",
				"/message/" + string(id) + "/raw", "/message/" + string(id) + "/part/2", "/message/nothing", "/message/" + strings.Repeat("0", 36),
			} {
				a := b.get(t, path)
				require.Equal(t, http.StatusNotFound, a.StatusCode, path)
				require.NotContains(t, a.body, "secret")
			}
			require.Equal(t, http.StatusNotFound, b.post(t, act, "act", "delete", "id", string(id)).StatusCode)
			require.Equal(t, http.StatusNotFound, b.post(t, inbox+"/reason", "reason", "because I can").StatusCode)
		}
		// A message of others in a form of one's own is not found, and nothing happens to it.
		a := eve.post(t, "/mail/eve@other.test/act", "act", "delete", "id", string(id))
		require.Equal(t, http.StatusSeeOther, a.StatusCode)
		require.NotContains(t, a.Header.Get("Location"), "n=1")
		r.hanako(t).page(t, "/message/"+string(id))
	})
}

func TestMailOfOthersNeedsAReasonThatItsOwnerSees(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		id := r.deliver(t, store.Inbox, letter{from: "a@example.org", subject: "payslip", html: "<p>x</p>"}.data())
		gone := r.deliver(t, store.Inbox, letter{from: "a@example.org", subject: "old payslip", text: "x"}.data())
		helper := r.person(t, "help@example.test", auth.Helpdesk)
		b := r.as(t, helper)
		require.Equal(t, "/mailboxes", b.get(t, "/").Header.Get("Location"))
		require.Contains(t, b.page(t, "/mailboxes"), "hanako@example.test")
		require.NotContains(t, b.page(t, "/mailboxes"), "eve@other.test")
		require.Equal(t, inbox, b.get(t, "/mailboxes?address=HANAKO@example.test").Header.Get("Location"))
		require.Contains(t, b.page(t, "/mailboxes?address=nobody@example.test"), "There is no mailbox nobody@example.test")
		require.Equal(t, http.StatusForbidden, r.hanako(t).get(t, "/mailboxes").StatusCode)

		for _, path := range []string{inbox, "/message/" + string(id), "/message/" + string(id) + "/body", "/message/" + string(id) + "/raw"} {
			a := b.get(t, path)
			require.Equal(t, http.StatusForbidden, a.StatusCode, path)
			require.Contains(t, a.body, `name="reason"`)
			require.NotContains(t, a.body, "payslip")
		}
		a := b.get(t, "/message/"+string(id), "HX-Request", "true", "HX-Target", "section#reading")
		require.Equal(t, "/message/"+string(id), a.Header.Get("HX-Redirect"))
		require.Contains(t, b.post(t, inbox+"/reason", "reason", "x").body, "State a reason of at least 5 characters.")
		page := b.act(t, inbox+"/reason", "reason", "ticket 4711", "return", "/message/"+string(id))
		require.Contains(t, page, "payslip")
		require.Contains(t, page, "ticket 4711")
		require.NotContains(t, page, `value="delete"`, "only owners change their mail")
		require.Equal(t, http.StatusForbidden, b.post(t, act, "act", "delete", "id", string(id)).StatusCode)
		b.page(t, "/message/"+string(id)+"/body")
		b.page(t, "/message/"+string(gone))
		require.Equal(t, http.StatusForbidden, b.get(t, "/mail/bob@example.test").StatusCode, "a reason holds for one mailbox")

		owner := r.hanako(t)
		owner.act(t, act, "act", "delete", "id", string(gone), "return", inbox)
		require.NoError(t, r.store.Audit(t.Context(), store.AuditEntry{ // as the API writes it
			Tenant: r.site.Tenant.ID, ActorKind: "api_key", Actor: "ticket tool (k1)", Action: "message.list",
			Target: string(r.site.Mailboxes["hanako"].ID), After: `{"mailbox":"` + string(r.site.Mailboxes["hanako"].ID) + `"}`,
		}))
		log := words(owner.page(t, "/access"))
		require.Contains(t, log, "ticket tool (k1) looked at the list of messages of hanako@example.test")
		require.Equal(t, 1, strings.Count(log, "read payslip"), "page and body are one read: %s", log)
		require.Contains(t, log, "help@example.test read payslip ticket 4711")
		require.Contains(t, log, "read a message that has been deleted since")
		require.Contains(t, log, "opened the mailbox hanako@example.test ticket 4711")
		require.Equal(t, 1, strings.Count(log, "help@example.test looked at the list of messages of hanako@example.test ticket 4711"), log)
		require.NotContains(t, words(r.as(t, r.site.Users["bob"].ID).page(t, "/access")), "4711")

		b.act(t, "/logout")
		again := r.as(t, helper)
		require.Equal(t, http.StatusForbidden, again.get(t, inbox).StatusCode)
	})
}

func TestListsOfOthersMailAreNoted(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		r.deliver(t, store.Inbox, plainMail)
		b := r.as(t, r.person(t, "help@example.test", auth.Helpdesk))
		b.act(t, inbox+"/reason", "reason", "ticket 4711")
		require.Equal(t, 1, r.audited(t, "message.list"))
		b.page(t, inbox)
		b.page(t, inbox+"?folder="+store.Quarantine)
		require.Equal(t, 1, r.audited(t, "message.list"), "page after page is one look")
		b.act(t, inbox+"/reason", "reason", "ticket 4712")
		require.Equal(t, 2, r.audited(t, "message.list"), "another reason is another look")

		a := r.with(t, func(s ui.Store) ui.Store { return mutedStore{s} }).as(t, r.person(t, "help@example.test", auth.Helpdesk))
		a.carry(t, b.reason(t))
		require.Equal(t, http.StatusServiceUnavailable, a.get(t, inbox).StatusCode, "what cannot be noted is not shown")
		r.hanako(t).page(t, inbox)
		require.Equal(t, 2, r.audited(t, "message.list"), "one's own list is nobody's business")
	})
}

func TestReasonsCannotBeMadeUp(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		hanako := string(r.site.Mailboxes["hanako"].ID)
		b := r.as(t, r.person(t, "help@example.test", auth.Helpdesk))
		b.act(t, inbox+"/reason", "reason", "ticket 4711")
		good := b.reason(t)
		text, mac, _ := strings.Cut(good, "~")
		raw, err := base64.RawURLEncoding.DecodeString(text)
		require.NoError(t, err)
		forged := func(old, fresh string) string {
			changed := strings.Replace(string(raw), old, fresh, 1)
			require.NotEqual(t, string(raw), changed)
			return base64.RawURLEncoding.EncodeToString([]byte(changed)) + "~" + mac
		}
		unsigned := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, `{"m":%q,"r":"none of yours","u":%d}`, hanako, time.Now().Add(time.Hour).Unix()))
		for name, value := range map[string]string{
			"as it was once, unsigned": unsigned, "an empty MAC": unsigned + "~", "the MAC of another": unsigned + "~" + mac,
			"another reason": forged("ticket 4711", "ticket 9999"), "a later end": forged(`"u":`, `"u":9`),
			"another mailbox": forged(hanako, string(r.site.Mailboxes["bob"].ID)), "nothing": "", "no base64": "***~" + mac,
			"too long": good + strings.Repeat("x", 4000),
		} {
			b.carry(t, value)
			for _, path := range []string{inbox, "/mail/bob@example.test"} {
				a := b.get(t, path)
				require.Equal(t, http.StatusForbidden, a.StatusCode, name)
				require.Contains(t, a.body, `name="reason"`, name)
			}
		}
		b.carry(t, good)
		b.page(t, inbox)
		other := r.as(t, r.person(t, "audit@example.test", auth.Auditor))
		other.carry(t, good)
		require.Equal(t, http.StatusForbidden, other.get(t, inbox).StatusCode, "a reason is good for who gave it")
	})
}

// reason is the cookie of the reason that the browser keeps.
func (b *browser) reason(t testing.TB) string {
	t.Helper()
	at, err := url.Parse(b.base)
	require.NoError(t, err)
	for _, c := range b.client.Jar.Cookies(at) {
		if c.Name == "mairust-reason" {
			return c.Value
		}
	}
	require.Fail(t, "no reason is kept")
	return ""
}

// carry puts another reason in its place.
func (b *browser) carry(t testing.TB, value string) {
	t.Helper()
	at, err := url.Parse(b.base)
	require.NoError(t, err)
	b.client.Jar.SetCookies(at, []*http.Cookie{{Name: "mairust-reason", Value: value, Path: "/"}})
}

// audited counts the entries of an action in the audit log of the tenant "example".
func (r *rig) audited(t testing.TB, action string) (n int) {
	t.Helper()
	entries, err := r.store.AuditLog(t.Context(), store.Scope{Tenant: r.site.Tenant.ID}, time.Time{}, 1000)
	require.NoError(t, err)
	for _, e := range entries {
		if e.Action == action {
			n++
		}
	}
	return n
}

// mutedStore takes no entry for the audit log.
type mutedStore struct{ ui.Store }

func (mutedStore) Audit(context.Context, store.AuditEntry) error {
	return fmt.Errorf("%w: the audit log is away", store.ErrUnavailable)
}

func TestFormsOfOtherSitesAreRefused(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		id := r.deliver(t, store.Inbox, plainMail)
		b := r.hanako(t)
		form := url.Values{"act": {"delete"}, "id": {string(id)}}.Encode()
		for _, path := range []string{act, "/logout", "/preferences", "/settings/password", "/settings/app-passwords", "/login", "/login/link", inbox + "/reason"} {
			for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Sec-Fetch-Site", "same-site"}, {"Sec-Fetch-Site", "", "Origin", "https://evil.test"}} {
				a := b.do(t, http.MethodPost, path, form, header...)
				require.Equal(t, http.StatusForbidden, a.StatusCode, path)
				require.Contains(t, a.body, "another website")
			}
			a := b.do(t, http.MethodPut, path, form, "Sec-Fetch-Site", "same-origin")
			require.Equal(t, http.StatusMethodNotAllowed, a.StatusCode)
			require.Contains(t, a.Header.Get("Allow"), "POST")
		}
		b.page(t, "/message/"+string(id))
	})
}

func TestEveryPageHasItsPolicy(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.hanako(t)
		for _, path := range []string{"/login", "/nothing", inbox, "/settings", "/help", "/login/link?token=x"} {
			h := b.get(t, path).Header
			require.Equal(t, "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "+
				"form-action 'self'; frame-src 'self'; frame-ancestors 'none'; base-uri 'none'", h.Get("Content-Security-Policy"), path)
			require.Equal(t, "no-store", h.Get("Cache-Control"))
			require.Equal(t, "no-referrer", h.Get("Referrer-Policy"))
			require.Equal(t, "nosniff", h.Get("X-Content-Type-Options"))
			require.NotEmpty(t, h.Get("X-Request-Id"))
		}
		require.Equal(t, http.StatusNotFound, b.get(t, "/nothing").StatusCode)
		require.Equal(t, http.StatusBadRequest, b.do(t, http.MethodPost, act, strings.Repeat("x", 300<<10)).StatusCode)
	})
}

func TestAwayDatabaseIsToldInBothLanguages(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		for language, want := range map[string]string{"en": "No mail is lost", "ja": "メールが失われることはありません"} {
			s := r.with(t, func(s ui.Store) ui.Store { return awayStore{s} })
			a := s.as(t, r.site.Users["hanako"].ID).get(t, inbox, "Accept-Language", language)
			require.Equal(t, http.StatusServiceUnavailable, a.StatusCode)
			require.Contains(t, a.body, want)
			require.NotEmpty(t, a.Header.Get("Retry-After"))
			require.Contains(t, s.log.String(), "store is away")
			require.NotContains(t, a.body, "store is away")
		}
	})
}

func TestPanicsAreAnsweredAndLogged(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		s := r.with(t, func(s ui.Store) ui.Store { return panicStore{s} })
		a := s.as(t, r.site.Users["hanako"].ID).get(t, inbox)
		require.Equal(t, http.StatusInternalServerError, a.StatusCode)
		require.Contains(t, a.body, "Something went wrong")
		require.Contains(t, s.log.String(), "panicStore")
	})
}

// awayStore has lost its mailboxes.
type awayStore struct{ ui.Store }

func (awayStore) Mailboxes(context.Context, store.Scope, string, int) ([]store.Mailbox, error) {
	return nil, fmt.Errorf("%w: store is away", store.ErrUnavailable)
}

type panicStore struct{ ui.Store }

func (panicStore) Mailboxes(context.Context, store.Scope, string, int) ([]store.Mailbox, error) {
	panic("panicStore")
}

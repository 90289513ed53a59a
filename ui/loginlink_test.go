package ui_test

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

func TestLoginLinkIsUsedByItsFormAlone(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b, token := r.as(t, ""), r.link(t, time.Minute)
		path := "/login/link?" + url.Values{"token": {token}}.Encode()
		for range 3 { // mail scanners follow each link
			require.Contains(t, b.page(t, path), token)
		}
		a := b.post(t, "/login/link", "token", token)
		require.Equal(t, http.StatusSeeOther, a.StatusCode)
		require.Contains(t, words(b.page(t, "/mail/hanako@example.test")), "No mail yet")

		a = r.as(t, "").post(t, "/login/link", "token", token)
		require.Equal(t, http.StatusGone, a.StatusCode)
		require.Contains(t, a.body, "no longer valid")
		require.Empty(t, a.Header.Get("Set-Cookie"))
		require.NotContains(t, r.log.String(), token)
	})
}

const wanted = "a whole new sentence"

// link makes a login link for hanako that ends after so long.
func (r *rig) link(t testing.TB, lifetime time.Duration) string {
	t.Helper()
	token := auth.NewLinkToken()
	require.NoError(t, r.store.CreateLoginLink(t.Context(), token.Hash, r.site.Users["hanako"].ID, time.Now().Add(lifetime)))
	return token.Secret
}

// setBy uses a login link for a new password.
func (b *browser) setBy(t testing.TB, token, password, again string) answer {
	t.Helper()
	return b.post(t, "/login/link", "token", token, "new", password, "again", again)
}

func (r *rig) passwordHash(t testing.TB) string {
	t.Helper()
	u, err := r.store.User(t.Context(), r.site.Users["hanako"].ID)
	require.NoError(t, err)
	return u.PasswordHash
}

// passwordsSet are the entries about new passwords in the audit log.
func (r *rig) passwordsSet(t testing.TB) []store.AuditEntry {
	t.Helper()
	log, err := r.store.AuditLog(t.Context(), store.Scope{Tenant: r.site.Tenant.ID}, timeZero, 10)
	require.NoError(t, err)
	return slices.DeleteFunc(log, func(e store.AuditEntry) bool { return e.Action != "user.password" })
}

func TestForgottenPasswordIsReplacedThroughALink(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		hanako := r.site.Users["hanako"].ID
		r.withPassword(t, hanako)
		elsewhere, b, token := r.hanako(t), r.as(t, ""), r.link(t, time.Minute)
		app := auth.NewAppPassword()
		_, err := r.store.CreateAppPassword(t.Context(), store.AppPassword{Tenant: r.site.Tenant.ID, User: hanako, Name: "phone", Hash: app.Hash, Created: time.Now()})
		require.NoError(t, err)

		a := b.setBy(t, token, wanted, wanted)
		require.Equal(t, http.StatusSeeOther, a.StatusCode, a.body)
		a = b.get(t, a.Header.Get("Location"))
		require.Equal(t, "/mail/hanako@example.test?done=password_reset&n=1", a.Header.Get("Location"))
		require.Contains(t, b.page(t, a.Header.Get("Location")), "All other sessions have ended, and your app password has been deleted")

		require.Equal(t, http.StatusSeeOther, elsewhere.get(t, "/settings").StatusCode, "all other sessions end")
		door := r.as(t, "")
		require.Equal(t, http.StatusUnauthorized, door.post(t, "/login", "login", "hanako@example.test", "password", password).StatusCode)
		require.Equal(t, http.StatusSeeOther, door.post(t, "/login", "login", "hanako@example.test", "password", wanted).StatusCode)
		_, err = r.auth.CheckLogin(t.Context(), "hanako@example.test", app.Secret, netipZero)
		require.ErrorIs(t, err, auth.ErrCredentials, "app passwords go too")

		log := r.passwordsSet(t)
		require.Len(t, log, 1)
		require.Equal(t, "hanako@example.test", log[0].Actor)
		require.Equal(t, "user", log[0].ActorKind)
		require.Equal(t, string(hanako), log[0].Target)
		require.NotEmpty(t, log[0].RequestID)
		require.JSONEq(t, `{"app_passwords_deleted":1}`, log[0].After)
		require.NotContains(t, r.log.String(), token)
		require.NotContains(t, r.log.String(), wanted)
	})
}

func TestForgottenPasswordIsReplacedInABrowser(t *testing.T) {
	t.Parallel()
	r, b := onChromium(t)
	token := r.link(t, time.Minute)
	b.look(t, "ja", "light")
	b.size(t, 1280, 800)
	b.open(t, "/login/link?"+url.Values{"token": {token}}.Encode())
	b.do(t, chromedp.SendKeys(chromedp.ID("new"), wanted), chromedp.SendKeys(chromedp.ID("again"), wanted+"!\r"))
	b.until(t, `document.querySelector(".note.warn")?.textContent.includes("一致しません") && document.activeElement.id === "new"`)
	b.shoot(t, "link-differs-ja")
	b.do(t, chromedp.SendKeys(chromedp.ID("new"), wanted), chromedp.SendKeys(chromedp.ID("again"), wanted+"\r"))
	b.until(t, `location.pathname === "/mail/hanako@example.test" && document.querySelector(".note")?.textContent.includes("変更しました")`)
	b.shoot(t, "link-done-ja")
	b.clean(t)
}

func TestTypingErrorsDoNotCostTheLink(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		r.withPassword(t, r.site.Users["hanako"].ID)
		b, token, before := r.as(t, ""), r.link(t, time.Minute), r.passwordHash(t)
		for _, c := range []struct{ language, new, again, want string }{
			{"en", wanted, "other", "not typed twice alike"},
			{"en", "", wanted, "not typed twice alike"},
			{"ja", wanted, "", "確認用のパスワードが一致しません。"},
			{"en", "short", "short", "8 to 1024 bytes"},
			{"ja", strings.Repeat("x", 1025), strings.Repeat("x", 1025), "8～1024 バイト"},
		} {
			a := b.postIn(t, c.language, "/login/link", "token", token, "new", c.new, "again", c.again)
			require.Equal(t, http.StatusUnprocessableEntity, a.StatusCode)
			require.Contains(t, a.body, c.want)
			require.Contains(t, a.body, `name="token" value="`+token+`"`, "the form is there again")
			require.NotContains(t, a.body, wanted)
			require.Empty(t, a.Header.Get("Set-Cookie"))
		}
		require.Equal(t, before, r.passwordHash(t))
		require.Equal(t, http.StatusSeeOther, b.setBy(t, token, wanted, wanted).StatusCode)
		require.NotEqual(t, before, r.passwordHash(t))
	})
}

func TestEmptyFieldsLogInAndKeepThePassword(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		r.withPassword(t, r.site.Users["hanako"].ID)
		elsewhere, b, before := r.hanako(t), r.as(t, ""), r.passwordHash(t)
		a := b.setBy(t, r.link(t, time.Minute), "", "")
		require.Equal(t, http.StatusSeeOther, a.StatusCode, a.body)
		require.Equal(t, "/mail/hanako@example.test", b.get(t, a.Header.Get("Location")).Header.Get("Location"))
		require.NotContains(t, b.page(t, "/mail/hanako@example.test"), "has been changed")
		elsewhere.page(t, "/settings")
		require.Equal(t, before, r.passwordHash(t))
		require.Empty(t, r.passwordsSet(t))
	})
}

// barredStore says that everybody is disabled.
type barredStore struct{ *store.Store }

func (s barredStore) User(ctx context.Context, id store.UserID) (*store.User, error) {
	u, err := s.Store.User(ctx, id)
	if err == nil {
		u.Disabled = true
	}
	return u, err
}

func TestLinksThatAreNoGoodSetNothing(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		r.withPassword(t, r.site.Users["hanako"].ID)
		before, used := r.passwordHash(t), r.link(t, time.Minute)
		require.Equal(t, http.StatusSeeOther, r.as(t, "").post(t, "/login/link", "token", used).StatusCode)
		elsewhere := r.hanako(t)
		refused := func(r *rig, token string, status int, want string) {
			t.Helper()
			b := r.as(t, "")
			a := b.setBy(t, token, wanted, wanted)
			require.Equal(t, status, a.StatusCode)
			require.Contains(t, a.body, want)
			require.Empty(t, a.Header.Get("Set-Cookie"))
			require.Equal(t, before, r.passwordHash(t))
			require.Empty(t, r.passwordsSet(t))
			elsewhere.page(t, "/settings")
		}
		refused(r, used, http.StatusGone, "no longer valid")
		refused(r, r.link(t, -time.Second), http.StatusGone, "no longer valid")
		refused(r, "", http.StatusGone, "no longer valid")

		barred := *r
		var err error
		barred.auth, err = auth.New(auth.Options{Store: barredStore{r.store}})
		require.NoError(t, err)
		barred.log, barred.metrics = &lockedBuffer{}, prometheus.NewRegistry()
		barred.serve(t, r.store)
		refused(&barred, r.link(t, time.Minute), http.StatusGone, "no longer valid")

		good := r.link(t, time.Minute)
		for r.as(t, "").post(t, "/login/link", "token", "guess").StatusCode == http.StatusGone {
		}
		refused(r, good, http.StatusTooManyRequests, "Too many failed attempts.")
		refused(r, good, http.StatusTooManyRequests, `name="token" value="`+good+`"`)
	})
}

func TestOneOfTwoBrowsersWithOneLinkWins(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		token := r.link(t, time.Minute)
		passwords := []string{"the first new sentence", "the second new sentence"}
		status := make([]int, len(passwords))
		var all sync.WaitGroup
		for i, b := range []*browser{r.as(t, ""), r.as(t, "")} {
			all.Go(func() { status[i] = b.setBy(t, token, passwords[i], passwords[i]).StatusCode })
		}
		all.Wait()
		require.ElementsMatch(t, []int{http.StatusSeeOther, http.StatusGone}, status)
		winner := passwords[slices.Index(status, http.StatusSeeOther)]
		require.Equal(t, http.StatusSeeOther, r.as(t, "").post(t, "/login", "login", "hanako@example.test", "password", winner).StatusCode)
		require.Len(t, r.passwordsSet(t), 1)
	})
}

func TestNewPasswordIsToldToThoseWithoutAMailboxToo(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		for role, want := range map[auth.Role]string{auth.User: "You have no mailbox yet", auth.Helpdesk: "Mailboxes"} {
			b := r.as(t, r.person(t, string(role)+"@example.test", role))
			a := b.get(t, "/?done=password")
			if a.StatusCode == http.StatusSeeOther {
				a = b.get(t, a.Header.Get("Location"))
			}
			require.Contains(t, a.body, want)
			require.Contains(t, a.body, "The password has been changed.")
		}
	})
}

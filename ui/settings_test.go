package ui_test

import (
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

func TestLanguageThemeAndZoneAreRemembered(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		door := r.as(t, "")
		require.Contains(t, door.page(t, "/login", "Accept-Language", "ja"), `<html lang="ja">`)
		require.Contains(t, door.page(t, "/login", "Accept-Language", "fr, de;q=0.9"), `<html lang="en">`)
		require.Contains(t, door.act(t, "/preferences", "language", "ja", "theme", "dark", "return", "/login"), `<html lang="ja" data-theme="dark">`)

		b := r.hanako(t)
		id := r.deliver(t, store.Inbox, "From: a@example.org\r\nDate: Wed, 01 Apr 2026 23:30:00 +0900\r\nSubject: x\r\n\r\nx\r\n")
		path := "/message/" + string(id)
		require.Contains(t, b.page(t, path), "1 Apr 2026 14:30")
		require.Contains(t, b.act(t, "/preferences", "language", "ja", "return", path), "2026/04/01(水) 23:30")
		require.Contains(t, b.page(t, path), `title="23:30:00 JST (&#43;09:00) Asia/Tokyo"`)
		u, err := r.store.User(t.Context(), r.site.Users["hanako"].ID)
		require.NoError(t, err)
		require.Equal(t, "ja", u.Language)
		require.Contains(t, r.hanako(t).page(t, path), `<html lang="ja">`, "in another browser too")
		require.Contains(t, b.act(t, "/preferences", "zone", "Europe/Berlin", "return", path), "2026/04/01(水) 16:30")
		require.Contains(t, b.act(t, "/preferences", "zone", "../../etc/passwd", "language", "xx", "theme", "pink", "return", path), "14:30")
	})
}

func TestPasswordIsChangedByThoseWhoKnowTheOldOne(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		r.withPassword(t, r.site.Users["hanako"].ID)
		b, elsewhere := r.hanako(t), r.hanako(t)
		const wanted = "a whole new sentence"
		for _, c := range []struct{ old, new, again, want string }{
			{"wrong", wanted, wanted, "The current password is not right."},
			{password, wanted, "other", "not typed twice alike"},
			{password, "short", "short", "8 to 1024 bytes"},
		} {
			a := b.post(t, "/settings/password", "old", c.old, "new", c.new, "again", c.again)
			require.Equal(t, http.StatusUnprocessableEntity, a.StatusCode)
			require.Contains(t, a.body, c.want)
			require.NotContains(t, a.body, wanted)
		}
		require.Contains(t, b.act(t, "/settings/password", "old", password, "new", wanted, "again", wanted), "The password has been changed.")
		require.Equal(t, http.StatusSeeOther, elsewhere.get(t, "/settings").StatusCode, "all other sessions end")
		require.Equal(t, http.StatusSeeOther, r.as(t, "").post(t, "/login", "login", "hanako@example.test", "password", wanted).StatusCode)
	})
}

func TestAppPasswordsGoWithThePasswordUnlessTheyAreToStay(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		hanako := r.site.Users["hanako"].ID
		r.withPassword(t, hanako)
		b := r.hanako(t)
		require.NotContains(t, b.page(t, "/settings"), `name="app_passwords"`, "there are none")
		var secrets []string
		for _, name := range []string{"phone", "tablet"} {
			app := auth.NewAppPassword()
			_, err := r.store.CreateAppPassword(t.Context(), store.AppPassword{Tenant: r.site.Tenant.ID, User: hanako, Name: name, Hash: app.Hash, Created: time.Now()})
			require.NoError(t, err)
			secrets = append(secrets, app.Secret)
		}
		works := func(secret string) bool {
			_, err := r.auth.CheckLogin(t.Context(), "hanako@example.test", secret, netipZero)
			return err == nil
		}
		const checked, unchecked = `name="app_passwords" value="delete" aria-describedby="apps-hint" checked>`, `name="app_passwords" value="delete" aria-describedby="apps-hint">`
		require.Contains(t, b.page(t, "/settings"), checked)
		const second, third = "a whole new sentence", "and yet another one"
		a := b.post(t, "/settings/password", "old", "wrong", "new", second, "again", second)
		require.Contains(t, a.body, unchecked, "what was chosen is kept")
		a = b.post(t, "/settings/password", "old", "wrong", "new", second, "again", second, "app_passwords", "delete")
		require.Contains(t, a.body, checked)
		require.True(t, works(secrets[0]), "nothing was changed")

		said := words(b.act(t, "/settings/password", "old", password, "new", second, "again", second))
		require.Contains(t, said, "Your app passwords still work.")
		require.True(t, works(secrets[0]))
		page := b.act(t, "/settings/password", "old", second, "new", third, "again", third, "app_passwords", "delete")
		require.Contains(t, words(page), "your 2 app passwords have been deleted: mail programs need new ones")
		require.NotContains(t, page, "tablet")
		require.False(t, works(secrets[0]))
		require.False(t, works(secrets[1]))
		require.Contains(t, words(b.page(t, "/settings?done=password_reset&n=2", inLanguage, "ja")), "アプリパスワード 2 個を削除しました。")

		log := r.passwordsSet(t)
		require.Len(t, log, 2)
		require.JSONEq(t, `{"app_passwords_deleted":2}`, log[0].After)
		require.JSONEq(t, `{"app_passwords_deleted":0}`, log[1].After)
	})
}

func TestAppPasswordIsShownOnce(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.hanako(t)
		require.Equal(t, http.StatusUnprocessableEntity, b.post(t, "/settings/app-passwords", "name", "  ").StatusCode)
		a := b.post(t, "/settings/app-passwords", "name", "My <phone>")
		require.Equal(t, http.StatusCreated, a.StatusCode)
		secret := regexp.MustCompile(`secret-text">([^<]+)<`).FindStringSubmatch(a.body)[1]
		who, err := r.auth.CheckLogin(t.Context(), "hanako@example.test", secret, netipZero)
		require.NoError(t, err)
		require.Equal(t, r.site.Users["hanako"].ID, who.User)
		page := b.page(t, "/settings")
		require.Contains(t, page, "My &lt;phone&gt;")
		require.NotContains(t, page, secret)
		remove := regexp.MustCompile(`/settings/app-passwords/[^"]*/delete`).FindString(page)
		require.Equal(t, http.StatusNotFound, r.as(t, r.site.Users["bob"].ID).post(t, remove).StatusCode)
		require.Contains(t, b.act(t, remove), "has been deleted")
		_, err = r.auth.CheckLogin(t.Context(), "hanako@example.test", secret, netipZero)
		require.Error(t, err)
	})
}

func TestAssetsAreKeptForEver(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.as(t, "")
		for _, path := range regexp.MustCompile(`/assets/[^"]*`).FindAllString(b.page(t, "/login"), -1) {
			a := b.get(t, path)
			require.Equal(t, http.StatusOK, a.StatusCode, path)
			require.Equal(t, "public, max-age=31536000, immutable", a.Header.Get("Cache-Control"))
			require.Regexp(t, `^(text/css|text/javascript|image/svg\+xml)`, a.Header.Get("Content-Type"))
		}
		require.Equal(t, http.StatusNotFound, b.get(t, "/assets/0000000000000000/app.css").StatusCode)
	})
}

func TestVendoredScriptsAreThoseThatAreNoted(t *testing.T) {
	notes, err := os.ReadFile("assets/vendor/README.md")
	require.NoError(t, err)
	scripts, err := filepath.Glob("assets/vendor/*.js")
	require.NoError(t, err)
	require.Len(t, scripts, 2)
	for _, name := range scripts {
		content, err := os.ReadFile(name)
		require.NoError(t, err)
		require.Contains(t, string(notes), digest(content), name)
	}
	lines := 0
	for _, name := range []string{"assets/app.js", "assets/plot.js"} {
		own, err := os.ReadFile(name)
		require.NoError(t, err)
		lines += strings.Count(string(own), "\n")
	}
	require.Less(t, lines, 300)
}

func TestMetricsKnowRoutesAndNoPaths(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.hanako(t)
		b.page(t, inbox)
		b.get(t, "/some/nonsense")
		families, err := r.metrics.Gather()
		require.NoError(t, err)
		text := ""
		for _, f := range families {
			text += f.String()
		}
		require.Contains(t, text, "GET /mail/{mailbox}")
		require.Contains(t, text, "unmatched")
		require.NotContains(t, text, "nonsense")
		require.NotContains(t, text, "hanako")
	})
}

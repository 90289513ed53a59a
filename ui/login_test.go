package ui_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
)

const plainMail = "From: =?UTF-8?B?55Sw5Lit?= <tanaka@example.org>\r\nTo: hanako@example.test\r\n" +
	"Subject: =?UTF-8?B?5Lya6K2w44Gu44GK55+l44KJ44Gb?=\r\nDate: Wed, 01 Apr 2026 09:00:00 +0900\r\n" +
	"Content-Type: text/plain; charset=utf-8\r\n\r\nこんにちは。\r\n会議は十時です。\r\n"

func TestSignInListMessage(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		r.withPassword(t, r.site.Users["hanako"].ID)
		id := r.deliver(t, store.Inbox, plainMail)
		b := r.as(t, "")

		a := b.get(t, "/message/"+string(id))
		require.Equal(t, http.StatusSeeOther, a.StatusCode)
		door := a.Header.Get("Location")
		require.Equal(t, "/login?next=%2Fmessage%2F"+string(id), door)
		require.Contains(t, b.page(t, door), `name="next" value="/message/`+string(id)+`"`)

		a = b.post(t, "/login", "login", "Hanako@example.test", "password", password, "next", "/message/"+string(id))
		require.Equal(t, http.StatusSeeOther, a.StatusCode, a.body)
		cookie := a.Header.Get("Set-Cookie")
		require.Contains(t, cookie, "HttpOnly")
		require.Contains(t, cookie, "SameSite=Lax")
		message := words(b.page(t, a.Header.Get("Location")))
		require.Contains(t, message, "会議のお知らせ")
		require.Contains(t, message, "会議は十時です。")
		require.Contains(t, message, "田中 <tanaka@example.org>")

		require.Equal(t, "/mail/hanako@example.test", b.get(t, "/").Header.Get("Location"))
		list := words(b.page(t, "/mail/hanako@example.test"))
		require.Contains(t, list, "会議のお知らせ")
		require.Contains(t, list, "Unread: 田中")

		require.Contains(t, b.act(t, "/logout"), "You have signed out.")
		require.Equal(t, http.StatusSeeOther, b.get(t, "/mail/hanako@example.test").StatusCode)
	})
}

func TestSignInThatFailsSaysWhyAndKeepsTheLogin(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		r.withPassword(t, r.site.Users["bob"].ID)
		b := r.as(t, "")
		for _, login := range []string{"bob@example.test", "nobody@example.test"} {
			a := b.post(t, "/login", "login", login, "password", "wrong", "next", "/settings")
			require.Equal(t, http.StatusUnauthorized, a.StatusCode)
			require.Contains(t, a.body, "do not match")
			require.Contains(t, a.body, `value="`+login+`"`)
			require.Contains(t, a.body, `name="next" value="/settings"`)
			require.NotContains(t, a.body, "wrong")
		}
	})
}

func TestTooManyFailuresAreToldToWait(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.as(t, "")
		long := strings.Repeat("x", 2000) // refused before it is hashed
		for range 10 {
			require.Equal(t, http.StatusUnauthorized, b.post(t, "/login", "login", "bob@example.test", "password", long).StatusCode)
		}
		a := b.post(t, "/login", "login", "bob@example.test", "password", long)
		require.Equal(t, http.StatusTooManyRequests, a.StatusCode)
		require.NotEmpty(t, a.Header.Get("Retry-After"))
		require.Contains(t, a.body, "Too many failed attempts.")
	})
}

func TestSignInLeadsNowhereElse(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		r.withPassword(t, r.site.Users["hanako"].ID)
		for _, next := range []string{"https://evil.test/", "//evil.test", `/\evil.test`, "javascript:alert(1)", "/\t/evil.test", "", "mail"} {
			a := r.as(t, "").post(t, "/login", "login", "hanako@example.test", "password", password, "next", next)
			require.Equal(t, http.StatusSeeOther, a.StatusCode)
			require.Equal(t, "/", a.Header.Get("Location"), next)
		}
	})
}

func TestDisabledAndExpiredAreSignedOut(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		b := r.hanako(t)
		b.page(t, "/settings")
		require.NoError(t, r.store.SetPassword(t.Context(), r.site.Users["hanako"].ID, "")) // ends the sessions
		require.Equal(t, "/login?next=%2Fsettings", b.get(t, "/settings").Header.Get("Location"))
		a := b.get(t, "/message/x", "HX-Request", "true")
		require.Equal(t, http.StatusUnauthorized, a.StatusCode)
		require.Equal(t, "/login", a.Header.Get("HX-Redirect"))
	})
}

package ui_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/auth"
)

func TestLoginLinkIsUsedByItsFormAlone(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		token := auth.NewLinkToken()
		require.NoError(t, r.store.CreateLoginLink(t.Context(), token.Hash, r.site.Users["hanako"].ID, time.Now().Add(time.Minute)))
		b := r.as(t, "")
		path := "/login/link?" + url.Values{"token": {token.Secret}}.Encode()
		for range 3 { // mail scanners follow each link
			require.Contains(t, b.page(t, path), token.Secret)
		}
		a := b.post(t, "/login/link", "token", token.Secret)
		require.Equal(t, http.StatusSeeOther, a.StatusCode)
		require.Contains(t, words(b.page(t, "/mail/hanako@example.test")), "No mail yet")

		a = r.as(t, "").post(t, "/login/link", "token", token.Secret)
		require.Equal(t, http.StatusGone, a.StatusCode)
		require.Contains(t, a.body, "no longer valid")
		require.Empty(t, a.Header.Get("Set-Cookie"))
		require.NotContains(t, r.log.String(), token.Secret)
	})
}

package api_test

import (
	"encoding/json"
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api"
	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

const (
	password    = "correct horse battery"
	credentials = `{"login":"bob@example.test","password":"correct horse battery"}`
)

// withPassword makes bob, who can log in with a password.
func withPassword(t *testing.T, r *rig) *store.User {
	t.Helper()
	site := storetest.NewSite(t, r.store, "example", "example.test")
	hash, err := auth.HashPassword(password)
	require.NoError(t, err)
	bob, _, err := r.store.EnsureUser(t.Context(), store.User{
		Tenant: site.Tenant.ID, Login: "bob@example.test", Role: "user", PasswordHash: hash,
	})
	require.NoError(t, err)
	return bob
}

func TestSessionWorksAsTokenAndAsCookieUntilLogout(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		bob := withPassword(t, r)
		a := r.do(t, "", http.MethodPost, "/api/v1/auth/login", credentials)
		session := decode[wire.Session](t, a)
		require.Equal(t, string(bob.ID), session.User.ID)
		require.Equal(t, "user", session.User.Role)
		require.Equal(t, "no-store", a.Header.Get("Cache-Control"))
		cookies := a.Cookies()
		require.Len(t, cookies, 1)
		require.Equal(t, "mairust", cookies[0].Name)
		require.Equal(t, session.Token, cookies[0].Value)
		require.True(t, cookies[0].HttpOnly)
		require.False(t, cookies[0].Secure, "plain http on loopback")
		require.Equal(t, http.SameSiteLaxMode, cookies[0].SameSite)

		cookie := "Cookie: theme=dark; mairust=" + session.Token
		require.Equal(t, session.User, decode[wire.Principal](t, r.get(t, session.Token, "/api/v1/auth/me")))
		require.Equal(t, session.User, decode[wire.Principal](t, r.get(t, "", "/api/v1/auth/me", cookie)))

		out := r.do(t, "", http.MethodPost, "/api/v1/auth/logout", "", cookie)
		require.Equal(t, http.StatusNoContent, out.StatusCode, string(out.body))
		require.Negative(t, out.Cookies()[0].MaxAge)
		require.Equal(t, "unauthenticated", r.get(t, session.Token, "/api/v1/auth/me").problem(t).Code)
		require.Equal(t, "unauthenticated", r.get(t, "", "/api/v1/auth/me", cookie).problem(t).Code)
		require.NotContains(t, r.log.String(), session.Token)
		require.NotContains(t, r.log.String(), password)
	})
}

func TestCookieIsBoundToTheHostOverHTTPS(t *testing.T) {
	r := newRig(t, "sqlite", api.Options{PublicURL: "https://mail.example.test"})
	withPassword(t, r)
	a := r.do(t, "", http.MethodPost, "/api/v1/auth/login", credentials)
	require.Equal(t, http.StatusOK, a.StatusCode)
	require.Equal(t, "__Host-mairust", a.Cookies()[0].Name)
	require.True(t, a.Cookies()[0].Secure)
	require.Equal(t, "/", a.Cookies()[0].Path)
	require.Empty(t, a.Cookies()[0].Domain)
	require.NotEmpty(t, a.Header.Get("Strict-Transport-Security"))
	plain := "Cookie: mairust=" + a.Cookies()[0].Value
	require.Equal(t, http.StatusUnauthorized, r.get(t, "", "/api/v1/auth/me", plain).StatusCode)
	host := "Cookie: __Host-mairust=" + a.Cookies()[0].Value
	require.Equal(t, http.StatusOK, r.get(t, "", "/api/v1/auth/me", host).StatusCode)
}

func TestPublicURLThatWouldSendSessionsInTheClearIsRefused(t *testing.T) {
	for url, ok := range map[string]bool{
		"": true, "http://localhost:8080": true, "http://[::1]:8080": true, "https://mail.example.test": true,
		"https://mail.example.test/": true, "http://mail.example.test": false, "http://192.0.2.1": false, "mail.example.test": false,
		"https://mail.example.test/mail": false, "https://u:p@mail.example.test": false, "ftp://localhost": false, "::": false,
	} {
		_, err := api.New(api.Options{PublicURL: url}, depsOf(t))
		require.Equal(t, ok, err == nil, "%s: %v", url, err)
	}
}

func TestOtherSitesCannotUseTheCookie(t *testing.T) {
	r := newRig(t, "sqlite", api.Options{PublicURL: "https://mail.example.test"})
	withPassword(t, r)
	login := func(header ...string) answer {
		return r.do(t, "", http.MethodPost, "/api/v1/auth/login", credentials, header...)
	}
	token := decode[wire.Session](t, login()).Token
	cookie := "Cookie: __Host-mairust=" + token
	for _, header := range [][]string{
		{"Sec-Fetch-Site: cross-site"}, {"Sec-Fetch-Site: same-site"}, {"Origin: https://evil.example"}, {"Origin: null"},
	} {
		require.Equal(t, "cross_origin", login(header...).problem(t).Code)
		a := r.do(t, "", http.MethodPost, "/api/v1/auth/logout", "", append(header, cookie)...)
		require.Equal(t, "cross_origin", a.problem(t).Code)
	}
	require.Equal(t, http.StatusOK, login("Sec-Fetch-Site: same-origin").StatusCode)
	require.Equal(t, http.StatusOK, login("Origin: https://mail.example.test").StatusCode)
	a := r.do(t, token, http.MethodPost, "/api/v1/auth/logout", "", "Origin: https://evil.example")
	require.Equal(t, http.StatusNoContent, a.StatusCode, "a browser adds no Authorization by itself")
}

func TestFailedLoginsAreAnsweredAlikeAndThenThrottled(t *testing.T) {
	r := newRig(t, "sqlite", api.Options{})
	withPassword(t, r)
	wrong := `{"login":"bob@example.test","password":"not the right one"}`
	var first wire.Problem
	for i := range 10 {
		p := r.do(t, "", http.MethodPost, "/api/v1/auth/login", wrong).problem(t)
		require.Equal(t, "wrong_credentials", p.Code)
		if i == 0 {
			first = p
		}
	}
	other := r.do(t, "", http.MethodPost, "/api/v1/auth/login", `{"login":"eve@example.test","password":"not the right one"}`).problem(t)
	other.RequestID, first.RequestID = "", ""
	require.Equal(t, first, other)
	a := r.do(t, "", http.MethodPost, "/api/v1/auth/login", credentials)
	require.Equal(t, http.StatusTooManyRequests, a.StatusCode)
	require.Equal(t, "too_many_attempts", a.problem(t).Code)
	require.Regexp(t, `^[1-9][0-9]?$`, a.Header.Get("Retry-After"))
}

func TestCredentialsThatAreNoneAreRefused(t *testing.T) {
	r := newRig(t, "sqlite", api.Options{})
	for _, header := range []string{
		"Authorization: Bearer", "Authorization: Bearer ", "Authorization: Basic Ym9iOng=", "Authorization: Bearer mk_live_x",
		"Authorization: Bearer \xff\xfe", "Cookie: mairust=", "Cookie: mairust=x; mairust=y", "Cookie: ;;;=\"", "X-None: x",
	} {
		a := r.get(t, "", "/api/v1/auth/me", header)
		require.Equal(t, "unauthenticated", a.problem(t).Code, header)
		require.NotEmpty(t, a.Header.Get("WWW-Authenticate"))
	}
}

func TestAPIKeysAreMadeListedUsedAndRevoked(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
		admin := r.person(t, site.Tenant.ID, "admin@example.test", auth.TenantAdmin)
		a := r.do(t, admin, http.MethodPost, "/api/v1/api-keys", `{"name":"reports","role":"auditor","expires_days":30}`)
		require.Equal(t, http.StatusCreated, a.StatusCode, string(a.body))
		var made wire.APIKeyCreated
		require.NoError(t, json.Unmarshal(a.body, &made))
		require.NotNil(t, made.ExpiresAt)
		require.Equal(t, string(site.Tenant.ID), made.TenantID)

		me := decode[wire.Principal](t, r.get(t, made.Key, "/api/v1/auth/me"))
		require.Equal(t, "auditor", me.Role)
		require.Equal(t, "api_key", me.Kind)
		require.Equal(t, "not_a_session", r.do(t, made.Key, http.MethodPost, "/api/v1/auth/logout", "").problem(t).Code)
		list := r.get(t, made.Key, "/api/v1/api-keys")
		require.Len(t, decode[wire.List[wire.APIKey]](t, list).Data, 1)
		require.NotContains(t, string(list.body), made.Key)
		require.Equal(t, "forbidden", r.do(t, made.Key, http.MethodDelete, "/api/v1/api-keys/"+made.ID, "").problem(t).Code)
		require.Equal(t, "forbidden", r.do(t, made.Key, http.MethodPost, "/api/v1/api-keys", `{"name":"x","role":"auditor"}`).problem(t).Code)
		require.Equal(t, "forbidden", r.do(t, admin, http.MethodPost, "/api/v1/api-keys", `{"name":"x","role":"super_admin"}`).problem(t).Code)

		gone := r.do(t, admin, http.MethodDelete, "/api/v1/api-keys/"+made.ID, "")
		require.Equal(t, http.StatusNoContent, gone.StatusCode, string(gone.body))
		require.Equal(t, "not_found", r.do(t, admin, http.MethodDelete, "/api/v1/api-keys/"+made.ID, "").problem(t).Code)
		require.Equal(t, "unauthenticated", r.get(t, made.Key, "/api/v1/auth/me").problem(t).Code)
	})
}

func TestAdminSocketSetsUpWithoutCredentials(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		body := `{"tenant":"example","domains":["example.test"],"admin":"admin@example.test","admin_password":"correct horse battery",
			"mailboxes":["bob@example.test"]}`
		made := decode[wire.SetupResult](t, ask(t, r.socket, "", http.MethodPost, "/admin/v1/setup", body))
		passwords := 0
		for _, m := range made.Things {
			require.True(t, m.Created, m.Name)
			if m.Password != "" {
				passwords++
				login, err := json.Marshal(wire.Credentials{Login: m.Name, Password: m.Password})
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, r.do(t, "", http.MethodPost, "/api/v1/auth/login", string(login)).StatusCode)
			}
		}
		require.Equal(t, 1, passwords)
		for _, m := range decode[wire.SetupResult](t, ask(t, r.socket, "", http.MethodPost, "/admin/v1/setup", body)).Things {
			require.False(t, m.Created, m.Name)
			require.Empty(t, m.Password)
		}
		key := ask(t, r.socket, "", http.MethodPost, "/admin/v1/api-keys", `{"name":"first","role":"super_admin"}`)
		require.Equal(t, http.StatusCreated, key.StatusCode, string(key.body))
		me := decode[wire.Principal](t, ask(t, r.socket, "", http.MethodGet, "/api/v1/auth/me", ""))
		require.Equal(t, "socket", me.Kind)
		require.Equal(t, "super_admin", me.Role)

		bad := ask(t, r.socket, "", http.MethodPost, "/admin/v1/setup", `{"tenant":"x","domains":["not a domain"]}`)
		require.Equal(t, "refused", bad.problem(t).Code)
		require.NotContains(t, string(bad.body), "things")
		require.Equal(t, "not_found", r.do(t, "", http.MethodPost, "/admin/v1/setup", body).problem(t).Code, "the network has no such route")
	})
}

func TestASetupThatFailsTellsThePasswordsItHasMade(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		body := `{"tenant":"example","domains":["example.test"],"mailboxes":["bob@example.test"],
			"aliases":[{"address":"info@example.test","target":"nobody@example.test"}]}`
		failed := ask(t, r.socket, "", http.MethodPost, "/admin/v1/setup", body)
		require.Equal(t, "refused", failed.problem(t).Code)
		require.Contains(t, failed.problem(t).Detail, "nobody@example.test")
		var made wire.SetupResult
		require.NoError(t, json.Unmarshal(failed.body, &made))
		password := ""
		for _, m := range made.Things {
			password += m.Password
		}
		login, err := json.Marshal(wire.Credentials{Login: "bob@example.test", Password: password})
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, r.do(t, "", http.MethodPost, "/api/v1/auth/login", string(login)).StatusCode)
	})
}

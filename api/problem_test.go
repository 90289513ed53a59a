package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// depsOf are all that a server requires, over an empty SQLite database.
func depsOf(t testing.TB) api.Deps {
	t.Helper()
	s := store.New(store.Options{DB: storetest.OpenDB(t, storetest.Options(t, "sqlite"))})
	who, err := auth.New(auth.Options{Store: s})
	require.NoError(t, err)
	ring, err := keyring.Create(filepath.Join(t.TempDir(), "keyring"))
	require.NoError(t, err)
	office := admin.New(admin.Options{Store: s})
	return api.Deps{Store: s, Objects: blob.NewMemory(), Auth: who, Keyring: ring, Admin: office, Outbound: admin.NewOutbound(office, nil)}
}

func TestEveryErrorIsAProblemWithACode(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
	bob := r.session(t, site.Users["bob"].ID)
	for name, row := range map[string]struct {
		method, path, body string
		header             string
		status             int
		code               string
	}{
		"no route":          {"GET", "/api/v1/none", "", "", 404, "not_found"},
		"root":              {"GET", "/", "", "", 404, "not_found"},
		"encoded path":      {"GET", "/api/v1/%2e%2e/x%00", "", "", 404, "not_found"},
		"no method":         {"DELETE", "/api/v1/messages", "", "", 405, "method_not_allowed"},
		"odd method":        {"BREW", "/api/v1/messages", "", "", 405, "method_not_allowed"},
		"limit too high":    {"GET", "/api/v1/messages?limit=101", "", "", 422, "validation_failed"},
		"limit zero":        {"GET", "/api/v1/messages?limit=0", "", "", 422, "validation_failed"},
		"limit no number":   {"GET", "/api/v1/messages?limit=x", "", "", 422, "validation_failed"},
		"unknown parameter": {"GET", "/api/v1/messages?limits=1", "", "", 422, "validation_failed"},
		"odd mailbox":       {"GET", "/api/v1/messages?mailbox=%00%ff", "", "", 404, "not_found"},
		"odd folder":        {"GET", "/api/v1/messages?folder=%00%ff", "", "", 200, ""},
		"bad cursor":        {"GET", "/api/v1/messages?cursor=x", "", "", 400, "invalid_cursor"},
		"odd id":            {"GET", "/api/v1/messages/%00%ff", "", "", 404, "not_found"},
		"upper-case id":     {"GET", "/api/v1/messages/019D0000-0000-7000-8000-00000000000A", "", "", 404, "not_found"},
		"no body":           {"POST", "/api/v1/auth/login", "", "", 400, "malformed_request"},
		"no JSON":           {"POST", "/api/v1/auth/login", "{", "", 400, "malformed_request"},
		"wrong type":        {"POST", "/api/v1/auth/login", `{"login":1,"password":"p"}`, "", 422, "validation_failed"},
		"unknown property":  {"POST", "/api/v1/auth/login", `{"login":"l","password":"p","x":1}`, "", 422, "validation_failed"},
		"other media type":  {"POST", "/api/v1/auth/login", "login=l", "Content-Type: text/plain", 415, "unsupported_media_type"},
		"huge body":         {"POST", "/api/v1/auth/login", `{"login":"` + strings.Repeat("l", 2<<20), "", 413, "too_large"},
		"no right":          {"GET", "/api/v1/api-keys", "", "", 403, "forbidden"},
	} {
		t.Run(name, func(t *testing.T) {
			var header []string
			if row.header != "" {
				header = append(header, row.header)
			}
			a := r.do(t, bob, row.method, row.path, row.body, header...)
			require.Equal(t, row.status, a.StatusCode, string(a.body))
			if row.code != "" {
				require.Equal(t, row.code, a.problem(t).Code)
			}
		})
	}
}

func TestAPasswordIsNeverEchoed(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	for _, body := range []string{`{"login":7,"password":"sesame-open"}`, `{"password":"sesame-open"`, `["sesame-open"]`, `{"password":["sesame-open"],"login":"x"}`} {
		a := r.do(t, "", http.MethodPost, "/api/v1/auth/login", body)
		require.Contains(t, []int{400, 422}, a.StatusCode)
		require.NotContains(t, string(a.body), "sesame")
		require.NotContains(t, r.log.String(), "sesame")
	}
}

func TestProblemsSpeakJapanese(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	for language, want := range map[string]string{
		"ja": "見つかりません。", "ja-JP,en;q=0.5": "見つかりません。", "en, ja;q=0.2": "There is no such thing.", "": "There is no such thing.",
		"fr": "There is no such thing.", strings.Repeat("ja,", 100): "There is no such thing.", ";;ja;q=x": "There is no such thing.",
	} {
		require.Equal(t, want, r.get(t, "", "/api/v1/none", "Accept-Language: "+language).problem(t).Detail, language)
	}
}

func TestRequestIDIsTheCallersWhenHarmless(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	for id, kept := range map[string]bool{"abc-1.2_3": true, "a b": false, "": false, strings.Repeat("x", 65): false, `"><script>`: false} {
		got := r.get(t, "", "/api/v1/none", "X-Request-Id: "+id).problem(t).RequestID
		require.NotEmpty(t, got)
		require.Equal(t, kept, got == id, id)
	}
}

func TestErrorsOfTheStoreAreToldByTheirClass(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
	bob := r.session(t, site.Users["bob"].ID)
	failing := &failingStore{Store: r.store}
	d := depsOf(t)
	who, err := auth.New(auth.Options{Store: r.store})
	require.NoError(t, err)
	d.Store, d.Auth = failing, who
	server, err := api.New(apiDefaults, d)
	require.NoError(t, err)
	ts := serve(t, server, server.Handler())

	failing.set(store.ErrUnavailable)
	a := ask(t, ts, bob, http.MethodGet, "/api/v1/mailboxes", "")
	require.Equal(t, "unavailable", a.problem(t).Code)
	require.NotEmpty(t, a.Header.Get("Retry-After"))
	failing.set(context.DeadlineExceeded)
	require.Equal(t, "unavailable", ask(t, ts, bob, http.MethodGet, "/api/v1/mailboxes", "").problem(t).Code)
	failing.set(bytes.ErrTooLarge)
	a = ask(t, ts, bob, http.MethodGet, "/api/v1/mailboxes", "")
	require.Equal(t, "internal", a.problem(t).Code)
	require.NotContains(t, string(a.body), bytes.ErrTooLarge.Error())
	failing.set(nil)
	require.Equal(t, http.StatusOK, ask(t, ts, bob, http.MethodGet, "/api/v1/mailboxes", "").StatusCode)
}

func TestDatabaseGoneIs503AndComesBackByItself(t *testing.T) {
	server := labtest.OwnPostgres(t, lab.PostgresOptions{})
	r := newRigOn(t, sqldb.Options{Backend: sqldb.Postgres, URL: server.URL()}, apiDefaults)
	site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
	bob := r.session(t, site.Users["bob"].ID)
	id := string(r.deliver(t, site.Mailboxes["bob"], store.Inbox, plain))

	server.Stop(lab.StopImmediate)
	for _, a := range []answer{
		r.do(t, "", http.MethodPost, "/api/v1/auth/login", credentials),
		r.get(t, bob, "/api/v1/messages"),
		r.get(t, "mk_live_key", "/api/v1/messages/"+id+"/raw"),
	} {
		require.Equal(t, "unavailable", a.problem(t).Code)
		require.Equal(t, http.StatusServiceUnavailable, a.StatusCode)
		require.NotEmpty(t, a.Header.Get("Retry-After"))
		require.NotContains(t, string(a.body), "127.0.0.1")
	}
	require.Equal(t, "not_found", r.get(t, "", "/api/v1/none").problem(t).Code)

	require.NoError(t, server.Start(t.Context()))
	require.Eventually(t, func() bool {
		return r.get(t, bob, "/api/v1/messages/"+id+"/raw").StatusCode == http.StatusOK
	}, wait, tick)
}

// failingStore is a store whose lists of mailboxes fail on demand, or panic when the error is errPanic.
type failingStore struct {
	*store.Store
	mu  sync.Mutex
	err error
}

func (f *failingStore) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = err
}

func (f *failingStore) Mailboxes(ctx context.Context, sc store.Scope, after string, limit int) ([]store.Mailbox, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == errPanic { //nolint:errorlint // identity is meant
		panic("index out of range, so to speak")
	}
	if f.err != nil {
		return nil, f.err
	}
	return f.Store.Mailboxes(ctx, sc, after, limit)
}

func TestAPanicIsAProblemAndTheServerGoesOn(t *testing.T) {
	d := depsOf(t)
	var log lockedBuffer
	d.Log = slog.New(slog.NewJSONHandler(&log, nil))
	sound, ok := d.Store.(*store.Store)
	require.True(t, ok)
	failing := &failingStore{Store: sound}
	failing.set(errPanic)
	d.Store = failing
	server, err := api.New(apiDefaults, d)
	require.NoError(t, err)
	ts := serve(t, server, server.AdminHandler())
	a := ask(t, ts, "", http.MethodGet, "/api/v1/mailboxes", "")
	require.Equal(t, "internal", a.problem(t).Code)
	require.NotContains(t, string(a.body), "so to speak")
	require.Contains(t, log.String(), "so to speak")
	require.Contains(t, log.String(), "problem_test.go")
	require.Equal(t, http.StatusOK, ask(t, ts, "", http.MethodGet, "/api/v1/auth/me", "").StatusCode)
}

func TestAccessLogAndMetricsKnowTheRouteAndNotTheQuery(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
	bob := r.session(t, site.Users["bob"].ID)
	r.get(t, bob, "/api/v1/messages?folder=Secret-Project")
	r.get(t, bob, "/api/v1/messages/019d0000-0000-7000-8000-00000000000a/raw?reason=Secret-Reason")
	r.get(t, "", "/api/v1/"+strings.Repeat("x", 3000))
	r.do(t, "", "BREW", "/api/v1/messages", "")
	require.NotContains(t, r.log.String(), "Secret")
	require.NotContains(t, r.log.String(), bob)
	require.NotContains(t, r.log.String(), strings.Repeat("x", 300))
	require.Contains(t, r.log.String(), `"actor":"`+string(site.Users["bob"].ID)+`"`)

	require.Eventually(t, func() bool { // a request is counted after its answer was sent
		return testutil.CollectAndCompare(r.metrics, strings.NewReader(`
# HELP mairust_api_requests_total Requests, by route template, method and class of status.
# TYPE mairust_api_requests_total counter
mairust_api_requests_total{method="GET",route="/api/v1/messages",status="2xx"} 1
mairust_api_requests_total{method="GET",route="/api/v1/messages/:id/raw",status="4xx"} 1
mairust_api_requests_total{method="GET",route="unmatched",status="4xx"} 1
mairust_api_requests_total{method="other",route="unmatched",status="4xx"} 1
`), "mairust_api_requests_total") == nil
	}, wait, tick)
}

func TestManyReadersAtOnce(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "example", "example.test", "bob")
		bob := r.session(t, site.Users["bob"].ID)
		id := string(r.deliver(t, site.Mailboxes["bob"], store.Inbox, withParts))
		want := r.get(t, bob, "/api/v1/messages/"+id+"/raw")
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				for _, path := range []string{"", "/raw", "/attachments/2"} {
					a := r.get(t, bob, "/api/v1/messages/"+id+path)
					if a.StatusCode != http.StatusOK || path == "/raw" && !bytes.Equal(a.body, want.body) {
						t.Errorf("%s: %d, %d bytes", path, a.StatusCode, len(a.body))
					}
				}
			})
		}
		all.Wait()
	})
}

func TestProblemsKeepTheirShape(t *testing.T) {
	r := newRig(t, "sqlite", apiDefaults)
	a := r.get(t, "", "/api/v1/messages", "X-Request-Id: fixed")
	require.Equal(t, http.StatusUnauthorized, a.StatusCode)
	var got, want map[string]any
	require.NoError(t, json.Unmarshal(a.body, &got))
	require.NoError(t, json.Unmarshal([]byte(`{"type":"about:blank","title":"Unauthorized","status":401,
		"detail":"Log in, or send a valid API key.","code":"unauthenticated","request_id":"fixed"}`), &want))
	require.Equal(t, want, got)
}

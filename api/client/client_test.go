package client_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/client"
	"github.com/mairust/mairust/api/wire"
)

func TestOptionsThatWouldLeakTheKeyAreRefused(t *testing.T) {
	for _, url := range []string{
		"http://mail.example.jp", "http://192.0.2.1:8080", "ftp://mail.example.jp", "mail.example.jp", "https://", "https://user:pass@mail.example.jp",
		"https://mail.example.jp/?key=1", "https://mail.example.jp/#a", "http://127.0.0.1.example.jp",
	} {
		_, err := client.New(client.Options{URL: url, Key: "mk_live_x"})
		require.Error(t, err, url)
	}
	for _, url := range []string{"https://mail.example.jp", "https://mail.example.jp:8443/", "http://localhost:8080", "http://127.0.0.1", "http://[::1]:8080"} {
		_, err := client.New(client.Options{URL: url, Key: "mk_live_x"})
		require.NoError(t, err, url)
	}
	_, err := client.New(client.Options{})
	require.Error(t, err)
	_, err = client.New(client.Options{URL: "https://mail.example.jp", CA: []byte("nothing")})
	require.ErrorContains(t, err, "PEM")
}

func TestARedirectDoesNotTakeTheKeyElsewhere(t *testing.T) {
	asked := false
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	c, err := client.New(client.Options{URL: server.URL, Key: "mk_live_x"})
	require.NoError(t, err)
	_, err = c.Policy(t.Context())
	var p *client.Problem
	require.ErrorAs(t, err, &p)
	require.Equal(t, http.StatusTemporaryRedirect, p.Status)
	require.False(t, asked)
}

func TestErrorsSayWhatTheServerSaid(t *testing.T) {
	for name, row := range map[string]struct {
		status       int
		body, detail string
		code         string
	}{
		"a problem":     {422, `{"title":"Unprocessable Entity","status":422,"detail":"no","code":"validation_failed","errors":[{"location":"query.limit","message":"too large"}]}`, "no\n  query.limit: too large", "validation_failed"},
		"a proxy":       {502, "<html>Bad Gateway</html>", "answered 502 Bad Gateway, not as MaiRust's API does", "not_ours"},
		"a plain text":  {403, "only root may use this socket\n", "answered 403 Forbidden: only root may use this socket", "not_ours"},
		"an empty body": {500, "", "answered 500 Internal Server Error", "not_ours"},
		"other JSON":    {404, `{"message":"x"}`, "answered 404 Not Found", "not_ours"},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(row.status)
			_, _ = w.Write([]byte(row.body))
		}))
		c, err := client.New(client.Options{URL: server.URL, Key: "mk_live_x"})
		require.NoError(t, err)
		_, err = c.OutboundAccount(t.Context(), "bob@one.test")
		var p *client.Problem
		require.ErrorAs(t, err, &p, name)
		require.Equal(t, row.code, p.Code, name)
		require.Equal(t, row.status, p.Status, name)
		require.Contains(t, err.Error(), row.detail, name)
		server.Close()
	}
}

func TestAnAnswerThatIsNoneIsAnError(t *testing.T) {
	body := "not JSON"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(body)) }))
	defer server.Close()
	c, err := client.New(client.Options{URL: server.URL, Key: "k"})
	require.NoError(t, err)
	_, err = c.Policy(t.Context())
	require.ErrorContains(t, err, "answered something else")
	body = strings.Repeat("x", 33<<20)
	_, err = c.Policy(t.Context())
	require.ErrorContains(t, err, "more than")
	var unreachable *client.UnreachableError
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer slow.Close()
	c, err = client.New(client.Options{URL: slow.URL, Key: "k", Timeout: 50 * time.Millisecond})
	require.NoError(t, err)
	_, err = c.Policy(t.Context())
	require.ErrorAs(t, err, &unreachable)
	require.NotContains(t, err.Error(), "/api/v1", "an address may hold an account")
}

func TestRequestsAreWhatTheAPIExpects(t *testing.T) {
	var got *http.Request
	var body map[string]any
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, body = r, nil
		if r.ContentLength > 0 {
			_ = json.NewDecoder(r.Body).Decode(&body)
		}
		_, _ = w.Write([]byte(`{"data":[],"pagination":{"has_more":false}}`))
	}))
	defer server.Close()
	c, err := client.New(client.Options{URL: server.URL + "/", Key: "mk_live_x", Language: "ja", UserAgent: "test"})
	require.NoError(t, err)
	ctx := t.Context()
	_, err = c.ExplainOutbound(ctx, "a/b?c@one.test", "1-x", "Asia/Tokyo")
	require.NoError(t, err)
	require.Equal(t, "/api/v1/outbound/accounts/a%2Fb%3Fc@one.test/explain?decision=1-x&timezone=Asia%2FTokyo", got.RequestURI)
	require.Equal(t, "Bearer mk_live_x", got.Header.Get("Authorization"))
	require.Equal(t, "ja", got.Header.Get("Accept-Language"))
	hours := 0
	_, err = c.Release(ctx, "bob@one.test", wire.OutboundRelease{OutboundAct: wire.OutboundAct{Reason: "x"}, ProbationHours: &hours})
	require.NoError(t, err)
	require.Equal(t, map[string]any{"reason": "x", "probation_hours": float64(0)}, body, "0 is not left out")
	_, err = c.OutboundSeries(ctx, "bob@one.test", time.Unix(0, 0), time.Time{}, time.Minute)
	require.NoError(t, err)
	require.Equal(t, "from=1970-01-01T00%3A00%3A00Z&step_seconds=60", got.URL.RawQuery)
	_, err = c.ForgetOutbound(ctx, "bob@one.test", "asked for")
	require.NoError(t, err)
	require.Equal(t, "DELETE /api/v1/outbound/accounts/bob@one.test/data?reason=asked+for", got.Method+" "+got.RequestURI)
	_, err = c.Suspensions(ctx, true, client.Page{Limit: 7, Cursor: "c"})
	require.NoError(t, err)
	require.Equal(t, "cursor=c&limit=7&limited=true", got.URL.RawQuery)
}

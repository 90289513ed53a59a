package rspamd_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter/rspamd"
)

// answers is a server that gives one answer to everything. It stands in for versions and plugins of
// rspamd that can't be had here; the real one is in rspamd_test.go.
func answers(t testing.TB, status int, body string) *httptest.Server {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}))
	t.Cleanup(s.Close)
	return s
}

func check(t *testing.T, body string) (mail.Verdict, error) {
	t.Helper()
	c := newClient(t, rspamd.Options{URL: answers(t, http.StatusOK, body).URL})
	return c.Check(context.Background(), letter("x"))
}

func TestEveryFormOfMilterHeadersIsHonoured(t *testing.T) {
	v, err := check(t, `{"action": "no action", "score": "not a number", "milter": {
		"remove_headers": {"X-All": 0, "X-Second": 2, "X-Some": [1, 3, 2], "X-Last": -1},
		"add_headers": {
			"X-Z": "string",
			"X-Order": {"value": "top", "order": 0},
			"X-End": {"value": "end", "order": -1},
			"X-Index": {"value": "by index", "index": 1},
			"X-List": ["one", {"value": "two", "order": 3}, 4, {"order": 1}],
			"X-Number": 7,
			"X-A": "last"}},
		"dkim-signature": ["a=1", "a=2"]}`)
	require.NoError(t, err)
	require.Equal(t, []mail.Edit{
		{Op: mail.RemoveField, Name: "X-All"},
		{Op: mail.RemoveField, Name: "X-Second", Index: 2},
		{Op: mail.RemoveField, Name: "X-Some", Index: 3},
		{Op: mail.RemoveField, Name: "X-Some", Index: 2},
		{Op: mail.RemoveField, Name: "X-Some", Index: 1},
		{Op: mail.RemoveField, Name: "X-Last"},
		{Op: mail.AppendField, Name: "X-Z", Value: "string"},
		{Op: mail.InsertField, Name: "X-Order", Value: "top", Index: 0},
		{Op: mail.AppendField, Name: "X-End", Value: "end"},
		{Op: mail.InsertField, Name: "X-Index", Value: "by index", Index: 1},
		{Op: mail.AppendField, Name: "X-List", Value: "one"},
		{Op: mail.InsertField, Name: "X-List", Value: "two", Index: 3},
		{Op: mail.AppendField, Name: "X-A", Value: "last"},
		{Op: mail.InsertField, Name: "DKIM-Signature", Value: "a=1", Index: 1},
		{Op: mail.InsertField, Name: "DKIM-Signature", Value: "a=2", Index: 2},
	}, v.Edits)
	require.Zero(t, v.Score)

	v, err = check(t, `{"action": "no action", "dkim-signature": "v=1; d=x"}`)
	require.NoError(t, err)
	require.Equal(t, []mail.Edit{{Op: mail.InsertField, Name: "DKIM-Signature", Value: "v=1; d=x", Index: 1}}, v.Edits)
}

func TestActionsThatAStockRspamdDoesNotGive(t *testing.T) {
	for _, row := range []struct {
		answer string
		action mail.Action
		reply  string
	}{
		{`{"action": "quarantine"}`, mail.Quarantine, ""},
		{`{"action": "reject", "milter": {"reject": "quarantine"}, "messages": {"smtp_message": "no"}}`, mail.Quarantine, ""},
		{`{"action": "reject", "milter": {"reject": "discard"}}`, mail.Reject, ""}, // nothing is thrown away in silence
		{`{"action": "reject", "milter": {"no_action": true}}`, mail.Allow, ""},
		{`{"action": "reject", "messages": {"smtp_message": "スパム\r\n250  ok"}}`, mail.Reject, "550 5.7.1 ??? 250 ok"},
		{`{"action": "reject", "messages": ["none"]}`, mail.Reject, ""},
		{`{"action": "accept"}`, mail.Allow, ""},
	} {
		v, err := check(t, row.answer)
		require.NoError(t, err, row.answer)
		require.Equal(t, row.action, v.Action, row.answer)
		if row.reply == "" {
			require.Nil(t, v.Reply, row.answer)
		} else {
			require.Equal(t, row.reply, v.Reply.String())
		}
	}
}

func TestUnknownActionIsLogged(t *testing.T) {
	var log bytes.Buffer
	c, err := rspamd.New(rspamd.Options{URL: answers(t, http.StatusOK, `{"action": "explode"}`).URL}, slog.New(slog.NewJSONHandler(&log, nil)))
	require.NoError(t, err)
	v, err := c.Check(context.Background(), letter("x"))
	require.NoError(t, err)
	require.Equal(t, mail.Allow, v.Action)
	require.Contains(t, log.String(), `"action":"explode"`)
	require.Contains(t, log.String(), `"queue_id":"4ABC123"`)
}

func TestSubjectIsMadeFitForAHeader(t *testing.T) {
	v, err := check(t, `{"action": "rewrite subject", "subject": "[スパム] hello"}`)
	require.NoError(t, err)
	require.Equal(t, "=?utf-8?b?W+OCueODkeODoF0gaGVsbG8=?=", v.Edits[0].Value)
}

func TestManySymbolsAreCutToTheWeightiest(t *testing.T) {
	var b strings.Builder
	for i := range 500 {
		fmt.Fprintf(&b, `"S%03d": {"score": %d},`, i, i)
	}
	v, err := check(t, `{"action": "no action", "symbols": {`+strings.TrimSuffix(b.String(), ",")+`}}`)
	require.NoError(t, err)
	var metadata struct{ Symbols []struct{ Name string } }
	require.NoError(t, json.Unmarshal(v.Metadata["rspamd"], &metadata))
	require.Len(t, metadata.Symbols, 100)
	require.Equal(t, "S499", metadata.Symbols[0].Name)
}

func TestWhatIsNoAnswerIsAnError(t *testing.T) {
	for _, row := range []struct {
		status int
		body   string
		err    string
	}{
		{200, ``, "not a JSON object"},
		{200, `[]`, "not a JSON object"},
		{200, `{"action": 7}`, "has no action"},
		{200, `{"error": "task timeout"}`, "task timeout"},
		{200, `{"action": "no action", "x": "` + strings.Repeat("x", 2<<20) + `"}`, "longer than"},
		{200, `{"action": "no action"`, "EOF"},
		{403, `{"error": "no password"}`, "status 403"},
		{302, ``, "status 302"},
		{500, `oops`, "oops"},
	} {
		c := newClient(t, rspamd.Options{URL: answers(t, row.status, row.body).URL})
		_, err := c.Check(context.Background(), letter("x"))
		require.ErrorContains(t, err, row.err)
	}
}

func TestLateAnswerIsADeadlineError(t *testing.T) {
	release := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(s.Close)
	t.Cleanup(func() { close(release) })
	_, err := newClient(t, rspamd.Options{URL: s.URL, TimeoutMS: 20}).Check(context.Background(), letter("x"))
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestRequestCarriesTheEnvelope(t *testing.T) {
	var header http.Header
	var path string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		header, path = r.Header.Clone(), r.URL.Path
		_, _ = io.WriteString(w, `{"action": "no action"}`)
	}))
	t.Cleanup(s.Close)
	m := letter("x")
	m.Client.Login = "tanaka\r\nInjected: yes"
	_, err := newClient(t, rspamd.Options{URL: s.URL + "/mail/", Password: "secret"}).Check(context.Background(), m)
	require.NoError(t, err)
	require.Equal(t, "/mail/checkv2", path)
	for name, value := range map[string]string{
		"Password": "secret", "Queue-Id": "4ABC123", "From": "<alice@sender.test>", "Ip": "192.0.2.1",
		"Helo": "mail.sender.test", "Hostname": "mail.sender.test", "User": "tanakaInjected: yes", "Mta-Name": "mx.example.test",
	} {
		require.Equal(t, []string{value}, header[name], name)
	}
	require.Equal(t, []string{"<bob@example.test>", `<"x..y"@example.test>`}, header["Rcpt"])
	require.Empty(t, header["Injected"])
	require.Empty(t, header["Idempotency-Key"])
}

func TestOptionsAreChecked(t *testing.T) {
	for _, o := range []rspamd.Options{
		{},
		{URL: "127.0.0.1:11333"},
		{URL: "http://user:secret@%zz"},
		{URL: "http://x", MaxBytes: -1},
		{URL: "http://x", AddHeader: "reject"},
		{URL: "http://x", Greylist: "reject"},
	} {
		_, err := rspamd.New(o, nil)
		require.ErrorContains(t, err, "rspamd: ")
		require.NotContains(t, err.Error(), "secret")
	}
}

func FuzzAnswer(f *testing.F) {
	for _, seed := range []string{
		`{"action": "add header", "score": 7.1, "symbols": {"A": {"score": 1}, "B": 2}, "milter": {"add_headers": {"X": {"value": "v", "order": 1}}}}`,
		`{"action": "reject", "messages": {"smtp_message": "no"}, "subject": "x", "dkim-signature": ["a"]}`,
		`{"action": "greylist", "score": 1e308, "milter": {"remove_headers": {"X": [1, 2], "Y": -1e300}}}`,
		`{"action": "x", "action": "y", "": null}`,
	} {
		f.Add([]byte(seed))
	}
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(body) }))
	f.Cleanup(s.Close)
	c, err := rspamd.New(rspamd.Options{URL: s.URL}, nil)
	require.NoError(f, err)
	f.Fuzz(func(t *testing.T, answer []byte) {
		body = answer
		v, err := c.Check(context.Background(), letter("x"))
		if err != nil {
			return
		}
		require.True(t, json.Valid(v.Metadata["rspamd"]))
		for _, e := range v.Edits {
			require.GreaterOrEqual(t, e.Index, 0)
		}
		if v.Reply != nil {
			require.NotContains(t, v.Reply.Text, "\n")
		}
	})
}

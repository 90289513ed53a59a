package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// hookServer is a webhook that keeps what it gets.
type hookServer struct {
	*httptest.Server
	mu  sync.Mutex
	got []map[string]any
}

func newHookServer(t *testing.T) *hookServer {
	t.Helper()
	s := &hookServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var body map[string]any
		assert.NoError(t, json.NewDecoder(r.Body).Decode(&body))
		s.mu.Lock()
		defer s.mu.Unlock()
		s.got = append(s.got, body)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *hookServer) bodies() []map[string]any {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]map[string]any(nil), s.got...)
}

func TestStopByHandIsToldByMailAndWebhook(t *testing.T) {
	hook, inbox := newHookServer(t), labtest.LMTPSink(t, "")
	relay := labtest.Postfix(t, lab.PostfixOptions{VirtualMailboxDomains: "admins.test", VirtualTransport: inbox.Transport()})
	site := newTestSite(t, siteOptions{Mailboxes: []string{"bob"}, Extra: fmt.Sprintf(
		"notify: {language: ja, smtp: {address: %q, from: mairust@host.test, to: [root@admins.test], tls: none}, webhook: {url: %q}}\n",
		relay.SMTPAddr, hook.URL)})
	daemon := site.start(t)
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, daemon.http+"/api/v1/outbound/accounts/bob@example.test/suspend",
		strings.NewReader(`{"reason":"phished"}`))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+site.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Equal(t, http.StatusOK, resp.StatusCode)

	mails, err := inbox.Wait(t.Context(), 1)
	require.NoError(t, err)
	assert.Contains(t, string(mails[0].Data), "Auto-Submitted: auto-generated")
	waitFor(t, "the webhook", func() bool { return len(hook.bodies()) == 1 })
	assert.Equal(t, "outbound.suspended_by_hand", hook.bodies()[0]["event"])
	assert.Equal(t, "phished", hook.bodies()[0]["reason"])
	assert.Equal(t, "管理者が送信を停止しました: bob@example.test", hook.bodies()[0]["text"])
	waitFor(t, "the metric", func() bool {
		return daemon.metricOf(`mairust_notify_sends_total{channel="webhook",result="sent"}`) == 1
	})
}

func TestWorkerRunsApart(t *testing.T) {
	hook := newHookServer(t)
	database := storetest.Options(t, sqldb.Postgres)
	site := newTestSite(t, siteOptions{
		Mailboxes: []string{"bob"}, Database: fmt.Sprintf("backend: postgres, url: %q", database.URL),
		Extra: fmt.Sprintf("notify: {webhook: {url: %q}}\n", hook.URL),
	})
	cmd := site.command(t.Context(), "worker")
	stderr, err := cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(stderr)
	for lines.Scan() && !strings.Contains(lines.Text(), `"ready"`) {
		continue
	}
	rest := make(chan string, 1)
	go func() {
		var all strings.Builder
		for lines.Scan() {
			all.WriteString(lines.Text() + "\n")
		}
		rest <- all.String()
	}()
	s := store.New(store.Options{DB: storetest.OpenDB(t, database)})
	require.NoError(t, notify.Enqueue(t.Context(), s, notify.Notice{Tenant: "t1", Account: "a@example.test", Kind: notify.Suspended}))
	_, err = s.ChangeOutboundAccount(t.Context(), store.OutboundChange{
		Tenant: "t1", Account: "b@example.test", Act: "suspend", Level: store.LevelHardLimit, Until: time.Now().Add(-time.Minute),
	})
	require.NoError(t, err)
	waitFor(t, "the notice", func() bool { return len(hook.bodies()) >= 1 })
	assert.Equal(t, "outbound.suspended", hook.bodies()[0]["event"])
	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	assert.Contains(t, <-rest, `"stopped"`)
	require.NoError(t, cmd.Wait())

	_, err = newTestSite(t, siteOptions{Mailboxes: []string{"bob"}}).command(t.Context(), "worker").Output()
	require.Error(t, err, "SQLite means one process")
}

package notify_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/policy/notify"
)

func TestMonitorThatIsGoneIsSeenWithoutANotice(t *testing.T) {
	watch := newServer(t)
	address := watch.URL
	bubble(t, func(t *testing.T, r *rig) {
		n := r.notifier(notify.Options{Monitor: notify.MonitorOptions{URL: address + "/a-secret-path", Heartbeat: 5 * time.Minute}}, notify.Deps{})
		run(t, func() {
			pass(11 * time.Minute)
			require.Len(t, watch.requests(), 3)
			assert.Equal(t, "heartbeat", watch.requests()[0].field("event"))
			watch.Close()
			pass(6 * time.Minute)
			err := n.Check(t.Context())
			require.ErrorContains(t, err, "connection refused")
			assert.NotContains(t, err.Error(), "a-secret-path")
		}, n)
	})
}

func TestMonitorIsToldNothingButEventAccountCountsScoreAndAction(t *testing.T) {
	watch := newServer(t)
	bubble(t, func(t *testing.T, r *rig) {
		n := r.notifier(notify.Options{Monitor: notify.MonitorOptions{URL: watch.URL, Token: "tok"}}, notify.Deps{})
		run(t, func() {
			r.enqueue("a@example.test", notify.Suspended)
			pass(10 * time.Second)
		}, n)
		require.Len(t, watch.requests(), 1)
		got := watch.requests()[0]
		assert.Equal(t, "Bearer tok", got.header.Get("Authorization"))
		var fields map[string]any
		require.NoError(t, json.Unmarshal(got.body, &fields))
		delete(fields, "id")
		delete(fields, "at")
		assert.Equal(t, map[string]any{
			"event": "outbound.suspended", "installation": "mail.example.test", "account": "a@example.test", "score": 0.834,
			"action": "refuse_suspended", "counts": map[string]any{"recipients_1h": 55.0, "recipients_24h": 60.0, "new_recipients_1h": 50.0},
		}, fields)
	})
}

func TestWebhookIsSigned(t *testing.T) {
	hook := newServer(t)
	bubble(t, func(t *testing.T, r *rig) {
		n := r.notifier(notify.Options{Language: "ja", Webhook: notify.WebhookOptions{URL: hook.URL, Secret: "hush"}},
			notify.Deps{Link: func(account string) string { return "https://mail.example.test/accounts/" + account }})
		run(t, func() {
			r.enqueue("a@example.test", notify.Suspended)
			pass(10 * time.Second)
		}, n)
		require.Len(t, hook.requests(), 1)
		got := hook.requests()[0]
		sum := sha256.Sum256(got.body)
		mac := hmac.New(sha256.New, []byte("hush"))
		_, _ = io.WriteString(mac, got.header.Get("X-Mairust-Timestamp")+"\n"+got.header.Get("X-Mairust-Plugin-Id")+"\n"+hex.EncodeToString(sum[:]))
		assert.Equal(t, "sha256="+hex.EncodeToString(mac.Sum(nil)), got.header.Get("X-Mairust-Signature"))
		assert.Equal(t, "application/json", got.header.Get("Content-Type"))
		assert.Equal(t, "送信を停止しました: a@example.test", got.field("text"))
		assert.Equal(t, "https://mail.example.test/accounts/a@example.test", got.field("url"))
		assert.Equal(t, "hard_limit", got.field("level_after"))
		assert.Equal(t, "t1", got.field("tenant_id"))
	})
}

func TestSlackGetsTextInWhichNothingIsALink(t *testing.T) {
	hook := newServer(t)
	bubble(t, func(t *testing.T, r *rig) {
		n := r.notifier(notify.Options{Webhook: notify.WebhookOptions{URL: hook.URL, Format: "slack"}}, notify.Deps{})
		run(t, func() {
			r.enqueue("<!channel>&@example.test", notify.Suspended)
			pass(10 * time.Second)
		}, n)
		require.Len(t, hook.requests(), 1)
		var fields map[string]string
		require.NoError(t, json.Unmarshal(hook.requests()[0].body, &fields))
		assert.Len(t, fields, 1)
		assert.Contains(t, fields["text"], "Sending stopped: &lt;!channel&gt;&amp;@example.test\n")
		assert.Contains(t, fields["text"], "55 in the last hour, 60 in 24 hours")
	})
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	hook := newServer(t)
	hook.say(http.StatusTemporaryRedirect)
	bubble(t, func(t *testing.T, r *rig) {
		n := r.notifier(notify.Options{Webhook: notify.WebhookOptions{URL: hook.URL}}, notify.Deps{})
		run(t, func() {
			r.enqueue("a@example.test", notify.Suspended)
			pass(10 * time.Second)
		}, n)
		require.ErrorContains(t, n.Check(t.Context()), "redirects are not followed")
	})
}

func TestServerThatHangsIsAFailureInTime(t *testing.T) {
	release := make(chan struct{})
	hanging := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	t.Cleanup(hanging.Close)
	t.Cleanup(func() { close(release) })
	s := newStore(t)
	n, err := notify.New(notify.Options{Webhook: notify.WebhookOptions{URL: hanging.URL, Timeout: 50 * time.Millisecond}},
		notify.Deps{Store: s, Hostname: "h"})
	require.NoError(t, err)
	require.NoError(t, notify.Enqueue(t.Context(), s, notify.Notice{Account: "a", Kind: notify.Suspended}))
	run(t, func() {
		require.NoError(t, lab.Eventually(t.Context(), func(ctx context.Context) error {
			if err := n.Check(ctx); err == nil || !strings.Contains(err.Error(), "no answer in time") {
				return fmt.Errorf("not yet: %w", err)
			}
			return nil
		}))
	}, n)
}

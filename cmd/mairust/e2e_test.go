package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/storetest"
)

// gtube makes every rspamd reject (https://spamassassin.apache.org/gtube/).
const gtube = "XJS*C4JDBQADN1.NSBN3*2IDNEN*GTUBE-STANDARD-ANTI-UBE-TEST-EMAIL*C.34X"

// wiredPostfix is a Postfix whose milter, LMTP and recipient lookup are the site's. It copies what it hands to LMTP
// to the sink as well (always_bcc), so that a test sees the bytes.
func wiredPostfix(t *testing.T, s *testSite, sink *lab.LMTPSink) *lab.Postfix {
	t.Helper()
	return labtest.Postfix(t, lab.PostfixOptions{
		Milter: s.socket("milter"), LocalMilter: s.socket("local"),
		VirtualMailboxDomains: "example.test, sink.test",
		VirtualMailboxMaps:    "inline:{{copy@sink.test=yes}}, socketmap:" + s.socket("lookup") + ":mailboxes",
		VirtualTransport:      "lmtp:" + s.socket("lmtp"),
		ExtraMain: map[string]string{
			"lmtp_line_length_limit": "0",
			"transport_maps":         "inline:{{copy@sink.test=" + sink.Transport() + "}}",
			"always_bcc":             "copy@sink.test",
		},
	})
}

func TestMailThroughPostfixIsScannedStoredAndReadBackByteForByte(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			rspamd := labtest.Rspamd(t)
			site := newTestSite(t, siteOptions{
				Backend: backend, Milter: fmt.Sprintf("  rspamd: {url: %q}", rspamd.URL()), Mailboxes: []string{"bob", "hanako"},
			})
			daemon := site.start(t)
			sink := labtest.LMTPSink(t, "")
			postfix := wiredPostfix(t, site, sink)

			long := strings.Repeat("長い行 ", 300) + strings.Repeat("x", 3000)
			body := "Subject: =?ISO-2022-JP?B?GyRCMnE1RBsoQg==?=\r\nFrom: Alice <alice@sender.test>\r\nTo: bob@example.test\r\n" +
				"Message-ID: <e2e@sender.test>\r\nDate: Sun, 22 Nov 2026 10:00:00 +0900\r\nMIME-Version: 1.0\r\n" +
				"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n" +
				"X-MaiRust-Scan: v=1; forged\r\n\r\n" +
				"こんにちは\r\n.a line with a dot\r\n" + long + "\r\nend\r\n"
			replies, err := lab.SMTPSend(t.Context(), postfix.SMTPAddr, "alice@sender.test",
				[]string{"bob@example.test", "hanako+news@example.test", "nobody@example.test"}, []byte(body), lab.SendOptions{MailParams: "BODY=8BITMIME"})
			require.NoError(t, err)
			require.True(t, replies.Accepted(), "%+v", replies)
			assert.Equal(t, 550, replies.Rcpts[2].Code, "unknown recipients are refused at RCPT: %s", replies.Rcpts[2])
			assert.True(t, strings.HasPrefix(replies.Rcpts[2].Text, "5.1.1 "), "%s", replies.Rcpts[2])

			transactions, err := sink.Wait(t.Context(), 1)
			require.NoError(t, err)
			want := append([]byte("Return-Path: <alice@sender.test>\r\n"), transactions[0].Data...)
			for _, mailbox := range []string{"bob@example.test", "hanako@example.test"} {
				var list []wire.Message
				waitFor(t, "the message in "+mailbox, func() bool {
					list = daemon.messages(t, mailbox, "INBOX")
					return len(list) == 1
				})
				m := list[0]
				assert.Equal(t, "会議", m.Subject)
				assert.NotContains(t, m.Tags, "unscanned", "the milter's verdict is believed")
				assert.NotEmpty(t, m.QueueID)
				assert.Equal(t, "alice@sender.test", m.EnvelopeFrom)
				got := daemon.raw(t, m.ID)
				assert.Equal(t, string(want), string(got))
				assert.Contains(t, string(got), "\r\n"+long+"\r\n")
				assert.NotContains(t, string(got), "forged")
				assert.Equal(t, 1, bytes.Count(got, []byte("X-MaiRust-Scan:")))
			}

			refused, err := lab.SMTPSend(t.Context(), postfix.SMTPAddr, "spam@sender.test", []string{"bob@example.test"},
				[]byte("Subject: spam\r\nFrom: <spam@sender.test>\r\n\r\n"+gtube+"\r\n"), lab.SendOptions{})
			require.NoError(t, err)
			require.Len(t, refused.Final, 1)
			assert.Equal(t, 550, refused.Final[0].Code, "%s", refused.Final[0])

			require.NoError(t, postfix.Sendmail(t.Context(), "root@example.test", []string{"bob@example.test"},
				strings.NewReader("Subject: cron\n\nfrom the host itself\n")))
			waitFor(t, "mail of sendmail(1)", func() bool { return len(daemon.messages(t, "bob@example.test", "")) == 2 })
			assert.Equal(t, "cron", daemon.messages(t, "bob@example.test", "")[0].Subject)
			assert.NotContains(t, postfix.Log(), "status=bounced")
			traceOneMessage(t, daemon)
		})
	}
}

// traceOneMessage follows a queue id from the milter's log line to that of LMTP.
func traceOneMessage(t *testing.T, p *process) {
	t.Helper()
	queueID := p.messages(t, "bob@example.test", "")[1].QueueID
	components := map[string]bool{}
	for _, line := range strings.Split(p.tail(1000), "\n") {
		var entry struct {
			Component string
			QueueID   string `json:"queue_id"`
		}
		if json.Unmarshal([]byte(line), &entry) == nil && entry.QueueID == queueID {
			components[entry.Component] = true
		}
	}
	assert.Subset(t, components, map[string]bool{"milter": true, "lmtp": true})
}

func TestMessageIsReadableWithinTwoSecondsOfIts250(t *testing.T) {
	site := newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"bob"}})
	daemon := site.start(t)
	replies, err := site.lmtp(t.Context(), "a@sender.test", []string{"bob@example.test"}, []byte("Subject: now\r\n\r\nhi\r\n"))
	require.NoError(t, err)
	require.True(t, replies.Accepted())
	require.Len(t, daemon.messages(t, "bob@example.test", ""), 1, "it is there at once: the index row is what the 250 means")
}

func TestMailboxMadeWhileTheDaemonRunsTakesMail(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			site := newTestSite(t, siteOptions{Backend: backend, Mailboxes: []string{"bob"}})
			daemon := site.start(t)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			replies, err := site.lmtp(ctx, "a@sender.test", []string{"new@example.test"}, nil)
			require.NoError(t, err)
			require.Equal(t, 550, replies.Rcpts[0].Code)
			out := site.run(t, "init", "--tenant", "example", "--domain", "example.test", "--mailbox", "new@example.test")
			assert.Contains(t, out, "created  mailbox  new@example.test")
			assert.Contains(t, out, "password: ")
			replies, err = site.lmtp(ctx, "a@sender.test", []string{"new@example.test"}, []byte("Subject: x\r\n\r\nx\r\n"))
			require.NoError(t, err)
			require.True(t, replies.Accepted(), "%+v", replies)
			require.Len(t, daemon.messages(t, "new@example.test", ""), 1)
			assert.NotEmpty(t, site.run(t, "apikey", "create", "--role", "helpdesk", "--tenant", "example"))
			said, err := site.command(t.Context(), "apikey", "create", "--role", "boss").CombinedOutput()
			require.Error(t, err)
			assert.Contains(t, string(said), `--role is "boss": use one of ["super_admin"`)
			assert.Contains(t, site.run(t, "check"), "PASS  database")
		})
	}
}

func TestHealthAndMetricsAnswer(t *testing.T) {
	site := newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"bob"}})
	daemon := site.start(t)
	for path, want := range map[string]string{
		"/health": `"status":"ok"`, "/health/ready": `"database":{"status":"ok"}`, "/health/live": "", "/metrics": "mairust_build_info",
	} {
		resp, err := http.Get(daemon.ops + path)
		require.NoError(t, err)
		var body bytes.Buffer
		_, err = body.ReadFrom(resp.Body)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		assert.Equal(t, http.StatusOK, resp.StatusCode, path)
		assert.Contains(t, body.String(), want, path)
	}
}

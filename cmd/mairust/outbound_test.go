package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

const suspendedReply = "550 5.7.1 Sending from this account is temporarily suspended. Please contact your administrator."

// post asks the API to do something, with the site's key.
func (p *process) post(t testing.TB, path, body string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodPost, p.http+path, strings.NewReader(body))
	require.NoError(t, err)
	req.Header.Set("Authorization", "Bearer "+p.site.key)
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	answer, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	require.Less(t, resp.StatusCode, 300, "%s: %s", path, answer)
}

// submit sends a message as a login, with some recipients that exist elsewhere and some here that don't.
func submit(t testing.TB, postfix *lab.Postfix, login string, round, elsewhere, unknown int) *lab.Replies {
	t.Helper()
	var to []string
	for i := range elsewhere {
		to = append(to, fmt.Sprintf("v%d-%d@far%d.test", round, i, i))
	}
	for i := range unknown {
		to = append(to, fmt.Sprintf("nobody%d-%d@example.test", round, i))
	}
	body := "Subject: your mailbox\r\nFrom: Desk <desk@example.test>\r\nDate: Sun, 22 Nov 2026 10:00:00 +0900\r\nMessage-ID: <" +
		fmt.Sprint(round) + "@x.test>\r\n\r\nYour mailbox is nearly full, please confirm your password at http://phish.test/login today.\r\n"
	replies, err := lab.SMTPSend(t.Context(), postfix.SubmissionAddr, "anybody@elsewhere.test", to, []byte(body),
		lab.SendOptions{Username: login, Password: "pw"})
	require.NoError(t, err)
	return replies
}

func TestStolenAccountIsStoppedExplainedReleasedAndItsMailNeverTouched(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			site := newTestSite(t, siteOptions{Backend: backend, Mailboxes: []string{"bob", "hanako"}, Extra: "outbound: {mode: enforce, default_domain: example.test}\n"})
			daemon := site.start(t)
			postfix := labtest.Postfix(t, lab.PostfixOptions{
				Milter: site.socket("milter"), LocalMilter: site.socket("local"),
				VirtualMailboxMaps: "socketmap:" + site.socket("lookup") + ":mailboxes", VirtualTransport: "lmtp:" + site.socket("lmtp"),
				Users: map[string]string{"Bob": "pw", "hanako@example.test": "pw"},
			})
			stopped, left := false, 0
			for round := 0; round < 40 && !stopped; round++ {
				r := submit(t, postfix, "Bob", round, 5, 2)
				if r.Mail.Code == 550 {
					require.Equal(t, suspendedReply, r.Mail.String())
					stopped = true
				}
				if r.Accepted() && len(r.Final) == 1 && r.Final[0].Code == 250 {
					for _, rcpt := range r.Rcpts {
						if rcpt.Code == 250 {
							left++
						}
					}
				}
			}
			require.True(t, stopped)
			assert.LessOrEqual(t, left, 50, "recipients that left before containment")
			t.Logf("%d recipients left", left)

			// Others send, and bob receives, as before.
			r := submit(t, postfix, "hanako@example.test", 100, 1, 0)
			require.True(t, r.Accepted(), "%+v", r)
			receives := func(subject string) {
				in, err := lab.SMTPSend(t.Context(), postfix.SMTPAddr, "friend@sender.test", []string{"bob@example.test"},
					[]byte("Subject: "+subject+"\r\nFrom: friend@sender.test\r\n\r\nhello\r\n"), lab.SendOptions{})
				require.NoError(t, err)
				require.True(t, in.Accepted(), "%+v", in)
				waitFor(t, subject, func() bool {
					list := daemon.messages(t, "bob@example.test", "INBOX")
					return len(list) > 0 && list[0].Subject == subject
				})
			}
			receives("while stopped")

			waitFor(t, "the suspension in the list", func() bool {
				_, body, err := daemon.get("/api/v1/outbound/suspensions")
				require.NoError(t, err)
				return bytes.Contains(body, []byte("bob@example.test"))
			})
			waitFor(t, "its explanation", func() bool {
				code, body, err := daemon.get("/api/v1/outbound/accounts/bob@example.test/explain")
				require.NoError(t, err)
				return code == http.StatusOK && bytes.Contains(body, []byte("invalid"))
			})
			assert.NotContains(t, daemon.tail(2000), "confirm your password")

			// The stop outlives a crash.
			daemon.kill()
			daemon = site.start(t)
			r = submit(t, postfix, "Bob", 200, 1, 0)
			require.Equal(t, suspendedReply, r.Mail.String())

			daemon.post(t, "/api/v1/outbound/accounts/bob@example.test/release", `{"reason": "password changed"}`)
			waitFor(t, "mail flows again", func() bool {
				r := submit(t, postfix, "Bob", 300, 1, 0)
				return r.Accepted() && r.Final[0].Code == 250
			})
			receives("after the release")
			assert.Contains(t, site.run(t, "check"), "PASS  outbound       mode enforce")
		})
	}
}

func TestPolicyIsReloadedAtOnce(t *testing.T) {
	site := newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"bob"}, Extra: "outbound: {mode: enforce, default_domain: example.test}\n"})
	site.start(t)
	postfix := labtest.Postfix(t, lab.PostfixOptions{Milter: site.socket("milter"), Users: map[string]string{"bob": "pw"}})
	require.True(t, submit(t, postfix, "bob", 1, 3, 0).Accepted())
	raw, err := os.ReadFile(site.configFile)
	require.NoError(t, err)
	raw = bytes.ReplaceAll(raw, []byte("mode: enforce, "), []byte("mode: enforce, limits: {user_per_hour: 4}, "))
	require.NoError(t, os.WriteFile(site.configFile, raw, 0o600))
	assert.Contains(t, site.run(t, "reload"), "applied: outbound.limits.user_per_hour")
	r := submit(t, postfix, "bob", 2, 3, 0)
	require.Equal(t, 250, r.Rcpts[0].Code)
	require.Equal(t, "450 4.7.1 Sending rate limited, please try again later.", r.Rcpts[1].String())
}

func TestMilterAloneStartsWithoutItsDatabaseAndWritesLater(t *testing.T) {
	pg := labtest.OwnPostgres(t, lab.PostgresOptions{})
	o := sqldb.Options{Backend: sqldb.Postgres, URL: pg.URL()}
	storetest.OpenDB(t, o)
	redis := labtest.Redis(t)
	site := newTestSite(t, siteOptions{
		Database: fmt.Sprintf("backend: postgres, url: %q", o.URL), Mailboxes: []string{"bob"},
		Extra: fmt.Sprintf("outbound: {mode: enforce, default_domain: example.test}\nredis: {url: %q}\n", redis.URL()),
	})
	pg.Stop(lab.StopImmediate)
	milter := &process{site: site, cmd: site.command(t.Context(), "milter"), done: make(chan struct{}), ready: make(chan string, 1)}
	stderr, err := milter.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, milter.cmd.Start())
	go func() {
		defer close(milter.done)
		milter.read(stderr)
		milter.err = milter.cmd.Wait()
	}()
	t.Cleanup(func() {
		milter.kill()
		if t.Failed() {
			t.Logf("daemon log:\n%s", milter.tail(60))
		}
	})
	require.NoError(t, milter.await())
	postfix := labtest.Postfix(t, lab.PostfixOptions{Milter: site.socket("milter"), Users: map[string]string{"bob": "pw"}})
	require.True(t, submit(t, postfix, "bob", 1, 2, 0).Accepted())
	redis.Stop()
	require.True(t, submit(t, postfix, "bob", 2, 2, 0).Accepted(), "nor Redis")
	assert.Contains(t, milter.tail(1000), "outbound works without the database")
	waitFor(t, "the log says that Redis is away", func() bool { return strings.Contains(milter.tail(1000), "redis does not answer") })

	require.NoError(t, pg.Start(t.Context()))
	db := store.New(store.Options{DB: storetest.OpenDB(t, o)})
	waitFor(t, "both messages in the log of decisions", func() bool {
		list, err := db.OutboundDecisions(t.Context(), store.System, store.DecisionFilter{Account: "bob@example.test", Limit: 10})
		require.NoError(t, err)
		messages := int64(0)
		for _, d := range list {
			messages += d.Messages
		}
		return messages == 2
	})
}

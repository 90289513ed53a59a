package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
)

// metricOf reads a line of /metrics; 0 when it is not there.
func (p *process) metricOf(name string) (value float64) {
	resp, err := http.Get(p.ops + "/metrics")
	if err != nil {
		return -1
	}
	defer resp.Body.Close()
	var b strings.Builder
	if err := resp.Write(&b); err != nil {
		return -1
	}
	for line := range strings.Lines(b.String()) {
		if rest, ok := strings.CutPrefix(line, name+" "); ok {
			_, _ = fmt.Sscan(rest, &value)
		}
	}
	return value
}

// bouncesOf counts the recipients of an account that bounced, by its decisions.
func (p *process) bouncesOf(account string) (n int64) {
	body, err := p.getOK("/api/v1/outbound/accounts/" + account + "/decisions?limit=100")
	if err != nil {
		return 0
	}
	var list wire.List[wire.OutboundDecision]
	if json.Unmarshal(body, &list) != nil {
		return -1
	}
	for _, d := range list.Data {
		n += d.Bounced
	}
	return n
}

func TestBouncesOfPostfixCountAgainstTheAccountThatSentThem(t *testing.T) {
	next := labtest.LMTPSink(t, "")
	next.OnRcpt = func(rcpt string) string {
		if strings.HasPrefix(rcpt, "bob@") {
			return "250 2.1.5 ok"
		}
		return "550 5.1.1 unknown"
	}
	dir := labtest.ShortDir(t)
	postfix := labtest.Postfix(t, lab.PostfixOptions{
		Milter: "unix:" + filepath.Join(dir, "run", "milter.sock"), Users: map[string]string{"alice@example.test": "secret"},
		ExtraMain: map[string]string{"default_transport": next.Transport(), "relayhost": ""},
	})
	site := newTestSite(t, siteOptions{Dir: dir, Mailboxes: []string{"alice"}, Extra: fmt.Sprintf(
		"outbound: {mode: enforce, bounces: {file: %q, host: mx.example.test}}\nalert: {check_every: 100ms}\n", postfix.LogFile)})
	daemon := site.start(t)
	send := func() {
		t.Helper()
		r, err := lab.SMTPSend(t.Context(), postfix.SubmissionAddr, "alice@example.test",
			[]string{"bob@far.test", "no1@far.test", "no2@far.test", "no3@far.test"}, []byte("Subject: hello\n\nhello\n"),
			lab.SendOptions{Username: "alice@example.test", Password: "secret"})
		require.NoError(t, err)
		require.True(t, r.Accepted(), "%+v", r)
	}
	send()
	waitFor(t, "three bounces", func() bool { return daemon.bouncesOf("alice@example.test") == 3 })
	assert.InDelta(t, 3, daemon.metricOf(`mairust_bounce_applied_total{result="counted"}`), 0)

	// The same log, shipped as if it were another host's: nothing counts twice.
	key := strings.TrimSpace(site.run(t, "apikey", "create", "--role", "postfix"))
	ship := site.command(t.Context(), "bounces", "--once", "--from-start", "--file", postfix.LogFile, "--host", "mx.example.test",
		"--url", daemon.http, "--state", filepath.Join(dir, "state.json"))
	ship.Env = append(ship.Env, "MAIRUST_API_KEY="+key)
	out, err := ship.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.InDelta(t, 6, daemon.metricOf("mairust_bounce_received_total"), 0)
	waitFor(t, "nothing to wait", func() bool { return daemon.metricOf(`mairust_bounce_applied_total{result="counted"}`) >= 3 })
	assert.Equal(t, int64(3), daemon.bouncesOf("alice@example.test"))

	// What Postfix logs while the daemon is down is read at its next start.
	require.NoError(t, daemon.terminate(t))
	file, err := os.OpenFile(postfix.LogFile, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = fmt.Fprintf(file, "%s mx postfix/smtp[1]: %s: to=<late@far.test>, relay=none, delay=1, delays=0/0/0/1, dsn=5.1.2, status=bounced (x)\n",
		time.Now().Format("Jan _2 15:04:05"), queueIDOf(t, postfix))
	require.NoError(t, err)
	require.NoError(t, file.Close())
	daemon = site.start(t)
	waitFor(t, "the late bounce", func() bool { return daemon.bouncesOf("alice@example.test") == 4 })
	assert.InDelta(t, 1, daemon.metricOf("mairust_bounce_found_total"), 0)
}

// queueIDOf finds the id of the message that alice sent.
func queueIDOf(t *testing.T, p *lab.Postfix) string {
	t.Helper()
	for line := range strings.Lines(p.Log()) {
		if before, _, ok := strings.Cut(line, ": client="); ok {
			return before[strings.LastIndex(before, " ")+1:]
		}
	}
	t.Fatal("no message in the log")
	return ""
}

func TestShippingGoesOnWhenTheServerIsBackAndGivesUpNothing(t *testing.T) {
	dir := t.TempDir()
	log := filepath.Join(dir, "mail.log")
	line := "Nov 26 02:16:09 mx2 postfix/smtp[1]: 4XyZ15: to=<no@x.test>, relay=none, delay=1, delays=0/0/0/1, dsn=5.1.1, status=bounced (x)\n"
	require.NoError(t, os.WriteFile(log, []byte(line), 0o600))
	var asked, status atomic.Int32
	status.Store(http.StatusServiceUnavailable)
	var got []wire.BounceReport
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		assert.Equal(t, "Bearer mk_live_x", r.Header.Get("Authorization"))
		assert.Equal(t, "/api/v1/outbound/bounces", r.URL.Path)
		code := int(status.Load())
		if asked.Add(1) == 2 {
			code = http.StatusForbidden // a key that ended may be replaced
		} else if asked.Load() > 2 {
			code = http.StatusNoContent
			var report wire.BounceReport
			assert.NoError(t, json.NewDecoder(r.Body).Decode(&report))
			got = append(got, report)
		}
		w.WriteHeader(code)
	}))
	defer server.Close()
	t.Setenv("BOUNCE_KEY", "mk_live_x")
	mask := syscall.Umask(0) // which the command sets for its process, here that of all tests
	syscall.Umask(mask)
	defer syscall.Umask(mask)
	args := []string{"bounces", "--once", "--from-start", "--file", log, "--host", "mx2", "--url", server.URL, "--api-key", "env:BOUNCE_KEY",
		"--state", filepath.Join(dir, "state.json")}
	require.Equal(t, 0, run(args))
	require.Len(t, got, 2)
	require.Len(t, got[0].Bounces, 1)
	assert.Equal(t, "4XyZ15", got[0].Bounces[0].QueueID)
	assert.Equal(t, "mx2", got[0].Host)
	assert.Equal(t, int32(4), asked.Load(), "two failures, the report, and that all is well")

	require.Equal(t, 2, run([]string{"bounces", "--url", server.URL, "--host", "mx2"}), "follow or once")
	require.Equal(t, 2, run([]string{"bounces", "--once", "--host", "mx2"}), "no url")
	require.Equal(t, 1, run([]string{"bounces", "--once", "--file", log, "--host", "mx2", "--url", "http://mail.example.test", "--api-key", "env:BOUNCE_KEY"}), "plain http")
	require.Equal(t, 1, run([]string{"bounces", "--once", "--file", log, "--host", "mx2", "--url", server.URL, "--api-key", "mk_live_x"}), "a key on the command line")
}

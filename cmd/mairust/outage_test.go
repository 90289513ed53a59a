package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/sqldb"
)

// outage is one way in which something that mail needs fails.
type outage struct {
	// site is the configuration; its data directory may be changed before the daemon starts.
	site   siteOptions
	before func(t *testing.T, s *testSite)
	// begin breaks it, and returns what mends it.
	begin func(t *testing.T, p *process) (end func())
	// code and enhanced are what every refused message or recipient is told.
	code     int
	enhanced string
	// takesMail: this failure does not keep mail out.
	takesMail bool
	// part is the one that /health names; lists and bodies tell what can be read meanwhile.
	part          string
	lists, bodies bool
	// message is what is sent; empty means a small one.
	message []byte
}

// quickAlerts let a test see the beginning and the end of an alert.
const quickAlerts = "alert: {check_every: 200ms, returned_after: 1s, disk_free_percent: 1, disk_free_bytes: 4096}\nlmtp_note: 0\n"

// run shows that nothing acknowledged is lost by an outage, that everybody is told the right thing while it lasts,
// and that its end needs no restart.
func (o outage) run(t *testing.T) {
	t.Helper()
	o.site.Mailboxes = []string{"bob", "eve"}
	o.site.Extra += strings.TrimSuffix(quickAlerts, "lmtp_note: 0\n")
	site := newTestSite(t, o.site)
	if o.before != nil {
		o.before(t, site)
	}
	daemon := site.start(t)
	acked := &acknowledged{}
	require.True(t, acked.send(t, site, "bob", o.message).Accepted())
	stored := daemon.messages(t, "bob@example.test", "")[0]

	end := sync.OnceFunc(o.begin(t, daemon))
	t.Cleanup(end)
	waitFor(t, "the alert of "+o.part, func() bool { return daemon.part(t, o.part).Since != nil })
	o.duringMail(t, site, acked)
	o.duringReads(t, daemon, stored.ID)
	log := daemon.tail(1 << 20)

	end()
	waitFor(t, "deliveries to work again", func() bool { return acked.send(t, site, "bob", o.message).Accepted() })
	waitFor(t, "the end of the alert", func() bool { return daemon.part(t, o.part).Since == nil })
	assert.Equal(t, http.StatusOK, status(t, daemon.ops+"/health/ready"))
	acked.check(t, daemon)
	requireToldOnce(t, log, o.part)
}

// outageSenders and outageMessages are what is tried while something fails.
const outageSenders, outageMessages = 4, 3

func (o outage) duringMail(t *testing.T, s *testSite, acked *acknowledged) {
	t.Helper()
	var senders sync.WaitGroup
	for n := range outageSenders {
		senders.Go(func() {
			for range outageMessages {
				replies := acked.send(t, s, []string{"bob", "eve"}[n%2], o.message)
				if o.takesMail {
					assert.True(t, replies.Accepted())
					continue
				}
				for _, r := range append(refused(replies.Rcpts), refused(replies.Final)...) {
					assert.Equal(t, o.code, r.Code, "%s", r)
					assert.True(t, strings.HasPrefix(r.Text, o.enhanced+" "), "%s", r)
				}
				assert.False(t, replies.Accepted(), "it was to fail: %+v", replies)
			}
		})
	}
	senders.Wait()
}

func refused(replies []lab.Reply) (list []lab.Reply) {
	for _, r := range replies {
		if !r.OK() {
			list = append(list, r)
		}
	}
	return list
}

func (o outage) duringReads(t *testing.T, p *process, id string) {
	t.Helper()
	for path, works := range map[string]bool{
		"/api/v1/messages?mailbox=bob@example.test": o.lists,
		"/api/v1/messages/" + id:                    o.lists,
		"/api/v1/messages/" + id + "/raw":           o.bodies,
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.http+path, nil)
		require.NoError(t, err)
		req.Header.Set("Authorization", "Bearer "+p.site.key)
		resp, err := http.DefaultClient.Do(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		if works {
			assert.Equal(t, http.StatusOK, resp.StatusCode, path)
			continue
		}
		assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode, path)
		assert.NotEmpty(t, resp.Header.Get("Retry-After"), path)
	}
	resp, err := http.Get(p.http + "/login")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, http.StatusOK, resp.StatusCode, "the Web UI answers")
}

// requireToldOnce looks for the lines of one alert: its beginning once, and no error for each message.
func requireToldOnce(t *testing.T, log, part string) {
	t.Helper()
	began, errors, batches := 0, 0, 0
	for line := range strings.Lines(log) {
		var entry struct{ Message, Part, Level, Component string }
		if json.Unmarshal([]byte(line), &entry) != nil {
			continue
		}
		if entry.Message == "part fails" && entry.Part == part {
			began++
		}
		if entry.Message == "batch of deliveries failed, trying one by one" {
			batches++
		}
		if entry.Level == "ERROR" && (entry.Component == "lmtp" || entry.Component == "store") {
			errors++
		}
	}
	assert.Equal(t, 1, began, "administrators are told once")
	assert.LessOrEqual(t, batches, 2, "batches that fail are told once a minute")
	assert.Zero(t, errors, "a message that is deferred is no error")
}

// acknowledged are the messages that were answered 250, by subject, with their mailbox.
type acknowledged struct {
	mu   sync.Mutex
	n    int
	sent map[string]string // subject → object
	list []letter
}

// send sends a message with a subject of its own, with body or a short text.
func (a *acknowledged) send(t *testing.T, s *testSite, local string, body []byte) *lab.Replies {
	t.Helper()
	if body == nil {
		body = []byte("hello\r\n")
	}
	a.mu.Lock()
	a.n++
	mine := letter{fmt.Sprintf("outage-%d", a.n), local + "@example.test"}
	a.mu.Unlock()
	message := []byte("Subject: " + mine.subject + "\r\n\r\n" + string(body))
	replies, err := s.lmtp(t.Context(), "a@sender.test", []string{mine.mailbox}, message)
	if err != nil {
		return &lab.Replies{} // a connection that broke acknowledges nothing
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sent == nil {
		a.sent = map[string]string{}
	}
	a.sent[mine.subject] = "Return-Path: <a@sender.test>\r\n" + string(message)
	if replies.Accepted() {
		a.list = append(a.list, mine)
	}
	return replies
}

// check asks the API for everything that was acknowledged; what was not may be there too, but whole.
func (a *acknowledged) check(t *testing.T, p *process) {
	t.Helper()
	found := map[letter]bool{}
	for _, local := range []string{"bob", "eve"} {
		for _, m := range p.messages(t, local+"@example.test", "") {
			key := letter{m.Subject, local + "@example.test"}
			require.False(t, found[key], "%v is there twice", key)
			found[key] = true
			require.Equal(t, a.sent[m.Subject], string(p.raw(t, m.ID)), "%v", key)
		}
	}
	for _, l := range a.list {
		require.True(t, found[l], "LOST: %v was acknowledged", l)
	}
}

// part asks /health for one part.
func (p *process) part(t testing.TB, name string) partReport {
	t.Helper()
	resp, err := http.Get(p.ops + "/health")
	require.NoError(t, err)
	defer resp.Body.Close()
	var report healthReport
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&report))
	return report.Parts[name]
}

func TestOutagesOfPostgres(t *testing.T) {
	for name, begin := range map[string]func(t *testing.T, server *lab.Postgres, p *process) func(){
		"stopped": func(t *testing.T, server *lab.Postgres, _ *process) func() {
			server.Stop(lab.StopFast)
			return func() { assert.NoError(t, server.Start(t.Context())) }
		},
		"no connections left": func(t *testing.T, server *lab.Postgres, _ *process) func() {
			exec(t, server, "ALTER DATABASE postgres ALLOW_CONNECTIONS false")
			return nil
		},
	} {
		_, _ = name, begin
	}
	_ = sqldb.Postgres
	_ = labtest.OwnPostgres
	_ = bytes.Equal
	_ = os.Getpid
	_ = filepath.Join
	_ = time.Second
	_ = unix.Mount
}

func exec(t *testing.T, server *lab.Postgres, sql string) string {
	t.Helper()
	out, err := server.Exec(t.Context(), sql)
	require.NoError(t, err)
	return out
}

package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
)

// outage is one way in which something that mail needs fails.
type outage struct {
	// site is the configuration; its data directory may be changed before the daemon starts.
	site   siteOptions
	before func(t *testing.T, s *testSite)
	// begin breaks it, and returns what mends it.
	begin func(t *testing.T, p *process, acked *acknowledged) (end func())
	// code and enhanced are what every refused message or recipient is told.
	code     int
	enhanced string
	// room says that some mail may still be taken.
	room bool
	// quiet says that only mail shows the failure.
	quiet bool
	// part is the one that /health names; lists and bodies tell what can be read meanwhile.
	part          string
	lists, bodies bool
	// message is what is sent; empty means a small one.
	message []byte
}

// quickAlerts let a test see the beginning and the end of an alert.
const quickAlerts = "alert: {check_every: 200ms, returned_after: 1s, disk_free_percent: 1, disk_free_bytes: 4096}\n"

// run shows that nothing acknowledged is lost by an outage, that everybody is told the right thing while it lasts,
// and that its end needs no restart.
func (o outage) run(t *testing.T) {
	t.Helper()
	o.site.Mailboxes = []string{"bob", "eve"}
	o.site.Extra += quickAlerts
	site := newTestSite(t, o.site)
	if o.before != nil {
		o.before(t, site)
	}
	daemon := site.start(t)
	acked := &acknowledged{}
	require.True(t, acked.send(t, site, "bob", o.message).Accepted())
	stored := daemon.messages(t, "bob@example.test", "")[0]
	bob := daemon.login(t, "bob@example.test")

	end := sync.OnceFunc(o.begin(t, daemon, acked))
	t.Cleanup(end)
	if !o.quiet {
		waitFor(t, "the alert of "+o.part, func() bool { return daemon.failing(o.part) })
	}
	o.duringMail(t, site, acked)
	waitFor(t, "the alert of "+o.part, func() bool { return daemon.failing(o.part) })
	o.duringReads(t, daemon, bob, stored.ID)
	log := daemon.tail(1 << 20)

	end()
	waitFor(t, "deliveries to work again", func() bool { return acked.send(t, site, "bob", o.message).Accepted() })
	waitFor(t, "the end of the alert", func() bool { return !daemon.failing(o.part) })
	assert.Equal(t, http.StatusOK, status(t, daemon.ops+"/health/ready"))
	acked.check(t, daemon, "bob", "eve")
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
				list := append(refused(replies.Rcpts), refused(replies.Final)...)
				assert.True(t, replies.Accepted() || len(list) > 0, "the daemon hung up: %+v", replies)
				for _, r := range list {
					assert.Equal(t, o.code, r.Code, "%s", r)
					assert.True(t, strings.HasPrefix(r.Text, o.enhanced+" "), "%s", r)
				}
				assert.True(t, o.room || !replies.Accepted(), "it was to fail: %+v", replies)
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

// duringReads asks for the same as a person would who reads own mail, all at once: what hangs does so for long.
func (o outage) duringReads(t *testing.T, p *process, session, id string) {
	t.Helper()
	var readers sync.WaitGroup
	for path, works := range map[string]bool{
		"/api/v1/messages?mailbox=bob@example.test": o.lists,
		"/api/v1/messages/" + id:                    o.lists,
		"/api/v1/messages/" + id + "/raw":           o.bodies,
		"/mail/bob@example.test":                    o.lists,
		"/message/" + id:                            o.lists,
	} {
		readers.Go(func() {
			code, header, body, err := p.ask(path, session)
			if !assert.NoError(t, err, path) || works {
				assert.Equal(t, http.StatusOK, code, "%s: %s", path, body)
				return
			}
			assert.Equal(t, http.StatusServiceUnavailable, code, path)
			assert.NotEmpty(t, header.Get("Retry-After"), path)
			if !strings.HasPrefix(path, "/api") {
				assert.Contains(t, body, "Try again in a moment", "the Web UI says so in words")
			}
		})
	}
	readers.Go(func() {
		code, _, body, err := p.ask("/message/"+id, session)
		if assert.NoError(t, err) && o.lists && !o.bodies {
			assert.Equal(t, http.StatusOK, code)
			assert.Contains(t, body, "The message body cannot be retrieved right now")
		}
	})
	readers.Wait()
	assert.Equal(t, http.StatusOK, status(t, p.http+"/login"), "the Web UI answers")
	assert.Equal(t, http.StatusOK, status(t, p.ops+"/health/live"))
}

// login opens a session of a mailbox's owner.
func (p *process) login(t *testing.T, login string) string {
	t.Helper()
	credentials, err := json.Marshal(map[string]string{"login": login, "password": "mailbox password"})
	require.NoError(t, err)
	resp, err := http.Post(p.http+"/api/v1/auth/login", "application/json", bytes.NewReader(credentials))
	require.NoError(t, err)
	defer resp.Body.Close()
	var session struct{ Token string }
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&session))
	require.NotEmpty(t, session.Token)
	return session.Token
}

// ask reads a page or an answer of the API within a session.
func (p *process) ask(path, session string) (code int, header http.Header, body string, err error) {
	req, err := http.NewRequest(http.MethodGet, p.http+path, nil)
	if err != nil {
		return 0, nil, "", err
	}
	if strings.HasPrefix(path, "/api") {
		req.Header.Set("Authorization", "Bearer "+session)
	} else {
		req.Header.Set("Accept-Language", "en")
		req.AddCookie(&http.Cookie{Name: "mairust", Value: session})
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, "", err
	}
	raw, err := io.ReadAll(resp.Body)
	return resp.StatusCode, resp.Header, string(raw), errors.Join(err, resp.Body.Close())
}

// requireToldOnce looks for the lines of one alert: its beginning once, and no error for each message.
func requireToldOnce(t *testing.T, log, part string) {
	t.Helper()
	began, faults, batches := 0, 0, 0
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
			faults++
		}
	}
	assert.Equal(t, 1, began, "administrators are told once")
	assert.LessOrEqual(t, batches, 2, "batches that fail are told once a minute")
	assert.Zero(t, faults, "a message that is deferred is no error")
}

// letter is a message by its subject, which no other has, and its mailbox.
type letter struct{ subject, mailbox string }

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
	return a.sendTo(t, s, []string{address(local)}, body)
}

// sendTo is send for several recipients, each of whom has a reply.
func (a *acknowledged) sendTo(t *testing.T, s *testSite, rcpts []string, body []byte) *lab.Replies {
	t.Helper()
	if body == nil {
		body = []byte("hello\r\n")
	}
	a.mu.Lock()
	a.n++
	subject := fmt.Sprintf("outage-%d", a.n)
	a.mu.Unlock()
	message := []byte("Subject: " + subject + "\r\n\r\n" + string(body))
	replies, err := s.lmtp(t.Context(), "a@sender.test", rcpts, message)
	if err != nil {
		return &lab.Replies{} // a connection that broke acknowledges nothing
	}
	for i, r := range lastWords(rcpts, replies) {
		a.note(letter{subject, rcpts[i]}, message, r.Code == 250)
	}
	return replies
}

// address is that of a local part in example.test, or what is an address already.
func address(local string) string {
	if strings.Contains(local, "@") {
		return local
	}
	return local + "@example.test"
}

// lastWords are what each recipient was told in the end.
func lastWords(rcpts []string, r *lab.Replies) []lab.Reply {
	words, final := make([]lab.Reply, len(rcpts)), r.Final
	for i := range words {
		switch {
		case i < len(r.Rcpts) && !r.Rcpts[i].OK():
			words[i] = r.Rcpts[i]
		case len(final) > 0:
			words[i], final = final[0], final[1:]
		default:
			words[i] = cmp.Or(r.Data, r.Mail, r.Greeting)
		}
	}
	return words
}

// note takes a message that was sent, and whether it was acknowledged.
func (a *acknowledged) note(l letter, message []byte, accepted bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.sent == nil {
		a.sent = map[string]string{}
	}
	a.sent[l.subject] = "Return-Path: <a@sender.test>\r\n" + string(message)
	if accepted {
		a.list = append(a.list, l)
	}
}

// check asks the API for everything that was acknowledged; what was not may be there too, but whole.
func (a *acknowledged) check(t *testing.T, p *process, mailboxes ...string) {
	t.Helper()
	found := map[letter]bool{}
	for _, local := range mailboxes {
		for _, m := range p.messages(t, address(local), "") {
			key := letter{m.Subject, address(local)}
			require.False(t, found[key], "%v is there twice", key)
			found[key] = true
			require.Equal(t, a.sent[m.Subject], string(p.raw(t, m.ID)), "%v", key)
		}
	}
	for _, l := range a.list {
		require.True(t, found[l], "LOST: %v was acknowledged", l)
	}
}

// failing asks /health whether there is an alert for a part; false when it gives no answer.
func (p *process) failing(part string) bool {
	resp, err := http.Get(p.ops + "/health")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	var report healthReport
	err = json.NewDecoder(resp.Body).Decode(&report)
	return err == nil && report.Parts[part].Since != nil
}

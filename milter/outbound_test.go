package milter_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter"
)

// engine is an outbound engine that notes what it is asked and answers as it is told.
type engine struct {
	mu    sync.Mutex
	calls []string

	mail func(e mail.Envelope) *mail.Reply
	rcpt func(to mail.Address) *mail.Reply
	end  func(m *mail.Message, v mail.Verdict) (*mail.Reply, bool)
	// release is called for a message that came to no end.
	release func()
}

func (e *engine) note(format string, args ...any) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.calls = append(e.calls, fmt.Sprintf(format, args...))
}

// take gives what was asked since the last time.
func (e *engine) take() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	calls := e.calls
	e.calls = nil
	return calls
}

// until waits for a call.
func (e *engine) until(t testing.TB, call string) {
	t.Helper()
	require.NoError(t, lab.Eventually(waiting(t), func(context.Context) error {
		e.mu.Lock()
		defer e.mu.Unlock()
		for _, c := range e.calls {
			if c == call {
				return nil
			}
		}
		return fmt.Errorf("no %q among %q", call, e.calls)
	}))
}

func (e *engine) Trusts(client netip.Addr) bool { return client == netip.MustParseAddr("10.9.9.9") }

func (e *engine) Mail(_ context.Context, env mail.Envelope) (milter.Sending, *mail.Reply) {
	e.note("mail %s %s %s", env.Client.Login, env.Client.Addr, env.From)
	if e.mail != nil {
		if reply := e.mail(env); reply != nil {
			return nil, reply
		}
	}
	return &sending{e: e}, nil
}

type sending struct {
	e     *engine
	ended bool
}

func (s *sending) Recipient(_ context.Context, to mail.Address) *mail.Reply {
	s.e.note("rcpt %s", to)
	if s.e.rcpt != nil {
		return s.e.rcpt(to)
	}
	return nil
}

func (s *sending) Refused(_ context.Context, to mail.Address, status string) {
	s.e.note("refused %s %s", to, status)
}

func (s *sending) End(_ context.Context, m *mail.Message, v mail.Verdict) (*mail.Reply, bool) {
	s.ended = true
	s.e.note("end %d %s %s", len(m.Rcpt), v.Action, m.Summary.Preview)
	if s.e.end != nil {
		return s.e.end(m, v)
	}
	return nil, false
}

func (s *sending) Release() {
	if !s.ended {
		s.e.note("release")
		if s.e.release != nil {
			s.e.release()
		}
	}
	s.ended = true
}

// outboundSite is a site whose milter has this engine.
func outboundSite(t *testing.T, e *engine, sources ...milter.Source) *site {
	t.Helper()
	dir := labtest.ShortDir(t)
	s := &served{log: &syncBuffer{}, socket: filepath.Join(dir, "m.sock"), local: filepath.Join(dir, "l.sock"), stopped: make(chan error, 2)}
	var err error
	s.Server, err = milter.New(milter.Options{}, milter.Deps{
		Sources: sources, Outbound: e, MAC: testMAC, Log: slog.New(slog.NewJSONHandler(s.log, nil)), SpoolDir: t.TempDir(),
	})
	require.NoError(t, err)
	for path, role := range map[string]string{s.socket: milter.RoleAuto, s.local: milter.RoleLocal} {
		ln := listenUnix(t, path)
		go func() { s.stopped <- s.Serve(context.Background(), ln, role) }()
	}
	t.Cleanup(func() { s.stop(t) })
	return newSite(t, s, lab.PostfixOptions{
		VirtualMailboxMaps: "inline:{bob@example.test=x, dave@example.test=x}",
		Users:              map[string]string{"alice": "pw"},
	})
}

// submitted sends a message as alice.
func (s *site) submitted(t testing.TB, msg string, to ...string) *lab.Replies {
	t.Helper()
	r, err := lab.SMTPSend(waiting(t), s.pf.SubmissionAddr, "alice@example.test", to, []byte(msg), lab.SendOptions{Username: "alice", Password: "pw"})
	require.NoError(t, err)
	return r
}

var stop = mail.Reply{Code: 550, Enhanced: "5.7.1", Text: "Sending from this account is temporarily suspended. Please contact your administrator."}
var slow = mail.Reply{Code: 450, Enhanced: "4.7.1", Text: "Sending rate limited, please try again later."}

func TestWhatGoesOutIsAskedAboutStepByStepAndWhatComesInIsNot(t *testing.T) {
	t.Parallel()
	e := &engine{}
	e.rcpt = func(to mail.Address) *mail.Reply {
		if to.Local == "dave" {
			return &slow
		}
		return nil
	}
	s := outboundSite(t, e)
	r := s.submitted(t, plain, "bob@example.test", "nobody@example.test", "dave@example.test", "x@far.test")
	require.True(t, r.Accepted(), "%+v", r)
	require.Equal(t, slow.String(), r.Rcpts[2].String())
	require.Equal(t, []string{
		"mail alice 127.0.0.1 alice@example.test", "rcpt bob@example.test", "refused nobody@example.test 5.1.1", "rcpt dave@example.test",
		"rcpt x@far.test", "end 2 allow Hello, .dotted world",
	}, e.take())
	s.accepted(t, plain)
	require.Empty(t, e.take())

	c := s.sendWith(t, "boss@example.test", []string{"bob@example.test"}, plain, lab.SendOptions{XClient: map[string]string{"ADDR": "10.9.9.9"}})
	require.True(t, c.Accepted())
	require.Equal(t, "mail  10.9.9.9 boss@example.test", e.take()[0], "a trusted client needs no login")
}

func TestStoppedSenderIsRefusedAtMAILAndTheSessionGoesOn(t *testing.T) {
	t.Parallel()
	stopped := true
	e := &engine{}
	e.mail = func(mail.Envelope) *mail.Reply {
		if stopped {
			return &stop
		}
		return nil
	}
	s := outboundSite(t, e)
	c, err := lab.DialSMTP(waiting(t), s.pf.SubmissionAddr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	cmd(t, c, "EHLO x", 250)
	cmd(t, c, "AUTH PLAIN AGFsaWNlAHB3", 235)
	require.Equal(t, stop.String(), cmd(t, c, "MAIL FROM:<alice@example.test>", 550).String())
	require.Equal(t, stop.String(), cmd(t, c, "MAIL FROM:<alice@example.test>", 550).String())
	stopped = false
	require.Equal(t, 250, transaction(t, c, "alice@example.test", "bob@example.test", plain).Code)
}

func TestShutdownDoesNotWaitForASenderThatWasRefused(t *testing.T) {
	t.Parallel()
	s := outboundSite(t, &engine{mail: func(mail.Envelope) *mail.Reply { return &stop }})
	c, err := lab.DialSMTP(waiting(t), s.pf.SubmissionAddr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	cmd(t, c, "EHLO x", 250)
	cmd(t, c, "AUTH PLAIN AGFsaWNlAHB3", 235)
	cmd(t, c, "MAIL FROM:<alice@example.test>", 550)
	s.stop(t) // which fails when there is a message to wait for
	cmd(t, c, "MAIL FROM:<alice@example.test>", 451)
}

func TestEveryMessageThatEndsEarlyIsReleased(t *testing.T) {
	t.Parallel()
	e := &engine{}
	s := outboundSite(t, e)
	begin := func() *lab.SMTPConn {
		c, err := lab.DialSMTP(waiting(t), s.pf.SubmissionAddr)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		cmd(t, c, "EHLO x", 250)
		cmd(t, c, "AUTH PLAIN AGFsaWNlAHB3", 235)
		cmd(t, c, "MAIL FROM:<alice@example.test>", 250)
		cmd(t, c, "RCPT TO:<bob@example.test>", 250)
		return c
	}
	c := begin()
	cmd(t, c, "RSET", 250)
	cmd(t, c, "MAIL FROM:<alice@example.test>", 250) // Postfix keeps the ABORT until it has something to ask
	e.until(t, "release")
	e.take()
	c = begin()
	require.NoError(t, c.Close())
	e.until(t, "release")
	e.take()
	c = begin()
	cmd(t, c, "DATA", 354)
	require.NoError(t, c.Write([]byte("Subject: lost\r\n\r\n")))
	require.NoError(t, c.Close())
	e.until(t, "release")
	e.take()
	// Postfix aborts after success too, which releases nothing.
	require.True(t, s.submitted(t, plain, "bob@example.test").Accepted())
	begin()
	for _, call := range e.take() {
		require.NotEqual(t, "release", call)
	}
	// The connection of Postfix itself is lost.
	now, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, s.Shutdown(now), context.Canceled)
	e.until(t, "release")
}

func TestPanicOfTheEngineEndsOneConnectionAndNothingElse(t *testing.T) {
	t.Parallel()
	e := &engine{release: func() { panic("release") }}
	e.rcpt = func(to mail.Address) *mail.Reply {
		if to.Local == "dave" {
			panic("rcpt")
		}
		return nil
	}
	s := outboundSite(t, e)
	begin := func() *lab.SMTPConn {
		c, err := lab.DialSMTP(waiting(t), s.pf.SubmissionAddr)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Close() })
		cmd(t, c, "EHLO x", 250)
		cmd(t, c, "AUTH PLAIN AGFsaWNlAHB3", 235)
		cmd(t, c, "MAIL FROM:<alice@example.test>", 250)
		return c
	}
	cmd(t, begin(), "RCPT TO:<dave@example.test>", 451)
	e.until(t, "release")
	e.take()
	require.NoError(t, begin().Close()) // the release at the end of the connection panics too
	e.until(t, "release")
	require.True(t, s.submitted(t, plain, "bob@example.test").Accepted())
	s.stop(t) // no connection is left over
	require.Equal(t, 3, strings.Count(s.log.String(), "panic in a milter session"))
}

func TestEngineRefusesAndHoldsAtTheEnd(t *testing.T) {
	t.Parallel()
	var reply *mail.Reply
	hold := false
	e := &engine{}
	e.end = func(*mail.Message, mail.Verdict) (*mail.Reply, bool) { return reply, hold }
	s := outboundSite(t, e)
	reply = &stop
	require.Equal(t, stop.String(), s.submitted(t, plain, "bob@example.test").Final[0].String())
	reply = &slow
	require.Equal(t, slow.String(), s.submitted(t, plain, "bob@example.test").Final[0].String())
	reply, hold = nil, true
	require.True(t, s.submitted(t, plain, "bob@example.test").Accepted())
	require.Equal(t, 1, s.held(t))
	require.Contains(t, s.log.String(), `"held":true`)
}

// held counts the messages in Postfix's hold queue.
func (s *site) held(t testing.TB) int {
	t.Helper()
	n := 0
	require.NoError(t, filepath.WalkDir(filepath.Join(s.pf.Dir, "queue", "hold"), func(_ string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			n++
		}
		return err
	}))
	return n
}

func TestMailOfLocalProcessesIsNeverRefused(t *testing.T) {
	t.Parallel()
	var stage atomic.Int32
	at := func(n int32, reply mail.Reply) *mail.Reply {
		if stage.Load() == n {
			return &reply
		}
		return nil
	}
	e := &engine{
		mail: func(mail.Envelope) *mail.Reply { return at(1, stop) },
		rcpt: func(mail.Address) *mail.Reply { return at(2, slow) },
		end:  func(*mail.Message, mail.Verdict) (*mail.Reply, bool) { return at(3, stop), false },
	}
	s := outboundSite(t, e)
	send := func() {
		require.NoError(t, s.pf.Sendmail(waiting(t), "root@example.test", []string{"bob@example.test"}, strings.NewReader("Subject: cron\n\nx\n")))
	}
	send()
	s.delivered(t, 1).scan()
	require.Equal(t, "mail  127.0.0.1 root@example.test", e.take()[0])
	for n := 1; n <= 3; n++ {
		stage.Store(int32(n))
		send()
		require.NoError(t, lab.Eventually(waiting(t), func(context.Context) error {
			if held := s.held(t); held != n {
				return fmt.Errorf("%d messages are held, not %d", held, n)
			}
			return nil
		}))
	}
	require.NotContains(t, s.pf.Log(), "status=bounced")
}

func TestEngineLearnsOfMailThatTheFilterRefuses(t *testing.T) {
	t.Parallel()
	e := &engine{}
	s := outboundSite(t, e, says(mail.Verdict{Action: mail.Reject, Score: 20}))
	require.Equal(t, "550 5.7.1 Message rejected", s.submitted(t, plain, "bob@example.test").Final[0].String())
	calls := e.take()
	require.Equal(t, "end 1 reject Hello, .dotted world", calls[len(calls)-1])
}

package milter_test

import (
	"bytes"
	"context"
	"errors"
	"net"
	"sync"
	"testing"

	gomilter "github.com/emersion/go-milter"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter"
)

// client is a session of go-milter's own client, which offers no options of later protocol versions.
func client(t testing.TB, s *served) *gomilter.ClientSession {
	t.Helper()
	c := gomilter.NewClientWithOptions("unix", s.socket, gomilter.ClientOptions{
		ReadTimeout: patience, WriteTimeout: patience,
		ActionMask: gomilter.OptAddHeader | gomilter.OptChangeHeader | gomilter.OptQuarantine,
	})
	session, err := c.Session()
	require.NoError(t, err)
	t.Cleanup(func() { _ = session.Close() })
	_, err = session.Conn("client.test", gomilter.FamilyInet, 25, "192.0.2.1")
	require.NoError(t, err)
	_, err = session.Helo("client.test")
	require.NoError(t, err)
	return session
}

// deliver sends one message and gives the changes and the answer.
func deliver(t testing.TB, s *gomilter.ClientSession, body []byte) ([]gomilter.ModifyAction, *gomilter.Action) {
	t.Helper()
	_, err := s.Mail("alice@sender.test", nil)
	require.NoError(t, err)
	require.NoError(t, s.Macros(gomilter.CodeRcpt, "{rcpt_mailer}", "lmtp"))
	_, err = s.Rcpt("bob@example.test", nil)
	require.NoError(t, err)
	_, err = s.HeaderField("Subject", "hello")
	require.NoError(t, err)
	_, err = s.HeaderEnd()
	require.NoError(t, err)
	for len(body) > 0 {
		n := min(len(body), gomilter.MaxBodyChunk)
		_, err = s.BodyChunk(body[:n])
		require.NoError(t, err)
		body = body[n:]
	}
	changes, action, err := s.End()
	require.NoError(t, err)
	return changes, action
}

func TestMergedVerdictTakesTheGravestAction(t *testing.T) {
	tag := func(tag string, score float64) milter.Source {
		return says(mail.Verdict{Action: mail.Tag, Tags: []string{tag}, Score: score})
	}
	s := serve(t, milter.Options{}, tag("a", 1), tag("b", 3), says(mail.Verdict{Action: mail.Quarantine, Score: 2}))
	changes, action := deliver(t, client(t, s), []byte("body\r\n"))
	require.Equal(t, gomilter.ActContinue, action.Code)
	require.Len(t, changes, 1)
	require.Equal(t, gomilter.ActInsertHeader, changes[0].Code)
	require.EqualValues(t, 0, changes[0].HeaderIndex)
	require.Regexp(t, `(?s)a=quarantine;\s+tags=a,\s*b; score=3;`, changes[0].HeaderValue)
}

func TestWhatAFailingSourceMeansIsItsOnError(t *testing.T) {
	for _, row := range []struct {
		onError string
		code    gomilter.ActionCode
		smtp    int
	}{
		{"", gomilter.ActContinue, 0},
		{"allow", gomilter.ActContinue, 0},
		{"tempfail", gomilter.ActReplyCode, 451},
		{"reject", gomilter.ActReplyCode, 550},
	} {
		s := serve(t, milter.Options{}, milter.Source{OnError: row.onError, Check: check{"down", func(context.Context, *mail.Message) (mail.Verdict, error) {
			return mail.Verdict{Action: mail.Reject}, errors.New("connection refused")
		}}})
		changes, action := deliver(t, client(t, s), nil)
		require.Equal(t, row.code, action.Code, row.onError)
		require.Equal(t, row.smtp, action.SMTPCode, row.onError)
		if row.smtp == 0 {
			require.Len(t, changes, 1)
			require.Regexp(t, `(?s)a=tag;\s+tags=unscanned;`, changes[0].HeaderValue)
		}
		require.InDelta(t, 1, s.metric(t, "mairust_milter_check_errors_total"), 0)
		require.Contains(t, s.log.String(), "connection refused")
	}
}

func TestAllChecksShareOneDeadline(t *testing.T) {
	release := make(chan struct{})
	deaf := func(name string) milter.Source { // does not heed its context
		return milter.Source{OnError: "tempfail", Check: check{name, func(context.Context, *mail.Message) (mail.Verdict, error) {
			<-release
			return mail.Verdict{Action: mail.Reject}, nil
		}}}
	}
	s := serve(t, milter.Options{TimeoutMS: 50}, deaf("one"), deaf("two"))
	_, action := deliver(t, client(t, s), nil)
	require.Equal(t, 451, action.SMTPCode)
	require.InDelta(t, 2, s.metric(t, "mairust_milter_check_errors_total"), 0)
	close(release)
}

func TestFirstSourcesRunBeforeTheOthersWhichRunSideBySide(t *testing.T) {
	var mu sync.Mutex
	var order []string
	note := func(name string) {
		mu.Lock()
		defer mu.Unlock()
		order = append(order, name)
	}
	var together sync.WaitGroup
	together.Add(2)
	beside := func(name string) milter.Source { // ends only if the other has begun
		return milter.Source{OnError: "reject", Check: check{name, func(context.Context, *mail.Message) (mail.Verdict, error) {
			note("beside")
			together.Done()
			together.Wait()
			return mail.Verdict{}, nil
		}}}
	}
	first := func(name string, action mail.Action) milter.Source {
		return milter.Source{First: true, Check: check{name, func(context.Context, *mail.Message) (mail.Verdict, error) {
			note(name)
			return mail.Verdict{Action: action}, nil
		}}}
	}
	s := serve(t, milter.Options{}, beside("x"), first("one", mail.Allow), beside("y"), first("two", mail.Tag))
	_, action := deliver(t, client(t, s), nil)
	require.Equal(t, gomilter.ActContinue, action.Code)
	require.Equal(t, []string{"one", "two", "beside", "beside"}, order)

	// Nothing outweighs a reject, so nobody else is asked.
	order = nil
	s = serve(t, milter.Options{}, beside("x"), first("one", mail.Reject), first("two", mail.Tag))
	_, action = deliver(t, client(t, s), nil)
	require.Equal(t, 550, action.SMTPCode)
	require.Equal(t, []string{"one"}, order)
}

func TestOptionsAreChecked(t *testing.T) {
	for name, o := range map[string]milter.Options{
		"elsewhere": {Quarantine: milter.Quarantine{Elsewhere: "drop"}},
		"timeout":   {TimeoutMS: -1},
	} {
		_, err := milter.New(o, milter.Deps{MAC: testMAC})
		require.ErrorContains(t, err, "milter: ", name)
	}
	_, err := milter.New(milter.Options{}, milter.Deps{})
	require.ErrorContains(t, err, "MAC")
	_, err = milter.New(milter.Options{}, milter.Deps{MAC: testMAC, Sources: []milter.Source{{OnError: "ignore", Check: check{name: "x"}}}})
	require.ErrorContains(t, err, "on_error of x")
	s, err := milter.New(milter.Options{}, milter.Deps{MAC: testMAC})
	require.NoError(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.ErrorContains(t, s.Serve(context.Background(), ln, "outbound"), "role")
	require.NoError(t, s.Shutdown(context.Background()))
	require.NoError(t, s.Serve(context.Background(), ln, ""))
}

func TestRoleOfTheListenerDecidesTheDirection(t *testing.T) {
	for _, row := range []struct {
		role, login, daemon string
		direction           mail.Direction
	}{
		{"", "", "smtpd", mail.Inbound},
		{milter.RoleAuto, "alice", "smtpd", mail.Outbound},
		{milter.RoleAuto, "", "ORIGINATING", mail.Outbound},
		{milter.RoleInbound, "alice", "ORIGINATING", mail.Inbound},
		{milter.RoleSubmission, "", "smtpd", mail.Outbound},
		{milter.RoleLocal, "alice", "ORIGINATING", mail.Local},
	} {
		var rec recorder
		s, err := milter.New(milter.Options{}, milter.Deps{MAC: testMAC, Sources: []milter.Source{rec.source()}})
		require.NoError(t, err)
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(context.Background())
		stopped := make(chan error)
		go func() { stopped <- s.Serve(ctx, ln, row.role) }()
		raw := bytes.Replace(conversation("x\r\n"), packet('D', "M{auth_authen}\x00\x00"), packet('D', "M{auth_authen}\x00"+row.login+"\x00"), 1)
		raw = bytes.Replace(raw, packet('D', "Cj\x00mx.example.test\x00{daemon_name}\x00smtpd\x00"), packet('D', "C{daemon_name}\x00"+row.daemon+"\x00"), 1)
		converseAt(t, ln.Addr(), raw)
		m := rec.last(t)
		require.Equal(t, row.direction, m.Direction, "%+v", row)
		require.Equal(t, row.login, m.Client.Login)
		require.Equal(t, row.role != milter.RoleLocal, m.Client.Addr.IsValid())
		cancel()
		require.NoError(t, <-stopped)
		require.NoError(t, s.Shutdown(context.Background()))
	}
}

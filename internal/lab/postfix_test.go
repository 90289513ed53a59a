package lab_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
)

const message = "From: a@sender.test\r\nTo: bob@example.test\r\nSubject: hello\r\n\r\n.dot\r\nbody\r\n"

// soon is a context for things that take a moment, or some on a busy machine.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestPostfixDeliversToTheSink(t *testing.T) {
	t.Parallel()
	ctx := soon(t)
	sink := labtest.LMTPSink(t, "")
	p := labtest.Postfix(t, lab.PostfixOptions{
		VirtualTransport: sink.Transport(),
		Users:            map[string]string{"alice": "secret"},
	})

	t.Run("from a stranger", func(t *testing.T) {
		r, err := lab.SMTPSend(ctx, p.SMTPAddr, "a@sender.test", []string{"bob@example.test", "x@elsewhere.test"},
			[]byte(message), lab.SendOptions{XClient: map[string]string{"ADDR": "192.0.2.7", "NAME": "client.test"}})
		require.NoError(t, err)
		require.True(t, r.Accepted(), "%+v", r)
		require.Equal(t, 220, r.XClient.Code)
		require.Equal(t, 250, r.Rcpts[0].Code)
		require.Equal(t, 554, r.Rcpts[1].Code, "relaying is denied")
		got, err := sink.Wait(ctx, 1)
		require.NoError(t, err)
		require.Equal(t, "a@sender.test", got[0].From)
		require.Equal(t, []string{"bob@example.test"}, got[0].Rcpts)
		require.True(t, strings.HasSuffix(string(got[0].Data), "\r\n\r\n.dot\r\nbody\r\n"), "%q", got[0].Data)
		require.Contains(t, string(got[0].Data), "[192.0.2.7]")
	})

	t.Run("from the sendmail command", func(t *testing.T) {
		require.NoError(t, p.Sendmail(ctx, "root@example.test", []string{"carol@example.test"}, strings.NewReader("Subject: x\n\nbody\n")))
		got, err := sink.Wait(ctx, 2)
		require.NoError(t, err)
		require.Equal(t, "root@example.test", got[1].From)
		require.Equal(t, []string{"carol@example.test"}, got[1].Rcpts)
	})

	t.Run("submission needs a login", func(t *testing.T) {
		rcpts := []string{"bob@example.test"}
		r, err := lab.SMTPSend(ctx, p.SubmissionAddr, "alice@example.test", rcpts, []byte(message), lab.SendOptions{})
		require.NoError(t, err)
		require.False(t, r.Rcpts[0].OK())
		r, err = lab.SMTPSend(ctx, p.SubmissionAddr, "alice@example.test", rcpts, []byte(message),
			lab.SendOptions{Username: "alice", Password: "wrong"})
		require.NoError(t, err)
		require.Equal(t, 535, r.Auth.Code)
		r, err = lab.SMTPSend(ctx, p.SubmissionAddr, "alice@example.test", rcpts, []byte(message),
			lab.SendOptions{Username: "alice", Password: "secret"})
		require.NoError(t, err)
		require.True(t, r.Accepted(), "%+v", r)
		r, err = lab.SMTPSend(ctx, p.SubmissionAddr, "bob@example.test", rcpts, []byte(message),
			lab.SendOptions{XClient: map[string]string{"LOGIN": "bob", "ADDR": "192.0.2.9"}})
		require.NoError(t, err)
		require.True(t, r.Accepted(), "%+v", r)
	})

	require.NoError(t, p.WaitQueueEmpty(ctx))
	empty, err := p.QueueEmpty(ctx)
	require.NoError(t, err)
	require.True(t, empty)
}

func TestPostfixKeepsItsQueueWhileLMTPIsDown(t *testing.T) {
	t.Parallel()
	ctx := soon(t)
	addr := "unix:" + labtest.ShortDir(t) + "/lmtp.sock"
	p := labtest.Postfix(t, lab.PostfixOptions{
		LocalDomains:     "local.test",
		MailboxTransport: "lmtp:" + addr,
		ExtraMain:        map[string]string{"recipient_delimiter": "+"},
	})
	rcpts := []string{"bob+x@local.test", "carol@local.test"}
	r, err := lab.SMTPSend(ctx, p.SMTPAddr, "", rcpts, []byte(message), lab.SendOptions{})
	require.NoError(t, err)
	require.True(t, r.Accepted(), "%+v", r)
	require.NoError(t, p.WaitLog(ctx, "status=deferred"))
	p.Stop()
	require.NoError(t, p.Start(ctx))

	sink := labtest.LMTPSink(t, addr)
	require.NoError(t, p.Flush(ctx))
	got, err := sink.Wait(ctx, 2)
	require.NoError(t, err)
	require.Len(t, got[0].Rcpts, 1, "local(8) delivers one recipient at a time")
	require.NoError(t, p.WaitQueueEmpty(ctx))
}

func TestPostfixTakesNewSettings(t *testing.T) {
	t.Parallel()
	ctx := soon(t)
	p := labtest.Postfix(t, lab.PostfixOptions{})
	require.NoError(t, p.Set(ctx, "message_size_limit", "1234"))
	v, err := p.Conf(ctx, "message_size_limit")
	require.NoError(t, err)
	require.Equal(t, "1234", v)
	require.NoError(t, p.Close())
	require.NoError(t, p.Close(), "twice is fine")
	require.NoDirExists(t, p.Dir)
}

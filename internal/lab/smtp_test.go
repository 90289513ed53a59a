package lab_test

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
)

func TestLMTPSinkAnswersEachRecipient(t *testing.T) {
	t.Parallel()
	sink := labtest.LMTPSink(t, "unix:"+labtest.ShortDir(t)+"/s")
	sink.OnRcpt = func(rcpt string) string {
		if rcpt == "nobody@example.test" {
			return "550 5.1.1 no such user"
		}
		return "250 2.1.5 ok"
	}
	sink.OnData = func(rcpt string) string {
		if rcpt == "full@example.test" {
			return "452 4.2.2 full"
		}
		return "250 2.0.0 ok"
	}
	r, err := lab.SMTPSend(soon(t), sink.Addr(), "a@b.test", []string{"bob@example.test", "nobody@example.test", "full@example.test"},
		[]byte(message), lab.SendOptions{LMTP: true, MailParams: "BODY=8BITMIME"})
	require.NoError(t, err)
	require.Equal(t, "550 5.1.1 no such user", r.Rcpts[1].String())
	require.Equal(t, []lab.Reply{{Code: 250, Text: "2.0.0 ok"}, {Code: 452, Text: "4.2.2 full"}}, r.Final)
	require.True(t, r.Accepted())
	require.Equal(t, []lab.Transaction{{
		Helo: "client.example.test", From: "a@b.test", MailParams: "BODY=8BITMIME",
		Rcpts: []string{"bob@example.test", "full@example.test"}, Data: []byte(message),
	}}, sink.Transactions())
}

func TestRefusedRecipientsEndTheTransaction(t *testing.T) {
	t.Parallel()
	sink := labtest.LMTPSink(t, "")
	sink.OnRcpt = func(string) string { return "550 5.1.1 no" }
	r, err := lab.SMTPSend(soon(t), sink.Addr(), "", []string{"x@y.test"}, []byte(message), lab.SendOptions{LMTP: true})
	require.NoError(t, err)
	require.Equal(t, 550, r.Rcpts[0].Code)
	require.Zero(t, r.Data)
	require.False(t, r.Accepted())
}

func TestSinkKeepsBytesAsTheyCome(t *testing.T) {
	t.Parallel()
	sink := labtest.LMTPSink(t, "")
	c, err := lab.DialSMTP(soon(t), sink.Addr())
	require.NoError(t, err)
	defer c.Close()
	for _, line := range []string{"LHLO x", "MAIL FROM:<>", `RCPT TO:<"a> b"@example.test>`, "DATA"} {
		r, err := c.Cmd(line)
		require.NoError(t, err)
		require.True(t, r.OK(), "%s: %s", line, r)
	}
	long := strings.Repeat("x", 200_000)
	require.NoError(t, c.Write([]byte("bare\nnext\rlast\r\r\n..dot\r\n"+long+"\r\n\n.\n.\r\r\n\x00\r\n.\r\n")))
	r, err := c.ReadReply()
	require.NoError(t, err)
	require.Equal(t, 250, r.Code)
	got := sink.Transactions()[0]
	require.Equal(t, []string{`"a> b"@example.test`}, got.Rcpts)
	want := "bare\nnext\rlast\r\r\n.dot\r\n" + long + "\r\n\n.\n.\r\r\n\x00\r\n"
	require.True(t, bytes.Equal([]byte(want), got.Data), "%.100q", got.Data)
}

func TestDotStuff(t *testing.T) {
	for in, want := range map[string]string{
		"":                ".\r\n",
		"a":               "a\r\n.\r\n",
		"a\n.b\r\n":       "a\r\n..b\r\n.\r\n",
		".\r\n.\r\nc\r\n": "..\r\n..\r\nc\r\n.\r\n",
		"\r\r\n":          "\r\r\n.\r\n",
	} {
		require.Equal(t, want, string(lab.DotStuff([]byte(in))), "%q", in)
	}
}

func TestMissingProgramsAreNamedWithTheirPackage(t *testing.T) {
	var err error = &lab.MissingError{Program: "initdb", Package: "postgresql"}
	require.ErrorIs(t, err, lab.ErrMissing)
	require.False(t, errors.Is(err, lab.ErrNotRoot))
	require.EqualError(t, err, "initdb: program not installed (Debian package postgresql)")
}

package mailer_test

import (
	"bytes"
	"context"
	"io"
	"mime"
	"net"
	"net/mail"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mailer"
)

var letter = mailer.Letter{Subject: "Disk space: failing", At: time.Now(), Text: "/var: 2 % free\n.\nnext line"}

func TestLetterGoesThroughAMailServer(t *testing.T) {
	sink := labtest.LMTPSink(t, "")
	server := labtest.Postfix(t, lab.PostfixOptions{VirtualMailboxDomains: "admins.test", VirtualTransport: sink.Transport()})
	s, err := mailer.New(mailer.Options{Address: server.SMTPAddr, From: "mairust@host.test", To: []string{"a@admins.test"}}, "host.test")
	require.NoError(t, err)
	all, err := s.Send(t.Context(), letter)
	require.NoError(t, err)
	require.Empty(t, all)
	got, err := sink.Wait(t.Context(), 1)
	require.NoError(t, err)
	assert.Equal(t, "mairust@host.test", got[0].From)
	assert.Contains(t, string(got[0].Data), "Disk space: failing\r\n")
	assert.Contains(t, string(got[0].Data), "/var: 2 % free\r\n.\r\nnext line\r\n")

	refused, err := mailer.New(mailer.Options{Address: server.SMTPAddr, From: "mairust@host.test", To: []string{"a@elsewhere.test"}}, "host.test")
	require.NoError(t, err)
	_, err = refused.Send(t.Context(), letter)
	require.ErrorContains(t, err, "554", "a refusal is no success")
	starttls, err := mailer.New(mailer.Options{
		Address: server.SMTPAddr, From: "mairust@host.test", To: []string{"a@admins.test"}, TLS: mailer.TLSStartTLS,
	}, "host.test")
	require.NoError(t, err)
	_, err = starttls.Send(t.Context(), letter)
	require.ErrorContains(t, err, "starttls", "it is required, not merely tried")
	assert.Len(t, sink.Transactions(), 1)
}

func TestLetterGoesToThoseWhoAreTakenThoughOthersAreRefused(t *testing.T) {
	sink := labtest.LMTPSink(t, "")
	server := labtest.Postfix(t, lab.PostfixOptions{VirtualMailboxDomains: "admins.test", VirtualTransport: sink.Transport()})
	s, err := mailer.New(mailer.Options{
		Address: server.SMTPAddr, From: "mairust@host.test", To: []string{"gone@elsewhere.test", "a@admins.test", "left@elsewhere.test", "b@admins.test"},
	}, "host.test")
	require.NoError(t, err)
	probed, err := s.Probe(t.Context())
	require.NoError(t, err)
	require.False(t, probed.NoEnvID)
	require.Len(t, probed.Refused, 2)
	assert.Equal(t, "gone@elsewhere.test", probed.Refused[0].Address)
	assert.Contains(t, probed.Refused.String(), "left@elsewhere.test is refused: 554")

	refused, err := s.Send(t.Context(), letter)
	require.NoError(t, err)
	require.Len(t, refused, 2)
	_, err = s.Send(t.Context(), letter)
	require.NoError(t, err)
	got, err := sink.Wait(t.Context(), 2)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"a@admins.test", "b@admins.test"}, got[0].Rcpts)
	assert.Len(t, got, 2, "none of what was tried")
}

func TestServerThatSaysNothingDoesNotHoldForEver(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.Copy(io.Discard, c)
			_ = c.Close()
		}
	}()
	s, err := mailer.New(mailer.Options{Address: l.Addr().String(), From: "a@host.test", To: []string{"b@host.test"}}, "host.test")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err = s.Send(ctx, letter)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestOptionsOfMailAreChecked(t *testing.T) {
	good := mailer.Options{Address: "mail.test:587", From: "a@host.test", To: []string{"b@host.test"}, Username: "u", Password: "p"}
	require.NoError(t, good.Validate())
	require.NoError(t, mailer.Options{}.Validate(), "nobody is written to")
	for want, change := range map[string]func(*mailer.Options){
		"HOST:PORT":            func(o *mailer.Options) { o.Address = "mail.test" },
		"to is empty":          func(o *mailer.Options) { o.To = nil },
		"plain addresses":      func(o *mailer.Options) { o.From = "Admin <a@host.test>" },
		"not \"a@b\\r\\nc\"":   func(o *mailer.Options) { o.To = []string{"a@b\r\nc"} },
		"none, starttls or":    func(o *mailer.Options) { o.TLS = "yes" },
		"over TLS or to this ": func(o *mailer.Options) { o.TLS = mailer.TLSNone },
	} {
		o := good
		change(&o)
		require.ErrorContains(t, o.Validate(), want)
	}
	local := good
	local.Address, local.TLS = "127.0.0.1:25", mailer.TLSNone
	require.NoError(t, local.Validate())
}

func TestSubjectInJapaneseIsReadAsItWasWritten(t *testing.T) {
	sink := labtest.LMTPSink(t, "")
	server := labtest.Postfix(t, lab.PostfixOptions{VirtualMailboxDomains: "admins.test", VirtualTransport: sink.Transport()})
	m, err := mailer.New(mailer.Options{Address: server.SMTPAddr, From: "mairust@host.test", To: []string{"a@admins.test"}}, "host.test")
	require.NoError(t, err)
	subject := "[MaiRust host.test] アカウントの送信を停止しました: 田中太郎.とても長いお名前@example.test"
	_, err = m.Send(t.Context(), mailer.Letter{Subject: subject + "\r\nBcc: x@y.test", At: time.Now(), ID: "one"})
	require.NoError(t, err)
	got, err := sink.Wait(t.Context(), 1)
	require.NoError(t, err)
	parsed, err := mail.ReadMessage(bytes.NewReader(got[0].Data))
	require.NoError(t, err)
	decoded, err := new(mime.WordDecoder).DecodeHeader(parsed.Header.Get("Subject"))
	require.NoError(t, err)
	assert.Equal(t, subject+"Bcc: x@y.test", decoded)
	assert.Empty(t, parsed.Header.Get("Bcc"))
	assert.Equal(t, "<one@host.test>", parsed.Header.Get("Message-ID"))
}

// through gives a Mailer whose letters go to a Postfix, through a proxy with a fault, and where they end.
func through(t *testing.T, f lab.SMTPFault) (*mailer.Mailer, *lab.SMTPProxy, *lab.LMTPSink) {
	t.Helper()
	sink := labtest.LMTPSink(t, "")
	server := labtest.Postfix(t, lab.PostfixOptions{VirtualMailboxDomains: "admins.test", VirtualTransport: sink.Transport()})
	proxy := labtest.SMTPProxy(t, server.SMTPAddr, f)
	m, err := mailer.New(mailer.Options{Address: proxy.Addr, From: "mairust@host.test", To: []string{"a@admins.test"}}, "host.test")
	require.NoError(t, err)
	return m, proxy, sink
}

func TestLetterThatWasTakenIsSentWhateverBecomesOfTheGoodbye(t *testing.T) {
	for name, cut := range map[string]bool{"silent": false, "cut": true} {
		t.Run(name, func(t *testing.T) {
			m, proxy, sink := through(t, lab.SMTPFault{Last: "QUIT", Cut: cut})
			_, err := m.Send(t.Context(), letter)
			require.NoError(t, err)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			<-proxy.Mutes()
			go func() { <-proxy.Mutes(); cancel() }() // while the goodbye is under way
			_, err = m.Send(ctx, letter)
			require.NoError(t, err)
			_, err = sink.Wait(t.Context(), 2)
			require.NoError(t, err)
			require.Equal(t, 2, proxy.Letters())
		})
	}
}

func TestLetterWithoutAReplyMayHaveBeenSent(t *testing.T) {
	m, proxy, sink := through(t, lab.SMTPFault{Last: ".", Cut: true})
	_, err := m.Send(t.Context(), letter)
	require.ErrorIs(t, err, mailer.ErrUnsure)
	_, err = sink.Wait(t.Context(), 1)
	require.NoError(t, err, "and was")
	require.Equal(t, 1, proxy.Letters())

	m, proxy, _ = through(t, lab.SMTPFault{Last: "DATA", Cut: true})
	_, err = m.Send(t.Context(), letter)
	require.Error(t, err)
	require.NotErrorIs(t, err, mailer.ErrUnsure)
	require.Zero(t, proxy.Letters())
}

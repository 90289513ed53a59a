package alert_test

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/alert"
	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
)

var notice = alert.Notice{Part: "disk", Failing: true, Since: time.Now(), At: time.Now(), Text: "/var: 2 % free\n.\nnext line"}

func TestNoticeGoesThroughAMailServer(t *testing.T) {
	sink := labtest.LMTPSink(t, "")
	server := labtest.Postfix(t, lab.PostfixOptions{VirtualMailboxDomains: "admins.test", VirtualTransport: sink.Transport()})
	s, err := alert.NewSMTP(alert.SMTPOptions{Address: server.SMTPAddr, From: "mairust@host.test", To: []string{"a@admins.test"}}, "host.test")
	require.NoError(t, err)
	require.NoError(t, s.Send(t.Context(), notice))
	got, err := sink.Wait(t.Context(), 1)
	require.NoError(t, err)
	assert.Equal(t, "mairust@host.test", got[0].From)
	assert.Contains(t, string(got[0].Data), "Disk space: failing\r\n")
	assert.Contains(t, string(got[0].Data), "/var: 2 % free\r\n.\r\nnext line\r\n")

	refused, err := alert.NewSMTP(alert.SMTPOptions{Address: server.SMTPAddr, From: "mairust@host.test", To: []string{"a@elsewhere.test"}}, "host.test")
	require.NoError(t, err)
	require.ErrorContains(t, refused.Send(t.Context(), notice), "554", "a refusal is no success")
	starttls, err := alert.NewSMTP(alert.SMTPOptions{
		Address: server.SMTPAddr, From: "mairust@host.test", To: []string{"a@admins.test"}, TLS: alert.TLSStartTLS,
	}, "host.test")
	require.NoError(t, err)
	require.ErrorContains(t, starttls.Send(t.Context(), notice), "starttls", "it is required, not merely tried")
	assert.Len(t, sink.Transactions(), 1)
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
	s, err := alert.NewSMTP(alert.SMTPOptions{Address: l.Addr().String(), From: "a@host.test", To: []string{"b@host.test"}}, "host.test")
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	require.ErrorIs(t, s.Send(ctx, notice), context.DeadlineExceeded)
}

func TestOptionsOfMailAreChecked(t *testing.T) {
	good := alert.SMTPOptions{Address: "mail.test:587", From: "a@host.test", To: []string{"b@host.test"}, Username: "u", Password: "p"}
	require.NoError(t, good.Validate())
	require.NoError(t, alert.SMTPOptions{}.Validate(), "nobody is written to")
	for want, change := range map[string]func(*alert.SMTPOptions){
		"HOST:PORT":            func(o *alert.SMTPOptions) { o.Address = "mail.test" },
		"to is empty":          func(o *alert.SMTPOptions) { o.To = nil },
		"plain addresses":      func(o *alert.SMTPOptions) { o.From = "Admin <a@host.test>" },
		"not \"a@b\\r\\nc\"":   func(o *alert.SMTPOptions) { o.To = []string{"a@b\r\nc"} },
		"none, starttls or":    func(o *alert.SMTPOptions) { o.TLS = "yes" },
		"over TLS or to this ": func(o *alert.SMTPOptions) { o.TLS = alert.TLSNone },
	} {
		o := good
		change(&o)
		require.ErrorContains(t, o.Validate(), want)
	}
	local := good
	local.Address, local.TLS = "127.0.0.1:25", alert.TLSNone
	require.NoError(t, local.Validate())
}

package alert_test

import (
	"log/slog"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/alert"
	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mailer"
)

func TestNoticeGoesOutAsMail(t *testing.T) {
	inbox := labtest.LMTPSink(t, "")
	server := labtest.Postfix(t, lab.PostfixOptions{VirtualMailboxDomains: "admins.test", VirtualTransport: inbox.Transport()})
	m, err := mailer.New(mailer.Options{Address: server.SMTPAddr, From: "mairust@host.test", To: []string{"a@admins.test"}}, "host.test")
	require.NoError(t, err)
	s := alert.NewMail(m, slog.New(slog.DiscardHandler))
	require.NoError(t, s.Send(t.Context(), alert.Notice{Part: "disk", Failing: true, Text: "/var: 2 % free"}))
	require.NoError(t, s.Send(t.Context(), alert.Notice{Part: "disk"}))
	got, err := inbox.Wait(t.Context(), 2)
	require.NoError(t, err)
	both := string(got[0].Data) + string(got[1].Data)
	assert.Contains(t, both, "Subject: [MaiRust host.test] Disk space: failing\r\n")
	assert.Contains(t, both, "/var: 2 % free\r\n")
	assert.Contains(t, both, "Subject: [MaiRust host.test] Disk space: works again\r\n")
}

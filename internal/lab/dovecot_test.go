package lab_test

import (
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
)

func TestDovecotTakesMail(t *testing.T) {
	for _, format := range []string{"sdbox", "maildir"} {
		d := labtest.Dovecot(t, lab.DovecotOptions{Format: format})
		replies, err := lab.SMTPSend(t.Context(), d.LMTPAddr, "a@sender.test", []string{"bob@example.test"},
			[]byte("Subject: x\r\n\r\nx\r\n"), lab.SendOptions{LMTP: true})
		require.NoError(t, err)
		require.True(t, replies.Accepted(), "%+v\n%s", replies, d.Log())
		entries, err := os.ReadDir(d.MailDir + "/bob@example.test")
		require.NoError(t, err)
		require.NotEmpty(t, entries)
	}
}

package main

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/sqldb"
)

func TestMailboxThatIsNotKnownIsNoBounceWhileTheDatabaseMayBeAnother(t *testing.T) {
	here := newTestSite(t, siteOptions{Backend: sqldb.SQLite, Mailboxes: []string{"bob"}})
	reply := func() (code int) {
		replies, err := here.lmtp(t.Context(), "a@sender.test", []string{"nobody@example.test"}, []byte("Subject: hello\r\n\r\nhello\r\n"))
		require.NoError(t, err)
		return replies.Rcpts[0].Code
	}
	daemon := here.start(t)
	require.Equal(t, 550, reply())
	require.NoError(t, daemon.terminate(t))
	here.open(t, func(s *site) {
		_, err := s.store.StopSweep(t.Context(), "the database is another one")
		require.NoError(t, err)
	})
	here.start(t)
	require.Equal(t, 451, reply())
	postfix := labtest.Postfix(t, lab.PostfixOptions{VirtualMailboxMaps: "socketmap:" + here.socket("lookup") + ":mailboxes", VirtualTransport: "lmtp:" + here.socket("lmtp")})
	asked := func(rcpt string) int {
		replies, err := lab.SMTPSend(t.Context(), postfix.SMTPAddr, "a@sender.test", []string{rcpt}, []byte("Subject: hello\r\n\r\nhello\r\n"), lab.SendOptions{})
		require.NoError(t, err)
		return append(replies.Final, replies.Rcpts...)[0].Code
	}
	require.Equal(t, 451, asked("nobody@example.test"), "before Postfix takes it, too")
	require.Equal(t, 250, asked("bob@example.test"))
	out, code := here.fsck(t, "--repair")
	require.Equal(t, fsckMended, code, out)
	require.Equal(t, 550, reply())
	require.Equal(t, 550, asked("nobody@example.test"))
}

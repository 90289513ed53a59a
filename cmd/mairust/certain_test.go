package main

import (
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
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

// At a boot without the disk of data_dir all is made anew there, and nothing contradicts anything.
func TestANewDatabaseRefusesNobodyForGood(t *testing.T) {
	here := newTestSite(t, siteOptions{Backend: sqldb.SQLite, Mailboxes: []string{"bob"}})
	daemon := here.start(t)
	require.Equal(t, 550, code(t, here, "nobody@example.test"))
	require.NoError(t, daemon.terminate(t))
	data := filepath.Join(here.dir, "data")
	require.NoError(t, os.Rename(data, data+".disk"))
	daemon = here.start(t)
	require.Equal(t, 451, code(t, here, "bob@example.test"))
	postfix := labtest.Postfix(t, lab.PostfixOptions{VirtualMailboxMaps: "socketmap:" + here.socket("lookup") + ":mailboxes", VirtualTransport: "lmtp:" + here.socket("lmtp")})
	asked := func() int {
		replies, err := lab.SMTPSend(t.Context(), postfix.SMTPAddr, "a@sender.test", []string{"bob@example.test"}, []byte("Subject: hello\r\n\r\nhello\r\n"), lab.SendOptions{})
		require.NoError(t, err)
		return append(replies.Final, replies.Rcpts...)[0].Code
	}
	require.Equal(t, 451, asked(), "before Postfix takes it, too")
	require.Contains(t, daemon.tail(1000), "no recipient is refused for good until there is a mailbox")
	require.NoError(t, daemon.terminate(t))
	require.NoError(t, os.RemoveAll(data))
	require.NoError(t, os.Rename(data+".disk", data))
	here.start(t)
	require.Equal(t, 250, asked())
	require.Equal(t, 550, code(t, here, "nobody@example.test"))
}

// While a dump is loaded below a daemon that was forgotten, the tables are filled one after the other.
func TestADatabaseThatIsBeingRestoredRefusesNobodyForGood(t *testing.T) {
	server := labtest.OwnPostgres(t, lab.PostgresOptions{})
	here := newTestSite(t, siteOptions{Database: "backend: postgres, url: '" + server.URL() + "'", Mailboxes: []string{"bob"}})
	here.start(t)
	require.Equal(t, 250, code(t, here, "bob@example.test"))
	postfix := labtest.Postfix(t, lab.PostfixOptions{VirtualMailboxMaps: "socketmap:" + here.socket("lookup") + ":mailboxes", VirtualTransport: "lmtp:" + here.socket("lmtp")})
	for _, emptied := range []string{"DELETE FROM sweep_state", "DELETE FROM installation"} {
		_, err := server.Exec(t.Context(), emptied)
		require.NoError(t, err)
		require.Eventually(t, func() bool { return code(t, here, "nobody@example.test") == 451 }, time.Minute, 100*time.Millisecond, emptied)
		replies, err := lab.SMTPSend(t.Context(), postfix.SMTPAddr, "a@sender.test", []string{"nobody@example.test"}, []byte("Subject: hello\r\n\r\nhello\r\n"), lab.SendOptions{})
		require.NoError(t, err)
		require.Equal(t, 451, append(replies.Final, replies.Rcpts...)[0].Code, "before Postfix takes it, too")
		require.Equal(t, 451, code(t, here, "bob@example.test"), "it is not known whether the objects are those of the database")
	}
}

// At a boot without the disk of base_path the directory below is empty: what would be stored there is hidden as soon as the disk is
// mounted.
func TestNoMailIsTakenWhileTheObjectsAreNotThere(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			here := newTestSite(t, siteOptions{Backend: backend, Mailboxes: []string{"bob"}})
			objects := filepath.Join(here.dir, "data", "mail")
			acked := &acknowledged{}
			for epoch := range 2 { // so that the database knows of more than its first witness
				daemon := here.start(t)
				require.True(t, acked.send(t, here, "bob", nil).Accepted())
				waitFor(t, "the witness of this start", func() bool {
					text, err := os.ReadFile(filepath.Join(objects, "installation", "database.json"))
					return err == nil && strings.Contains(string(text), fmt.Sprintf(`"epoch": %d,`, epoch+1))
				})
				require.NoError(t, daemon.terminate(t))
			}
			require.NoError(t, os.Rename(objects, objects+".disk"))
			daemon := here.start(t)
			refused := acked.send(t, here, "bob", nil)
			require.Equal(t, 451, append(refused.Final, refused.Rcpts...)[0].Code)
			require.NoError(t, daemon.terminate(t))
			require.NoError(t, os.RemoveAll(objects))
			require.NoError(t, os.Rename(objects+".disk", objects))
			daemon = here.start(t)
			require.Equal(t, 451, code(t, here, "nobody@example.test"), "until a repair: the sweep is stopped")
			require.True(t, acked.send(t, here, "bob", nil).Accepted())
			acked.check(t, daemon, "bob")

			// What is to stay as it is an operator accepts, and mail comes in again.
			require.NoError(t, daemon.terminate(t))
			require.NoError(t, os.Rename(objects, objects+".gone"))
			here.start(t)
			require.Equal(t, 451, code(t, here, "bob@example.test"))
			here.fsck(t, "--repair")
			require.Eventually(t, func() bool { return code(t, here, "bob@example.test") == 250 }, time.Minute, 100*time.Millisecond)
		})
	}
}

// code is that of the reply to a message for one recipient.
func code(t *testing.T, s *testSite, rcpt string) int {
	t.Helper()
	replies, err := s.lmtp(t.Context(), "a@sender.test", []string{rcpt}, []byte("Subject: hello\r\n\r\nhello\r\n"))
	require.NoError(t, err)
	return append(replies.Final, replies.Rcpts...)[0].Code
}

// Objects may go between RCPT and the end of the data.
func TestNothingIsStoredWhenTheObjectsWentAfterRcpt(t *testing.T) {
	here := newTestSite(t, siteOptions{Backend: sqldb.SQLite, Mailboxes: []string{"bob"}})
	here.open(t, func(s *site) {
		ctx := t.Context()
		f, err := s.fsck(slog.New(slog.DiscardHandler), nil)
		require.NoError(t, err)
		for range 3 {
			require.NoError(t, f.Watch(ctx))
		}
		index := certainIndex{s.store, f}
		address, err := mail.ParseAddress("bob@example.test")
		require.NoError(t, err)
		target, err := index.Resolve(ctx, address, "+")
		require.NoError(t, err)
		c := storetest.NewCopy(t, target, "hello")
		put := 0
		_, err = index.DeliverWhile(ctx, c, func() error { put++; return nil })
		require.NoError(t, err)

		require.NoError(t, s.objects.Delete(ctx, "installation/database.json"))
		require.ErrorIs(t, f.Watch(ctx), fsck.ErrStopped)
		late := storetest.NewCopy(t, target, "late")
		_, err = index.DeliverWhile(ctx, late, func() error { put++; return nil })
		require.ErrorIs(t, err, fsck.ErrNoObjects)
		require.Equal(t, 1, put)
		results := index.Deliver(ctx, []store.Copy{late, storetest.NewCopy(t, target, "later")})
		require.Len(t, results, 2)
		require.ErrorIs(t, results[1].Err, store.ErrNotStored, "its object may go")
		require.ErrorIs(t, results[1].Err, fsck.ErrNoObjects)
		_, err = index.Resolve(ctx, address, "+")
		require.ErrorIs(t, err, fsck.ErrNoObjects)
	})
}

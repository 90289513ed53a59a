package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/store/sqldb"
)

// The disk of one tenant is not mounted: what is stored in the bare directory would be hidden when it is.
func TestMailForAMailboxWhoseDirectoryIsNotThereWaits(t *testing.T) {
	for _, backend := range []string{sqldb.SQLite, sqldb.Postgres} {
		t.Run(backend, func(t *testing.T) {
			site := newTestSite(t, siteOptions{Backend: backend, Mailboxes: []string{"bob", "new"}, Extra: quickAlerts})
			daemon := site.start(t)
			send := func(to string) bool {
				t.Helper()
				replies, err := site.lmtp(t.Context(), "a@sender.test", []string{to}, []byte("Subject: here\r\n\r\nhello\r\n"))
				require.NoError(t, err)
				require.Len(t, replies.Final, 1)
				require.Contains(t, []int{250, 451}, replies.Final[0].Code)
				return replies.Accepted()
			}
			require.True(t, send("bob@example.test"))
			mailbox := filepath.Dir(site.objectOf(t, daemon.messages(t, "bob@example.test", "")[0].ID))
			tenant := filepath.Dir(mailbox)
			bare := site.dir + "/bare"
			require.NoError(t, os.Mkdir(bare, 0o700))
			unmount(t, tenant, bare)
			require.False(t, send("bob@example.test"))
			require.NoDirExists(t, mailbox)
			require.True(t, send("new@example.test"), "nobody knows that this one's is missing")
			require.Contains(t, daemon.tail(1000), "mount its disk")
			require.NoError(t, daemon.terminate(t))

			daemon = site.start(t)
			require.False(t, send("bob@example.test"), "nor after a restart")
			require.NoDirExists(t, mailbox)
			unmount(t, bare, tenant) // it is back
			require.True(t, send("bob@example.test"))
			for _, m := range daemon.messages(t, "bob@example.test", "") {
				status, _, err := daemon.get("/api/v1/messages/" + m.ID + "/raw")
				require.NoError(t, err)
				require.Equal(t, http.StatusOK, status)
			}

			bare = site.dir + "/bare too"
			require.NoError(t, os.Mkdir(bare, 0o700))
			unmount(t, mailbox, bare) // a mount of its own
			require.False(t, send("bob@example.test"))
			_, code := site.fsck(t)
			require.NotZero(t, code)
			require.False(t, send("bob@example.test"), "a check is no decision")
			_, code = site.fsck(t, "--repair")
			require.NotZero(t, code)
			require.True(t, send("bob@example.test"), "they are gone for good, says who repairs")
		})
	}
}

// unmount puts a bare directory in the place of another one, at one moment: the daemon writes into it.
func unmount(t *testing.T, dir, bare string) {
	t.Helper()
	require.NoError(t, unix.Renameat2(unix.AT_FDCWD, dir, unix.AT_FDCWD, bare, unix.RENAME_EXCHANGE))
}

// Nobody looks at the disk that is one mailbox's own, or at its quota.
func TestTheFullDiskOfOneMailboxIsTold(t *testing.T) {
	site := newTestSite(t, siteOptions{Mailboxes: []string{"bob", "eve"}, Extra: quickAlerts})
	acked := &acknowledged{}
	daemon := site.start(t)
	require.True(t, acked.send(t, site, "bob", nil).Accepted())
	mailbox := filepath.Dir(site.objectOf(t, daemon.messages(t, "bob@example.test", "")[0].ID))
	require.NoError(t, daemon.terminate(t))
	old := mailbox + ".old"
	require.NoError(t, os.Rename(mailbox, old))
	mountNew(t, mailbox, "256k")
	require.NoError(t, os.CopyFS(mailbox, os.DirFS(old)))
	require.NoError(t, os.RemoveAll(old))

	daemon = site.start(t)
	require.ErrorIs(t, os.WriteFile(filepath.Join(mailbox, "full"), make([]byte, 256<<10), 0o600), unix.ENOSPC)
	require.Equal(t, 452, code(t, site, "bob@example.test"))
	require.True(t, acked.send(t, site, "eve", nil).Accepted())
	waitFor(t, "somebody to tell", func() bool { return strings.Contains(daemon.partError(t, "deliveries"), "full") })
	require.Empty(t, daemon.partError(t, "storage"))
	require.NoError(t, os.Remove(filepath.Join(mailbox, "full")))
	waitFor(t, "deliveries to work again", func() bool { return acked.send(t, site, "bob", nil).Accepted() })
	acked.check(t, daemon, "bob", "eve")
}

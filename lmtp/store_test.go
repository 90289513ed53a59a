package lmtp_test

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/lmtp"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// real is a server over a real index and files.
type real struct {
	*rig
	store *store.Store
	files *blob.FS
}

func newReal(t testing.TB, s *store.Store, setups ...setup) *real {
	t.Helper()
	files, err := blob.NewFS(t.TempDir(), blob.FSOptions{MinFreeBytes: -1})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, files.Close()) })
	// Cleanups run backwards: the server ends before the files close.
	setups = append([]setup{func(_ *lmtp.Options, d *lmtp.Deps) { d.Index, d.Objects = s, files }}, setups...)
	return &real{rig: newRig(t, nil, setups...), store: s, files: files}
}

// messages are those of a folder, newest first, each with its bytes.
func (r *real) messages(t testing.TB, mailbox *store.Mailbox, folder string) (list []store.Message, bytes []string) {
	t.Helper()
	list, err := r.store.Messages(within(t), store.System, store.MessageFilter{Mailbox: mailbox.ID, Folder: folder, Limit: 100})
	require.NoError(t, err)
	for _, m := range list {
		bytes = append(bytes, objectOf(t, r.files, m.Key))
	}
	return list, bytes
}

func TestDeliveryToARealStore(t *testing.T) {
	s := newScanner(t)
	storetest.Run(t, func(t *testing.T, st *store.Store) {
		site := storetest.NewSite(t, st, "t1", "example.test", "bob", "carol", "abc..def")
		other := storetest.NewSite(t, st, "t2", "other.test", "erin")
		_, err := st.EnsureAlias(within(t), site.Tenant.ID, mail.Address{Local: "robert", Domain: "example.test"},
			mail.Address{Local: "bob", Domain: "example.test"})
		require.NoError(t, err)
		r := newReal(t, st, s.verify)

		quarantined := scanOf(mail.Quarantine)
		head, rest, _ := strings.Cut(received, "From: A")
		message := head + s.field(quarantined, "body\r\n") + "From: A" + rest
		object := "Return-Path: <a@sender.test>\r\n" + message
		rcpts := []string{"bob@example.test", "robert@example.test", "carol+x@example.test", "erin@other.test", "abc..def@example.test"}
		first := r.hello().deliver("a@sender.test", message, rcpts...)
		requireStored(t, first...)
		again := r.hello().deliver("a@sender.test", message, rcpts...)
		require.Equal(t, first, again, "the earlier messages are named")

		for _, mailbox := range []*store.Mailbox{site.Mailboxes["bob"], site.Mailboxes["carol"], other.Mailboxes["erin"], site.Mailboxes["abc..def"]} {
			list, bytes := r.messages(t, mailbox, store.Quarantine)
			require.Len(t, list, 1)
			require.Equal(t, object, bytes[0])
			require.Equal(t, "hello", list[0].Subject)
			require.Equal(t, "4XyZ12abc", list[0].QueueID)
			require.Equal(t, []string{"spam", "bulk"}, list[0].Tags)
			require.Contains(t, first[0]+first[2]+first[3]+first[4], string(list[0].ID))
		}
		require.Len(t, keysOf(t, r.files), 4, "the objects of the second time are gone")
	})
}

// That a message was delivered before counts only as long as it is there.
func TestMessageSentAgainStandsInForALostOne(t *testing.T) {
	storetest.Run(t, func(t *testing.T, st *store.Store) {
		site := storetest.NewSite(t, st, "t1", "example.test", "bob")
		r := newReal(t, st)
		first := r.hello().deliver("a@sender.test", received, "bob@example.test")
		requireStored(t, first...)
		list, objects := r.messages(t, site.Mailboxes["bob"], store.Inbox)
		require.NoError(t, r.files.Delete(within(t), list[0].Key))
		require.Equal(t, first, r.hello().deliver("a@sender.test", received, "bob@example.test"))
		_, again := r.messages(t, site.Mailboxes["bob"], store.Inbox)
		require.Equal(t, objects, again, "a missing one is there at once")
		require.Len(t, keysOf(t, r.files), 1)

		damaged := strings.Replace(objects[0], "a", "b", 1)
		require.NoError(t, r.files.Replace(within(t), list[0].Key, strings.NewReader(damaged), int64(len(damaged))))
		require.Equal(t, first, r.hello().deliver("a@sender.test", received, "bob@example.test"))
		var whole []string
		for _, key := range keysOf(t, r.files) {
			if key != list[0].Key {
				whole = append(whole, objectOf(t, r.files, key))
			}
		}
		require.Equal(t, objects, whole, "the sweep mends a damaged one by what came again")
	})
}

func TestHostileMessagesInARealStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, st *store.Store) {
		site := storetest.NewSite(t, st, "t1", "example.test", "bob")
		r := newReal(t, st, func(o *lmtp.Options, _ *lmtp.Deps) { o.SpoolMemoryBytes = 4096 })
		c := r.hello()
		var want []string
		for _, message := range hostile {
			requireStored(t, c.deliver("a@sender.test", message, "bob@example.test")...)
			want = append(want, "Return-Path: <a@sender.test>\r\n"+message)
		}
		_, bytes := r.messages(t, site.Mailboxes["bob"], store.Inbox)
		require.Len(t, bytes, len(want))
		for _, w := range want {
			require.True(t, contains(bytes, w), "a message is missing or changed")
		}
		left, err := os.ReadDir(r.spool)
		require.NoError(t, err)
		require.Empty(t, left)
	})
}

func contains(list []string, s string) bool {
	for _, l := range list {
		if l == s {
			return true
		}
	}
	return false
}

func TestQuotaAndSuspensionInARealStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, st *store.Store) {
		site := storetest.NewSite(t, st, "t1", "example.test", "bob", "carol")
		r := newReal(t, st)
		c := r.hello()
		require.NoError(t, st.SetMailboxQuota(within(t), site.Tenant.ID, site.Mailboxes["bob"].ID, 1000, store.Beside{}))
		big := "Subject: x\r\n\r\n" + strings.Repeat("x", 2000) + "\r\n"
		replies := c.deliver("a@sender.test", big, "bob@example.test", "carol@example.test")
		require.Equal(t, "452 4.2.2 <bob@example.test> Mailbox full", replies[0])
		requireStored(t, replies[1])
		require.Len(t, keysOf(t, r.files), 1)

		c.envelope("a@sender.test", "carol@example.test")
		require.NoError(t, st.SuspendTenant(within(t), site.Tenant.ID, true, store.Beside{}))
		c.data(big)
		c.expect("450 4.2.1 <carol@example.test> Mailbox is suspended, try again later")
		require.Len(t, keysOf(t, r.files), 1)
	})
}

func TestDatabaseThatIsGoneIsTemporary(t *testing.T) {
	server := labtest.OwnPostgres(t, lab.PostgresOptions{})
	st := store.New(store.Options{DB: storetest.OpenDB(t, sqldb.Options{Backend: sqldb.Postgres, URL: server.URL()})})
	storetest.NewSite(t, st, "t1", "example.test", "bob", "carol")
	r := newReal(t, st)
	c := r.hello()
	c.envelope("a@sender.test", "bob@example.test")
	server.Stop(lab.StopFast)
	c.send("RCPT TO:<carol@example.test>\r\n")
	c.expect("451 4.3.0 Mail store is unavailable, try again later")
	c.data("Subject: x\r\n")
	c.expect("451 4.3.0 <bob@example.test> Mail store is unavailable, try again later")
	require.Empty(t, keysOf(t, r.files), "there is no row: no COMMIT was sent")

	require.NoError(t, server.Start(within(t)))
	requireStored(t, c.deliver("a@sender.test", "Subject: x\r\n", "bob@example.test", "carol@example.test")...)
}

// serveOn serves on another listener too.
func (r *rig) serveOn(t testing.TB, l net.Listener) {
	t.Helper()
	served := make(chan error, 1)
	go func() { served <- r.server.Serve(context.Background(), l, nil) }()
	t.Cleanup(func() {
		r.stop()
		require.NoError(t, <-served)
	})
}

package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// deliverMany stores n messages for a mailbox and returns their ids, oldest first.
func deliverMany(t *testing.T, s *store.Store, target store.Target, n int) []store.MessageID {
	t.Helper()
	var ids []store.MessageID
	for range n {
		ids = append(ids, storetest.Deliver(t, s, storetest.NewCopy(t, target, "x"))[0].ID)
	}
	return ids
}

func folderOf(t *testing.T, s *store.Store, address, name string) store.Folder {
	t.Helper()
	box, err := s.MailboxByAddress(t.Context(), store.System, address)
	require.NoError(t, err)
	for _, f := range box.Folders {
		if f.Name == name {
			return f
		}
	}
	t.Fatalf("no folder %s", name)
	return store.Folder{}
}

func TestFlagsAndTagsChangeWithANewModSeq(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		site := storetest.NewSite(t, s, "example", "example.test", "bob")
		ids := deliverMany(t, s, site.Target("bob"), 3)
		before := folderOf(t, s, "bob@example.test", "INBOX")
		n, err := s.ChangeMessages(ctx, store.System, ids[:2], store.Change{AddFlags: []string{`\Seen`, `\Flagged`}, AddTags: []string{"work"}})
		require.NoError(t, err)
		require.Equal(t, 2, n)
		changed, err := s.ChangedSince(ctx, store.System, before.ID, before.ModSeq)
		require.NoError(t, err)
		require.Len(t, changed, 2)
		assert.Equal(t, []string{`\Seen`, `\Flagged`}, changed[0].Flags)

		_, err = s.ChangeMessages(ctx, store.System, ids[:1], store.Change{RemoveFlags: []string{`\Flagged`}, RemoveTags: []string{"work"}})
		require.NoError(t, err)
		m, err := s.Message(ctx, store.System, ids[0])
		require.NoError(t, err)
		assert.Equal(t, []string{`\Seen`}, m.Flags)
		assert.Empty(t, m.Tags)
		after := folderOf(t, s, "bob@example.test", "INBOX")
		_, err = s.ChangeMessages(ctx, store.System, ids[:1], store.Change{RemoveFlags: []string{`\Flagged`}})
		require.NoError(t, err)
		assert.Equal(t, after, folderOf(t, s, "bob@example.test", "INBOX"), "nothing changed, nothing to notice")
		_, err = s.ChangeMessages(ctx, store.System, ids, store.Change{AddFlags: []string{`\Recent`}})
		assert.Error(t, err)
	})
}

func TestMovedAndDeletedMessagesLeaveTheirUIDs(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		site := storetest.NewSite(t, s, "example", "example.test", "bob")
		ids := deliverMany(t, s, site.Target("bob"), 4)
		inbox := folderOf(t, s, "bob@example.test", "INBOX")

		n, err := s.MoveMessages(ctx, store.System, ids[:2], "Archive")
		require.NoError(t, err)
		require.Equal(t, 2, n)
		n, err = s.DeleteMessages(ctx, store.System, ids[2:3])
		require.NoError(t, err)
		require.Equal(t, 1, n)
		gone, err := s.ExpungedSince(ctx, store.System, inbox.ID, inbox.ModSeq)
		require.NoError(t, err)
		assert.Equal(t, []uint32{1, 2, 3}, gone)
		assert.EqualValues(t, 1, folderOf(t, s, "bob@example.test", "INBOX").Messages)
		archive := folderOf(t, s, "bob@example.test", "Archive")
		assert.EqualValues(t, 2, archive.Messages)
		moved, err := s.Entries(ctx, store.System, archive.ID, 0, 10)
		require.NoError(t, err)
		require.Len(t, moved, 2)
		assert.EqualValues(t, 1, moved[0].UID)

		_, err = s.Message(ctx, store.System, ids[2])
		require.ErrorIs(t, err, store.ErrNotFound, "deleted is hidden")
		bin, err := s.Messages(ctx, store.System, store.MessageFilter{Mailbox: site.Mailboxes["bob"].ID, Limit: 10, Deleted: true})
		require.NoError(t, err)
		require.Len(t, bin, 1)
		n, err = s.UndeleteMessages(ctx, store.System, ids[2:3])
		require.NoError(t, err)
		require.Equal(t, 1, n)
		back, err := s.Message(ctx, store.System, ids[2])
		require.NoError(t, err)
		assert.EqualValues(t, 5, back.UID, "a new UID, since the old one is gone for IMAP")

		_, err = s.MoveMessages(ctx, store.System, ids, "Nowhere")
		require.ErrorIs(t, err, store.ErrNoFolder)
		list, err := s.MessagesByUID(ctx, store.System, inbox.ID, []uint32{4, 5, 99})
		require.NoError(t, err)
		assert.Len(t, list, 2)
	})
}

func TestChangesAreTheOwnersAlone(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		one := storetest.NewSite(t, s, "one", "one.test", "bob", "alice")
		two := storetest.NewSite(t, s, "two", "two.test", "eve")
		ids := deliverMany(t, s, one.Target("bob"), 1)
		for _, sc := range []store.Scope{
			{}, {Tenant: two.Tenant.ID}, {Tenant: one.Tenant.ID, User: one.Users["alice"].ID}, {Tenant: two.Tenant.ID, User: one.Users["bob"].ID},
		} {
			for _, act := range []func() (int, error){
				func() (int, error) { return s.DeleteMessages(ctx, sc, ids) },
				func() (int, error) { return s.MoveMessages(ctx, sc, ids, "Trash") },
				func() (int, error) { return s.ChangeMessages(ctx, sc, ids, store.Change{AddTags: []string{"x"}}) },
			} {
				n, err := act()
				require.NoError(t, err)
				require.Zero(t, n)
			}
		}
		n, err := s.DeleteMessages(ctx, store.Scope{Tenant: one.Tenant.ID, User: one.Users["bob"].ID}, ids)
		require.NoError(t, err)
		require.Equal(t, 1, n)
	})
}

func TestMovesAndDeliveriesAtOnceKeepCountersRight(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "bob")
		ids := deliverMany(t, s, site.Target("bob"), 30)
		parallel(6, func(worker int) {
			for i := range 10 {
				switch worker % 3 {
				case 0:
					storetest.Deliver(t, s, storetest.NewCopy(t, site.Target("bob"), "x"))
				case 1:
					_, err := s.MoveMessages(t.Context(), store.System, ids[i:i+5], "Archive")
					assert.NoError(t, err)
				default:
					_, err := s.MoveMessages(t.Context(), store.System, ids[i+3:i+9], "INBOX")
					assert.NoError(t, err)
				}
			}
		})
		total := int64(0)
		for _, name := range []string{"INBOX", "Archive"} {
			f := folderOf(t, s, "bob@example.test", name)
			list, err := s.Entries(t.Context(), store.System, f.ID, 0, 1000)
			require.NoError(t, err)
			assert.Len(t, list, int(f.Messages), name)
			total += f.Messages
		}
		assert.EqualValues(t, 50, total)
	})
}

func TestLoginLinkWorksOnce(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		site := storetest.NewSite(t, s, "example", "example.test", "bob")
		user := site.Users["bob"].ID
		require.NoError(t, s.CreateLoginLink(ctx, "h", user, time.Now().Add(time.Hour)))
		got, err := s.TakeLoginLink(ctx, "h")
		require.NoError(t, err)
		assert.Equal(t, user, got)
		_, err = s.TakeLoginLink(ctx, "h")
		require.ErrorIs(t, err, store.ErrNotFound)
		require.NoError(t, s.CreateLoginLink(ctx, "old", user, time.Now().Add(-time.Hour)))
		_, err = s.TakeLoginLink(ctx, "old")
		require.ErrorIs(t, err, store.ErrNotFound)

		p, err := s.CreateAppPassword(ctx, store.AppPassword{Tenant: site.Tenant.ID, User: user, Name: "Thunderbird", Hash: "a", Created: time.Now()})
		require.NoError(t, err)
		found, err := s.AppPasswordByHash(ctx, "a")
		require.NoError(t, err)
		assert.Equal(t, p.ID, found.ID)
		require.NoError(t, s.TouchAppPassword(ctx, p.ID, time.Now()))
		require.NoError(t, s.SetPreferences(ctx, user, "ja", "dark"))
		u, err := s.User(ctx, user)
		require.NoError(t, err)
		assert.Equal(t, "ja", u.Language)
		require.ErrorIs(t, s.DeleteAppPassword(ctx, "someone", p.ID), store.ErrNotFound)
		require.NoError(t, s.DeleteAppPassword(ctx, user, p.ID))
	})
}

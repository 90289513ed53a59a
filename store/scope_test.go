package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestScopeHidesWhatIsOthers(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		one := storetest.NewSite(t, s, "one", "one.test", "bob", "alice")
		two := storetest.NewSite(t, s, "two", "two.test", "eve")
		id := storetest.Deliver(t, s, storetest.NewCopy(t, one.Target("bob"), "secret"))[0].ID
		box := one.Mailboxes["bob"].ID

		bob := store.Scope{Tenant: one.Tenant.ID, User: one.Users["bob"].ID}
		for name, sc := range map[string]store.Scope{
			"system": store.System, "tenant": {Tenant: one.Tenant.ID}, "owner": bob,
		} {
			_, err := s.Message(ctx, sc, id)
			assert.NoError(t, err, name)
			list, err := s.Messages(ctx, sc, store.MessageFilter{Mailbox: box, Limit: 9})
			assert.NoError(t, err, name)
			assert.Len(t, list, 1, name)
			_, err = s.MailboxByAddress(ctx, sc, "bob@one.test")
			assert.NoError(t, err, name)
		}
		for name, sc := range map[string]store.Scope{
			"nobody":                 {},
			"another tenant":         {Tenant: two.Tenant.ID},
			"another user":           {Tenant: one.Tenant.ID, User: one.Users["alice"].ID},
			"user and tenant differ": {Tenant: two.Tenant.ID, User: one.Users["bob"].ID},
		} {
			_, err := s.Message(ctx, sc, id)
			assert.ErrorIs(t, err, store.ErrNotFound, name)
			for _, folder := range []string{"", "INBOX"} {
				list, err := s.Messages(ctx, sc, store.MessageFilter{Mailbox: box, Folder: folder, Limit: 9})
				assert.NoError(t, err, name)
				assert.Empty(t, list, name)
			}
			_, err = s.MailboxByAddress(ctx, sc, "bob@one.test")
			assert.ErrorIs(t, err, store.ErrNotFound, name)
			_, err = s.MailboxByAddress(ctx, sc, string(box))
			assert.ErrorIs(t, err, store.ErrNotFound, name)
		}
		list, err := s.Mailboxes(ctx, bob, "", 10)
		require.NoError(t, err)
		require.Len(t, list, 1)
		assert.Equal(t, "bob@one.test", list[0].Address)
	})
}

func TestScopeHidesFoldersAndWhatLeftThem(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		one := storetest.NewSite(t, s, "one", "one.test", "bob", "alice")
		two := storetest.NewSite(t, s, "two", "two.test", "eve")
		id := storetest.Deliver(t, s, storetest.NewCopy(t, one.Target("bob"), "secret"))[0].ID
		_, err := s.MoveMessages(ctx, store.System, []store.MessageID{id}, store.Archive)
		require.NoError(t, err)
		inbox := folderOf(t, s, "bob@one.test", store.Inbox)
		for name, row := range map[string]struct {
			scope store.Scope
			sees  bool
		}{
			"system":         {store.System, true},
			"tenant":         {store.Scope{Tenant: one.Tenant.ID}, true},
			"owner":          {store.Scope{Tenant: one.Tenant.ID, User: one.Users["bob"].ID}, true},
			"nobody":         {store.Scope{}, false},
			"another tenant": {store.Scope{Tenant: two.Tenant.ID}, false},
			"another user":   {store.Scope{Tenant: one.Tenant.ID, User: one.Users["alice"].ID}, false},
		} {
			gone, err := s.ExpungedSince(ctx, row.scope, inbox.ID, 0)
			require.NoError(t, err, name)
			assert.Equal(t, row.sees, len(gone) == 1, name)
			f, err := s.FolderByID(ctx, row.scope, inbox.ID)
			if row.sees {
				require.NoError(t, err, name)
				assert.Equal(t, inbox.ModSeq, f.ModSeq)
			} else {
				assert.ErrorIs(t, err, store.ErrNotFound, name)
			}
		}
	})
}

func TestSessionsAndKeysEnd(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		site := storetest.NewSite(t, s, "example", "example.test", "bob")
		other := storetest.NewSite(t, s, "other", "other.test")
		now := time.Now().UTC().Truncate(time.Microsecond)
		user := site.Users["bob"].ID
		require.NoError(t, s.CreateSession(ctx, store.Session{TokenHash: "h1", User: user, Created: now, Expires: now.Add(time.Hour)}))
		require.NoError(t, s.CreateSession(ctx, store.Session{TokenHash: "h2", User: user, Created: now, Expires: now.Add(-time.Hour)}))
		session, err := s.SessionByHash(ctx, "h1")
		require.NoError(t, err)
		assert.Equal(t, now, session.Created)
		_, err = s.SessionByHash(ctx, "h2")
		assert.ErrorIs(t, err, store.ErrNotFound, "expired")
		require.NoError(t, s.SetPassword(ctx, user, "new"))
		_, err = s.SessionByHash(ctx, "h1")
		assert.ErrorIs(t, err, store.ErrNotFound, "a new password ends sessions")

		key := store.APIKey{ID: store.NewAPIKeyID(), Tenant: site.Tenant.ID, Name: "k", Role: "helpdesk", Hash: "k1", Created: now}
		require.NoError(t, s.CreateAPIKey(ctx, key))
		assert.ErrorIs(t, s.CreateAPIKey(ctx, key), store.ErrExists)
		require.NoError(t, s.TouchAPIKey(ctx, key.ID, now))
		found, err := s.APIKeyByHash(ctx, "k1")
		require.NoError(t, err)
		assert.Equal(t, now, found.LastUsed)
		assert.True(t, found.Expires.IsZero())
		_, err = s.DeleteAPIKey(ctx, store.Scope{Tenant: other.Tenant.ID}, key.ID)
		assert.ErrorIs(t, err, store.ErrNotFound)
		was, err := s.DeleteAPIKey(ctx, store.System, key.ID)
		require.NoError(t, err)
		assert.Equal(t, site.Tenant.ID, was.Tenant)
		assert.Equal(t, "k", was.Name)
		_, err = s.DeleteAPIKey(ctx, store.Scope{Tenant: site.Tenant.ID}, key.ID)
		assert.ErrorIs(t, err, store.ErrNotFound)
		_, err = s.APIKeyByHash(ctx, "k1")
		assert.ErrorIs(t, err, store.ErrNotFound)
	})
}

func TestAuditLogIsScoped(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		one := storetest.NewSite(t, s, "one", "one.test")
		two := storetest.NewSite(t, s, "two", "two.test")
		require.NoError(t, s.Audit(t.Context(), store.AuditEntry{Tenant: one.Tenant.ID, ActorKind: "user", Actor: "a", Action: "x.y", Target: "会議\x00"}))
		list, err := s.AuditLog(t.Context(), store.Scope{Tenant: one.Tenant.ID}, time.Time{}, 10)
		require.NoError(t, err)
		require.Len(t, list, 1)
		assert.Equal(t, "会議\uFFFD", list[0].Target)
		list, err = s.AuditLog(t.Context(), store.Scope{Tenant: two.Tenant.ID}, time.Time{}, 10)
		require.NoError(t, err)
		assert.Empty(t, list)
	})
}

func TestDatabaseBelongsToOneKeyring(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		first, err := s.Claim(t.Context(), "check-1")
		require.NoError(t, err)
		again, err := s.Claim(t.Context(), "check-1")
		require.NoError(t, err)
		assert.Equal(t, first, again)
		_, err = s.Claim(t.Context(), "check-2")
		assert.ErrorIs(t, err, store.ErrKeyring)
	})
}

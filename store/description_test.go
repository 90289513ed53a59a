package store_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestFoldersAreListedAsTheyWereMade(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		before := time.Now()
		site := storetest.NewSite(t, s, "example", "example.test", "bob", "alice")
		later := storetest.NewCopy(t, site.Target("bob"), "x")
		later.Folder = "Lists"
		storetest.Deliver(t, s, later)
		all, err := s.FoldersMadeAfter(t.Context(), store.MadeFolder{Created: before.Add(-time.Second)}, 100)
		require.NoError(t, err)
		require.Len(t, all, 9)
		require.Equal(t, site.Mailboxes["bob"].ID, all[8].Mailbox, "the last that was made")

		var paged []store.MadeFolder
		for last := (store.MadeFolder{Created: before.Add(-time.Second)}); ; last = paged[len(paged)-1] {
			page, err := s.FoldersMadeAfter(t.Context(), last, 2) // those of a mailbox are made at the same time
			require.NoError(t, err)
			paged = append(paged, page...)
			if len(page) < 2 {
				break
			}
		}
		require.Equal(t, all, paged)
		none, err := s.FoldersMadeAfter(t.Context(), all[8], 100)
		require.NoError(t, err)
		require.Empty(t, none)

		list, err := s.MailboxDescriptionsOf(t.Context(), []store.MailboxID{site.Mailboxes["alice"].ID, "gone", site.Mailboxes["bob"].ID})
		require.NoError(t, err)
		require.Len(t, list, 2)
		folders := map[string]int{}
		for _, d := range list {
			folders[d.Address] = len(d.Folders)
		}
		require.Equal(t, map[string]int{"bob@example.test": 5, "alice@example.test": 4}, folders)
	})
}

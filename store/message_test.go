package store_test

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestMessagesOfAllFoldersAreListedNewestFirstInPages(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "bob", "alice")
		var want []store.MessageID
		for i := range 10 {
			c := storetest.NewCopy(t, site.Target("bob"), "x")
			c.Folder = []string{store.Inbox, store.Archive, "請求書"}[i%3]
			want = append(want, storetest.Deliver(t, s, c)[0].ID)
			storetest.Deliver(t, s, storetest.NewCopy(t, site.Target("alice"), "x"))
		}
		slices.Reverse(want)
		var got []store.MessageID
		f := store.MessageFilter{Mailbox: site.Mailboxes["bob"].ID, Limit: 4}
		for _, size := range []int{4, 4, 2} {
			list, err := s.Messages(t.Context(), store.System, f)
			require.NoError(t, err)
			require.Len(t, list, size)
			for _, m := range list {
				got = append(got, m.ID)
			}
			f.Before = got[len(got)-1]
		}
		require.Equal(t, want, got)

		list, err := s.Messages(t.Context(), store.System, store.MessageFilter{Mailbox: f.Mailbox, Folder: "inbox", Limit: 9})
		require.NoError(t, err)
		require.Len(t, list, 4)
	})
}

// walk is the ids of all pages of a list, in their order.
func walk(t *testing.T, s *store.Store, f store.MessageFilter) []store.MessageID {
	t.Helper()
	var ids []store.MessageID
	for {
		list, err := s.Messages(t.Context(), store.System, f)
		require.NoError(t, err)
		for _, m := range list {
			ids = append(ids, m.ID)
		}
		if len(list) < f.Limit {
			return ids
		}
		f.Before = ids[len(ids)-1]
	}
}

func TestMessagesThatAreMovedMeanwhileAreListedOnce(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "bob")
		want := deliverAtOnce(t, s, site.Target("bob"), store.Inbox, 60)
		slices.Reverse(want)
		var moves int
		var mover sync.WaitGroup
		over := make(chan struct{})
		mover.Go(func() {
			for ; ; moves++ {
				select {
				case <-over:
					return
				default:
				}
				_, err := s.MoveMessages(context.Background(), store.System, want[10:50], []string{store.Archive, store.Inbox}[moves%2])
				assert.NoError(t, err)
			}
		})
		defer mover.Wait()
		defer close(over)
		for range 100 {
			require.Equal(t, want, walk(t, s, store.MessageFilter{Mailbox: site.Mailboxes["bob"].ID, Limit: 7}))
		}
	})
}

// Its id is as old as its object. What the API says of the order of a list counts on this.
func TestMessageThatIsStoredLateIsListedByItsIDAndHasTheHighestUID(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "bob")
		late := storetest.NewCopy(t, site.Target("bob"), "x")
		seen := deliverMany(t, s, site.Target("bob"), 2)
		storetest.Deliver(t, s, late)
		list, err := s.Messages(t.Context(), store.System, store.MessageFilter{Mailbox: site.Mailboxes["bob"].ID, Folder: store.Inbox, Limit: 9})
		require.NoError(t, err)
		require.Len(t, list, 3)
		require.Equal(t, []store.MessageID{seen[1], seen[0], late.ID}, []store.MessageID{list[0].ID, list[1].ID, list[2].ID})
		require.Equal(t, []uint32{2, 1, 3}, []uint32{list[0].UID, list[1].UID, list[2].UID})
	})
}

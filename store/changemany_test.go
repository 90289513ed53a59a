package store_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// deliverAtOnce stores n messages in a folder and returns their ids, oldest first.
func deliverAtOnce(t testing.TB, s *store.Store, target store.Target, folder string, n int) []store.MessageID {
	t.Helper()
	copies, ids := make([]store.Copy, n), make([]store.MessageID, n)
	for i := range copies {
		copies[i] = storetest.NewCopy(t, target, "x")
		copies[i].Folder, ids[i] = folder, copies[i].ID
	}
	storetest.Deliver(t, s, copies...)
	return ids
}

// act is one of those of change.go.
type act struct {
	name string
	do   func(ctx context.Context, s *store.Store, ids []store.MessageID) (int, error)
}

// acts are in such an order that each has something to do to the same messages.
func acts() []act {
	return []act{
		{"change", func(ctx context.Context, s *store.Store, ids []store.MessageID) (int, error) {
			return s.ChangeMessages(ctx, store.System, ids, store.Change{AddFlags: []string{`\Seen`}, AddTags: []string{"work"}})
		}},
		{"move", func(ctx context.Context, s *store.Store, ids []store.MessageID) (int, error) {
			return s.MoveMessages(ctx, store.System, ids, store.Archive)
		}},
		{"delete", func(ctx context.Context, s *store.Store, ids []store.MessageID) (int, error) {
			return s.DeleteMessages(ctx, store.System, ids)
		}},
		{"undelete", func(ctx context.Context, s *store.Store, ids []store.MessageID) (int, error) {
			return s.UndeleteMessages(ctx, store.System, ids)
		}},
	}
}

// Whoever has mail for a folder waits as long as an act has it locked, and the mail of the whole node with him.
func TestActOnManyMessagesTakesFewRoundTrips(t *testing.T) {
	n := newNode(t)
	for _, count := range []int{1, 500} {
		ids := deliverAtOnce(t, n.directly, n.site.Target("bob"), store.Inbox, count)
		for _, a := range acts() {
			before := n.proxy.trips.Load()
			found, err := a.do(t.Context(), n.behind, ids)
			require.NoError(t, err)
			require.Equal(t, count, found)
			trips := n.proxy.trips.Load() - before
			t.Logf("%s of %d: %d round trips", a.name, count, trips)
			assert.LessOrEqual(t, trips, int64(8), "%s of %d, with what prepares statements for the first time", a.name, count)
		}
	}
}

// index is what there is of messages, folders and UIDs that are gone.
type index struct {
	messages map[store.MessageID]indexedMessage
	folders  map[string]indexedFolder
	// expunged are mod-sequences by folder and UID.
	expunged map[string]int64
}

type indexedMessage struct {
	folder, tags       string
	uid, modSeq, flags int64
	deleted            bool
}

type indexedFolder struct {
	mailbox, name             string
	uidNext, modSeq, messages int64
}

func readIndex(t *testing.T, db *sqldb.DB) index {
	t.Helper()
	x := index{map[store.MessageID]indexedMessage{}, map[string]indexedFolder{}, map[string]int64{}}
	require.NoError(t, db.Each(t.Context(), `SELECT id, folder_id, tags, uid, modseq, flags, CASE WHEN deleted_us IS NULL THEN 0 ELSE 1 END FROM messages`, nil,
		func(scan sqldb.Scan) error {
			var id store.MessageID
			var m indexedMessage
			var deleted int64
			err := scan(&id, &m.folder, &m.tags, &m.uid, &m.modSeq, &m.flags, &deleted)
			m.deleted = deleted == 1
			x.messages[id] = m
			return err
		}))
	require.NoError(t, db.Each(t.Context(), `SELECT id, mailbox_id, name, uidnext, modseq, messages FROM folders`, nil, func(scan sqldb.Scan) error {
		var id string
		var f indexedFolder
		err := scan(&id, &f.mailbox, &f.name, &f.uidNext, &f.modSeq, &f.messages)
		x.folders[id] = f
		return err
	}))
	require.NoError(t, db.Each(t.Context(), `SELECT folder_id, uid, modseq FROM expunged`, nil, func(scan sqldb.Scan) error {
		var folder string
		var uid, modSeq int64
		err := scan(&folder, &uid, &modSeq)
		x.expunged[goneUID(folder, uid)] = modSeq
		return err
	}))
	return x
}

func goneUID(folder string, uid int64) string { return fmt.Sprint(folder, " ", uid) }

// do changes the index as an act does, message by message.
func (x index) do(name string, ids []store.MessageID) {
	for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
		m, ok := x.messages[id]
		if !ok || m.deleted != (name == "undelete") {
			continue
		}
		switch name {
		case "change":
			if m.flags&1 != 0 && m.tags == `["work"]` {
				continue
			}
			m.flags, m.tags, m.modSeq = m.flags|1, `["work"]`, x.next(m.folder, 0, 0)
		case "move":
			target := x.archive(m.folder)
			if target == m.folder {
				continue
			}
			x.expunge(m)
			m.folder, m.uid = target, x.folders[target].uidNext
			m.modSeq = x.next(target, 1, 1)
		case "delete":
			m.deleted, m.modSeq = true, x.expunge(m)
		case "undelete":
			m.deleted, m.uid = false, x.folders[m.folder].uidNext
			m.modSeq = x.next(m.folder, 1, 1)
		}
		x.messages[id] = m
	}
}

// next counts a folder up, and gives its new mod-sequence.
func (x index) next(folder string, uids, messages int64) int64 {
	f := x.folders[folder]
	f.modSeq, f.uidNext, f.messages = f.modSeq+1, f.uidNext+uids, f.messages+messages
	x.folders[folder] = f
	return f.modSeq
}

func (x index) expunge(m indexedMessage) (modSeq int64) {
	modSeq = x.next(m.folder, 0, -1)
	x.expunged[goneUID(m.folder, m.uid)] = modSeq
	return modSeq
}

// archive is the archive beside a folder.
func (x index) archive(folder string) string {
	for _, id := range slices.Sorted(maps.Keys(x.folders)) {
		if f := x.folders[id]; f.name == store.Archive && f.mailbox == x.folders[folder].mailbox {
			return id
		}
	}
	return ""
}

func TestActOnManyMessagesLeavesWhatOneByOneWould(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			db := storetest.OpenDB(t, storetest.Options(t, backend))
			s := store.New(store.Options{DB: db})
			site := storetest.NewSite(t, s, "example", "example.test", "bob", "alice")
			var all []store.MessageID
			for i, folder := range []string{store.Inbox, "請求書", store.Archive, store.Inbox, store.Trash, store.Inbox} {
				all = append(all, deliverAtOnce(t, s, site.Target([]string{"bob", "alice"}[i%2]), folder, 150)...)
			}
			slices.Reverse(all) // the order of the ids counts, not that of the list
			for i, step := range []struct {
				act int
				ids []store.MessageID
			}{
				{0, all[100:400]}, {2, all[300:500]}, {1, slices.Concat(all, all[:50])}, {0, all}, {3, all[200:400]}, {2, all}, {3, all}, {1, all},
				{1, []store.MessageID{"not there"}}, {2, nil},
			} {
				a, want := acts()[step.act], readIndex(t, db)
				want.do(a.name, step.ids)
				_, err := a.do(t.Context(), s, step.ids)
				require.NoError(t, err)
				require.Equal(t, want, readIndex(t, db), "%s, step %d", a.name, i)
			}
			for _, noun := range store.CountedNouns() {
				require.Empty(t, miscounts(t, s, noun))
			}
		})
	}
}

func TestMoveToAFolderThatOneMailboxLacksMovesNothing(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			db := storetest.OpenDB(t, storetest.Options(t, backend))
			s := store.New(store.Options{DB: db})
			site := storetest.NewSite(t, s, "example", "example.test", "bob", "alice")
			ids := deliverAtOnce(t, s, site.Target("bob"), "請求書", 1)
			ids = append(ids, deliverAtOnce(t, s, site.Target("bob"), store.Inbox, 200)...)
			ids = append(ids, deliverAtOnce(t, s, site.Target("alice"), store.Inbox, 200)...)
			before := readIndex(t, db)
			_, err := s.MoveMessages(t.Context(), store.System, ids, "請求書")
			require.ErrorIs(t, err, store.ErrNoFolder)
			require.Equal(t, before, readIndex(t, db))
		})
	}
}

// BenchmarkActs is each act on 500 messages, one after the other; PostgreSQL is 1 ms away.
func BenchmarkActs(b *testing.B) {
	for _, backend := range storetest.Backends() {
		b.Run(backend, func(b *testing.B) {
			s, target := storeForActs(b, backend)
			ids := deliverAtOnce(b, s, target, store.Inbox, 500)
			took := map[string]time.Duration{}
			for b.Loop() {
				for _, a := range acts() {
					start := time.Now()
					_, err := a.do(b.Context(), s, ids)
					require.NoError(b, err)
					took[a.name] += time.Since(start)
				}
				_, err := s.MoveMessages(b.Context(), store.System, ids, store.Inbox)
				require.NoError(b, err)
				_, err = s.ChangeMessages(b.Context(), store.System, ids, store.Change{RemoveFlags: []string{`\Seen`}})
				require.NoError(b, err)
			}
			for name, d := range took {
				b.ReportMetric(float64(d.Microseconds())/1000/float64(b.N), "ms/"+name)
			}
		})
	}
}

func storeForActs(b *testing.B, backend string) (*store.Store, store.Target) {
	b.Helper()
	if backend == sqldb.SQLite {
		s := store.New(store.Options{DB: storetest.OpenDB(b, storetest.Options(b, backend))})
		return s, storetest.NewSite(b, s, "example", "example.test", "bob").Target("bob")
	}
	n := newNode(b)
	n.proxy.away.Store(int64(time.Millisecond))
	return n.behind, n.site.Target("bob")
}

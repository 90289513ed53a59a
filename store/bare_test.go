package store_test

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// A 451 for ever would end in a bounce.
func TestWhatTheDatabaseRefusesIsStoredWithoutTheSendersWords(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			db := storetest.OpenDB(t, storetest.Options(t, backend))
			s := store.New(store.Options{DB: db})
			site := storetest.NewSite(t, s, "example", "example.test", "bob", "eve")
			storetest.RefuseRows(t, db, `NEW.subject LIKE 'poison%'`)

			var copies []store.Copy
			for i := range 6 {
				c := storetest.NewCopy(t, site.Target([]string{"bob", "eve"}[i%2]), []string{"good", "good", "poison"}[i%3])
				c.DeliveryID = fmt.Sprint("delivery", i)
				copies = append(copies, c)
			}
			parallel(len(copies), func(i int) {
				r := s.Deliver(context.Background(), copies[i:i+1])[0]
				if r.Err != nil || r.ID != copies[i].ID {
					t.Errorf("copy %d: %+v", i, r)
				}
			})
			for i, c := range copies {
				m, err := s.Message(t.Context(), store.System, c.ID)
				require.NoError(t, err)
				require.Equal(t, c.Key, m.Key)
				require.Equal(t, c.Content.SizeBytes, m.SizeBytes)
				if i%3 == 2 {
					require.Empty(t, m.Subject)
					require.True(t, m.Omitted, "the subject is shown from the object")
					require.Empty(t, m.From)
					require.Equal(t, []string{store.DefectNotIndexed}, m.Defects)
				} else {
					require.Equal(t, "good", m.Subject)
				}
			}
			again := copies[2]
			again.ID = store.NewMessageID()
			r := s.Deliver(context.Background(), []store.Copy{again})[0]
			require.Equal(t, store.Result{ID: copies[2].ID, Duplicate: true}, r, "when it comes again it is known")
		})
	}
}

// Nothing was committed, so that the objects can go: one more for each try would be taken for what a crash has left.
func TestWhatTheDatabaseRefusesWhateverIsInItIsSurelyNotStored(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			db := storetest.OpenDB(t, storetest.Options(t, backend))
			s := store.New(store.Options{DB: db})
			site := storetest.NewSite(t, s, "example", "example.test", "bob")
			storetest.Deliver(t, s, storetest.NewCopy(t, site.Target("bob"), "before"))
			c := storetest.NewCopy(t, site.Target("bob"), "x")
			storetest.RefuseRows(t, db, `NEW.id = '`+string(c.ID)+`'`)
			r := s.Deliver(context.Background(), []store.Copy{c})[0]
			require.ErrorIs(t, r.Err, store.ErrNotStored)
			require.ErrorIs(t, r.Err, sqldb.ErrRefused)
			require.Len(t, storetest.Deliver(t, s, storetest.NewCopy(t, site.Target("bob"), "after")), 1)
		})
	}
}

package outbound

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// What an account has sent would be forgotten if it gave way to others while its state is written, and the write failed.
func TestAnAccountWhoseStateIsBeingWrittenGivesWayOnlyAfterwards(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			db := storetest.OpenDB(t, storetest.Options(t, backend))
			g := newGate(t)
			const account policy.Account = "tanaka@one.test"
			e := g.states.hold(account)
			g.states.put(e, known{tenant: store.SystemTenant, state: []byte("a state")}, policy.Normal)
			g.states.release(e)

			release := lockStates(t, db)
			defer release()
			ctx, cancel := context.WithCancel(t.Context())
			saved := make(chan struct{})
			go func() {
				defer close(saved)
				g.saveStates(ctx, store.New(store.Options{DB: db}))
			}()
			require.NoError(t, lab.Eventually(t.Context(), func(context.Context) error {
				e := g.states.holdKnown(account)
				defer g.states.release(e)
				if !e.stored {
					return fmt.Errorf("not yet: it is written")
				}
				return nil
			}))
			g.states.crowd(account)
			require.NotNil(t, g.states.find(account), "it is being written")
			cancel()
			<-saved
			require.False(t, g.states.find(account).stored, "it was not written")

			g.states.crowd(account)
			require.Nil(t, g.states.find(account))
			require.Contains(t, g.writer.leaving, account, "it is written with those that gave way")
		})
	}
}

// A node that decides more than the database takes must still tell the others who is stopped.
func TestLevelsAreWrittenWhileDecisionsKeepComing(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		g, s := newGate(t), sender{"tanaka@one.test", store.SystemTenant}
		g.store.Store(db)
		g.writer.setLevel(levelChange{sender: s, level: policy.HardLimit, act: actSuspend})
		written := make(chan struct{})
		go func() {
			defer close(written)
			g.writer.flush(t.Context())
		}()
		decided := &outcome{policy: g.policy.Load()}
		for late, waits := time.After(30*time.Second), true; waits; {
			select {
			case <-written:
				waits = false
			case <-late:
				require.Fail(t, "it still writes decisions")
			default:
				if g.writer.waiting() < maxRows/2 {
					g.writer.add(g.row(s, kindMail, decided))
				}
			}
		}
		account, err := db.OutboundAccount(t.Context(), store.System, string(s.account))
		require.NoError(t, err)
		require.Equal(t, store.LevelHardLimit, account.Level)
	})
}

// find gives an entry as it is; nil when there is none.
func (s *states) find(a policy.Account) *entry {
	e := s.holdKnown(a)
	if e != nil {
		s.release(e)
	}
	return e
}

// crowd makes a's shard remember as many others as it may, and one more.
func (s *states) crowd(a policy.Account) {
	sh := s.shard(a)
	for i, others := 0, 0; others <= sh.most; i++ {
		other := policy.Account(fmt.Sprintf("u%d@two.test", i))
		if s.shard(other) == sh {
			s.release(s.hold(other))
			others++
		}
	}
}

// lockStates keeps everybody from writing states until release.
func lockStates(t *testing.T, db *sqldb.DB) (release func()) {
	t.Helper()
	locked, end, ended := make(chan struct{}), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		assert.NoError(t, db.Write(context.Background(), func(tx *sqldb.Tx) error {
			defer func() { <-end }()
			defer close(locked)
			if db.Backend() == sqldb.SQLite {
				return nil // one writer at a time
			}
			_, err := tx.Exec(context.Background(), `LOCK TABLE outbound_states IN ACCESS EXCLUSIVE MODE`)
			return err
		}))
	}()
	select {
	case <-locked:
	case <-time.After(30 * time.Second):
		require.Fail(t, "states were not locked")
	}
	return func() {
		close(end)
		<-ended
	}
}

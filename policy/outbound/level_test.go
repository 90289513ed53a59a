package outbound_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// stopped makes the engine of a node stop an account, and gives its row once the database has it.
func (n *node) stopped(db *store.Store, account string) *store.OutboundAccount {
	n.t.Helper()
	eventually(n.t, "the node is ready", func() bool { return n.Check(n.t.Context()) == nil })
	_, refused := n.blast(envelope(account, "192.0.2.7"), 60)
	require.NotNil(n.t, refused)
	return n.becomes(db, account, store.LevelHardLimit)
}

// becomes waits until the database has an account at a level.
func (n *node) becomes(db *store.Store, account, level string) (row *store.OutboundAccount) {
	n.t.Helper()
	eventually(n.t, account+" is at "+level, func() bool {
		var err error
		row, err = db.OutboundAccount(n.t.Context(), store.System, account)
		return err == nil && row.Level == level
	})
	return row
}

// change does an act of a person or of the engine to a row.
func change(t testing.TB, db *store.Store, row *store.OutboundAccount, act, level, kind string) *store.OutboundAccount {
	t.Helper()
	c := row.Change(act)
	c.Level, c.Reason, c.ActorKind, c.Actor = level, "test", kind, "desk"
	made, err := db.ChangeOutboundAccount(t.Context(), c)
	require.NoError(t, err)
	return made
}

func TestAReleaseWhoseProbationEndedBeforeTheNextMailHolds(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		n := start(t, setup{options: enforce, db: db})
		row := n.stopped(db, "tanaka@one.test")
		row = change(t, db, row, "release", store.LevelSoftLimit, "user")
		change(t, db, row, "recover", store.LevelNormal, "engine")
		eventually(t, "mail flows again", func() bool {
			return n.send(envelope("tanaka@one.test", "192.0.2.7"), "Hello Suzuki, thank you.", 0, "suzuki@one.test").left() == 1
		})
		n.stop()
		row, err := db.OutboundAccount(t.Context(), store.System, "tanaka@one.test")
		require.NoError(t, err)
		require.Equal(t, "recover", row.Act, "nobody stopped it again")
		require.Equal(t, 1, told(t, db, notify.Suspended))
	})
}

func TestAStopThatIsWrittenAtTheEndIsTold(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		n := start(t, setup{options: enforce, db: db})
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		_, refused := n.blast(envelope("tanaka@one.test", "192.0.2.7"), 60)
		require.NotNil(t, refused)
		n.stop()
		row, err := db.OutboundAccount(t.Context(), store.System, "tanaka@one.test")
		require.NoError(t, err)
		require.Equal(t, store.LevelHardLimit, row.Level)
		require.Equal(t, 1, told(t, db, notify.Suspended))
		list, err := db.DueNotices(t.Context(), 10)
		require.NoError(t, err)
		last := list[len(list)-1]
		require.Equal(t, "tanaka@one.test suspended", last.Account+" "+last.Kind)
		require.Contains(t, last.Facts, row.Decision.ID, "with the decision that explains it")
		require.Empty(t, n.takeNotices(), "nothing waits in memory")
	})
}

func TestAModeDoesNotHideAStopOrARelease(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		n := start(t, setup{options: enforce, db: db})
		row := n.stopped(db, "tanaka@one.test")
		row = change(t, db, row, "release", store.LevelNormal, "user")
		mode := row.Change(store.ActMode)
		mode.Mode = "enforce"
		_, err := db.ChangeOutboundAccount(t.Context(), mode)
		require.NoError(t, err)
		e := envelope("suzuki@one.test", "192.0.2.8")
		require.Equal(t, 1, n.send(e, "Hello", 0, "sato@one.test").left())
		row = change(t, db, &store.OutboundAccount{Tenant: store.SystemTenant, Account: "suzuki@one.test", Revision: revision(t, db, "suzuki@one.test")},
			"suspend", store.LevelHardLimit, "user")
		mode = row.Change(store.ActMode)
		mode.Mode = "shadow"
		_, err = db.ChangeOutboundAccount(t.Context(), mode)
		require.NoError(t, err)
		eventually(t, "the stop by hand holds in shadow", func() bool { return n.send(e, "Hello", 0, "sato@one.test").mail != nil })
		eventually(t, "the released one sends", func() bool {
			return n.send(envelope("tanaka@one.test", "192.0.2.7"), "Hello Suzuki, thank you.", 0, "suzuki@one.test").left() == 1
		})
	})
}

func TestAStopByHandHoldsForAnAccountReadFromTheDatabase(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		n := start(t, setup{db: db}) // in shadow
		e := envelope("tanaka@one.test", "192.0.2.7")
		_, refused := n.blast(e, 20)
		require.Nil(t, refused)
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		n.stop()
		change(t, db, &store.OutboundAccount{Tenant: store.SystemTenant, Account: "tanaka@one.test"}, "suspend", store.LevelHardLimit, "user")
		n = start(t, setup{db: db}) // without the files
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		r := n.send(e, "Hello", 0, "suzuki@one.test")
		require.NotNil(t, r.mail, "the stop that only shadow knows is not the one by hand")
	})
}

func TestAReleaseIsTakenOnceByAnAccountReadFromTheDatabase(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		n := start(t, setup{options: enforce, db: db})
		row := n.stopped(db, "tanaka@one.test")
		release := row.Change("release")
		release.Level, release.CapPerHour, release.ActorKind = store.LevelSoftLimit, 3, "user"
		_, err := db.ChangeOutboundAccount(t.Context(), release)
		require.NoError(t, err)
		e := envelope("tanaka@one.test", "192.0.2.7")
		eventually(t, "mail flows again", func() bool { return n.send(e, "Hello", 0, "suzuki@one.test").left() == 1 })
		n.stop()
		n = start(t, setup{options: enforce, db: db}) // without the files
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		require.Equal(t, 2, n.send(e, "Hello", 0, "suzuki@one.test", "suzuki@one.test", "suzuki@one.test").accepted, "cap and count are as they were")
	})
}

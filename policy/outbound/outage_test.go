package outbound_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/policy/outbound"
	"github.com/mairust/mairust/policy/redis"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

func shared(t testing.TB, server *lab.Redis) *redis.Client {
	t.Helper()
	c, err := redis.Open(redis.Options{URL: server.URL(), TimeoutMS: 5000}, nil) // the machine may be busy
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// openOwn opens a migrated database again, for a node of its own.
func openOwn(t testing.TB, o sqldb.Options) func(context.Context) (*store.Store, error) {
	t.Helper()
	return func(ctx context.Context) (*store.Store, error) {
		db, err := sqldb.Open(ctx, o)
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = db.Close() })
		return store.New(store.Options{DB: db}), nil
	}
}

func TestTwoNodesCountEachCopyOnceAndSuspendOnce(t *testing.T) {
	t.Parallel()
	server := labtest.Redis(t)
	o := storetest.Options(t, sqldb.Postgres)
	db := store.New(store.Options{DB: storetest.OpenDB(t, o)})
	const limit = 150
	settings := policy.Options{Mode: policy.Enforce, Limits: policy.LimitOptions{UserPerHour: limit, DomainPerHour: 200}}
	var nodes [2]*node
	for i := range nodes {
		nodes[i] = start(t, setup{options: settings, open: openOwn(t, o), shared: shared(t, server)})
		eventually(t, "the node is ready", func() bool { return nodes[i].Check(t.Context()) == nil })
	}

	// Everybody knows the recipient, so that only the plain limit counts; half of the messages are given up.
	var load sync.WaitGroup
	var mu sync.Mutex
	left, refused := map[string]int{}, 0
	for _, n := range nodes {
		for worker := range 4 {
			load.Go(func() {
				for round := range 40 {
					account := []string{"tanaka@one.test", "suzuki@one.test"}[(worker+round)%2]
					if round%2 == 1 {
						tx, reply := n.Mail(t.Context(), envelope(account, "192.0.2.7"))
						if reply == nil {
							tx.Recipient(t.Context(), address("list@x.test"))
							tx.Release()
						}
						continue
					}
					r := n.send(envelope(account, "192.0.2.7"), "hello", 0, "list@x.test", "list@x.test")
					mu.Lock()
					left[account] += r.left()
					if r.rcpt != nil {
						refused++
					}
					mu.Unlock()
				}
			})
		}
	}
	load.Wait()
	require.Positive(t, refused)
	require.LessOrEqual(t, left["tanaka@one.test"], limit)
	require.LessOrEqual(t, left["suzuki@one.test"], limit)
	total := left["tanaka@one.test"] + left["suzuki@one.test"]
	require.LessOrEqual(t, total, 200, "of the domain")
	if nodes[0].metric("mairust_outbound_alone_total")+nodes[1].metric("mairust_outbound_alone_total") == 0 {
		// Nothing was lost: what is counted is what left, so that exactly the rest of the limit still goes.
		rest := 0
		for range 200 - total + 1 {
			rest += nodes[0].send(envelope("sato@one.test", "192.0.2.7"), "hello", 0, "list@x.test").left()
		}
		require.Equal(t, 200-total, rest)
	}

	// The same stolen account on both nodes at once.
	var blasts sync.WaitGroup
	for _, n := range nodes {
		blasts.Go(func() { n.blast(envelope("thief@two.test", "198.51.100.7"), 60) })
	}
	blasts.Wait()
	// A node that Redis did not answer in time decided alone, where half the cap may contain a blast without a stop.
	alone := nodes[0].metric("mairust_outbound_alone_total")+nodes[1].metric("mairust_outbound_alone_total") > 0
	scope := store.Scope{All: true}
	eventually(t, "the stop is in the database", func() bool {
		row, err := db.OutboundAccount(t.Context(), scope, "thief@two.test")
		return err == nil && (row.Level == store.LevelHardLimit || alone && row.Level == store.LevelSoftLimit)
	})
	if !alone {
		for _, n := range nodes {
			r := n.send(envelope("thief@two.test", "198.51.100.7"), "x", 0, "a@x.test")
			require.NotNil(t, r.mail)
		}
	}
	for _, n := range nodes {
		n.stop() // writes all that waits
	}
	history, err := db.OutboundHistory(t.Context(), scope, "account", "thief@two.test", store.LogKey{}, 20)
	require.NoError(t, err)
	suspensions := 0
	for _, h := range history {
		if h.Act == "auto_suspend" {
			suspensions++
		}
	}
	if alone {
		require.LessOrEqual(t, suspensions, 1, "%+v", history)
		return
	}
	require.Equal(t, 1, suspensions, "%+v", history)
	require.Equal(t, 1, told(t, db, notify.Suspended))
}

func TestRedisAwayMeansThisNodeAloneAndItComesBackMerged(t *testing.T) {
	t.Parallel()
	server := labtest.Redis(t)
	settings := policy.Options{Mode: policy.Enforce, Limits: policy.LimitOptions{UserPerHour: 10, DomainPerHour: 1000}, SoftLimit: policy.SoftLimitOptions{PerHour: 100}}
	n, other := start(t, setup{options: settings, shared: shared(t, server)}), start(t, setup{options: settings, shared: shared(t, server)})
	e := envelope("tanaka@one.test", "192.0.2.7")
	require.Equal(t, 4, n.send(e, "x", 0, "a@x.test", "a@x.test", "a@x.test", "a@x.test").left())
	server.Stop()
	require.Equal(t, 4, n.send(e, "x", 0, "a@x.test", "a@x.test", "a@x.test", "a@x.test").left(), "what it knows is enough")
	require.Equal(t, 2, n.send(e, "x", 0, "a@x.test", "a@x.test", "a@x.test", "a@x.test").left(), "and the limit holds")
	require.Positive(t, n.metric("mairust_outbound_alone_total"))
	require.Contains(t, n.log.String(), "alone=true")
	// It comes back empty: what the node knows goes there, and the other node sees it.
	require.NoError(t, server.Start(t.Context()))
	eventually(t, "the other node knows", func() bool {
		return other.send(e, "x", 0, "a@x.test").accepted == 0
	})
}

func TestWhatWasReservedBeforeRedisWentAwayIsReleasedWithoutIt(t *testing.T) {
	t.Parallel()
	server := labtest.Redis(t)
	settings := policy.Options{Mode: policy.Enforce, Limits: policy.LimitOptions{UserPerHour: 10, DomainPerHour: 10}}
	n, other := start(t, setup{options: settings, shared: shared(t, server)}), start(t, setup{options: settings, shared: shared(t, server)})
	e := envelope("tanaka@one.test", "192.0.2.7")
	tx, reply := n.Mail(t.Context(), e)
	require.Nil(t, reply)
	for range 8 {
		require.Nil(t, tx.Recipient(t.Context(), address("a@x.test")))
	}
	server.Stop()
	tx.Release()
	tx.Release() // does no harm
	ten := slices.Repeat([]string{"a@x.test"}, 10)
	require.NoError(t, server.Start(t.Context()))
	eventually(t, "Redis is asked again", func() bool {
		before := n.metric("mairust_outbound_alone_total")
		tx, _ := n.Mail(t.Context(), e)
		tx.Release()
		return n.metric("mairust_outbound_alone_total") == before
	})
	require.Equal(t, 10, n.send(e, "x", 0, ten...).left(), "nothing is reserved any more")
	require.Zero(t, other.send(e, "x", 0, "a@x.test").accepted, "and the other node knows what was sent")
}

func TestDatabaseAwayDecisionsGoOnAndAreWrittenLater(t *testing.T) {
	t.Parallel()
	pg := labtest.OwnPostgres(t, lab.PostgresOptions{})
	o := sqldb.Options{Backend: sqldb.Postgres, URL: pg.URL()}
	db := store.New(store.Options{DB: storetest.OpenDB(t, o)})
	dir := t.TempDir()
	n := start(t, setup{options: enforce, open: openOwn(t, o), dir: dir})
	eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
	_, err := db.ChangeOutboundAccount(t.Context(), store.OutboundChange{
		Tenant: store.SystemTenant, Account: "sato@one.test", Act: "suspend", Level: store.LevelHardLimit, Reason: "phished", ActorKind: "user", Actor: "desk",
	})
	require.NoError(t, err)
	sato, tanaka := envelope("sato@one.test", "192.0.2.9"), envelope("tanaka@one.test", "192.0.2.7")
	eventually(t, "the stop is known", func() bool { return n.send(sato, "x", 0, "a@x.test").mail != nil })

	pg.Stop(lab.StopImmediate)
	left, refused := n.blast(tanaka, 60)
	require.NotNil(t, refused, "suspended without a database, after %d", left)
	require.NotNil(t, n.send(sato, "x", 0, "a@x.test").mail)
	require.Equal(t, 1, n.send(envelope("suzuki@one.test", "192.0.2.8"), "x", 0, "a@x.test").left())
	eventually(t, "the outage is seen", func() bool { return n.Check(t.Context()) != nil && n.metric("mairust_outbound_spool_bytes") > 0 })

	// A restart while the database is away: all stops hold.
	n.stop()
	n = start(t, setup{options: enforce, open: openOwn(t, o), dir: dir})
	require.NotNil(t, n.send(tanaka, "x", 0, "a@x.test").mail)
	require.NotNil(t, n.send(sato, "x", 0, "a@x.test").mail)
	require.NoError(t, pg.Start(t.Context()))

	var rows []store.OutboundDecision
	later := store.New(store.Options{DB: storetest.OpenDB(t, o)})
	eventually(t, "everything is written", func() bool {
		row, err := later.OutboundAccount(t.Context(), store.System, "tanaka@one.test")
		if err != nil || row.Level != store.LevelHardLimit || n.metric("mairust_outbound_spool_bytes") > 0 || n.Check(t.Context()) != nil {
			return false
		}
		rows, err = later.OutboundDecisions(t.Context(), store.System, store.DecisionFilter{Account: "tanaka@one.test", Limit: 100})
		return err == nil && len(rows) > 3
	})
	messages := int64(0)
	for _, r := range rows {
		messages += r.Recipients
	}
	require.EqualValues(t, left, messages, "each message once")
	require.Equal(t, 1, told(t, later, notify.Suspended))
}

// The process of a node that is killed writes nothing any more: a second one begins from its files as they are.
func TestAStopOutlivesAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := start(t, setup{options: enforce, dir: dir})
	tanaka := envelope("tanaka@one.test", "192.0.2.7")
	_, refused := n.blast(tanaka, 60)
	require.NotNil(t, refused)
	// A copy of the files at this instant, to which nothing was flushed on purpose.
	copied := t.TempDir()
	for _, name := range []string{"states", "standing", "rows"} {
		raw, err := os.ReadFile(filepath.Join(dir, name))
		if err == nil {
			require.NoError(t, os.WriteFile(filepath.Join(copied, name), raw, 0o600))
		}
	}
	again := start(t, setup{options: enforce, dir: copied})
	r := again.send(tanaka, "x", 0, "a@x.test")
	require.NotNil(t, r.mail)
	require.Equal(t, suspended, r.mail.String())
}

func TestDamagedFilesAreToldAndNotFatal(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := start(t, setup{options: enforce, dir: dir})
	tanaka := envelope("tanaka@one.test", "192.0.2.7")
	_, refused := n.blast(tanaka, 60)
	require.NotNil(t, refused)
	n.stop()
	path := filepath.Join(dir, "states")
	raw, err := os.ReadFile(path)
	require.NoError(t, err)
	for what, damaged := range map[string][]byte{
		"cut off":       raw[:len(raw)-1],
		"more behind":   append(raw[:len(raw):len(raw)], 0, 0, 0, 9, 1),
		"huge record":   append(raw[:len(raw):len(raw)], 0xff, 0xff, 0xff, 0xff, 1, 2, 3, 4),
		"other version": append([]byte("MRoutb\x00\x09"), raw[8:]...),
		"empty":         {},
		"text":          []byte("hello"),
	} {
		dir := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(dir, "states"), damaged, 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "standing"), []byte("nonsense"), 0o600))
		require.NoError(t, os.WriteFile(filepath.Join(dir, "rows"), []byte("nonsense"), 0o600))
		n := start(t, setup{options: enforce, dir: dir})
		require.Equal(t, 1, n.send(envelope("suzuki@one.test", ""), "x", 0, "a@x.test").left(), what)
		if what == "more behind" || what == "huge record" {
			require.NotNil(t, n.send(tanaka, "x", 0, "a@x.test").mail, what)
		}
		n.stop()
		n = start(t, setup{options: enforce, dir: dir}) // what was written behind it can be read
		require.Positive(t, n.metric("mairust_outbound_accounts"), what)
		n.stop()
	}
	m := start(t, setup{options: enforce, dir: dir})
	require.NotNil(t, m.send(tanaka, "x", 0, "a@x.test").mail)
	_, err = outbound.New(enforce, outbound.Options{}, nil, outbound.Deps{Hash: hash, Dir: dir})
	require.ErrorContains(t, err, "in use by another process")
}

func TestSuspendedAccountsAreNeverEvicted(t *testing.T) {
	t.Parallel()
	n := start(t, setup{options: enforce, own: outbound.Options{MaxAccounts: 1}})
	tanaka := envelope("tanaka@one.test", "192.0.2.7")
	_, refused := n.blast(tanaka, 60)
	require.NotNil(t, refused)
	for i := range 500 {
		require.Equal(t, 1, n.send(envelope(fmt.Sprintf("u%d@two.test", i), ""), "x", 0, "a@x.test").left())
	}
	require.NotNil(t, n.send(tanaka, "x", 0, "a@x.test").mail)
	require.Positive(t, n.metric("mairust_outbound_evicted_total"))
	require.LessOrEqual(t, n.metric("mairust_outbound_accounts"), 130.0)
}

func TestAccountThatGaveWayComesBackFromTheDatabase(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		settings := policy.Options{Mode: policy.Enforce, Limits: policy.LimitOptions{UserPerHour: 3}}
		n := start(t, setup{options: settings, own: outbound.Options{MaxAccounts: 1}, db: db})
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		e := envelope("tanaka@one.test", "192.0.2.7")
		require.Equal(t, 3, n.send(e, "x", 0, "a@x.test", "a@x.test", "a@x.test").left())
		for i := range 1500 { // one in 64 makes it give way
			n.send(envelope(fmt.Sprintf("u%d@two.test", i), ""), "x", 0, "a@x.test")
		}
		eventually(t, "its state is stored", func() bool { // within the minute after which those are that did not give way
			_, err := db.OutboundState(t.Context(), store.SystemTenant, store.StateOfAccount, "tanaka@one.test", 0)
			return err == nil
		})
		require.Zero(t, n.send(e, "x", 0, "a@x.test").accepted)
	})
}

func TestTheStateThatADayBeganWithIsKept(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		var mu sync.Mutex
		now := time.Date(2026, 11, 26, 23, 0, 0, 0, time.UTC)
		clock := func() time.Time {
			mu.Lock()
			defer mu.Unlock()
			return now
		}
		n := start(t, setup{options: enforce, db: db, now: clock})
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		e := envelope("tanaka@one.test", "192.0.2.7")
		require.Equal(t, 1, n.send(e, "x", 0, "a@x.test").left())
		mu.Lock()
		now = now.Add(2 * time.Hour)
		mu.Unlock()
		require.Equal(t, 1, n.send(e, "x", 0, "a@x.test").left())
		var st *store.OutboundState
		eventually(t, "the checkpoint", func() bool {
			var err error
			st, err = db.OutboundState(t.Context(), store.SystemTenant, store.StateOfAccount, "tanaka@one.test", store.Day(clock()))
			return err == nil
		})
		state, err := policy.ParseState(st.State)
		require.NoError(t, err)
		require.Equal(t, store.Day(clock())-1, store.Day(time.UnixMicro(state.LastUS())))

		// The log from there gives the same decisions.
		var rows []store.OutboundDecision
		eventually(t, "the rows", func() bool {
			rows, err = db.ReplayDecisions(t.Context(), store.System, store.LogKey{}, clock().Add(time.Hour), 100)
			return err == nil && len(rows) == 2
		})
		p, err := policy.Compile(enforce, nil)
		require.NoError(t, err)
		records, err := policy.ParseRecords(rows[1].Event)
		require.NoError(t, err)
		require.Len(t, records, 3, "mail, rcpt, end")
		for _, r := range records {
			var d policy.Decision
			event := r.Event
			event.Account, event.Tenant = "tanaka@one.test", string(store.SystemTenant)
			d, state = policy.Decide(state, event, p, r.NowUS)
			require.Equal(t, r.Seq, d.Seq)
			require.Equal(t, r.Score, d.Score)
		}
	})
}

func TestAPersonsDataIsForgottenAndTheStopStays(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		n := start(t, setup{options: enforce, db: db, shared: shared(t, labtest.Redis(t))})
		e := envelope("tanaka@one.test", "192.0.2.7")
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		_, refused := n.blast(e, 60)
		require.NotNil(t, refused)
		eventually(t, "the stop is in the database", func() bool {
			row, err := db.OutboundAccount(t.Context(), store.System, "tanaka@one.test")
			return err == nil && row.Level == store.LevelHardLimit
		})
		_, err := db.ForgetOutbound(t.Context(), store.SystemTenant, "tanaka@one.test")
		require.NoError(t, err)
		eventually(t, "it is still stopped, by its row alone", func() bool {
			r := n.send(e, "x", 0, "a@x.test")
			require.NotNil(t, r.mail)
			rows, err := db.OutboundDecisions(t.Context(), store.System, store.DecisionFilter{Account: "tanaka@one.test", Limit: 5000})
			require.NoError(t, err)
			for _, row := range rows {
				if row.Kind == "level" {
					return true
				}
			}
			return false
		})
	})
}

func TestNodesWithoutRedisLearnOfEachOthersStopsThroughTheDatabase(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		one, two := start(t, setup{options: enforce, db: db}), start(t, setup{options: enforce, db: db})
		e := envelope("tanaka@one.test", "192.0.2.7")
		require.Equal(t, 1, two.send(e, "hello", 0, "a@x.test").left())
		_, refused := one.blast(e, 60)
		require.NotNil(t, refused)
		eventually(t, "the other node stops it too", func() bool {
			r := two.send(e, "hello", 0, "a@x.test")
			return r.mail != nil && r.mail.String() == suspended
		})
		require.Equal(t, 1, told(t, db, notify.Suspended), "by the one that decided it")
		row, err := db.OutboundAccount(t.Context(), store.System, "tanaka@one.test")
		require.NoError(t, err)
		change := row.Change("release")
		change.Level, change.ActorKind, change.Actor = store.LevelSoftLimit, "user", "desk"
		_, err = db.ChangeOutboundAccount(t.Context(), change)
		require.NoError(t, err)
		for _, n := range []*node{one, two} {
			eventually(t, "both release it", func() bool { return n.send(e, "hello", 0, "a@x.test").left() == 1 })
		}
	})
}

func TestRedisKilledAmidABlastStopsItOnceAllTheSame(t *testing.T) {
	t.Parallel()
	server := labtest.Redis(t)
	o := storetest.Options(t, sqldb.Postgres)
	db := store.New(store.Options{DB: storetest.OpenDB(t, o)})
	// A soft limit that leaves room: else a node alone, which halves it, limits the account so much that nothing suspends it.
	settings := policy.Options{Mode: policy.Enforce, SoftLimit: policy.SoftLimitOptions{PerHour: 1000, PerDay: 5000}}
	var nodes [2]*node
	for i := range nodes {
		nodes[i] = start(t, setup{options: settings, open: openOwn(t, o), shared: shared(t, server)})
		eventually(t, "the node is ready", func() bool { return nodes[i].Check(t.Context()) == nil })
	}
	var blasts sync.WaitGroup
	var lefts [2]int
	for i, n := range nodes {
		blasts.Go(func() { lefts[i], _ = n.blast(envelope("thief@two.test", "198.51.100.7"), 200) })
	}
	server.Stop()
	blasts.Wait()
	for i, n := range nodes {
		require.Less(t, lefts[i], 100, "each node alone cuts it")
		require.NotNil(t, n.send(envelope("thief@two.test", "198.51.100.7"), "x", 0, "a@x.test").mail)
	}
	require.NoError(t, server.Start(t.Context()))
	third := start(t, setup{options: settings, open: openOwn(t, o), shared: shared(t, server)})
	eventually(t, "a node that begins now knows", func() bool {
		return third.send(envelope("thief@two.test", "198.51.100.7"), "x", 0, "a@x.test").mail != nil
	})
	for _, n := range nodes {
		n.stop()
	}
	history, err := db.OutboundHistory(t.Context(), store.Scope{All: true}, "account", "thief@two.test", store.LogKey{}, 20)
	require.NoError(t, err)
	suspensions := 0
	for _, h := range history {
		if h.Act == "auto_suspend" {
			suspensions++
		}
	}
	require.Equal(t, 1, suspensions, "%+v", history)
	require.Equal(t, 1, told(t, db, notify.Suspended))
}

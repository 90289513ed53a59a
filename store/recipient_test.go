package store_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

func address(t *testing.T, s string) mail.Address {
	t.Helper()
	a, err := mail.ParseAddress(s)
	require.NoError(t, err)
	return a
}

func TestResolveFollowsAddressesAliasesDomainsAndDetails(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		site := storetest.NewSite(t, s, "example", "example.test", "bob", "bob+exact", "abc..def", "taro")
		alias := func(from, to string) {
			_, err := s.EnsureAlias(ctx, site.Tenant.ID, address(t, from), address(t, to))
			require.NoError(t, err)
		}
		alias("info@example.test", "sales@example.test")
		alias("sales@example.test", "Bob@Example.Test")
		alias("loop1@example.test", "loop2@example.test")
		alias("loop2@example.test", "loop1@example.test")
		alias("away@example.test", "someone@elsewhere.test")
		for i := range 12 {
			alias(fmt.Sprintf("chain%d@example.test", i), fmt.Sprintf("chain%d@example.test", i+1))
		}
		alias("chain12@example.test", "bob@example.test")
		_, _, err := s.EnsureDomain(ctx, site.Tenant.ID, "example.alias", site.Domain.ID)
		require.NoError(t, err)

		for rcpt, want := range map[string]string{
			"bob@example.test":        "bob",
			"BOB@EXAMPLE.TEST":        "bob",
			"bob+news@example.test":   "bob",
			"bob+exact@example.test":  "bob+exact", // an exact address wins
			"info@example.test":       "bob",
			"info+x@example.test":     "bob",
			"bob@example.alias":       "bob",
			"bob+news@example.alias":  "bob",
			"info@example.alias":      "bob",
			"abc..def@example.test":   "abc..def",
			`"abc..def"@example.test`: "abc..def",
			"chain6@example.test":     "bob", // 7 steps
			"taro@example.test":       "taro",
		} {
			target, err := s.Resolve(ctx, address(t, rcpt), "+")
			require.NoError(t, err, rcpt)
			assert.Equal(t, site.Mailboxes[want].ID, target.Mailbox, rcpt)
			assert.Equal(t, want+"@example.test", target.Address.String(), rcpt)
		}
		for _, rcpt := range []string{
			"nobody@example.test", "bob@other.test", "loop1@example.test", "away@example.test", "chain0@example.test",
			"bobby@example.test", "+bob@example.test",
		} {
			_, err := s.Resolve(ctx, address(t, rcpt), "+")
			assert.ErrorIs(t, err, store.ErrNotFound, rcpt)
		}
		_, err = s.Resolve(ctx, address(t, "bob+news@example.test"), "-")
		assert.ErrorIs(t, err, store.ErrNotFound, "another delimiter")
		target, err := s.Resolve(ctx, address(t, "bob+news@example.test"), "-+")
		require.NoError(t, err)
		assert.Equal(t, "news", target.Detail)
	})
}

func TestResolveSeesSuspensionQuotaAndNewMailboxes(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		site := storetest.NewSite(t, s, "example", "example.test", "bob")
		_, err := s.Resolve(ctx, address(t, "new@example.test"), "+")
		require.ErrorIs(t, err, store.ErrNotFound)
		storetest.NewSite(t, s, "example", "example.test", "new")
		_, err = s.Resolve(ctx, address(t, "new@example.test"), "+")
		require.NoError(t, err, "what was not found is not remembered")

		storetest.Deliver(t, s, storetest.NewCopy(t, site.Target("bob"), "x"))
		require.NoError(t, s.SetMailboxQuota(ctx, site.Tenant.ID, site.Mailboxes["bob"].ID, 1, store.Beside{}))
		_, err = s.Resolve(ctx, address(t, "bob@example.test"), "+")
		require.ErrorIs(t, err, store.ErrQuota)
		require.NoError(t, s.SuspendTenant(ctx, site.Tenant.ID, true, store.Beside{}))
		_, err = s.Resolve(ctx, address(t, "bob@example.test"), "+")
		require.ErrorIs(t, err, store.ErrSuspended)
	})
}

// Anybody may ask for any detail of a mailbox that is there.
func TestLongAddressesAreNotRemembered(t *testing.T) {
	s := store.New(store.Options{DB: storetest.OpenDB(t, sqldb.Options{Path: filepath.Join(t.TempDir(), "mail.db")})})
	site := storetest.NewSite(t, s, "example", "example.test", "bob")
	for _, detail := range []string{"short", strings.Repeat("x", 900), strings.Repeat("y", 120)} {
		target, err := s.Resolve(t.Context(), mail.Address{Local: "bob+" + detail, Domain: "example.test"}, "+")
		require.NoError(t, err)
		require.Equal(t, site.Mailboxes["bob"].ID, target.Mailbox)
		require.Equal(t, detail, target.Detail)
	}
	require.Equal(t, 1, s.RememberedRecipients(), "the short one")
}

func TestWhatAnotherNodeChangesIsSeenWithinASecond(t *testing.T) {
	now := time.Now()
	db := storetest.OpenDB(t, storetest.Options(t, sqldb.Postgres))
	s := store.New(store.Options{DB: db, Now: func() time.Time { return now }})
	other := store.New(store.Options{DB: db})
	site := storetest.NewSite(t, s, "example", "example.test", "bob", "ann")
	resolve := func(rcpt string) (store.MailboxID, error) {
		target, err := s.Resolve(t.Context(), address(t, rcpt), "+")
		return target.Mailbox, err
	}
	for name, c := range map[string]struct {
		rcpt   string
		change func() error
		want   error
	}{
		"a tenant is suspended": {"bob@example.test", func() error { return other.SuspendTenant(t.Context(), site.Tenant.ID, true, store.Beside{}) }, store.ErrSuspended},
		"a mailbox is full": {"bob@example.test", func() error {
			return other.SetMailboxQuota(t.Context(), site.Tenant.ID, site.Mailboxes["bob"].ID, 1, store.Beside{})
		}, store.ErrQuota},
		"an address gets a mailbox": {"bob+news@example.test", func() error {
			_, _, err := other.EnsureMailbox(t.Context(), site.Tenant.ID, address(t, "bob+news@example.test"), "")
			return err
		}, nil},
		"an address gets an alias": {"bob+list@example.test", func() error {
			_, err := other.EnsureAlias(t.Context(), site.Tenant.ID, address(t, "bob+list@example.test"), address(t, "ann@example.test"))
			return err
		}, nil},
		"a mailbox is restored": {"bob+old@example.test", func() error {
			return other.RestoreMailbox(t.Context(), store.MailboxDescription{
				Tenant: site.Tenant.ID, TenantName: "example", Mailbox: store.MailboxID(store.NewMessageID()), Address: "bob+old@example.test",
			})
		}, nil},
		"a tenant's keys are destroyed": {"bob@example.test", func() error {
			_, err := other.DestroyTenantKeys(t.Context(), site.Tenant.ID, store.Beside{})
			return err
		}, store.ErrSuspended},
	} {
		require.NoError(t, other.SuspendTenant(t.Context(), site.Tenant.ID, false, store.Beside{}))
		require.NoError(t, other.SetMailboxQuota(t.Context(), site.Tenant.ID, site.Mailboxes["bob"].ID, 0, store.Beside{}))
		storetest.Deliver(t, other, storetest.NewCopy(t, site.Target("bob"), "x"))
		now = now.Add(time.Second)
		before, err := resolve(c.rcpt)
		require.NoError(t, err, name)

		require.NoError(t, c.change(), name)
		again, err := resolve(c.rcpt)
		require.NoError(t, err, "%s: the database is not asked each time", name)
		require.Equal(t, before, again, name)
		now = now.Add(time.Second)
		require.Eventually(t, func() bool { // a database that is slow to answer is asked again
			after, err := resolve(c.rcpt)
			return errors.Is(err, c.want) && after != before
		}, 30*time.Second, time.Millisecond, name)
	}
}

func TestWhatIsRememberedOutlivesTheDatabaseForSeconds(t *testing.T) {
	now := time.Now()
	db := storetest.OpenDB(t, storetest.Options(t, sqldb.Postgres))
	s := store.New(store.Options{DB: db, Now: func() time.Time { return now }})
	storetest.NewSite(t, s, "example", "example.test", "bob")
	resolve := func() error {
		_, err := s.Resolve(t.Context(), address(t, "bob@example.test"), "+")
		return err
	}
	require.NoError(t, resolve())
	require.NoError(t, db.Close())
	now = now.Add(4 * time.Second)
	require.NoError(t, resolve())
	now = now.Add(time.Second)
	require.ErrorIs(t, resolve(), store.ErrUnavailable)
}

func TestAQuestionForChangesHasBounds(t *testing.T) {
	now := time.Now()
	db := storetest.OpenDB(t, storetest.Options(t, sqldb.Postgres))
	s := store.New(store.Options{DB: db, Now: func() time.Time { return now }})
	other := store.New(store.Options{DB: db})
	site := storetest.NewSite(t, s, "example", "example.test", "bob")
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	resolve := func() error {
		_, err := s.Resolve(ctx, address(t, "bob@example.test"), "+")
		return err
	}
	require.NoError(t, resolve())

	locked, release := make(chan struct{}), make(chan struct{})
	var holder sync.WaitGroup
	holder.Go(func() {
		assert.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec(t.Context(), `LOCK TABLE changes IN ACCESS EXCLUSIVE MODE`)
			close(locked)
			<-release
			return err
		}))
	})
	<-locked
	now = now.Add(4 * time.Second)
	assert.NoError(t, resolve(), "the table does not answer, and the recipient is remembered")
	assert.NoError(t, ctx.Err(), "the question is given up by itself")
	close(release)
	holder.Wait()

	require.NoError(t, other.SuspendTenant(t.Context(), site.Tenant.ID, true, store.Beside{}))
	require.ErrorIs(t, resolve(), store.ErrSuspended, "it answers again")
	require.NoError(t, other.SuspendTenant(t.Context(), site.Tenant.ID, false, store.Beside{}))
	require.NoError(t, resolve())

	require.NoError(t, other.SuspendTenant(t.Context(), site.Tenant.ID, true, store.Beside{}))
	now = now.Add(-time.Hour)
	require.ErrorIs(t, resolve(), store.ErrSuspended, "the clock was set back")
	require.NoError(t, other.SuspendTenant(t.Context(), site.Tenant.ID, false, store.Beside{}))
	require.NoError(t, resolve())

	require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO changes (at_us, tenant_id, noun, id) SELECT 1, 't', $1, 'x' FROM generate_series(1, 10000)`, store.ChangedMode)
		return err
	}))
	require.NoError(t, other.SuspendTenant(t.Context(), site.Tenant.ID, true, store.Beside{}))
	now = now.Add(time.Second)
	require.Eventually(t, func() bool { return errors.Is(resolve(), store.ErrSuspended) }, 10*time.Second, time.Millisecond,
		"behind more changes than one statement gives")
}

func TestManyResolveWhileOneLooksForChanges(t *testing.T) {
	var now atomic.Int64
	db := storetest.OpenDB(t, storetest.Options(t, sqldb.Postgres))
	s := store.New(store.Options{DB: db, Now: func() time.Time { return time.UnixMicro(now.Load()) }})
	other := store.New(store.Options{DB: db})
	now.Store(time.Now().UnixMicro())
	site := storetest.NewSite(t, s, "example", "example.test", "bob")
	for round := range 20 {
		suspended := round%2 == 1
		require.NoError(t, other.SuspendTenant(t.Context(), site.Tenant.ID, suspended, store.Beside{}))
		now.Add(10 * time.Second.Microseconds())
		var all sync.WaitGroup
		for range 16 {
			all.Go(func() {
				_, err := s.Resolve(t.Context(), address(t, "bob@example.test"), "+")
				assert.Equal(t, suspended, errors.Is(err, store.ErrSuspended), err)
			})
		}
		all.Wait()
	}
}

func TestNamesBelongToOneTenantAndOneUse(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		one := storetest.NewSite(t, s, "one", "one.test", "bob")
		two := storetest.NewSite(t, s, "two", "two.test", "bob")
		_, _, err := s.EnsureDomain(ctx, two.Tenant.ID, "one.test", "")
		assert.ErrorIs(t, err, store.ErrExists)
		_, err = s.EnsureAlias(ctx, two.Tenant.ID, address(t, "x@one.test"), address(t, "bob@two.test"))
		assert.ErrorIs(t, err, store.ErrNotFound, "a tenant cannot take addresses of another's domain")
		_, _, err = s.EnsureMailbox(ctx, two.Tenant.ID, address(t, "x@one.test"), "")
		assert.ErrorIs(t, err, store.ErrNotFound)
		_, _, err = s.EnsureDomain(ctx, two.Tenant.ID, "alias.test", one.Domain.ID)
		assert.ErrorIs(t, err, store.ErrNotFound, "a domain cannot stand for another tenant's")
		_, err = s.DomainByName(ctx, "alias.test")
		assert.ErrorIs(t, err, store.ErrNotFound)
		_, err = s.EnsureAlias(ctx, two.Tenant.ID, address(t, "bob2@two.test"), address(t, "bob@ONE.test"))
		assert.ErrorIs(t, err, store.ErrExists, "an alias cannot lead into another tenant")
		_, err = s.EnsureAlias(ctx, two.Tenant.ID, address(t, "out@two.test"), address(t, "bob@elsewhere.example"))
		assert.NoError(t, err, "other hosts are no tenants")
		_, err = s.EnsureAlias(ctx, one.Tenant.ID, address(t, "bob@one.test"), address(t, "x@one.test"))
		assert.ErrorIs(t, err, store.ErrExists, "a mailbox has the address")
		_, err = s.EnsureAlias(ctx, one.Tenant.ID, address(t, "info@one.test"), address(t, "bob@one.test"))
		assert.NoError(t, err)
		_, _, err = s.EnsureMailbox(ctx, one.Tenant.ID, address(t, "info@one.test"), "")
		assert.ErrorIs(t, err, store.ErrExists, "an alias has the address")
		_, _, err = s.EnsureUser(ctx, store.User{Tenant: two.Tenant.ID, Login: "BOB@one.test", Role: "user"})
		assert.ErrorIs(t, err, store.ErrExists)
	})
}

func TestAliasMayLeadToADetailAddress(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "bob", "straße")
		_, err := s.EnsureAlias(t.Context(), site.Tenant.ID, address(t, "info@example.test"), address(t, "bob+info@example.test"))
		require.NoError(t, err)
		target, err := s.Resolve(t.Context(), address(t, "info@example.test"), "+")
		require.NoError(t, err)
		assert.Equal(t, site.Mailboxes["bob"].ID, target.Mailbox)
		assert.Equal(t, "info", target.Detail)

		target, err = s.Resolve(t.Context(), address(t, "STRASSE@example.test"), "+")
		require.NoError(t, err, "Postfix asks with the full case folding")
		assert.Equal(t, site.Mailboxes["straße"].ID, target.Mailbox)
	})
}

func TestNewMailboxTakesItsMailAtOnce(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "bob")
		target, err := s.Resolve(t.Context(), address(t, "bob+list@example.test"), "+")
		require.NoError(t, err)
		require.Equal(t, site.Mailboxes["bob"].ID, target.Mailbox)
		site = storetest.NewSite(t, s, "example", "example.test", "bob+list")
		target, err = s.Resolve(t.Context(), address(t, "bob+list@example.test"), "+")
		require.NoError(t, err)
		assert.Equal(t, site.Mailboxes["bob+list"].ID, target.Mailbox)
	})
}

// Delivery must not get slower as mail piles up: each of its queries has to find its rows through an index.
func TestLookingForDuplicatesUsesAnIndex(t *testing.T) {
	db := storetest.OpenDB(t, storetest.Options(t, "sqlite"))
	var plan string
	require.NoError(t, db.Each(t.Context(), `EXPLAIN QUERY PLAN SELECT mailbox_id, delivery_id, id FROM messages
		WHERE delivery_id IS NOT NULL AND delivery_id IN ($1, $2)`, []any{"a", "b"}, func(scan sqldb.Scan) error {
		var id, parent, unused int
		return scan(&id, &parent, &unused, &plan)
	}))
	assert.Contains(t, plan, "SEARCH messages USING INDEX messages_delivery (delivery_id=?)")
}

func TestMailboxWhoseNameNeedsQuotesTakesMail(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "example", "example.test", "a b", `c"d`, "e@f")
		for local, rcpt := range map[string]string{"a b": `"a b"@example.test`, `c"d`: `"c\"d"@example.test`, "e@f": `"e@f"@example.test`} {
			target, err := s.Resolve(t.Context(), address(t, rcpt), "+")
			require.NoError(t, err, rcpt)
			assert.Equal(t, site.Mailboxes[local].ID, target.Mailbox)
			assert.Equal(t, local, target.Address.Local)
			box, err := s.MailboxByAddress(t.Context(), store.System, target.Address.String())
			require.NoError(t, err, "by the address that lists give")
			assert.Equal(t, target.Mailbox, box.ID)
		}
		_, err := s.EnsureAlias(t.Context(), site.Tenant.ID, address(t, "plain@example.test"), address(t, `"a b"@example.test`))
		require.NoError(t, err)
		target, err := s.Resolve(t.Context(), address(t, "plain@example.test"), "+")
		require.NoError(t, err)
		assert.Equal(t, site.Mailboxes["a b"].ID, target.Mailbox)
	})
}

package store

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// PostgreSQL keeps the plan that it makes when the tables are empty, and makes it anew when statistics come. It must not read tables
// from end to end, and it must meet tenants and folders by id, so that nobody waits for another in a circle.
func TestDirectStatementFindsRowsByTheirKeys(t *testing.T) {
	db, err := sqldb.Open(t.Context(), sqldb.Options{Backend: sqldb.Postgres, URL: labtest.Postgres(t).URL(), MaxConnections: 1})
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	fresh := directPlan(t, db, "fresh", insertDirectly, false)
	for _, bad := range []string{"Hash", "Merge"} {
		assert.NotContains(t, fresh, bad, "tables of which nothing is known may be large")
	}
	assert.Equal(t, 3, strings.Count(fresh, "Nested Loop"), fresh)
	s := New(Options{DB: db})
	for _, size := range []struct{ tenants, mailboxes int }{{0, 0}, {1, 1}, {2, 2}, {3, 18}, {5, 100}} {
		for i := range size.tenants {
			fill(t, s, fmt.Sprintf("t%d", i), size.mailboxes/size.tenants)
		}
		for name, query := range map[string]string{"many": insertDirectly, "one": insertOne} {
			plan := directPlan(t, db, fmt.Sprint(name, "_of_", size.mailboxes), query, true)
			assert.NotContains(t, plan, "Seq Scan", "%s of %+v", name, size)
			assert.Contains(t, plan, "tenants_pkey", "%s of %+v: %s", name, size, plan)
			assert.Contains(t, plan, "messages_delivery", "%s of %+v: %s", name, size, plan)
			if name == "many" {
				_, folders, _ := strings.Cut(plan, "CTE f")
				folders, _, _ = strings.Cut(folders, "CTE u")
				assert.Regexp(t, `Nested Loop|Index Scan using folders_(pkey|mailbox) on`, folders, "%+v: the loop is over sorted ids", size)
			}
		}
	}
}

func onPostgres(t *testing.T) *Store {
	t.Helper()
	db, err := sqldb.Open(t.Context(), sqldb.Options{Backend: sqldb.Postgres, URL: labtest.Postgres(t).URL()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	return New(Options{DB: db})
}

// Nobody knows whether a panic came before or after the commit: it must not count as "surely nothing was stored".
func TestPanicInABatchLeavesTheOutcomeOpen(t *testing.T) {
	s := onPostgres(t)
	c := fill(t, s, "t", 1)
	c.ID, c.DeliveryID = NewMessageID(), ""
	job, err := s.jobWithObject([]Copy{c})
	require.NoError(t, err)
	close(job.object.over)
	job.rows = [][]any{{"one value of many"}}
	s.commits.Do(job)
	require.ErrorContains(t, job.results[0].Err, "panic")
	require.NotErrorIs(t, job.results[0].Err, ErrNotStored)
	require.Equal(t, []Result{{ID: c.ID}}, s.Deliver(t.Context(), []Copy{c}), "others go on")
}

func TestPanicBesideAnObjectIsItsMessagesOwn(t *testing.T) {
	s := onPostgres(t)
	c := fill(t, s, "t", 1)
	c.ID, c.DeliveryID = NewMessageID(), ""
	work := s.commits.Work
	s.commits.Work = func([]*deliveryJob) { panic("in a batch") }
	result, err := s.DeliverWhile(t.Context(), c, func() error { return nil })
	require.NoError(t, err)
	require.ErrorContains(t, result.Err, "in a batch")
	require.NotErrorIs(t, result.Err, ErrNotStored)
	s.commits.Work = work
	require.Equal(t, []Result{{ID: c.ID}}, s.Deliver(t.Context(), []Copy{c}))
}

// fill makes a tenant with mailboxes that have got a message each, and gives the last one.
func fill(t *testing.T, s *Store, name string, mailboxes int) (last Copy) {
	t.Helper()
	tenant, _, err := s.EnsureTenant(t.Context(), name)
	require.NoError(t, err)
	_, _, err = s.EnsureDomain(t.Context(), tenant.ID, name+".test", "")
	require.NoError(t, err)
	user, _, err := s.EnsureUser(t.Context(), User{Tenant: tenant.ID, Login: "a@" + name + ".test", Role: "user"})
	require.NoError(t, err)
	for i := range mailboxes {
		address := mail.Address{Local: fmt.Sprint("u", i), Domain: name + ".test"}
		box, _, err := s.EnsureMailbox(t.Context(), tenant.ID, address, user.ID)
		require.NoError(t, err)
		id := NewMessageID()
		last = Copy{
			ID: id, Target: Target{Tenant: tenant.ID, Mailbox: box.ID}, Rcpt: address, Folder: Inbox, Key: string(id), DeliveryID: string(id),
			Content: &Content{Summary: &mail.Summary{}, SizeBytes: 10},
		}
		require.NoError(t, s.Deliver(t.Context(), []Copy{last})[0].Err)
	}
	return last
}

// directPlan is the plan of the statement, if asked to after statistics were made.
func directPlan(t *testing.T, db *sqldb.DB, name, query string, analyzed bool) string {
	t.Helper()
	var types, plan []string
	for _, list := range [][]sqldb.Column{directTenants, directMailboxes, directFolders, directMessages} {
		for _, c := range list {
			kind := c.Array()
			if query == insertOne {
				kind = strings.TrimSuffix(kind, "[]")
			}
			types = append(types, kind)
		}
	}
	nulls := strings.TrimSuffix(strings.Repeat("NULL, ", len(types)), ", ")
	err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
		tx.KeepPlans()
		if analyzed {
			tx.Queue(`ANALYZE`)
		}
		tx.Queue(`PREPARE ` + name + ` (` + strings.Join(types, ", ") + `) AS ` + query)
		return tx.Flush(t.Context())
	})
	require.NoError(t, err)
	err = db.Write(t.Context(), func(tx *sqldb.Tx) error {
		tx.KeepPlans()
		return tx.Each(t.Context(), `EXPLAIN (COSTS OFF) EXECUTE `+name+` (`+nulls+`)`, nil, func(scan sqldb.Scan) error {
			var line string
			err := scan(&line)
			plan = append(plan, line)
			return err
		})
	})
	require.NoError(t, err)
	return strings.Join(plan, "\n")
}

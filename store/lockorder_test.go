package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// SQLSTATEs of PostgreSQL. Who meets a deadlock tries again, so it is seen only in what the server has answered.
const (
	deadlock    = "40P01"
	lockTimeout = "55P03"
)

// crossing is a PostgreSQL with several nodes, each with connections of its own, and tenants with several mailboxes each.
type crossing struct {
	proxy   *commitProxy
	nodes   []*directRig
	targets []store.Target
}

func newCrossing(t *testing.T) *crossing {
	t.Helper()
	const nodes, tenants, mailboxes = 4, 4, 3
	server := labtest.Postgres(t)
	c := &crossing{proxy: startCommitProxy(t, server.Addr())}
	for range nodes {
		// The server looks for a deadlock at once, not after a second: none is ended by lock_timeout before it is found.
		url := c.proxy.url(server.URL()) + "&deadlock_timeout=5"
		r := &directRig{server: server, registry: prometheus.NewRegistry()}
		r.Store = store.New(store.Options{
			DB: storetest.OpenDB(t, sqldb.Options{Backend: sqldb.Postgres, URL: url}), Registerer: r.registry,
		})
		c.nodes = append(c.nodes, r)
	}
	for i := range tenants {
		var locals []string
		for j := range mailboxes {
			locals = append(locals, fmt.Sprint("u", j))
		}
		name := fmt.Sprint("t", i)
		site := storetest.NewSite(t, c.nodes[0].Store, name, name+".test", locals...)
		for _, local := range locals {
			c.targets = append(c.targets, site.Target(local))
		}
	}
	return c
}

// meet has each node know all folders, and gives the number of messages that it takes.
func (c *crossing) meet(t *testing.T) int {
	t.Helper()
	for _, node := range c.nodes {
		for _, target := range c.targets {
			storetest.Deliver(t, node.Store, storetest.NewCopy(t, target, "x"))
		}
	}
	return len(c.nodes) * len(c.targets)
}

// batches is how many were decided copy by copy, and how many took one statement.
func (c *crossing) batches(t *testing.T) (decided, direct int) {
	t.Helper()
	for _, node := range c.nodes {
		decided += node.count(t, "mairust_store_batch_copies", "") - node.direct(t)
		direct += node.direct(t)
	}
	return decided, direct
}

// deliver has many sessions of each node deliver messages for mailboxes of several tenants, each in another order, and gives the number
// of copies. Of so many one has its batch decided copy by copy; of none when it is 0.
func (c *crossing) deliver(t *testing.T, oneOf int) int {
	t.Helper()
	const sessions, each, recipients = 16, 25, 6
	parallel(sessions, func(session int) {
		random := rand.New(rand.NewPCG(uint64(session), 7))
		for range each {
			var copies []store.Copy
			for _, n := range random.Perm(len(c.targets))[:recipients] {
				one := storetest.NewCopy(t, c.targets[n], "x")
				one.Recovered = oneOf > 0 && random.IntN(oneOf) == 0
				copies = append(copies, one)
			}
			node := c.nodes[session%len(c.nodes)]
			for i, r := range node.Deliver(context.Background(), copies) {
				for errors.Is(r.Err, sqldb.ErrLockTimeout) { // a disk that took seconds for a flush
					r = node.Deliver(context.Background(), copies[i:i+1])[0]
				}
				assert.Equal(t, store.Result{ID: copies[i].ID}, r)
			}
		}
	})
	return sessions * each * recipients
}

// Nodes that deliver for the same tenants and mailboxes wait for each other, but never in a circle, whichever way their batches go, and
// whatever PostgreSQL knows of its tables when it makes its plans.
func TestNodesNeverWaitForEachOtherInACircle(t *testing.T) {
	for name, oneOf := range map[string]int{"one statement": 0, "copy by copy": 1, "both": 40} {
		for _, analyzed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, analyzed %t", name, analyzed), func(t *testing.T) {
				c := newCrossing(t)
				met := c.meet(t)
				if analyzed {
					c.nodes[0].exec(t, `ANALYZE`)
				}
				decidedBefore, directBefore := c.batches(t)
				delivered := c.deliver(t, oneOf)
				require.Zero(t, c.proxy.refusals(deadlock))
				decided, direct := c.batches(t)
				require.Equal(t, oneOf != 0 || c.proxy.refusals(lockTimeout) > 0, decided > decidedBefore)
				require.Equal(t, oneOf != 1, direct > directBefore)
				c.requireStored(t, met+delivered)
			})
		}
	}
}

// requireStored wants as many messages, and each counter to be what the messages give.
func (c *crossing) requireStored(t *testing.T, n int) {
	t.Helper()
	stored := 0
	for _, target := range c.targets {
		box, err := c.nodes[0].MailboxByAddress(t.Context(), store.System, target.Address.String())
		require.NoError(t, err)
		require.Len(t, allUIDs(t, c.nodes[0].Store, box.ID), int(box.Messages))
		stored += int(box.Messages)
	}
	require.Equal(t, n, stored)
	for _, noun := range store.CountedNouns() {
		require.Empty(t, miscounts(t, c.nodes[0].Store, noun))
	}
}

package store_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
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
	// met are the messages that each node has delivered to each folder before.
	met []store.MessageID
}

// sessions is how many deliver at once, by turns on the nodes.
const sessions = 16

var crossed = []string{store.Inbox, store.Quarantine, store.Archive}

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

// meet has each node know all folders.
func (c *crossing) meet(t *testing.T) {
	t.Helper()
	for _, node := range c.nodes {
		for _, folder := range crossed {
			var copies []store.Copy
			for _, target := range c.targets {
				one := storetest.NewCopy(t, target, "x")
				one.Folder = folder
				copies = append(copies, one)
				c.met = append(c.met, one.ID)
			}
			storetest.Deliver(t, node.Store, copies...)
		}
	}
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
	const each, recipients = 25, 6
	parallel(sessions, func(session int) {
		random := rand.New(rand.NewPCG(uint64(session), 7))
		for range each {
			var copies []store.Copy
			for _, n := range random.Perm(len(c.targets))[:recipients] {
				one := storetest.NewCopy(t, c.targets[n], "x")
				one.Folder = crossed[random.IntN(len(crossed))]
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

// change has users of each node change messages in several folders at once, until the returned function is called.
func (c *crossing) change(t *testing.T) (end func()) {
	t.Helper()
	const users, messages = 4, 8
	var group sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	for user := range users {
		random := rand.New(rand.NewPCG(uint64(user), 11))
		group.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				var ids []store.MessageID
				for _, n := range random.Perm(len(c.met))[:messages] {
					ids = append(ids, c.met[n])
				}
				tag := store.Change{AddTags: []string{fmt.Sprint(user, "-", i%2)}, RemoveTags: []string{fmt.Sprint(user, "-", (i+1)%2)}}
				n, err := c.nodes[user%len(c.nodes)].ChangeMessages(context.Background(), store.System, ids, tag)
				assert.NoError(t, err)
				assert.Equal(t, messages, n)
			}
		})
	}
	return func() {
		cancel()
		group.Wait()
	}
}

// Nodes that deliver for the same tenants and mailboxes, and users who change what is there, wait for each other, but never in a circle, whichever
// way the batches go, and whatever PostgreSQL knows of its tables when it makes its plans.
func TestNodesNeverWaitForEachOtherInACircle(t *testing.T) {
	for name, oneOf := range map[string]int{"one statement": 0, "copy by copy": 1, "both": 40} {
		for _, analyzed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, analyzed %t", name, analyzed), func(t *testing.T) {
				c := newCrossing(t)
				c.meet(t)
				if analyzed {
					c.nodes[0].exec(t, `ANALYZE`)
				}
				decidedBefore, directBefore := c.batches(t)
				end := c.change(t)
				delivered := c.deliver(t, oneOf)
				end()
				require.Zero(t, c.proxy.refusals(deadlock))
				decided, direct := c.batches(t)
				require.Equal(t, oneOf != 0 || c.proxy.refusals(lockTimeout) > 0, decided > decidedBefore)
				require.Equal(t, oneOf != 1, direct > directBefore)
				c.requireStored(t, len(c.met)+delivered)
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
		stored += int(box.Messages)
	}
	require.Equal(t, n, stored)
	for _, noun := range store.CountedNouns() {
		require.Empty(t, miscounts(t, c.nodes[0].Store, noun))
	}
}

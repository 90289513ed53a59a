package crypt_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/storetest"
)

// nodes are processes that share a database and objects.
type nodes struct {
	store   *store.Store
	backend *blob.FS
	// one and two are tenants.
	one, two store.TenantID
}

// withNodes runs a test on both databases.
func withNodes(t *testing.T, test func(t *testing.T, n *nodes)) {
	t.Helper()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		_, err := s.Claim(t.Context(), "keyring")
		require.NoError(t, err)
		test(t, &nodes{
			store: s, backend: newFS(t),
			one: storetest.NewSite(t, s, "one", "one.test", "bob").Tenant.ID, two: storetest.NewSite(t, s, "two", "two.test", "carol").Tenant.ID,
		})
	})
}

// keyring is that of a node.
func (n *nodes) keyring(index crypt.Index, recipient *age.X25519Identity, operators ...age.Identity) *crypt.Keyring {
	return crypt.NewKeyring(crypt.KeyringOptions{
		Index: index, Backend: n.backend, Recipients: []age.Recipient{recipient.Recipient()}, Operator: operators,
	})
}

// former adds keys as versions did that recorded nothing with them.
type former struct{ *store.Store }

func (f former) AddFirstTenantKey(ctx context.Context, k store.TenantKey) error {
	k.Operator = ""
	return f.Store.AddFirstTenantKey(ctx, k)
}

// Each node was given a key pair of its own, as by mairust keys generate on each.
func TestTheNodeThatMakesTheFirstKeyDecidesToWhomAllGo(t *testing.T) {
	withNodes(t, func(t *testing.T, n *nodes) {
		other := must(age.GenerateX25519Identity())
		a, b := n.keyring(n.store, operator, operator), n.keyring(n.store, other, other)
		require.NoError(t, a.AdoptOperator(t.Context()))
		require.NoError(t, b.AdoptOperator(t.Context()), "there is no key yet")
		must(a.Current(t.Context(), n.one))
		_, err := b.Current(t.Context(), n.two)
		require.ErrorIs(t, err, store.ErrOperator)
		require.ErrorIs(t, err, blob.ErrNoKey, "which LMTP answers with 451")
		require.ErrorIs(t, b.CheckOperator(t.Context()), store.ErrOperator)
		beside, err := a.Beside(t.Context(), n.two, noted)
		require.NoError(t, err)
		require.Empty(t, beside)
		must(b.Current(t.Context(), n.one)) // that one it can encrypt to
		must(a.Current(t.Context(), n.two))
	})
}

// Neither saw that the other one had begun.
func TestOfTwoNodesThatMakeTheFirstKeysAtOnceOneIsRefused(t *testing.T) {
	withNodes(t, func(t *testing.T, n *nodes) {
		other := must(age.GenerateX25519Identity())
		var at sync.WaitGroup
		at.Add(2)
		index := meeting{n.store, &at}
		errs := make([]error, 2)
		var group sync.WaitGroup
		group.Go(func() { _, errs[0] = n.keyring(index, operator, operator).Current(t.Context(), n.one) })
		group.Go(func() { _, errs[1] = n.keyring(index, other, other).Current(t.Context(), n.two) })
		group.Wait()
		refused, tenant := errs[0], n.one
		if refused == nil {
			refused, tenant = errs[1], n.two
		}
		require.ErrorIs(t, refused, store.ErrOperator)
		rows, err := n.store.AllTenantKeys(t.Context())
		require.NoError(t, err)
		require.Len(t, rows, 1)
		beside, err := n.keyring(n.store, operator).Beside(t.Context(), tenant, noted)
		require.NoError(t, err)
		require.Empty(t, beside)
	})
}

// meeting has all who add a first key wait for each other, after they have looked whether they may.
type meeting struct {
	*store.Store
	at *sync.WaitGroup
}

func (m meeting) AddFirstTenantKey(ctx context.Context, k store.TenantKey) error {
	m.at.Done()
	m.at.Wait()
	return m.Store.AddFirstTenantKey(ctx, k)
}

func TestAtItsStartANodeNotesTheOperatorOfKeysThatItCanOpen(t *testing.T) {
	withNodes(t, func(t *testing.T, n *nodes) {
		old, next := operator, must(age.GenerateX25519Identity())
		must(n.keyring(former{n.store}, old).Current(t.Context(), n.one))
		require.NoError(t, n.store.CheckOperator(t.Context(), "anything"), "nothing is noted")
		for name, keys := range map[string]*crypt.Keyring{
			"no identity":                      n.keyring(n.store, old),
			"its identity opens nothing":       n.keyring(n.store, next, next),
			"that of the recipients opens not": n.keyring(n.store, next, old, next),
			"no identity of the recipients":    n.keyring(n.store, next, old),
		} {
			require.NoError(t, keys.AdoptOperator(t.Context()), name)
			require.NoError(t, n.store.CheckOperator(t.Context(), "anything"), name)
		}
		require.NoError(t, n.keyring(n.store, old, old, next).AdoptOperator(t.Context()))
		require.ErrorIs(t, n.keyring(n.store, next, next).AdoptOperator(t.Context()), store.ErrOperator)
		require.ErrorIs(t, n.keyring(n.store, next).AdoptOperator(t.Context()), store.ErrOperator)
		require.NoError(t, n.keyring(n.store, old).AdoptOperator(t.Context()))
		_, err := n.keyring(n.store, next).Current(t.Context(), n.two)
		require.ErrorIs(t, err, store.ErrOperator)
		must(n.keyring(n.store, old).Current(t.Context(), n.two))
	})
}

// The operator has given one node a second recipient, whose identity is in a safe, and rewrapped nothing.
func TestAtItsStartANodeWithASpareRecipientNotesWhatKeysGoTo(t *testing.T) {
	withNodes(t, func(t *testing.T, n *nodes) {
		spare := must(age.GenerateX25519Identity())
		alone, both := n.keyring(n.store, operator, operator), crypt.NewKeyring(crypt.KeyringOptions{
			Index: n.store, Backend: n.backend, Recipients: []age.Recipient{operator.Recipient(), spare.Recipient()}, Operator: []age.Identity{operator},
		})
		must(n.keyring(former{n.store}, operator).Current(t.Context(), n.one))
		require.NoError(t, both.AdoptOperator(t.Context()))
		require.NoError(t, n.store.CheckOperator(t.Context(), "anything"), "the key does not go to the spare")
		require.NoError(t, alone.AdoptOperator(t.Context()))
		require.ErrorIs(t, both.CheckOperator(t.Context()), store.ErrOperator)
		require.NoError(t, both.NoteOperator(t.Context()))
		require.NoError(t, both.AdoptOperator(t.Context()), "as rewrap has noted")
	})
}

// The recipients were changed before this version came, and nothing rewrapped.
func TestAnInstallationWhoseNewestKeyGoesToTheOperatorOfBeforeGoesOn(t *testing.T) {
	withNodes(t, func(t *testing.T, n *nodes) {
		next := must(age.GenerateX25519Identity())
		must(n.keyring(former{n.store}, operator).Current(t.Context(), n.one))
		changed := n.keyring(n.store, next, operator, next)
		require.NoError(t, changed.AdoptOperator(t.Context()))
		bucket := crypt.New(crypt.Options{Backend: n.backend, Keys: changed, Encrypt: true})
		for _, tenant := range []store.TenantID{n.one, n.two} {
			require.NoError(t, bucket.Put(t.Context(), string(tenant)+"/m/o", strings.NewReader("x"), 1))
		}
		require.ErrorIs(t, n.keyring(n.store, operator).CheckOperator(t.Context()), store.ErrOperator)
	})
}

// The clock of a node was a year ahead when it made a key.
func TestRotationIsAfterAKeyOfAClockThatWasAhead(t *testing.T) {
	withNodes(t, func(t *testing.T, n *nodes) {
		options := crypt.KeyringOptions{
			Index: n.store, Backend: n.backend, Recipients: []age.Recipient{operator.Recipient()}, Operator: []age.Identity{operator},
			Now: func() time.Time { return time.Now().AddDate(1, 0, 0) },
		}
		before := must(crypt.NewKeyring(options).Current(t.Context(), n.one))
		options.Now = nil
		keys := crypt.NewKeyring(options)
		for range 3 {
			require.Equal(t, before.ID, must(keys.Current(t.Context(), n.one)).ID)
			rotated, err := keys.Rotate(t.Context(), n.one, nil)
			require.NoError(t, err)
			require.Greater(t, rotated.ID, before.ID)
			require.Equal(t, uuid.Version(7), uuid.MustParse(rotated.ID).Version())
			require.Equal(t, uuid.RFC4122, uuid.MustParse(rotated.ID).Variant())
			require.Equal(t, rotated.ID, must(crypt.NewKeyring(options).Current(t.Context(), n.one)).ID, "as another node sees it")
			before = rotated
		}
		require.WithinDuration(t, time.Now(), before.Created, time.Hour, "when it was made is not invented")
	})
}

// Ids need not be ours: they are names of files beside the objects.
func TestRotationRefusesWhatItCannotBeAfter(t *testing.T) {
	withNodes(t, func(t *testing.T, n *nodes) {
		for tenant, id := range map[store.TenantID]string{n.one: "ffffffff-ffff-7fff-bfff-ffffffffffff", n.two: "g"} {
			require.NoError(t, n.store.AddTenantKey(t.Context(), store.TenantKey{
				ID: id, Tenant: tenant, Recipient: operator.Recipient().String(), Wrapped: "wrapped", Created: time.Now(),
			}, store.Beside{}))
			_, err := n.keyring(n.store, operator).Rotate(t.Context(), tenant, nil)
			require.ErrorContains(t, err, id)
			beside, err := n.keyring(n.store, operator).Beside(t.Context(), tenant, noted)
			require.NoError(t, err)
			require.Empty(t, beside)
		}
	})
}

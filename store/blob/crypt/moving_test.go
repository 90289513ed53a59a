package crypt_test

import (
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/blob/move"
)

// The operator's key is changed when a store was left, and the store is gone back to.
func TestTheStoreThatIsGoneBackToHasTheKeysOfTheOperatorOfNow(t *testing.T) {
	first, second := blob.NewMemory(), blob.NewMemory()
	isKey := func(key string) bool { return strings.HasSuffix(key, ".age") }
	q := move.Request{IsReplaced: isKey, IsKey: isKey}
	copied := func(to, from move.Store) []move.Problem {
		report := &move.Report{}
		require.NoError(t, move.Run(t.Context(), to, from, q, report))
		return report.Problems()
	}
	both := func(to, from move.Store) *move.Bucket {
		b := move.New(to, from)
		b.ReplaceInBoth(isKey)
		return b
	}
	r := newRig(t, first)
	r.put(t, "t/m/o", message)
	require.Empty(t, copied(second, first))
	next := must(age.GenerateX25519Identity())
	in := func(backend crypt.Backend) *crypt.Keyring {
		return crypt.NewKeyring(crypt.KeyringOptions{
			Index: r.index, Backend: backend, Recipients: []age.Recipient{next.Recipient()}, Operator: []age.Identity{operator, next},
		})
	}
	row := func() store.TenantKey { return r.index.keys[0] }
	require.NoError(t, in(second).Rewrap(t.Context(), row(), store.Beside{}))

	back := both(first, second)
	problems := copied(first, second)
	require.Len(t, problems, 1)
	require.ErrorIs(t, problems[0].Err, move.ErrKeys)
	wrong, err := in(back).Examine(t.Context(), row())
	require.NoError(t, err)
	require.NotEmpty(t, wrong)
	require.NoError(t, in(back).Mend(t.Context(), row()), "mairust keys check --repair")
	require.Empty(t, copied(first, second))

	// With the database lost, the store that stays needs the key of now alone.
	r.index = &index{}
	r.backend = first
	r.open(true, next)
	require.Equal(t, message, string(content(t, r, "t/m/o")))

	// Changed while both are there, neither has one of before.
	third := must(age.GenerateX25519Identity())
	next, operator := third, next
	keys := crypt.NewKeyring(crypt.KeyringOptions{
		Index: r.index, Backend: back, Recipients: []age.Recipient{next.Recipient()}, Operator: []age.Identity{operator, next},
	})
	require.NoError(t, keys.Rewrap(t.Context(), row(), store.Beside{}))
	require.Empty(t, copied(first, second))
	require.Empty(t, copied(second, first))
}

package crypt_test

import (
	"slices"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/crypt"
)

// to is the keyring of another process on the same index and objects.
func (r *rig) to(recipients []age.Recipient, operators ...age.Identity) *crypt.Keyring {
	return crypt.NewKeyring(crypt.KeyringOptions{Index: r.index, Backend: r.backend, Recipients: recipients, Operator: operators, Now: r.clock})
}

// A node that only takes mail in was not restarted when the operator's key was changed.
func TestWhoHasTheOperatorsRecipientsOfBeforeMakesNoKey(t *testing.T) {
	r := newRig(t, newFS(t))
	next := must(age.GenerateX25519Identity())
	intake := r.to([]age.Recipient{operator.Recipient()})
	must(intake.Current(t.Context(), "one"))
	changed := r.to([]age.Recipient{next.Recipient()}, operator, next)
	_, err := changed.Current(t.Context(), "two")
	require.ErrorIs(t, err, store.ErrOperator, "what the first key went to counts for all")
	require.ErrorIs(t, changed.AdoptOperator(t.Context()), store.ErrOperator)
	must(intake.Current(t.Context(), "three"))
	require.NoError(t, intake.CheckOperator(t.Context()))

	require.NoError(t, changed.NoteOperator(t.Context()))
	for _, row := range slices.Clone(r.index.keys) {
		require.NoError(t, changed.Rewrap(t.Context(), row, store.Beside{}))
	}
	before := len(r.index.keys)
	_, err = intake.Current(t.Context(), "new")
	require.ErrorIs(t, err, store.ErrOperator)
	require.ErrorIs(t, err, blob.ErrNoKey, "which LMTP answers with 451")
	require.ErrorContains(t, err, "operator_recipients")
	require.ErrorIs(t, intake.CheckOperator(t.Context()), store.ErrOperator)
	_, err = intake.Rotate(t.Context(), "one", nil)
	require.ErrorIs(t, err, store.ErrOperator)
	require.Len(t, r.index.keys, before)
	beside, err := changed.Beside(t.Context(), "", noted)
	require.NoError(t, err)
	require.Len(t, beside, before, "nothing lies beside the objects either")
	must(intake.Current(t.Context(), "one")) // a tenant that has a key goes on

	restarted := r.to([]age.Recipient{next.Recipient()})
	must(restarted.Current(t.Context(), "new"))
	opened := r.to([]age.Recipient{next.Recipient()}, next)
	for _, row := range r.index.keys {
		wrong, err := opened.Examine(t.Context(), row)
		require.NoError(t, err)
		require.Empty(t, wrong, "the key of before may be destroyed")
	}
}

// The keys are rewrapped between the first look of a process and its adding of a key.
func TestAKeyThatIsMadeWhileTheOperatorChangesIsRefusedToo(t *testing.T) {
	r := newRig(t, newFS(t))
	next := must(age.GenerateX25519Identity())
	changed := r.to([]age.Recipient{next.Recipient()}, next)
	r.index.beforeAdding = func() { require.NoError(t, changed.NoteOperator(t.Context())) }
	err := r.Put(t.Context(), "new/m/o", strings.NewReader(message), int64(len(message)))
	require.ErrorIs(t, err, store.ErrOperator)
	require.Empty(t, r.index.keys)
	beside, err := changed.Beside(t.Context(), "", noted)
	require.NoError(t, err)
	require.Empty(t, beside)
}

func TestTheOrderOfTheOperatorsRecipientsDoesNotMatter(t *testing.T) {
	a, b := operator.Recipient(), must(age.GenerateX25519Identity()).Recipient()
	check := crypt.RecipientsCheck([]age.Recipient{a, b})
	require.Equal(t, check, crypt.RecipientsCheck([]age.Recipient{b, a, b}))
	require.NotEqual(t, check, crypt.RecipientsCheck([]age.Recipient{a}))
	require.Empty(t, crypt.RecipientsCheck(nil))
	hybrid := must(age.GenerateHybridIdentity()).Recipient()
	again, err := crypt.ParseRecipients([]string{hybrid.String()})
	require.NoError(t, err)
	require.Equal(t, crypt.RecipientsCheck([]age.Recipient{hybrid}), crypt.RecipientsCheck(again))
}

func TestRecipientsThatNobodyHereCanBeAreNotNoted(t *testing.T) {
	r := newRig(t, newFS(t))
	stranger := must(age.GenerateX25519Identity()).Recipient()
	require.ErrorContains(t, r.to([]age.Recipient{stranger}, operator).NoteOperator(t.Context()), "nothing was changed")
	require.Error(t, r.to(nil, operator).NoteOperator(t.Context()))
	r.put(t, "t/m/o", message)
	// Who is given no recipients encrypts nothing.
	require.NoError(t, r.to(nil, operator).CheckOperator(t.Context()))
}

func TestWhatIsRewrappedAlreadyIsKnown(t *testing.T) {
	old, next, safe, other := operator, must(age.GenerateX25519Identity()), must(age.GenerateX25519Identity()), must(age.GenerateX25519Identity())
	to := func(list ...*age.X25519Identity) (recipients []age.Recipient) {
		for _, identity := range list {
			recipients = append(recipients, identity.Recipient())
		}
		return recipients
	}
	for name, c := range map[string]struct {
		has, now   []age.Recipient
		identities []age.Identity
		want       bool
	}{
		"the only one":                     {to(old), to(old), []age.Identity{old}, true},
		"with the identity of before":      {to(next), to(next), []age.Identity{old, next}, true},
		"both":                             {to(old, next), to(next, old), []age.Identity{old, next}, true},
		"to the one of before":             {to(old), to(next), []age.Identity{old, next}, false},
		"to the one of before too":         {to(old, next), to(next), []age.Identity{old, next}, false},
		"to one of two":                    {to(next), to(next, old), []age.Identity{old, next}, false},
		"a spare, as it seems":             {to(next, safe), to(next, safe), []age.Identity{next}, false},
		"another spare, as many as before": {to(next, other), to(next, safe), []age.Identity{next}, false},
		"twice the same, as many":          {to(next, other), to(next, next), []age.Identity{next, next}, false},
		"no identity":                      {to(next), to(next), nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, newFS(t))
			must(r.to(c.has).Current(t.Context(), "t"))
			keys := r.to(c.now, c.identities...)
			is, err := keys.IsRewrapped(t.Context(), r.index.keys[0])
			if c.identities != nil {
				require.NoError(t, err)
			}
			require.Equal(t, c.want, is)
			if !c.want {
				return
			}
			r.alter(t, "t/keys/"+r.index.keys[0].ID+".age", []byte("something else"))
			is, err = keys.IsRewrapped(t.Context(), r.index.keys[0])
			require.NoError(t, err)
			require.False(t, is, "the copy beside the objects is another one")
		})
	}
}

// A rewrapping that was interrupted after one of two keys.
func TestWhatRewrappingHasMadeIsKnownAsRewrapped(t *testing.T) {
	r := newRig(t, newFS(t))
	next := must(age.GenerateX25519Identity())
	must(r.keys.Current(t.Context(), "t"))
	must(r.keys.Current(t.Context(), "u"))
	changed := r.changing(next)
	require.NoError(t, changed.Rewrap(t.Context(), r.index.keys[0], store.Beside{}))
	for i, want := range []bool{true, false} {
		is, err := changed.IsRewrapped(t.Context(), r.index.keys[i])
		require.NoError(t, err)
		require.Equal(t, want, is)
	}
}

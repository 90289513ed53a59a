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
		require.NoError(t, changed.Rewrap(t.Context(), row))
	}
	before := len(r.index.keys)
	_, err = intake.Current(t.Context(), "new")
	require.ErrorIs(t, err, store.ErrOperator)
	require.ErrorIs(t, err, blob.ErrNoKey, "which LMTP answers with 451")
	require.ErrorContains(t, err, "operator_recipients")
	require.ErrorIs(t, intake.CheckOperator(t.Context()), store.ErrOperator)
	_, err = intake.Rotate(t.Context(), "one")
	require.ErrorIs(t, err, store.ErrOperator)
	require.Len(t, r.index.keys, before)
	beside, err := changed.Beside(t.Context(), "")
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
	beside, err := changed.Beside(t.Context(), "")
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

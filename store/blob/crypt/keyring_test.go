package crypt_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/crypt"
)

func TestRotationLeavesOldObjectsAsTheyAre(t *testing.T) {
	r := newRig(t, newFS(t))
	r.put(t, "t/m/old", message)
	before := r.stored(t, "t/m/old")
	key, err := r.keys.Rotate(t.Context(), "t", nil)
	require.NoError(t, err)
	r.put(t, "t/m/new", message)
	require.Contains(t, string(r.stored(t, "t/m/new")), key.ID)
	require.NotContains(t, string(before), key.ID)
	require.Equal(t, before, r.stored(t, "t/m/old"))
	r.open(true, operator)
	for _, object := range []string{"t/m/old", "t/m/new"} {
		require.Equal(t, message, string(content(t, r, object)))
	}
}

func TestDestroyingShredsATenantAndNoOther(t *testing.T) {
	r := newRig(t, newFS(t))
	r.put(t, "t/m/o", message)
	r.put(t, "u/m/o", message)
	_, err := r.keys.Rotate(t.Context(), "t", nil)
	require.NoError(t, err)
	other := crypt.NewKeyring(crypt.KeyringOptions{
		Index: r.index, Backend: r.backend, Recipients: []age.Recipient{operator.Recipient()}, Operator: []age.Identity{operator},
		Now: r.clock,
	})
	elsewhere := crypt.New(crypt.Options{Backend: r.backend, Keys: other, Encrypt: true})
	require.Equal(t, message, string(content(t, elsewhere, "t/m/o")))

	for _, want := range []int64{2, 0} { // it may be repeated
		n, err := r.keys.Destroy(t.Context(), "t", store.Beside{})
		require.NoError(t, err)
		require.Equal(t, want, n)
		_, err = readAll(t, r, "t/m/o", 0, -1)
		require.ErrorIs(t, err, blob.ErrNoKey)
		require.ErrorIs(t, r.Put(t.Context(), "t/m/n", strings.NewReader("x"), 1), blob.ErrNoKey)
	}
	require.Equal(t, message, string(content(t, r, "u/m/o")))
	for info, err := range r.backend.List(t.Context(), "t/keys/") {
		require.NoError(t, err)
		require.Fail(t, "a key is left", info.Key)
	}
	for _, k := range r.index.keys {
		require.Equal(t, k.Tenant == "t", k.Wrapped == "")
	}
	r.expire()
	_, err = readAll(t, elsewhere, "t/m/o", 0, -1)
	require.ErrorIs(t, err, blob.ErrNoKey, "another process has forgotten it too")

	_, err = r.keys.Rotate(t.Context(), "t", nil)
	require.NoError(t, err)
	r.put(t, "t/m/anew", message)
	require.Equal(t, message, string(content(t, r, "t/m/anew")), "a tenant may begin anew")
	_, err = readAll(t, r, "t/m/o", 0, -1)
	require.ErrorIs(t, err, blob.ErrNoKey, "what was before stays lost")
}

func TestFirstKeyIsMadeOnce(t *testing.T) {
	r := newRig(t, newFS(t))
	var group sync.WaitGroup
	errs := make([]error, 20)
	for i := range errs {
		group.Go(func() {
			keys := crypt.NewKeyring(crypt.KeyringOptions{
				Index: r.index, Backend: r.backend, Recipients: []age.Recipient{operator.Recipient()}, Operator: []age.Identity{operator},
			})
			_, errs[i] = keys.Current(t.Context(), "t")
		})
	}
	group.Wait()
	require.NoError(t, errors.Join(errs...))
	require.Len(t, r.index.keys, 1)
	var files []string
	for info, err := range r.backend.List(t.Context(), "t/keys/") {
		require.NoError(t, err)
		files = append(files, info.Key)
	}
	require.Equal(t, []string{"t/keys/" + r.index.keys[0].ID + ".age"}, files, "no key is left that nobody uses")
}

func TestAnIndexIsMadeAgainFromTheKeysBesideTheObjects(t *testing.T) {
	r := newRig(t, newFS(t))
	r.put(t, "t/m/old", message)
	_, err := r.keys.Rotate(t.Context(), "t", nil)
	require.NoError(t, err)
	r.put(t, "t/m/new", message)
	had := r.index.keys

	r.index = &index{}
	r.open(true, operator)
	require.Equal(t, message, string(content(t, r, "t/m/new")))
	require.Equal(t, message, string(content(t, r, "t/m/old")))
	require.Len(t, r.index.keys, 2)
	for i, k := range r.index.keys {
		require.Equal(t, had[i].Recipient, k.Recipient)
		require.Equal(t, had[i].Wrapped, k.Wrapped)
		require.WithinDuration(t, had[i].Created, k.Created, 1e9)
	}
	r.put(t, "t/m/newest", message)
	require.Contains(t, string(r.stored(t, "t/m/newest")), had[1].ID, "the newest key goes on being used")
}

func TestRewrappingChangesTheOperator(t *testing.T) {
	r := newRig(t, newFS(t))
	r.put(t, "t/m/o", message)
	next := must(age.GenerateX25519Identity())
	keys := crypt.NewKeyring(crypt.KeyringOptions{
		Index: r.index, Backend: r.backend, Recipients: []age.Recipient{next.Recipient()}, Operator: []age.Identity{operator, next},
	})
	require.NoError(t, keys.Rewrap(t.Context(), r.index.keys[0], store.Beside{}))
	r.open(true, operator)
	_, err := readAll(t, r, "t/m/o", 0, -1)
	require.ErrorIs(t, err, blob.ErrNoKey)
	r.open(true, next)
	require.Equal(t, message, string(content(t, r, "t/m/o")))
	wrong, err := keys.Examine(t.Context(), r.index.keys[0])
	require.NoError(t, err)
	require.Empty(t, wrong)
}

// rewrapped is a rig whose key was encrypted anew to another operator, with what the index had before.
func rewrapped(t *testing.T) (r *rig, before []store.TenantKey, next *age.X25519Identity) {
	t.Helper()
	r = newRig(t, newFS(t))
	r.put(t, "t/m/o", message)
	before, next = slices.Clone(r.index.keys), must(age.GenerateX25519Identity())
	keys := crypt.NewKeyring(crypt.KeyringOptions{
		Index: r.index, Backend: r.backend, Recipients: []age.Recipient{next.Recipient()}, Operator: []age.Identity{operator, next},
	})
	require.NoError(t, keys.Rewrap(t.Context(), r.index.keys[0], store.Beside{}))
	return r, before, next
}

func TestAnIndexThatWasSetBackBeforeTheRewrappingIsMendedFromBesideTheObjects(t *testing.T) {
	r, before, next := rewrapped(t)
	r.index.keys = slices.Clone(before)
	r.open(true, next)
	require.Equal(t, message, string(content(t, r, "t/m/o")), "one of two copies is enough")
	require.NoError(t, r.keys.Mend(t.Context(), before[0]))
	wrong, err := r.keys.Examine(t.Context(), r.index.keys[0])
	require.NoError(t, err)
	require.Empty(t, wrong)
	require.NotEqual(t, before[0].Wrapped, r.index.keys[0].Wrapped)
	require.Equal(t, message, string(content(t, r, "t/m/o")))
}

func TestNothingIsMendedWhenNeitherCopyCanBeOpened(t *testing.T) {
	r, before, next := rewrapped(t)
	after := r.index.keys[0].Wrapped
	r.index.keys = before
	r.open(true, must(age.GenerateX25519Identity()))
	require.ErrorContains(t, r.keys.Mend(t.Context(), before[0]), "beside the objects")
	require.Equal(t, after, string(r.stored(t, "t/keys/"+before[0].ID+".age")))
	r.open(true, next)
	require.Equal(t, message, string(content(t, r, "t/m/o")))
}

func TestACopyThatTheIndexDoesNotKnowStays(t *testing.T) {
	r := newRig(t, newFS(t))
	r.put(t, "t/m/o", message)
	row := r.index.keys[0]
	r.index.keys = nil // it was set back
	require.ErrorIs(t, r.keys.Rewrap(t.Context(), row, store.Beside{}), store.ErrNotFound)
	require.ErrorIs(t, r.keys.Mend(t.Context(), row), store.ErrNotFound)
	r.open(true, operator)
	require.Equal(t, message, string(content(t, r, "t/m/o")))
}

func TestNoKeyIsRewrappedToWhomNobodyHereCanBe(t *testing.T) {
	r := newRig(t, newFS(t))
	r.put(t, "t/m/o", message)
	stranger := must(age.GenerateX25519Identity())
	keys := crypt.NewKeyring(crypt.KeyringOptions{
		Index: r.index, Backend: r.backend, Recipients: []age.Recipient{stranger.Recipient()}, Operator: []age.Identity{operator},
	})
	require.ErrorContains(t, keys.Rewrap(t.Context(), r.index.keys[0], store.Beside{}), "operator_identity")
	r.open(true, operator)
	require.Equal(t, message, string(content(t, r, "t/m/o")))
}

func TestExamineAndMend(t *testing.T) {
	r := newRig(t, newFS(t))
	r.put(t, "t/m/o", message)
	row := r.index.keys[0]
	object := "t/keys/" + row.ID + ".age"
	examine := func() string {
		wrong, err := r.keys.Examine(t.Context(), row)
		require.NoError(t, err)
		return wrong
	}
	require.Empty(t, examine())
	r.alter(t, object, []byte("something else"))
	require.Contains(t, examine(), "another one")
	require.NoError(t, r.keys.Mend(t.Context(), row))
	require.Empty(t, examine())
	require.NoError(t, r.backend.Delete(t.Context(), object))
	require.Contains(t, examine(), "missing")
	require.NoError(t, r.keys.Mend(t.Context(), row))
	require.Empty(t, examine())
	row.Wrapped = strings.Replace(row.Wrapped, "A", "B", 1)
	require.NotEmpty(t, examine())
}

// changing is a keyring of an operator who goes over from one key to another.
func (r *rig) changing(next *age.X25519Identity) *crypt.Keyring {
	return crypt.NewKeyring(crypt.KeyringOptions{
		Index: r.index, Backend: r.backend, Recipients: []age.Recipient{next.Recipient()}, Operator: []age.Identity{operator, next}, Now: r.clock,
	})
}

func TestAKeyThatLiesBesideTheObjectsAloneIsRewrappedToo(t *testing.T) {
	for name, known := range map[string]bool{"of a tenant that the index knows": true, "of one that it does not know": false} {
		r := newRig(t, newFS(t))
		r.put(t, "t/m/o", message)
		r.put(t, "orphan/t/m/aside", message)
		id := r.index.keys[0].ID
		r.index.keys, r.index.unknown = nil, !known // it was made again
		next := must(age.GenerateX25519Identity())
		keys := r.changing(next)
		beside, err := keys.Beside(t.Context(), "", noted)
		require.NoError(t, err)
		require.Len(t, beside, 1)
		require.Equal(t, store.TenantID("t"), beside[0].Tenant)
		require.Equal(t, id, beside[0].ID)
		of, err := keys.Beside(t.Context(), "t", noted)
		require.NoError(t, err)
		require.Equal(t, beside, of)
		wrong, err := keys.ExamineLone(t.Context(), beside[0])
		require.NoError(t, err)
		require.Contains(t, wrong, "recipients of now", name)

		require.Equal(t, known, must(keys.RewrapLone(t.Context(), beside[0], store.Beside{})))
		wrong, err = keys.ExamineLone(t.Context(), beside[0])
		require.NoError(t, err)
		require.Empty(t, wrong)
		require.Equal(t, known, len(r.index.keys) == 1)
		r.open(true, operator)
		for _, key := range []string{"t/m/o", "orphan/t/m/aside"} {
			_, err = readAll(t, r, key, 0, -1)
			require.ErrorIs(t, err, blob.ErrNoKey, name)
		}
		r.open(true, next)
		for _, key := range []string{"t/m/o", "orphan/t/m/aside"} {
			require.Equal(t, message, string(content(t, r, key)), name)
		}
		wrong, err = r.keys.ExamineLone(t.Context(), beside[0])
		require.NoError(t, err)
		require.Equal(t, crypt.ErrOtherOperator.Error(), wrong, "of the recipients of now nobody could open it")
	}
}

func TestALoneKeyThatCannotBeReadIsNamedAndStays(t *testing.T) {
	r := newRig(t, newFS(t))
	r.put(t, "t/m/o", message)
	object := "t/keys/" + r.index.keys[0].ID + ".age"
	r.index.keys = nil
	r.alter(t, object, []byte("something else"))
	beside, err := r.keys.Beside(t.Context(), "", noted)
	require.NoError(t, err)
	wrong, err := r.keys.ExamineLone(t.Context(), beside[0])
	require.NoError(t, err)
	require.Contains(t, wrong, "unwrap key")
	_, err = r.keys.RewrapLone(t.Context(), beside[0], store.Beside{})
	require.Error(t, err)
	require.Equal(t, "something else", string(r.stored(t, object)))
}

func TestALoneKeyIsNotRewrappedToWhomNobodyHereCanBe(t *testing.T) {
	r := newRig(t, newFS(t))
	r.put(t, "t/m/o", message)
	r.index.keys = nil
	keys := crypt.NewKeyring(crypt.KeyringOptions{
		Index: r.index, Backend: r.backend, Recipients: []age.Recipient{must(age.GenerateX25519Identity()).Recipient()}, Operator: []age.Identity{operator},
	})
	beside, err := keys.Beside(t.Context(), "", noted)
	require.NoError(t, err)
	_, err = keys.RewrapLone(t.Context(), beside[0], store.Beside{})
	require.ErrorContains(t, err, "nothing was changed")
	require.Empty(t, r.index.keys)
	r.open(true, operator)
	require.Equal(t, message, string(content(t, r, "t/m/o")))
}

func TestRewrappingALoneKeyBringsNoDestroyedOneBack(t *testing.T) {
	backend := &replacing{Backend: newFS(t)}
	r := newRig(t, backend)
	r.put(t, "t/m/o", message)
	row := r.index.keys[0]
	r.index.keys = nil
	keys := r.changing(must(age.GenerateX25519Identity()))
	backend.do = func() { must(keys.Destroy(t.Context(), "t", store.Beside{})) }
	must(keys.RewrapLone(t.Context(), row, store.Beside{}))
	_, err := backend.Stat(t.Context(), "t/keys/"+row.ID+".age")
	require.ErrorIs(t, err, blob.ErrNotFound)
	require.False(t, r.index.keys[0].Destroyed.IsZero())
}

func TestACheckNamesAKeyThatWasNotRewrapped(t *testing.T) {
	r := newRig(t, newFS(t))
	r.put(t, "t/m/o", message)
	keys := r.changing(must(age.GenerateX25519Identity()))
	wrong, err := keys.Examine(t.Context(), r.index.keys[0])
	require.NoError(t, err)
	require.Contains(t, wrong, "recipients of now")
	require.NoError(t, keys.Rewrap(t.Context(), r.index.keys[0], store.Beside{}))
	wrong, err = keys.Examine(t.Context(), r.index.keys[0])
	require.NoError(t, err)
	require.Empty(t, wrong)
}

// replacing does something once, before an object is replaced.
type replacing struct {
	crypt.Backend
	do func()
}

// noted is for who does not count.
func noted() {}

func (b *replacing) Replace(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	if do := b.do; do != nil {
		b.do = nil
		do()
	}
	return b.Backend.Replace(ctx, key, r, size)
}

func TestMendingBringsNoDestroyedKeyBack(t *testing.T) {
	backend := &replacing{Backend: newFS(t)}
	r := newRig(t, backend)
	destroy := func() { must(r.keys.Destroy(t.Context(), "t", store.Beside{})) }
	for _, before := range []bool{true, false} {
		key := must(r.keys.Rotate(t.Context(), "t", nil))
		if before {
			destroy()
		} else {
			backend.do = destroy // while it is mended
		}
		require.NoError(t, r.keys.Mend(t.Context(), key.TenantKey))
		_, err := backend.Stat(t.Context(), "t/keys/"+key.ID+".age")
		require.ErrorIs(t, err, blob.ErrNotFound)
	}
}

func TestAFaultOfTheIndexIsTemporary(t *testing.T) {
	r := newRig(t, newFS(t))
	r.index.err = store.ErrNotFound // there is no such tenant
	err := r.Put(t.Context(), "t/m/o", strings.NewReader("x"), 1)
	require.Error(t, err)
	require.NotErrorIs(t, err, store.ErrNotFound, "LMTP would take it for a word about the recipient, and bounce")
	r.index.err = store.ErrUnavailable
	require.ErrorIs(t, r.Put(t.Context(), "t/m/o", strings.NewReader("x"), 1), store.ErrUnavailable)
}

func TestNoRecipientNoKey(t *testing.T) {
	r := newRig(t, newFS(t))
	keys := crypt.NewKeyring(crypt.KeyringOptions{Index: r.index, Backend: r.backend})
	_, err := keys.Current(t.Context(), "t")
	require.ErrorIs(t, err, blob.ErrNoKey)
	require.ErrorContains(t, err, "operator_recipients")
}

func TestReadIdentities(t *testing.T) {
	path := filepath.Join(t.TempDir(), "operator.key")
	secret := operator.String()
	require.NoError(t, os.WriteFile(path, []byte("# created: now\n# public key: x\n"+secret+"\n"), 0o600))
	list, err := crypt.ReadIdentities("file:" + path)
	require.NoError(t, err)
	require.Len(t, list, 1)
	t.Setenv("MAIRUST_OPERATOR", secret)
	list, err = crypt.ReadIdentities("env:MAIRUST_OPERATOR")
	require.NoError(t, err)
	require.Len(t, list, 1)
	list, err = crypt.ReadIdentities("")
	require.NoError(t, err)
	require.Empty(t, list)

	require.NoError(t, os.Chmod(path, 0o644))
	t.Setenv("MAIRUST_BROKEN", strings.Replace(secret, "1", "2", 3))
	for _, ref := range []string{"file:" + path, "file:/nowhere", "file:" + t.TempDir(), "env:MAIRUST_UNSET", "env:MAIRUST_BROKEN", secret} {
		_, err := crypt.ReadIdentities(ref)
		require.Error(t, err, ref)
		require.NotContains(t, err.Error(), secret[20:])
	}
	_, err = crypt.ParseRecipients([]string{operator.Recipient().String(), "age1nonsense"})
	require.Error(t, err)
}

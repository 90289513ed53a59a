package fsck_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/storetest"
)

// encrypt puts encryption over the rig's objects, with what its database knows of keys.
func (r *rig) encrypt(operator *age.X25519Identity) *crypt.Keyring {
	r.t.Helper()
	keys := crypt.NewKeyring(crypt.KeyringOptions{
		Index: r.store, Backend: r.objects, Recipients: []age.Recipient{operator.Recipient()}, Operator: []age.Identity{operator},
	})
	r.through = crypt.New(crypt.Options{Backend: r.objects, Keys: keys, Encrypt: true})
	return keys
}

func newOperator(t *testing.T) *age.X25519Identity {
	t.Helper()
	operator, err := age.GenerateX25519Identity()
	require.NoError(t, err)
	return operator
}

func TestEncryptedObjectsAreSweptAndMendedAsOthersAre(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		plain := r.write(site.Target("bob"), "before encryption", "P1", "allow")
		r.deliver(plain)
		r.encrypt(newOperator(t))
		whole := r.write(site.Target("bob"), "whole", "A1", "allow")
		r.deliver(whole)
		lost := r.put(r.write(site.Target("bob"), "lost by the database", "B1", "quarantine"))
		twice := whole // sent again: the same bytes under another id
		twice.copy.ID = store.NewMessageID()
		twice.copy.Key = store.ObjectKey(site.Tenant.ID, site.Mailboxes["bob"].ID, twice.copy.ID)
		r.put(twice)
		stray := filepath.Join(r.base, "stranger", "note")
		require.NoError(t, os.MkdirAll(filepath.Dir(stray), 0o700))
		require.NoError(t, os.WriteFile(stray, []byte("nobody's"), 0o600))
		require.NoError(t, r.fsck().DescribeAll(t.Context()))

		swept := r.mustSweep()
		require.Equal(t, map[string]int64{"adopted": 1, "duplicate": 1, "moved": 1}, swept.Orphans)
		require.Zero(t, swept.Damaged, "the size on the disk is another one, and nothing is damaged")
		require.NotNil(t, r.message(lost))
		require.Equal(t, store.Quarantine, r.message(lost).FolderName)
		require.Empty(t, r.object(twice.copy.Key))
		require.Equal(t, "nobody's", r.object("orphan/stranger/note"))
		r.requireClean()

		// Cut on the disk: the sweep sees it by the size, and fsck by the bytes.
		path := filepath.Join(r.base, whole.copy.Key)
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		require.NoError(t, os.WriteFile(path, raw[:len(raw)-1], 0o600))
		require.EqualValues(t, 1, r.mustSweep().Damaged)
		_, problems := r.check(fsck.Request{VerifyContent: true, Restart: true, MinAge: -1})
		require.Len(t, problems, 1)
		require.Equal(t, fsck.KindContent, problems[0].Kind)
		bad := bytes.Clone(raw)
		bad[len(bad)-1] ^= 1
		require.NoError(t, os.WriteFile(path, bad, 0o600))
		_, problems = r.check(fsck.Request{VerifyContent: true, Restart: true, MinAge: -1})
		require.Len(t, problems, 1)
		require.Equal(t, fsck.KindContent, problems[0].Kind)
		require.NoError(t, os.WriteFile(path, raw, 0o600))
		r.check(fsck.Request{MinAge: -1}) // takes the mark away
		r.requireClean()
	})
}

func TestAnIndexIsMadeAgainFromEncryptedObjects(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob", "alice")
		operator := newOperator(t)
		keys := r.encrypt(operator)
		var letters []letter
		for i := range 6 {
			letters = append(letters, r.write(site.Target([]string{"bob", "alice"}[i%2]), fmt.Sprint("letter ", i), fmt.Sprint("A", i), "allow"))
			r.deliver(letters[i])
			if i == 2 {
				_, err := keys.Rotate(t.Context(), site.Tenant.ID, nil)
				require.NoError(t, err)
			}
		}
		r.alias(site.Tenant.ID, "info@one.test", "bob@one.test")
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		stored, err := os.ReadFile(filepath.Join(r.base, string(site.Tenant.ID), "tenant.json"))
		require.NoError(t, err)
		require.NotContains(t, string(stored), "info@one.test")
		r.anew()
		r.encrypt(operator)
		report, problems := r.check(fsck.Request{Rebuild: true, MinAge: -1})
		require.Zero(t, report.Left, "%v", problems)
		require.Equal(t, "bob@one.test", r.leads("info@one.test"))
		for _, l := range letters {
			require.Equal(t, l.copy.Content.Summary.Subject, r.message(l).Subject)
			require.Equal(t, l.raw, r.object(l.copy.Key))
		}
		r.encrypt(operator) // as a process that starts would
		for _, l := range letters {
			require.Equal(t, l.raw, r.object(l.copy.Key))
		}
		rows, err := r.store.TenantKeys(t.Context(), site.Tenant.ID)
		require.NoError(t, err)
		require.Len(t, rows, 2)
	})
}

func TestWhatIsEncryptedStaysSoWhenItIsMovedAside(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		operator := newOperator(t)
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		r.encrypt(operator)
		l := r.put(r.write(site.Target("bob"), "secret", "A1", "allow"))
		sealed, err := os.ReadFile(filepath.Join(r.base, l.copy.Key))
		require.NoError(t, err)
		r.anew() // it knows no tenant; the key is beside the objects
		r.encrypt(operator)
		require.EqualValues(t, 1, r.mustSweep().Orphans["moved"])
		aside, err := os.ReadFile(filepath.Join(r.base, "orphan", l.copy.Key))
		require.NoError(t, err)
		require.Equal(t, sealed, aside)
		require.Equal(t, l.raw, r.object("orphan/"+l.copy.Key))
	})
}

func TestATenantWhoseKeyWasDestroyedKeepsNothingElseFromBeingSwept(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		one := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		two := storetest.NewSite(t, r.store, "two", "two.test", "carol")
		keys := r.encrypt(newOperator(t))
		r.deliver(r.write(one.Target("bob"), "shredded", "A1", "allow"))
		lost := r.put(r.write(one.Target("bob"), "shredded, without a row", "A2", "allow"))
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		_, err := keys.Destroy(t.Context(), one.Tenant.ID, store.Beside{})
		require.NoError(t, err)
		require.NoError(t, r.objects.Delete(t.Context(), string(one.Tenant.ID)+"/"+string(one.Mailboxes["bob"].ID)+"/mailbox.json"), "nor can it be written anew")
		other := r.put(r.write(two.Target("carol"), "to be adopted", "B1", "allow"))

		swept := r.mustSweep()
		require.Equal(t, map[string]int64{"kept": 1, "adopted": 1}, swept.Orphans)
		require.NotNil(t, r.message(other))
		require.Nil(t, r.message(lost))
		require.FileExists(t, filepath.Join(r.base, lost.copy.Key), "nothing is removed that cannot be read")
		require.FileExists(t, filepath.Join(r.base, string(two.Tenant.ID), string(two.Mailboxes["carol"].ID), "mailbox.json"))
		_, problems := r.check(fsck.Request{VerifyContent: true, Restart: true, MinAge: -1})
		kinds := map[string]int{}
		for _, p := range problems {
			kinds[p.Kind]++
		}
		require.Equal(t, map[string]int{fsck.KindOrphan: 1, fsck.KindUnreadable: 1, fsck.KindDescription: 1}, kinds)
	})
}

func TestCopiesOfAttachmentsGoWhenTheirMessageDoes(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		letters := []letter{r.write(site.Target("bob"), "stays", "A1", "allow"), r.write(site.Target("bob"), "goes", "A2", "allow")}
		r.deliver(letters...)
		key := func(l letter, part string) string {
			return store.AttachmentKey(site.Tenant.ID, site.Mailboxes["bob"].ID, l.copy.ID, part)
		}
		for _, l := range letters {
			r.putKey(key(l, "2"), "decoded")
			require.NoError(t, r.store.AddAttachmentCopy(t.Context(), store.AttachmentCopy{
				Message: l.copy.ID, Part: "2", Tenant: site.Tenant.ID, SizeBytes: 7, Digest: "x",
			}))
		}
		r.putKey(key(letters[0], "3"), "by a process that was killed before it had a row")
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		r.forget(letters[1])
		require.NoError(t, r.objects.Delete(t.Context(), letters[1].copy.Key))

		report, problems := r.check(fsck.Request{MinAge: -1})
		require.EqualValues(t, 2, report.Kinds[fsck.KindCopy].Found, "%v", problems)
		r.ahead = 0
		swept := r.mustSweep()
		require.Zero(t, swept.Stale, "what is young may be the work of this moment")
		r.ahead = 2 * 60 * 60 * 1e9
		swept = r.mustSweep()
		require.EqualValues(t, 2, swept.Stale)
		require.Empty(t, swept.Orphans, "a copy is never adopted, nor kept as a stranger")
		require.Equal(t, "decoded", r.object(key(letters[0], "2")))
		require.Empty(t, r.object(key(letters[0], "3")))
		require.Empty(t, r.object(key(letters[1], "2")))

		r.putKey(key(letters[1], "2"), "decoded")
		report, problems = r.check(fsck.Request{Repair: true, MinAge: -1})
		require.EqualValues(t, 1, report.Kinds[fsck.KindCopy].Mended, "%v", problems)
		require.Empty(t, r.object(key(letters[1], "2")))
	})
}

func TestEncryptedObjectsAreNotAdoptedAsTheyAreStored(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		r.encrypt(newOperator(t))
		lost := r.put(r.write(site.Target("bob"), "sealed", "A1", "allow"))
		sealed := r.through
		r.through = r.objects // encryption was turned off, and the database knows of no key
		require.Equal(t, map[string]int64{"kept": 1}, r.mustSweep().Orphans)
		require.Nil(t, r.message(lost))
		r.through = sealed
		require.Equal(t, map[string]int64{"adopted": 1}, r.mustSweep().Orphans)
		require.Equal(t, "sealed", r.message(lost).Subject)
	})
}

func TestDescriptionThatIsDamagedIsWrittenAnew(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		r.encrypt(newOperator(t))
		r.deliver(r.write(site.Target("bob"), "x", "A1", "allow"))
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		key := string(site.Tenant.ID) + "/" + string(site.Mailboxes["bob"].ID) + "/mailbox.json"
		r.damage(key, func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
		report, problems := r.check(fsck.Request{MinAge: -1})
		require.Equal(t, int64(1), report.Left, "%+v", problems)
		r.mustSweep()
		r.requireClean()
	})
}

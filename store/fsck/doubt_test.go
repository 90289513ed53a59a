package fsck_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/storetest"
)

// encryptOnly puts encryption over the rig's objects that can decrypt nothing, as on a node without the operator's identity.
func (r *rig) encryptOnly(operator *age.X25519Identity) {
	keys := crypt.NewKeyring(crypt.KeyringOptions{Index: r.store, Backend: r.objects, Recipients: []age.Recipient{operator.Recipient()}})
	r.through = crypt.New(crypt.Options{Backend: r.objects, Keys: keys, Encrypt: true})
}

// sealed gives the bytes of an object as they are stored.
func (r *rig) sealed(key string) string {
	r.t.Helper()
	raw, err := os.ReadFile(filepath.Join(r.base, key))
	require.NoError(r.t, err)
	return string(raw)
}

// What nobody could read may be a mailbox or an address: mail for it must not be refused for good because a repair was run on the wrong node.
func TestARepairThatCannotReadWhatIsDescribedIsNotAccepted(t *testing.T) {
	for name, blind := range map[string]func(r *rig, operator *age.X25519Identity){
		"without the operator's identity": func(r *rig, operator *age.X25519Identity) { r.encryptOnly(operator) },
		"without encryption set up":       func(r *rig, _ *age.X25519Identity) { r.through = r.objects },
	} {
		for _, request := range []fsck.Request{{Repair: true, MinAge: -1}, {Rebuild: true, MinAge: -1}} {
			t.Run(fmt.Sprintf("%s, rebuild %v", name, request.Rebuild), func(t *testing.T) {
				onEach(t, func(t *testing.T, r *rig) {
					ctx := t.Context()
					operator := newOperator(t)
					site := storetest.NewSite(t, r.store, "one", "one.test", "bob", "empty")
					r.encrypt(operator)
					l := r.write(site.Target("bob"), "kept", "A1", "allow")
					r.deliver(l)
					r.alias(site.Tenant.ID, "info@one.test", "bob@one.test")
					require.NoError(t, r.fsck().DescribeAll(ctx))
					require.NoError(t, r.fsck().Watch(ctx))
					key := string(site.Tenant.ID) + "/tenant.json"
					described := r.sealed(key)

					r.anew()
					blind(r, operator)
					_, problems := r.check(request)
					last := problems[len(problems)-1]
					require.Equal(t, fsck.KindDatabase, last.Kind)
					require.False(t, last.Mended)
					require.Contains(t, last.Done, "the sweep stays stopped: descriptions of 1 tenants cannot be read")
					require.ErrorIs(t, r.fsck().Certain(ctx), fsck.ErrAnother, "mail is not refused for good")
					require.Equal(t, described, r.sealed(key), "what could not be read is not written over")

					r.encrypt(operator)
					var report fsck.Report
					report, problems = r.check(fsck.Request{Repair: true, MinAge: -1})
					require.Zero(t, report.Left, "%v", problems)
					require.Equal(t, "bob@one.test", r.leads("info@one.test"))
					require.Equal(t, "empty@one.test", r.leads("empty@one.test"))
					require.Equal(t, "kept", r.message(l).Subject)
					r.mustSweep()
					r.requireClean()
				})
			})
		}
	}
}

// So it is when the sweep was stopped for a mass: the database of an installation that had no witness yet was lost.
func TestARepairOfAMassThatCannotReadWhatIsDescribedIsNotAccepted(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		operator := newOperator(t)
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		r.encrypt(operator)
		r.deliver(r.write(site.Target("bob"), "kept", "A1", "allow"))
		require.NoError(t, r.fsck().DescribeAll(ctx))
		r.anew()
		r.encryptOnly(operator)
		require.NoError(t, r.fsck().Watch(ctx))
		_, err := r.store.StopSweep(ctx, "150 of 900 objects have no row")
		require.NoError(t, err)
		_, problems := r.check(fsck.Request{Repair: true, MinAge: -1})
		require.Contains(t, problems[len(problems)-1].Done, "the sweep stays stopped")
		require.ErrorIs(t, r.fsck().Watch(ctx), fsck.ErrStopped)
		r.encrypt(operator)
		r.check(fsck.Request{Repair: true, MinAge: -1})
		require.NoError(t, r.fsck().Watch(ctx))
		require.Equal(t, "bob@one.test", r.leads("bob@one.test"))
	})
}

func TestWhatNobodyCanReadAnyMoreKeepsNoRepairFromBeingAccepted(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		one := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		storetest.NewSite(t, r.store, "two", "two.test", "carol")
		operator := newOperator(t)
		keys := r.encrypt(operator)
		r.deliver(r.write(one.Target("bob"), "shredded", "A1", "allow"))
		require.NoError(t, r.fsck().DescribeAll(ctx))
		require.NoError(t, r.fsck().Watch(ctx))
		_, err := keys.Destroy(ctx, one.Tenant.ID, store.Beside{})
		require.NoError(t, err)
		r.anew()
		r.encrypt(operator)
		r.check(fsck.Request{Rebuild: true, MinAge: -1})
		require.NoError(t, r.fsck().Certain(ctx))
		require.Equal(t, "carol@two.test", r.leads("carol@two.test"))
		require.Empty(t, r.leads("bob@one.test"))
		r.mustSweep()
	})
}

// An operator who follows the log's advice on a fresh database, or copies the folder of a tenant there, must not lose where mail goes.
func TestATenantThatIsMadeAgainHasItsAliasesAtOnce(t *testing.T) {
	for name, mend := range map[string]func(r *rig){
		"by a sweep":  func(r *rig) { r.mustSweep() },
		"by a repair": func(r *rig) { r.check(fsck.Request{Repair: true, MinAge: -1}) },
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, r *rig) {
				ctx := t.Context()
				site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
				r.alias(site.Tenant.ID, "info@one.test", "bob@one.test")
				l := r.write(site.Target("bob"), "kept", "Q1", "")
				r.deliver(l)
				require.NoError(t, r.fsck().DescribeAll(ctx))
				r.anew()
				require.NoError(t, r.fsck().Watch(ctx), "the objects have no other database")
				describe := r.fsck().DescribeChanged()
				require.NoError(t, describe(ctx))
				mend(r)
				require.NoError(t, describe(ctx), "as a daemon does beside it")
				require.Equal(t, "bob@one.test", r.leads("info@one.test"))
				require.Contains(t, r.object(string(site.Tenant.ID)+"/tenant.json"), "info@one.test")
				require.NotNil(t, r.message(l))
				r.requireClean()
			})
		})
	}
}

func TestARebuildStopsTheSweepForItsOwnReason(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		r.alias(site.Tenant.ID, "info@one.test", "bob@one.test")
		require.NoError(t, r.fsck().DescribeAll(ctx))
		r.anew()
		_, err := r.store.StopSweep(ctx, "150 of 900 objects have no row")
		require.NoError(t, err)
		f := r.fsck()
		fsck.StopAfter(f, 1)
		_, err = f.Check(ctx, fsck.Request{Rebuild: true, MinAge: -1}, func(fsck.Event) {})
		require.ErrorIs(t, err, fsck.ErrStep)
		require.ErrorIs(t, r.fsck().Certain(ctx), fsck.ErrAnother)
		require.NoError(t, r.fsck().DescribeAll(ctx), "as a daemon does beside it")
		require.Contains(t, r.object(string(site.Tenant.ID)+"/tenant.json"), "info@one.test")

		report, problems := r.check(fsck.Request{Repair: true, MinAge: -1}) // goes on as the rebuild that it is
		require.Zero(t, report.Left, "%v", problems)
		require.Equal(t, "bob@one.test", r.leads("info@one.test"))
		require.NoError(t, r.fsck().Certain(ctx))
	})
}

// Mail of an address that was made anew, before a repair, is kept for an operator to look at: it must not stop each sweep from then on.
func TestWhatARepairHasKeptStopsNoSweep(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		r.sweep.MassObjects = 5
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		for i := range 8 {
			r.deliver(r.write(site.Target("bob"), fmt.Sprint(i), fmt.Sprint("Q", i), ""))
		}
		require.NoError(t, r.fsck().DescribeAll(ctx))
		require.NoError(t, r.fsck().Watch(ctx))
		r.anew()
		again := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		require.ErrorIs(t, r.fsck().Watch(ctx), fsck.ErrStopped)
		report, problems := r.check(fsck.Request{Repair: true, MinAge: -1})
		require.EqualValues(t, 8, report.Kinds[fsck.KindOrphan].Found, "%v", problems)
		require.Zero(t, report.Kinds[fsck.KindOrphan].Mended)
		for range 2 {
			told := strings.Count(r.log.String(), "outcome=kept")
			require.Equal(t, map[string]int64{"kept": 8}, r.mustSweep().Orphans)
			require.Equal(t, told+1, strings.Count(r.log.String(), "outcome=kept"), "one of the mailbox is named")
		}

		for i := range 6 {
			r.put(r.write(again.Target("bob"), fmt.Sprint(i), fmt.Sprint("R", i), ""))
		}
		_, err := r.fsck().Sweep(ctx)
		require.ErrorIs(t, err, fsck.ErrStopped, "so many more are a mass")
		require.ErrorContains(t, err, "the 8 that were kept before")
	})
}

func TestStrangersThatARepairLeavesAreAMassStill(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		r.sweep.MassObjects = 5
		storetest.NewSite(t, r.store, "one", "one.test", "bob")
		require.NoError(t, r.fsck().Watch(t.Context()))
		r.anew()
		for i := range 6 {
			r.putKey(fmt.Sprint("stranger/", i), "x")
		}
		require.ErrorIs(t, r.fsck().Watch(t.Context()), fsck.ErrStopped)
		r.check(fsck.Request{Repair: true, MinAge: -1})
		_, err := r.fsck().Sweep(t.Context())
		require.ErrorIs(t, err, fsck.ErrStopped)
		require.Len(t, r.keys("stranger/"), 6)
	})
}

func TestObjectsThatAreNotThereAreNotMarkedAsDamaged(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		l := r.write(site.Target("bob"), "on a disk that is not mounted", "Q1", "")
		r.deliver(l)
		for range 4 {
			require.NoError(t, r.fsck().Watch(ctx))
		}
		require.NoError(t, r.objects.Close())
		require.NoError(t, os.Rename(r.base, r.base+".away"))
		var err error
		r.objects, err = blob.NewFS(r.base, blob.FSOptions{})
		require.NoError(t, err)
		r.through = r.objects
		require.NoError(t, r.store.NoteVerified(ctx, "0", time.Now()))
		report, problems := r.check(fsck.Request{VerifyContent: true, MinAge: -1})
		require.EqualValues(t, 1, report.Kinds[fsck.KindMissing].Found, "%v", problems)
		require.EqualValues(t, 1, report.Kinds[fsck.KindDatabase].Found, "%v", problems)
		n, err := r.store.CountDamaged(ctx)
		require.NoError(t, err)
		require.Zero(t, n)
		st, err := r.store.SweepState(ctx)
		require.NoError(t, err)
		require.EqualValues(t, "0", st.VerifyAfter, "nothing was read")
	})
}

func TestAMailboxIsDescribedAnewWhenItsTenantHasNewKeys(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		operator := newOperator(t)
		keys := r.encrypt(operator)
		require.NoError(t, r.fsck().DescribeAll(ctx))
		_, err := keys.Destroy(ctx, site.Tenant.ID, store.Beside{})
		require.NoError(t, err)
		require.NoError(t, r.fsck().DescribeAll(ctx), "there is no key to write with")
		_, problems := r.check(fsck.Request{Repair: true, MinAge: -1})
		require.Empty(t, problems, "nor is there anything to be done")
		_, err = keys.Rotate(ctx, site.Tenant.ID, nil)
		require.NoError(t, err)
		require.NoError(t, r.store.SuspendTenant(ctx, site.Tenant.ID, false, store.Beside{}))
		require.NoError(t, r.fsck().DescribeAll(ctx))
		l := r.write(site.Target("bob"), "of the new key", "A1", "allow")
		r.deliver(l)

		r.anew()
		r.encrypt(operator)
		r.check(fsck.Request{Rebuild: true, MinAge: -1})
		require.Equal(t, "of the new key", r.message(l).Subject)
	})
}

func TestWhatIsTooMuchToBeSettledIsNotTakenForKept(t *testing.T) {
	for name, c := range map[string]struct{ kept, unread, orphans, settled, before, want int64 }{
		"all settled":                         {kept: 3, orphans: 10, settled: 10, before: 3, want: 3},
		"the rest was kept before":            {kept: 100, orphans: 150, settled: 100, before: 150, want: 150},
		"some of the rest is new":             {kept: 100, orphans: 157, settled: 100, before: 150, want: 150},
		"nothing was kept before":             {kept: 100, orphans: 157, settled: 100, before: 0, want: 100},
		"what was kept before was removed":    {kept: 5, orphans: 5, settled: 5, before: 150, want: 5},
		"none can be read this time":          {unread: 150, orphans: 150, settled: 150, before: 150, want: 150},
		"others than before cannot be read":   {kept: 150, unread: 7, orphans: 157, settled: 157, before: 150, want: 150},
		"less was kept than there is settled": {kept: 40, orphans: 157, settled: 100, before: 60, want: 60},
	} {
		require.Equal(t, c.want, fsck.KeptThen(c.kept, c.unread, c.orphans, c.settled, c.before), name)
	}
}

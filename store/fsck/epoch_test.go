package fsck_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/storetest"
)

// lostAndFound is a site with a message and an alias that a dump does not know.
type lostAndFound struct {
	*rig
	site    *storetest.Site
	restore func()
	lost    letter
	before  store.Folder
}

// afterADump takes a dump, and goes on for as long as meanwhile takes.
func (r *rig) afterADump(site *storetest.Site, meanwhile func()) lostAndFound {
	r.t.Helper()
	ctx := r.t.Context()
	l := lostAndFound{rig: r, site: site, restore: r.dump(), before: r.folder(site.Mailboxes["bob"].ID, "INBOX")}
	l.lost = r.write(site.Target("bob"), "after the dump", "Q1", "")
	r.deliver(l.lost)
	describe := r.fsck().DescribeChanged()
	require.NoError(r.t, describe(ctx))
	r.alias(site.Tenant.ID, "new@one.test", "bob@one.test")
	require.NoError(r.t, describe(ctx))
	require.Contains(r.t, r.object(string(site.Tenant.ID)+"/tenant.json"), "new@one.test")
	meanwhile()
	return l
}

// requireNoticed restores the dump, which must be noticed, and nothing of what it does not know be lost.
func (l lostAndFound) requireNoticed() {
	r, ctx := l.rig, l.t.Context()
	l.restore()
	f := r.fsck()
	require.ErrorIs(r.t, f.Watch(ctx), fsck.ErrStopped)
	require.ErrorIs(r.t, f.Certain(ctx), fsck.ErrAnother, "nothing bounces")
	require.Greater(r.t, r.folder(l.site.Mailboxes["bob"].ID, "INBOX").UIDValidity, l.before.UIDValidity, "a UID is given twice")
	require.NoError(r.t, f.DescribeAll(ctx))
	require.Contains(r.t, r.object(string(l.site.Tenant.ID)+"/tenant.json"), "new@one.test", "what is newer is not written over")
	report, problems := r.check(fsck.Request{Repair: true, MinAge: -1})
	require.Zero(r.t, report.Left, "%v", problems)
	require.NotNil(r.t, r.message(l.lost))
	require.Equal(r.t, "bob@one.test", r.leads("new@one.test"))
	require.NoError(r.t, r.fsck().Watch(ctx))
	r.requireClean()
}

func TestADumpThatWasTakenWhileTheSweepWasStoppedIsNoticed(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		require.NoError(t, r.fsck().DescribeAll(ctx))
		require.NoError(t, r.fsck().Watch(ctx))
		_, err := r.store.StopSweep(ctx, "150 of 900 objects have no row")
		require.NoError(t, err)
		l := r.afterADump(site, func() { require.ErrorIs(t, r.fsck().Watch(ctx), fsck.ErrStopped) })
		l.requireNoticed()
		require.Contains(t, r.log.String(), "the sweep was stopped before, and now this")
	})
}

func TestADumpThatWasTakenDuringALongSweepOrRepairIsNoticed(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		require.NoError(t, r.fsck().DescribeAll(ctx))
		require.NoError(t, r.fsck().Watch(ctx))
		l := r.afterADump(site, func() {
			f := r.fsck()
			fsck.WatchEvery(f, time.Millisecond)
			before, err := r.store.SweepState(ctx)
			require.NoError(t, err)
			require.NoError(t, f.Exclusively(ctx, func(ctx context.Context) error {
				require.NoError(t, r.fsck().Watch(ctx), "who finds it busy")
				require.EventuallyWithT(t, func(c *assert.CollectT) {
					now, err := r.store.SweepState(ctx)
					assert.NoError(c, err)
					assert.Greater(c, now.Epoch, before.Epoch+2)
				}, 10*time.Second, 5*time.Millisecond)
				return nil
			}))
		})
		l.requireNoticed()
	})
}

// While the sweep is stopped for a database that was set back, the witness stays as it is, and so does what such a database says of
// itself: also in a dump that is made then, and restored.
func TestEachProcessRenewsFoldersWhileTheDatabaseIsAnOldOne(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		inbox := func() store.Folder { return r.folder(site.Mailboxes["bob"].ID, "INBOX") }
		require.NoError(t, r.fsck().Watch(ctx))
		first := r.dump()
		for range 2 {
			require.NoError(t, r.fsck().Watch(ctx))
		}
		first()
		require.ErrorIs(t, r.fsck().Watch(ctx), fsck.ErrStopped)
		second, seen := r.dump(), inbox()
		r.deliver(r.write(site.Target("bob"), "seen by clients", "Q1", ""))
		second()
		f := r.fsck()
		require.ErrorIs(t, f.Watch(ctx), fsck.ErrStopped)
		require.Greater(t, inbox().UIDValidity, seen.UIDValidity)
		once := inbox()
		require.ErrorIs(t, f.Watch(ctx), fsck.ErrStopped)
		require.Equal(t, once, inbox())
	})
}

// unwitnessed is an object store whose witness cannot be written for a while.
type unwitnessed struct {
	fsck.Bucket
	failing bool
}

func (u *unwitnessed) Replace(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	if u.failing && key == fsck.Witness {
		return errors.New("503 SlowDown")
	}
	return u.Bucket.Replace(ctx, key, r, size)
}

func TestAWitnessThatCannotBeWrittenIsNoAlarmWhenItCan(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		require.NoError(t, r.fsck().Watch(ctx))
		_, err := r.store.StopSweep(ctx, "150 of 900 objects have no row")
		require.NoError(t, err)
		objects := &unwitnessed{Bucket: r.through, failing: true}
		r.through = objects
		f := r.fsck()
		for range 2 {
			require.ErrorContains(t, f.Watch(ctx), "503")
			_, err = f.Check(ctx, fsck.Request{Repair: true, MinAge: -1}, func(fsck.Event) {})
			require.ErrorContains(t, err, "503")
		}
		objects.failing = false
		require.NoError(t, f.HasObjects(ctx), "mail is taken")
		require.ErrorIs(t, f.Watch(ctx), fsck.ErrStopped)
		_, problems := r.check(fsck.Request{Repair: true, MinAge: -1})
		require.Len(t, problems, 1)
		require.Contains(t, problems[0].What, "150 of 900")
		require.NoError(t, f.Watch(ctx))
	})
}

func TestADumpThatIsRestoredAgainIsNoticedAgain(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		bob := storetest.NewSite(t, r.store, "one", "one.test", "bob").Mailboxes["bob"].ID
		require.NoError(t, r.fsck().Watch(ctx))
		_, err := r.store.StopSweep(ctx, "150 of 900 objects have no row")
		require.NoError(t, err)
		restore, before := r.dump(), r.folder(bob, "INBOX").UIDValidity
		f := r.fsck()
		for range 3 {
			for range 2 {
				_ = f.Watch(ctx)
			}
			for range 2 {
				restore()
				f.On(r.store)
				require.ErrorIs(t, f.Watch(ctx), fsck.ErrStopped)
				once := r.folder(bob, "INBOX").UIDValidity
				require.Greater(t, once, before)
				require.ErrorIs(t, f.Watch(ctx), fsck.ErrStopped)
				require.Equal(t, once, r.folder(bob, "INBOX").UIDValidity)
			}
			r.check(fsck.Request{Repair: true, MinAge: -1})
			require.NoError(t, f.Watch(ctx))
		}
	})
}

// A database that is set back while a repair runs is not the one that was repaired.
func TestARepairDoesNotAcceptWhatItHasNotSeen(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		require.NoError(t, r.fsck().Watch(ctx))
		_, err := r.store.StopSweep(ctx, "150 of 900 objects have no row")
		require.NoError(t, err)
		state, err := r.store.SweepState(ctx)
		require.NoError(t, err)
		objects := r.through
		r.through = &settingBucket{Bucket: objects, set: func() { r.writeWitness(state.DatabaseID, state.Epoch+10) }}
		f := r.fsck()
		_, err = f.Check(ctx, fsck.Request{Repair: true, MinAge: -1}, func(fsck.Event) {})
		require.ErrorContains(t, err, "meanwhile")
		require.ErrorIs(t, f.Certain(ctx), fsck.ErrAnother)
		r.through = objects
		require.ErrorIs(t, r.fsck().Watch(ctx), fsck.ErrStopped)
		r.check(fsck.Request{Repair: true, MinAge: -1})
		require.NoError(t, r.fsck().Watch(ctx))
	})
}

package fsck_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/storetest"
)

func TestAnotherDatabaseStopsTheSweep(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		l := r.write(site.Target("bob"), "x", "Q1", "")
		r.deliver(l)
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		require.NoError(t, r.fsck().Watch(t.Context()))
		r.anew()
		_, err := r.fsck().Sweep(t.Context())
		require.ErrorIs(t, err, fsck.ErrStopped)
		require.Contains(t, err.Error(), "another one")
		require.Equal(t, l.raw, r.object(l.copy.Key))
		// Somebody makes a mailbox of the same address in it: the old one's mail stays where it is.
		storetest.NewSite(t, r.store, "one", "one.test", "bob")
		report, _ := r.check(fsck.Request{Repair: true, MinAge: -1})
		require.Equal(t, int64(3), report.Left, "the message, its mailbox and their tenant")
		require.Equal(t, l.raw, r.object(l.copy.Key))
	})
}

func TestCrashWhileTheEpochRisesIsNoAlarm(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		require.NoError(t, r.fsck().Watch(t.Context()))
		for range 3 {
			f := r.fsck()
			fsck.StopAfter(f, 1)
			require.ErrorIs(t, f.Watch(t.Context()), fsck.ErrStep)
			before, err := r.store.SweepState(t.Context())
			require.NoError(t, err)
			require.NoError(t, r.fsck().Compare(t.Context()))
			require.NoError(t, r.fsck().Watch(t.Context()), "the witness follows first")
			after, err := r.store.SweepState(t.Context())
			require.NoError(t, err)
			require.Equal(t, before.Epoch, after.Epoch, "the database is never ahead by more than one")
		}
		restore := r.dump()
		require.NoError(t, r.fsck().Watch(t.Context()))
		restore()
		f := r.fsck()
		fsck.StopAfter(f, 1)
		require.ErrorIs(t, f.Watch(t.Context()), fsck.ErrStopped)
	})
}

func TestObjectsThatWereSetBackStopTheSweepAndLeaveUIDsAlone(t *testing.T) {
	const witness = "installation/database.json"
	for name, setBack := range map[string]func(r *rig, early string){
		"earlier ones": func(r *rig, early string) { r.damage(witness, func([]byte) []byte { return []byte(early) }) },
		"none":         func(r *rig, _ string) { require.NoError(r.t, r.objects.Delete(r.t.Context(), witness)) },
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, r *rig) {
				site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
				l := r.write(site.Target("bob"), "x", "Q1", "")
				r.deliver(l)
				require.NoError(t, r.fsck().DescribeAll(t.Context()))
				require.NoError(t, r.fsck().Watch(t.Context()))
				early := r.object(witness)
				for range 2 {
					require.NoError(t, r.fsck().Watch(t.Context()))
				}
				uids, err := r.store.MailboxDescriptions(t.Context(), "", 1)
				require.NoError(t, err)
				setBack(r, early)
				require.ErrorIs(t, r.fsck().Watch(t.Context()), fsck.ErrStopped)
				state, err := r.store.SweepState(t.Context())
				require.NoError(t, err)
				require.Contains(t, state.Stopped, "set back")
				after, err := r.store.MailboxDescriptions(t.Context(), "", 1)
				require.NoError(t, err)
				require.Equal(t, uids, after, "folders keep their UIDVALIDITY")
				report, _ := r.check(fsck.Request{Repair: true, MinAge: -1})
				require.Equal(t, int64(1), report.Mended)
				require.NoError(t, r.fsck().Watch(t.Context()))
				r.requireClean()
			})
		})
	}
}

// Between the moment when a database is set back and the next look at it, mail must not bounce.
func TestWhatADatabaseDoesNotKnowIsNotCertainBeforeTheNextLook(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		storetest.NewSite(t, r.store, "one", "one.test", "bob")
		require.NoError(t, r.fsck().Watch(ctx))
		restore := r.dump()
		require.NoError(t, r.fsck().Watch(ctx))
		f := r.fsck()
		require.NoError(t, f.Certain(ctx))
		require.NoError(t, f.HasObjects(ctx))
		restore()
		f = r.fsck()
		require.ErrorIs(t, f.Certain(ctx), fsck.ErrAnother)
		require.NoError(t, f.HasObjects(ctx), "it is the database that was set back")
		state, err := r.store.SweepState(ctx)
		require.NoError(t, err)
		require.Empty(t, state.Stopped, "a look changes nothing")

		r.ahead += 2 * time.Second
		require.ErrorIs(t, f.Watch(ctx), fsck.ErrStopped)
		_, _ = r.check(fsck.Request{Repair: true, MinAge: -1})
		r.ahead += 2 * time.Second
		require.NoError(t, f.Certain(ctx), "what was said a second ago does not count")

		require.NoError(t, r.objects.Delete(ctx, "installation/database.json"))
		require.ErrorIs(t, f.Watch(ctx), fsck.ErrStopped)
		require.ErrorIs(t, f.HasObjects(ctx), fsck.ErrNoObjects)
		_, _ = r.check(fsck.Request{Repair: true, MinAge: -1})
		r.ahead += 2 * time.Second
		require.NoError(t, f.HasObjects(ctx), "another process has accepted them")
	})
}

// What comes back after a fault may be another store: nothing is certain until it was looked at.
func TestNothingIsCertainWhileTheObjectsCannotBeRead(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		storetest.NewSite(t, r.store, "one", "one.test", "bob")
		for range 3 {
			require.NoError(t, r.fsck().Watch(ctx))
		}
		flaky := &once{Bucket: r.through, suffix: "database.json"}
		r.through = flaky
		f := r.fsck()
		flaky.left.Store(1)
		require.ErrorContains(t, f.Certain(ctx), "timeout")
		require.ErrorContains(t, f.HasObjects(ctx), "timeout", "as was found a moment ago")
		r.ahead += 2 * time.Second
		require.NoError(t, f.HasObjects(ctx))
		require.NoError(t, f.Certain(ctx))

		ended, end := context.WithCancel(ctx)
		end()
		require.Error(t, f.Compare(ended))
		require.NoError(t, f.HasObjects(ctx), "a watch that ends says nothing")
		flaky.left.Store(1)
		require.ErrorContains(t, f.Compare(ctx), "timeout")
		require.NoError(t, r.objects.Delete(ctx, "installation/database.json"))
		r.ahead += 2 * time.Second
		require.ErrorIs(t, f.HasObjects(ctx), fsck.ErrNoObjects)
	})
}

func TestSweepIsStoppedThoughFoldersCannotBeRenewed(t *testing.T) {
	r := newRig(t, "sqlite")
	ctx := t.Context()
	storetest.NewSite(t, r.store, "one", "one.test", "bob")
	require.NoError(t, r.fsck().Watch(ctx))
	restore := r.dump()
	require.NoError(t, r.fsck().Watch(ctx))
	restore()
	r.exec(`CREATE TRIGGER slow BEFORE UPDATE ON folders BEGIN SELECT RAISE(ABORT, 'it takes too long'); END`)
	require.ErrorContains(t, r.fsck().Watch(ctx), "it takes too long")
	state, err := r.store.SweepState(ctx)
	require.NoError(t, err)
	require.Contains(t, state.Stopped, "set back in time")
	r.exec(`DROP TRIGGER slow`)
	require.ErrorIs(t, r.fsck().Watch(ctx), fsck.ErrStopped)
	state, err = r.store.SweepState(ctx)
	require.NoError(t, err)
	require.NotEmpty(t, state.RenewedFor)
}

func TestCrashesBeforeTheFirstWitnessAreNoAlarm(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		for range 3 {
			f := r.fsck()
			fsck.StopAfter(f, 1)
			if err := f.Watch(t.Context()); err != nil {
				require.ErrorIs(t, err, fsck.ErrStep)
			}
		}
		require.NoError(t, r.fsck().Watch(t.Context()))
	})
}

func TestWitnessThatCannotBeReadStopsAndIsMended(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		require.NoError(t, r.fsck().Watch(t.Context()))
		r.damage("installation/database.json", func([]byte) []byte { return []byte("{") })
		require.ErrorIs(t, r.fsck().Watch(t.Context()), fsck.ErrStopped)
		report, _ := r.check(fsck.Request{Repair: true, MinAge: -1})
		require.Equal(t, int64(1), report.Mended)
		require.NoError(t, r.fsck().Watch(t.Context()))
		r.requireClean()
	})
}

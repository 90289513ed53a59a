package fsck_test

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/move"
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

// A copy of the site, or an old primary that still runs, has the same objects. The one that goes on has a new token each minute.
func TestTwoDatabasesThatLiveRenewFoldersOnce(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		bob := storetest.NewSite(t, r.store, "one", "one.test", "bob").Mailboxes["bob"].ID
		require.NoError(t, r.fsck().Watch(ctx))
		f := r.fsck()
		var renewed []uint32
		for range 5 {
			state, err := r.store.SweepState(ctx)
			require.NoError(t, err)
			r.writeWitness(state.DatabaseID, state.Epoch+10)
			require.ErrorIs(t, f.Watch(ctx), fsck.ErrStopped)
			renewed = append(renewed, r.folder(bob, "INBOX").UIDValidity)
		}
		require.Equal(t, []uint32{renewed[0], renewed[0], renewed[0], renewed[0]}, renewed[1:])

		r.check(fsck.Request{Repair: true, MinAge: -1})
		again := r.folder(bob, "INBOX").UIDValidity
		require.Greater(t, again, renewed[0])
		state, err := r.store.SweepState(ctx)
		require.NoError(t, err)
		r.writeWitness(state.DatabaseID, state.Epoch+10)
		require.ErrorIs(t, f.Watch(ctx), fsck.ErrStopped)
		require.Greater(t, r.folder(bob, "INBOX").UIDValidity, again, "another stop")
	})
}

// writeWitness writes one with a token of its own.
func (r *rig) writeWitness(databaseID string, epoch int64) {
	r.t.Helper()
	text := fmt.Sprintf(`{"database_id": %q, "epoch": %d, "token": %q}`, databaseID, epoch, store.NewMessageID())
	require.NoError(r.t, r.objects.Replace(context.Background(), fsck.Witness, strings.NewReader(text), int64(len(text))))
}

// brokenWitness is an object store in which the witness is damaged until it is written anew.
type brokenWitness struct {
	fsck.Bucket
	whole bool
}

func (b *brokenWitness) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	if key == fsck.Witness && !b.whole {
		return nil, blob.Info{}, blob.ErrDamaged
	}
	return b.Bucket.Get(ctx, key, offset, n)
}

func (b *brokenWitness) Replace(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	b.whole = b.whole || key == fsck.Witness
	return b.Bucket.Replace(ctx, key, r, size)
}

func TestDamagedWitnessIsMendedByARepair(t *testing.T) {
	r := newRig(t, "sqlite")
	require.NoError(t, r.fsck().Watch(t.Context()))
	r.through = &brokenWitness{Bucket: r.objects}
	require.ErrorIs(t, r.fsck().Watch(t.Context()), fsck.ErrStopped)
	r.check(fsck.Request{Repair: true, MinAge: -1})
	require.NoError(t, r.fsck().Watch(t.Context()))
}

// lateBucket is that of a node which stops before it writes the witness.
type lateBucket struct {
	fsck.Bucket
	meanwhile func()
}

func (b *lateBucket) Replace(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	if meanwhile := b.meanwhile; key == fsck.Witness && meanwhile != nil {
		b.meanwhile = nil
		meanwhile()
	}
	return b.Bucket.Replace(ctx, key, r, size)
}

func TestWitnessThatIsWrittenLateIsNoAlarm(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		require.NoError(t, r.fsck().Watch(ctx))
		r.through = &lateBucket{Bucket: r.objects, meanwhile: func() {
			r.exec(`UPDATE sweep_state SET lease_us = 1`) // it has ended
			other := r.fsck()
			for range 3 {
				require.NoError(t, other.Watch(ctx))
			}
		}}
		require.NoError(t, r.fsck().Watch(ctx))
		require.NoError(t, r.fsck().Compare(ctx))
	})
}

func TestLeaseThatAnotherHadIsLost(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		take := func(holder string, lease time.Duration) {
			t.Helper()
			ok, err := r.store.TakeSweep(ctx, holder, lease)
			require.NoError(t, err)
			require.True(t, ok)
		}
		keep := func(holder string) bool {
			t.Helper()
			ok, err := r.store.KeepSweep(ctx, holder, time.Minute)
			require.NoError(t, err)
			return ok
		}
		take("one", -time.Second)
		require.True(t, keep("one"), "nobody has taken it")
		require.NoError(t, r.store.ReleaseSweep(ctx, "one"))
		take("one", -time.Second)
		take("other", time.Minute)
		require.False(t, keep("one"))
		require.NoError(t, r.store.ReleaseSweep(ctx, "other"))
		require.False(t, keep("one"), "the other had it meanwhile")
	})
}

// Who leaves a store, and goes back to it before everything is copied, finds a witness there that is old.
func TestGoingBackToAStoreThatWasLeftIsNoAlarm(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		left := blob.NewMemory()
		watch := func(to, from move.Store) {
			t.Helper()
			both := move.New(to, from)
			both.ReadNewest(fsck.Witness, fsck.IsLaterWitness)
			r.through = both
			for range 4 {
				require.NoError(t, r.fsck().Watch(t.Context()))
			}
		}
		for range 4 {
			require.NoError(t, r.fsck().Watch(t.Context()))
		}
		watch(left, r.objects)
		watch(r.objects, left)
		watch(left, r.objects)
	})
}

// The objects were not there, the sweep stopped, and when they are back the database has been set back too.
func TestFoldersAreRenewedThoughTheSweepHadStoppedForSomethingElse(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		bob := storetest.NewSite(t, r.store, "one", "one.test", "bob").Mailboxes["bob"].ID
		f := r.fsck()
		for range 3 {
			require.NoError(t, f.Watch(ctx))
		}
		state, err := r.store.SweepState(ctx)
		require.NoError(t, err)
		require.NoError(t, r.objects.Delete(ctx, fsck.Witness))
		require.ErrorIs(t, f.Watch(ctx), fsck.ErrStopped)
		before := r.folder(bob, "INBOX").UIDValidity
		r.writeWitness(state.DatabaseID, state.Epoch+10)
		require.ErrorIs(t, f.Watch(ctx), fsck.ErrStopped)
		require.Greater(t, r.folder(bob, "INBOX").UIDValidity, before)
	})
}

// What is not understood may be a page of a web server that answers for the object store: mail waits until it is known what the objects are.
func TestNoMailIsTakenWhileTheWitnessIsNotUnderstood(t *testing.T) {
	for name, text := range map[string]string{
		"nothing": "", "half of one": "{", "HTML": "<html/>", "JSON": `{"status": "maintenance"}`, "empty JSON": "{}", "null": "null", "a word": `"ok"`,
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, r *rig) {
				ctx := t.Context()
				bob := storetest.NewSite(t, r.store, "one", "one.test", "bob").Mailboxes["bob"].ID
				require.NoError(t, r.fsck().Watch(ctx))
				before := r.folder(bob, "INBOX").UIDValidity
				whole := r.object(fsck.Witness)
				put := func(text string) {
					require.NoError(t, r.objects.Replace(ctx, fsck.Witness, strings.NewReader(text), int64(len(text))))
				}
				f := r.fsck()
				put(text)
				require.ErrorIs(t, f.HasObjects(ctx), fsck.ErrNoObjects)
				require.ErrorIs(t, f.Certain(ctx), fsck.ErrAnother, "no address is refused for good")
				require.ErrorIs(t, f.Watch(ctx), fsck.ErrStopped)
				require.ErrorIs(t, f.HasObjects(ctx), fsck.ErrNoObjects)
				require.Equal(t, before, r.folder(bob, "INBOX").UIDValidity, "nothing says that the database was set back")

				put(whole)
				r.ahead += 2 * time.Second
				require.NoError(t, f.HasObjects(ctx), "by itself")

				// One that stays so may have been of another database, or of a later state of this one.
				put(text)
				report, _ := r.check(fsck.Request{Repair: true, MinAge: -1})
				require.Zero(t, report.Left)
				require.Greater(t, r.folder(bob, "INBOX").UIDValidity, before)
				f = r.fsck()
				require.NoError(t, f.Watch(ctx))
				require.NoError(t, f.HasObjects(ctx))
			})
		})
	}
}

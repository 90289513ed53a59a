package fsck_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/move"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/storetest"
)

// aroundPut is the new store of a copying, which is held up before and after it writes one object.
type aroundPut struct {
	*blob.Memory
	key           string
	before, after func()
}

func (a *aroundPut) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	if key == a.key && a.before != nil {
		a.before()
	}
	err := a.Memory.Put(ctx, key, r, size)
	if key == a.key {
		a.after()
	}
	return err
}

// moveTo has the daemon use both stores, and gives what copies from the old one.
func (r *rig) moveTo(to *aroundPut) (copying func() *move.Report) {
	to.Memory = blob.NewMemory()
	r.through = move.New(to.Memory, r.objects)
	return func() *move.Report {
		r.t.Helper()
		report := &move.Report{}
		require.NoError(r.t, move.Run(context.Background(), to, r.objects, move.Request{IsReplaced: fsck.IsReplaced}, report))
		return report
	}
}

// again gives the same message under another id, as Postfix sends it when the answer was lost.
func (l letter) again() letter {
	l.copy.ID = store.NewMessageID()
	l.copy.Key = store.ObjectKey(l.copy.Target.Tenant, l.copy.Target.Mailbox, l.copy.ID)
	return l
}

func flip(b []byte) []byte { b[9] ^= 1; return b }

// A copying has written a rotten object to the new store when the sweep mends it there. It finds other bytes than it has written, and takes
// them back.
func TestWhatMendedOutlivesACopyingThatTakesTheMendedOneBack(t *testing.T) {
	for _, lies := range []string{"twice", "aside"} {
		t.Run(lies, func(t *testing.T) {
			onEach(t, func(t *testing.T, r *rig) {
				site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
				l := r.write(site.Target("bob"), "x", "Q1", "")
				r.deliver(l)
				other := "orphan/" + l.copy.Key
				if lies == "twice" {
					other = l.again().copy.Key
				}
				r.putKey(other, l.raw)
				r.damage(l.copy.Key, flip)
				copying := r.moveTo(&aroundPut{key: l.copy.Key, after: func() { r.mustSweep() }})
				problems := copying().Problems()
				require.Len(t, problems, 1)
				require.ErrorIs(t, problems[0].Err, move.ErrAltered)
				require.Equal(t, l.raw, r.object(other), "no other is whole now")

				r.mustSweep()
				require.Equal(t, l.raw, r.object(l.copy.Key), "mended again")
				r.mustSweep()
				require.Equal(t, l.raw, r.object(l.copy.Key))
				require.Empty(t, r.object(other))
				r.requireClean()
			})
		})
	}
}

// A copying has read a message that is then moved aside, and writes it to the new store when the sweep wants to give it back its place.
func TestWhatLiesAsideOutlivesACopyingThatTakesTheOneInItsPlaceBack(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		early := r.dump()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		l := r.write(site.Target("bob"), "x", "Q1", "")
		r.deliver(l)
		late := r.dump()
		early()
		aside := "orphan/" + l.copy.Key
		var swept fsck.Swept
		copying := r.moveTo(&aroundPut{key: l.copy.Key,
			before: func() {
				require.Equal(t, map[string]int64{"moved": 1}, r.mustSweep().Orphans)
				late()
				r.putOld(aside, l.raw)
				r.ahead = 0
			},
			after: func() { swept = r.mustSweep() },
		})
		require.Equal(t, int64(1), copying().Gone.Load())
		require.Zero(t, swept.Back)
		require.Equal(t, l.raw, r.object(aside), "there is no other now")
		require.Equal(t, int64(1), r.mustSweep().Back)
		require.Equal(t, l.raw, r.object(l.copy.Key))
	})
}

// putOld has an object in the old store that is hours old by any clock.
func (r *rig) putOld(key, content string) {
	r.t.Helper()
	require.NoError(r.t, r.through.Delete(context.Background(), key))
	path := filepath.Join(r.base, key)
	require.NoError(r.t, os.MkdirAll(filepath.Dir(path), 0o700))
	require.NoError(r.t, os.WriteFile(path, []byte(content), 0o600))
	hours := time.Now().Add(-5 * time.Hour)
	require.NoError(r.t, os.Chtimes(path, hours, hours))
}

func TestWhatIsStoredTwiceWaitsUntilTheOtherIsOld(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		l := r.write(site.Target("bob"), "x", "Q1", "")
		r.deliver(l)
		twice, aside := l.again().copy.Key, "orphan/"+l.copy.Key
		r.putOld(twice, l.raw)
		r.putOld(aside, l.raw)
		r.ahead = 59 * time.Minute
		for range 2 {
			swept := r.mustSweep()
			require.Zero(t, swept.Back)
			require.Equal(t, map[string]int64{"indexed": 1}, swept.Orphans)
		}
		require.Equal(t, l.raw, r.object(twice))
		require.Equal(t, l.raw, r.object(aside))
		require.NotContains(t, r.log.String(), "level=WARN")
		r.ahead = 61 * time.Minute
		swept := r.mustSweep()
		require.Equal(t, int64(1), swept.Back)
		require.Equal(t, map[string]int64{"duplicate": 1}, swept.Orphans)

		l = r.write(site.Target("bob"), "y", "Q2", "")
		r.deliver(l)
		r.putKey(l.again().copy.Key, l.raw)
		r.ahead = 0
		report, problems := r.check(fsck.Request{Repair: true, MinAge: 0})
		require.Equal(t, int64(1), report.Kinds[fsck.KindOrphan].Mended, "at once if so asked: %v", problems)
	})
}

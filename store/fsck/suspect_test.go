package fsck_test

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/storetest"
)

func TestWhatReadersMeetIsMarkedOnce(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob", "eve")
		gone, altered := r.write(site.Target("bob"), "gone", "Q1", ""), r.write(site.Target("bob"), "altered", "Q2", "")
		r.deliver(gone, altered, r.write(site.Target("eve"), "whole", "Q3", ""))
		require.NoError(t, r.objects.Delete(t.Context(), gone.copy.Key))
		r.damage(altered.copy.Key, func(b []byte) []byte { b[9] ^= 1; return b })
		f := r.fsck()
		ctx, stop := context.WithCancel(t.Context())
		var group sync.WaitGroup
		group.Go(func() { f.Examine(ctx) })
		for range 10 {
			f.Suspect(gone.copy.ID, blob.ErrNotFound)
			f.Suspect(altered.copy.ID, blob.ErrDamaged)
		}
		require.Eventually(t, func() bool { return r.damaged(f) == 2 }, time.Minute, 10*time.Millisecond)
		stop()
		group.Wait()
		for range 3 {
			require.NoError(t, f.ExamineSuspect(t.Context(), gone.copy.ID))
		}
		require.Equal(t, 2, strings.Count(r.log.String(), "object damaged"), "told once")
		for _, l := range []letter{gone, altered} {
			require.Contains(t, r.log.String(), "message_id="+string(l.copy.ID)+" key="+l.copy.Key)
			require.NoError(t, r.objects.Replace(t.Context(), l.copy.Key, strings.NewReader(l.raw), int64(len(l.raw))))
		}
		_, problems := r.check(fsck.Request{})
		for _, p := range problems {
			require.Empty(t, p.Message)
		}
		require.Zero(t, r.damaged(f), "they are whole again")
	})
}

// damaged is the number of messages that are marked.
func (r *rig) damaged(f *fsck.Fsck) int64 {
	n, err := f.CountDamaged(r.t.Context())
	require.NoError(r.t, err)
	return n
}

func TestNothingIsMarkedThatReadersWereWrongAbout(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		whole, removed := r.write(site.Target("bob"), "whole", "Q1", ""), r.write(site.Target("bob"), "removed", "Q2", "")
		r.deliver(whole, removed)
		r.forget(removed)
		require.NoError(t, r.objects.Delete(t.Context(), removed.copy.Key))
		f := r.fsck()
		for _, l := range []letter{whole, removed} {
			require.NoError(t, f.ExamineSuspect(t.Context(), l.copy.ID))
		}
		require.Zero(t, r.damaged(f))
	})
}

func TestNothingIsMarkedWhileTheObjectsAreNotThere(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		l := r.write(site.Target("bob"), "on the disk", "Q1", "")
		r.deliver(l)
		f := r.fsck()
		for range 2 {
			require.NoError(t, f.Watch(t.Context()))
		}
		require.NoError(t, f.HasObjects(t.Context()), "which says so until the next look")
		away := filepath.Join(t.TempDir(), "away")
		for _, name := range []string{string(site.Tenant.ID), "installation"} {
			require.NoError(t, os.Rename(filepath.Join(r.base, name), away+name))
		}
		require.NoError(t, f.ExamineSuspect(t.Context(), l.copy.ID))
		require.Zero(t, r.damaged(f))

		require.NoError(t, os.Rename(away+"installation", filepath.Join(r.base, "installation")))
		require.NoError(t, f.ExamineSuspect(t.Context(), l.copy.ID))
		require.Equal(t, int64(1), r.damaged(f), "the tenant's directory alone is gone")
	})
}

// unplaced has objects that a crash has left in the journal, and that cannot be put in place yet: it lists none.
type unplaced struct {
	fsck.Bucket
	placed bool
}

var errUnplaced = errors.New("not in place")

func (u *unplaced) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	if u.placed {
		return u.Bucket.List(ctx, prefix)
	}
	return func(yield func(blob.Info, error) bool) { yield(blob.Info{}, errUnplaced) }
}

func TestNothingIsMarkedBeforeTheJournalIsInPlace(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		l := r.write(site.Target("bob"), "in the journal", "Q1", "")
		r.deliver(l)
		require.NoError(t, r.objects.Delete(t.Context(), l.copy.Key))
		crashed := &unplaced{Bucket: r.through}
		r.through = crashed
		f := r.fsck()
		require.ErrorIs(t, f.ExamineSuspect(t.Context(), l.copy.ID), errUnplaced)
		require.Zero(t, r.damaged(f))
		crashed.placed = true
		require.NoError(t, f.ExamineSuspect(t.Context(), l.copy.ID))
		require.Equal(t, int64(1), r.damaged(f), "it is not there now either")
	})
}

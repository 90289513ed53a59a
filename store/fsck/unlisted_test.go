package fsck_test

import (
	"context"
	"errors"
	"iter"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/blobtest"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/storetest"
)

// dirOf is the key of a mailbox's directory.
func dirOf(site *storetest.Site, name string) string {
	return string(site.Tenant.ID) + "/" + string(site.Mailboxes[name].ID)
}

// unreadable has the mailbox's directory fail until mend is called.
func (r *rig) unreadable(site *storetest.Site, name string) (mend func()) {
	r.t.Helper()
	return blobtest.Unreadable(r.t, filepath.Join(r.base, dirOf(site, name)))
}

func requireUnlisted(t *testing.T, err error, key string) {
	t.Helper()
	unlisted, is := errors.AsType[*blob.UnlistedError](err)
	require.True(t, is, "%v", err)
	require.Len(t, unlisted.Parts, 1)
	require.Equal(t, key, unlisted.Parts[0].Key)
	require.ErrorContains(t, err, key)
}

func TestAnUnreadableDirectoryEndsNoSweep(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob", "eve")
		inside, lost := r.write(site.Target("bob"), "inside", "Q1", ""), r.write(site.Target("eve"), "lost", "Q2", "")
		r.deliver(inside, lost)
		r.putKey("stranger/note", "nobody's")
		require.Equal(t, map[string]int64{"moved": 1}, r.mustSweep().Orphans)
		r.later(31 * 24 * time.Hour)
		r.forget(inside, lost)
		before, err := r.store.SweepState(t.Context())
		require.NoError(t, err)

		mend := r.unreadable(site, "bob")
		swept, err := r.fsck().Sweep(t.Context())
		requireUnlisted(t, err, dirOf(site, "bob"))
		require.Equal(t, map[string]int64{"adopted": 1}, swept.Orphans)
		require.NotNil(t, r.message(lost))
		require.Zero(t, swept.Expired, "it may belong to what was not seen")
		require.NotEmpty(t, r.object("orphan/stranger/note"))
		after, err := r.store.SweepState(t.Context())
		require.NoError(t, err)
		require.Equal(t, before.SweptAt, after.SweptAt, "it was not complete")
		require.Empty(t, after.Stopped)

		mend()
		swept = r.mustSweep()
		require.Equal(t, map[string]int64{"adopted": 1}, swept.Orphans)
		require.Equal(t, int64(1), swept.Expired)
		require.NotNil(t, r.message(inside))
		r.requireClean()
	})
}

func TestAnUnreadableDirectoryIsAProblemAndTheRestIsMended(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob", "eve")
		inside, lost := r.write(site.Target("bob"), "inside", "Q1", ""), r.write(site.Target("eve"), "lost", "Q2", "")
		r.deliver(inside, lost)
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		require.NoError(t, r.fsck().Watch(t.Context()))
		r.forget(lost)
		_, err := r.store.StopSweep(t.Context(), "too many objects have no row")
		require.NoError(t, err)
		mend := r.unreadable(site, "bob")

		kinds := map[string]string{}
		report, problems := r.check(fsck.Request{Repair: true, MinAge: -1})
		for _, p := range problems {
			kinds[p.Kind] = p.Key
		}
		require.Equal(t, dirOf(site, "bob"), kinds[fsck.KindUnlisted])
		require.Equal(t, inside.copy.Key, kinds[fsck.KindUnreadable])
		require.NotContains(t, kinds, fsck.KindMissing)
		require.NotZero(t, report.Left)
		require.NotNil(t, r.message(lost))
		st, err := r.store.SweepState(t.Context())
		require.NoError(t, err)
		require.Empty(t, st.Stopped, "nobody doubts the database")

		mend()
		r.requireClean()
	})
}

func TestARebuildPastAnUnreadableDirectoryIsNotAccepted(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob", "eve")
		inside, outside := r.write(site.Target("bob"), "inside", "Q1", ""), r.write(site.Target("eve"), "outside", "Q2", "")
		r.deliver(inside, outside)
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		require.NoError(t, r.fsck().Watch(t.Context()))
		mend := r.unreadable(site, "bob")
		r.anew()

		_, problems := r.check(fsck.Request{Rebuild: true, MinAge: -1})
		requireNotListed(t, problems)
		require.NotNil(t, r.message(outside))
		st, err := r.store.SweepState(t.Context())
		require.NoError(t, err)
		require.NotEmpty(t, st.Stopped)

		mend()
		var report fsck.Report
		report, problems = r.check(fsck.Request{Rebuild: true, MinAge: -1})
		require.Zero(t, report.Left, "%v", problems)
		require.NotNil(t, r.message(inside))
		require.NoError(t, r.fsck().Watch(t.Context()))
		r.requireClean()
	})
}

// requireNotListed holds the database not to be accepted, for what could not be listed.
func requireNotListed(t *testing.T, problems []fsck.Problem) {
	t.Helper()
	last := problems[len(problems)-1]
	require.Equal(t, fsck.KindDatabase, last.Kind)
	require.False(t, last.Mended)
	require.Contains(t, last.Done, "the sweep stays stopped: not all could be listed")
}

// partlyBucket does not list what has a part in its key, which can be read all the same.
type partlyBucket struct {
	fsck.Bucket
	part string
}

func (b *partlyBucket) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for info, err := range b.Bucket.List(ctx, prefix) {
			if err == nil && strings.Contains(info.Key, b.part) {
				continue
			}
			if !yield(info, err) {
				return
			}
		}
		yield(blob.Info{}, &blob.UnlistedError{Parts: []blob.UnlistedPart{{Key: b.part, Err: errors.New("input/output error")}}, Count: 1})
	}
}

// The database is an old one, which has the tenant, and not the alias that was made since.
func TestADescriptionThatWasNotListedIsNotWrittenOver(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		require.NoError(t, r.fsck().Watch(t.Context()))
		early := r.dump()
		r.alias(site.Tenant.ID, "info@one.test", "bob@one.test")
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		require.NoError(t, r.fsck().Watch(t.Context()))
		early()
		key := string(site.Tenant.ID) + "/tenant.json"
		r.through = &partlyBucket{r.objects, key}
		_, problems := r.check(fsck.Request{Repair: true, MinAge: -1})
		requireNotListed(t, problems)
		require.Contains(t, r.object(key), "info@one.test")

		r.through = r.objects
		_, _ = r.check(fsck.Request{Repair: true, MinAge: -1})
		require.Equal(t, "bob@one.test", r.leads("info@one.test"))
	})
}

package fsck_test

import (
	"context"
	"io"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/storetest"
)

// committingBucket lets a delivery be committed while its object is read.
type committingBucket struct {
	fsck.Bucket
	key    string
	commit func()
}

func (b *committingBucket) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	if key == b.key {
		b.commit()
	}
	return b.Bucket.Get(ctx, key, offset, n)
}

func TestAnObjectWhoseRowComesWhileItIsReadStays(t *testing.T) {
	for name, settle := range map[string]func(*rig){
		"repair": func(r *rig) { r.check(fsck.Request{Repair: true}) }, // no object is too young
		"sweep":  func(r *rig) { require.Zero(r.t, r.mustSweep().Orphans["duplicate"]) },
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, r *rig) {
				site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
				l := r.put(r.write(site.Target("bob"), "under way", "Q1", ""))
				r.through = &committingBucket{r.objects, l.copy.Key, sync.OnceFunc(func() {
					require.NoError(t, r.store.Deliver(context.Background(), []store.Copy{l.copy})[0].Err)
				})}
				settle(r)
				require.Equal(t, l.raw, r.object(l.copy.Key))
				require.NotNil(t, r.message(l))
			})
		})
	}
}

func TestADescriptionThatCannotBeReadKeepsNothingElseFromBeingDone(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "ann", "bob", "eve")
		key := func(local string) string {
			return string(site.Tenant.ID) + "/" + string(site.Mailboxes[local].ID) + "/mailbox.json"
		}
		r.through = badBlock{r.objects, key("ann")}
		require.ErrorIs(t, r.fsck().DescribeAll(t.Context()), syscall.EIO)
		require.NotEmpty(t, r.object(key("bob")))
		require.NotEmpty(t, r.object(key("eve")))

		require.Zero(t, r.mustSweep().Damaged)
		state, err := r.store.SweepState(t.Context())
		require.NoError(t, err)
		require.WithinDuration(t, time.Now().Add(r.ahead), state.SweptAt, time.Minute, "the next is not due at once")

		_, err = r.store.StopSweep(t.Context(), "too many objects")
		require.NoError(t, err)
		report, problems := r.check(fsck.Request{Repair: true, MinAge: -1})
		require.Equal(t, int64(1), report.Left, "%v", problems)
		state, err = r.store.SweepState(t.Context())
		require.NoError(t, err)
		require.Empty(t, state.Stopped, "the repair was accepted")
		require.True(t, strings.HasPrefix(problems[0].What, "the description cannot be read"), "%v", problems)
	})
}

package fsck_test

import (
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/storetest"
)

// told makes a check that tells of each step, and gives what it told of progress.
func (r *rig) told(q fsck.Request) (fsck.Report, []fsck.Progress) {
	r.t.Helper()
	f := r.fsck()
	fsck.TellAll(f)
	var all []fsck.Progress
	report, err := f.Check(r.t.Context(), q, func(e fsck.Event) {
		if e.Progress != nil {
			all = append(all, *e.Progress)
		}
	})
	require.NoError(r.t, err)
	return report, all
}

// requireProgress requires that a phase was told of from its beginning to its end, and never went back.
func requireProgress(t *testing.T, told []fsck.Progress, phase string, total, totalBytes int64) []fsck.Progress {
	t.Helper()
	told = slices.DeleteFunc(slices.Clone(told), func(p fsck.Progress) bool { return p.Phase != phase })
	require.Len(t, told, int(total)+1, "each thing is told of, and the beginning")
	for i, p := range told {
		require.EqualValues(t, i, p.Done)
		require.Equal(t, []int64{total, totalBytes}, []int64{p.Total, p.TotalBytes})
		require.GreaterOrEqual(t, p.DoneBytes, told[max(i-1, 0)].DoneBytes)
	}
	require.Zero(t, told[0].DoneBytes)
	last := told[len(told)-1]
	require.Equal(t, totalBytes, last.DoneBytes)
	require.Equal(t, 100, last.Percent())
	require.Zero(t, last.Left, "nothing is left")
	return told
}

func TestProgressOfReadingEverythingIsTold(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		var letters []letter
		var size int64
		for i := range 20 {
			letters = append(letters, r.write(site.Target("bob"), fmt.Sprint("m", i), "", ""))
			size += int64(len(letters[i].raw))
		}
		r.deliver(letters...)
		require.NoError(t, r.fsck().DescribeAll(t.Context()))
		r.damage(letters[3].copy.Key, func(b []byte) []byte { b[20] ^= 1; return b })
		require.NoError(t, r.objects.Delete(t.Context(), letters[4].copy.Key))

		report, told := r.told(fsck.Request{VerifyContent: true, MinAge: -1})
		require.Equal(t, int64(2), report.Left)
		var phases []string
		for _, p := range told {
			phases = append(phases, p.Phase)
		}
		require.Equal(t, []string{"objects", "content", "counters", "descriptions"}, slices.Compact(phases))
		content := requireProgress(t, told, "content", 20, size)
		require.Zero(t, content[0].Problems)
		require.Equal(t, int64(2), told[len(told)-1].Problems)

		_, told = r.told(fsck.Request{MinAge: -1})
		requireProgress(t, told, "messages", 20, 0)
	})
}

// What an earlier run has read counts as done, but not for how long the rest will take.
func TestProgressOfReadingThatGoesOn(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		const page, all = 512, 600
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		var letters []letter
		var size int64
		for i := range all {
			letters = append(letters, r.write(site.Target("bob"), fmt.Sprint("m", i), "", ""))
			size += int64(len(letters[i].raw))
		}
		deliverAll(t, r, letters)
		f := r.fsck()
		fsck.StopAfter(f, 1) // a page
		_, err := f.Check(t.Context(), fsck.Request{VerifyContent: true, MinAge: -1}, func(fsck.Event) {})
		require.ErrorIs(t, err, fsck.ErrStep)

		report, told := r.told(fsck.Request{VerifyContent: true, MinAge: -1})
		require.Equal(t, int64(all-page), report.Verified)
		for _, p := range requireProgress(t, told, "content", all, size)[:page+1] {
			require.Zero(t, p.Left, "nothing was read yet")
		}
	})
}

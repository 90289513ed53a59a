package journal_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/store/blob/journal"
)

func TestWhatACrashLeavesIsPutInPlace(t *testing.T) {
	dir, before := filepath.Join(t.TempDir(), "journal"), newObjects()
	l := open(t, dir, before.options())
	put(t, l, "one", "a").Placed()
	put(t, l, "shared", "b", "c").Placed()
	put(t, l, "", "empty").Placed()
	big := put(t, l, strings.Repeat("x", journal.MaxBody), "big")
	left := crash(t, dir)
	big.Placed()

	after := newObjects()
	open(t, left, after.options())
	require.Equal(t, map[string]string{
		"a": "one", "b": "shared", "c": "shared", "empty": "", "big": strings.Repeat("x", journal.MaxBody),
	}, after.there)
	require.Equal(t, []string{"a", "b", "c", "empty", "big"}, after.placed, "in the order of the puts")
	require.Equal(t, 1, after.syncs)

	again := newObjects()
	open(t, crash(t, left), again.options())
	require.Empty(t, again.there, "what was put in place is not put again")
}

func TestRecoveryOnAFullDiskWaitsAndIsTriedAgain(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "journal"), newObjects()
	l := open(t, dir, o.options())
	put(t, l, "one", "a").Placed()
	left := crash(t, dir)

	after := newObjects()
	after.placing = unix.ENOSPC
	recovering := open(t, left, after.options())
	require.ErrorIs(t, recovering.Recovered(), unix.ENOSPC)
	_, _, err := recovering.Put(t.Context(), []string{"b"}, []byte("two"), 0)
	require.ErrorIs(t, err, journal.ErrNotTaken)
	after.set(func() { after.placing = nil })
	require.NoError(t, recovering.Recovered())
	put(t, recovering, "two", "b").Placed()
	require.Equal(t, map[string]string{"a": "one"}, after.there)
}

// The directory of one mailbox cannot be written: all others' mail goes on.
func TestAnObjectThatCannotBePlacedKeepsNoOtherFromIt(t *testing.T) {
	for _, fault := range []error{unix.EIO, unix.EACCES, unix.ENOTDIR, unix.EDQUOT} {
		dir, o := filepath.Join(t.TempDir(), "journal"), newObjects()
		l := open(t, dir, o.options())
		put(t, l, "one", "a").Placed()
		put(t, l, "two", "b").Placed()
		left := crash(t, dir)
		after := newObjects()
		after.placing, after.only = fault, "a"
		again := open(t, left, after.options())
		require.Equal(t, map[string]string{"b": "two"}, after.there)
		require.ErrorIs(t, again.Recovered(), fault)

		tries := after.refused
		for range 20 {
			_, _, err := again.Put(t.Context(), []string{"c"}, []byte("three"), 0)
			require.ErrorIs(t, err, journal.ErrNotTaken)
		}
		require.Less(t, after.refused-tries, 20, "not for each delivery")

		require.Error(t, again.Delete(t.Context(), "a"), "it would come back")
		require.NoError(t, again.Delete(t.Context(), "elsewhere"))
		require.NoError(t, after.remove("b"))
		require.ErrorIs(t, again.Recovered(), fault)
		after.placing = nil
		require.NoError(t, again.Recovered())
		require.Equal(t, map[string]string{"a": "one"}, after.there, "what was removed meanwhile stays removed")
		put(t, again, "three", "c").Placed()
	}
}

func TestASegmentWhoseHeaderIsDamagedHoldsWhatItHeld(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "journal"), newObjects()
	l := open(t, dir, o.options())
	for _, key := range []string{"a", "b"} {
		put(t, l, "of "+key, key).Placed()
	}
	for _, at := range []int{0, 10, 17} {
		left := crash(t, dir)
		damage(t, left, func(string) int { return at })
		after := newObjects()
		var log bytes.Buffer
		options := after.options()
		options.Log = slog.New(slog.NewTextHandler(&log, nil))
		open(t, left, options)
		require.Equal(t, map[string]string{"a": "of a", "b": "of b"}, after.there)
		require.Contains(t, log.String(), "damaged")
	}
}

func TestWithoutHeaderAndFirstRecordTheCopyOfTheHeaderCounts(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "journal"), newObjects()
	l := open(t, dir, o.options())
	put(t, l, "one", "a").Placed()
	put(t, l, "two", "b").Placed()
	left := crash(t, dir)
	damage(t, left, func(string) int { return 10 })
	damage(t, left, func(string) int { return 512 + 10 })
	after := newObjects()
	open(t, left, after.options())
	require.Equal(t, map[string]string{"b": "two"}, after.there)
}

// What is in the last block of a segment counts when the first one is no header: no sender may have written it.
func TestNoRecordIsWhereTheCopyOfTheHeaderIs(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "journal"), newObjects()
	options := o.options()
	options.CheckpointNames = 1000
	l := open(t, dir, options)
	for i := range 40 {
		put(t, l, strings.Repeat("x", 100<<10), fmt.Sprint(i)).Placed()
		segments, err := filepath.Glob(filepath.Join(dir, "*.seg"))
		require.NoError(t, err)
		for _, path := range segments {
			raw, err := os.ReadFile(path)
			require.NoError(t, err)
			require.NotContains(t, string(raw[len(raw)-512:]), "xx")
		}
	}
}

func TestASegmentOfWhichNothingIsKnownIsKept(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "journal"), newObjects()
	l := open(t, dir, o.options())
	put(t, l, "one", "a").Placed()
	left := crash(t, dir)
	for _, at := range []int{10, 512 + 10, 2<<20 - 512 + 10} { // header, first record, copy of the header
		damage(t, left, func(string) int { return at })
	}
	after := newObjects()
	again := open(t, left, after.options())
	kept, err := filepath.Glob(filepath.Join(left, "*.seg.damaged"))
	require.NoError(t, err)
	require.Len(t, kept, 1)
	put(t, again, "two", "b").Placed()
}

func TestRecordsBehindADamagedOneCount(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "journal"), newObjects()
	l := open(t, dir, o.options())
	for _, key := range []string{"a", "b", "c"} {
		put(t, l, strings.Repeat(key, 3000), key).Placed()
	}
	left := crash(t, dir)
	damage(t, left, func(raw string) int { return strings.Index(raw, "bbbb") + 1000 })
	after := newObjects()
	open(t, left, after.options())
	require.Equal(t, []string{"a", "c"}, after.placed)
}

// damage alters one byte of the only segment.
func damage(t *testing.T, dir string, at func(raw string) int) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	require.NoError(t, err)
	require.Len(t, segments, 1)
	raw, err := os.ReadFile(segments[0])
	require.NoError(t, err)
	raw[at(string(raw))] ^= 1
	require.NoError(t, os.WriteFile(segments[0], raw, 0o600))
}

// One sector of the disk is bad, for good: neither the first start after a crash nor the next fails, and nothing else is lost.
func TestABadSectorCostsNoMoreThanWhatWasInIt(t *testing.T) {
	lost := strings.Repeat("x", 3*journal.SectorBytes)
	all := map[string]string{"a": "one", "lost": lost, "c": "three"}
	for name, tt := range map[string]struct {
		from int64
		left []string
	}{
		"the header": {0, []string{"c"}}, // and the heads of the two that begin in the sector
		"a record":   {journal.SectorBytes, []string{"a", "c"}},
		"the end":    {2<<20 - journal.SectorBytes, []string{"a", "lost", "c"}},
	} {
		t.Run(name, func(t *testing.T) {
			dir, o := filepath.Join(t.TempDir(), "journal"), newObjects()
			l := open(t, dir, o.options())
			put(t, l, "one", "a").Placed()
			put(t, l, lost, "lost").Placed()
			put(t, l, "three", "c").Placed()
			left := crash(t, dir)

			journal.MakeUnreadable(t, tt.from, journal.SectorBytes)
			after := newObjects()
			again := open(t, left, after.options())
			require.NoError(t, again.Recovered())
			want := map[string]string{}
			for _, key := range tt.left {
				want[key] = all[key]
			}
			require.Equal(t, want, after.there)
			require.NoError(t, again.Close())
			damaged, err := filepath.Glob(filepath.Join(left, "*.seg.damaged"))
			require.NoError(t, err)
			require.Len(t, damaged, 1)
			later := newObjects()
			again = open(t, left, later.options())
			require.Empty(t, later.there, "it is not read again")
			require.NoError(t, again.Close())

			// Somebody has read it from a copy of the disk, and gives it its name back.
			journal.MakeUnreadable(t, -1, 0)
			require.NoError(t, os.Rename(damaged[0], strings.TrimSuffix(damaged[0], ".damaged")))
			whole := newObjects()
			open(t, left, whole.options())
			require.Equal(t, all, whole.there)
		})
	}
}

// All of the disk cannot be read now: then it may come back, and nothing is put aside.
func TestADiskThatCannotBeReadAtAllKeepsTheJournalAsItIs(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "journal"), newObjects()
	put(t, open(t, dir, o.options()), "one", "a").Placed()
	left := crash(t, dir)
	journal.MakeUnreadable(t, 0, 1<<40)
	_, err := journal.Open(left, newObjects().options())
	require.ErrorIs(t, err, unix.EIO)
	journal.MakeUnreadable(t, -1, 0)
	after := newObjects()
	open(t, left, after.options())
	require.Equal(t, map[string]string{"a": "one"}, after.there)
}

// A backup is put back over the objects with their journal, by rsync, by cp, or after the old one was removed.
func TestASegmentThatIsReplacedIsNotReliedOn(t *testing.T) {
	for name, replace := range map[string]func(t *testing.T, path string, old []byte){
		"renamed over": func(t *testing.T, path string, old []byte) {
			require.NoError(t, os.WriteFile(path+"~", old, 0o600))
			require.NoError(t, os.Rename(path+"~", path))
		},
		"written over": func(t *testing.T, path string, old []byte) { require.NoError(t, os.WriteFile(path, old, 0o600)) },
		"removed":      func(t *testing.T, path string, _ []byte) { require.NoError(t, os.Remove(path)) },
	} {
		t.Run(name, func(t *testing.T) {
			dir, o := filepath.Join(t.TempDir(), "journal"), newObjects()
			l := open(t, dir, o.options())
			put(t, l, "long ago", "old").Placed()
			backup := crash(t, dir)
			require.NoError(t, l.Close())
			l = open(t, dir, o.options()) // it takes the same segment again
			put(t, l, "before", "a").Placed()
			segments, err := filepath.Glob(filepath.Join(dir, "*.seg"))
			require.NoError(t, err)
			require.Len(t, segments, 1)
			old, err := os.ReadFile(filepath.Join(backup, filepath.Base(segments[0])))
			require.NoError(t, err)
			synced := o.syncs
			replace(t, segments[0], old)

			put(t, l, "after", "b").Placed()
			require.Eventually(t, func() bool {
				defer o.mu.Unlock()
				o.mu.Lock()
				return o.syncs > synced
			}, 10*time.Second, time.Millisecond, "what the lost segment held is flushed in its files")
			after := newObjects()
			open(t, crash(t, dir), after.options())
			require.Equal(t, "after", after.there["b"])
			require.NotContains(t, after.there, "a")
		})
	}
}

// The segments are replaced while none of them is in use.
func TestAnIdleSegmentThatIsGoneIsNotUsed(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "journal"), newObjects()
	l := open(t, dir, o.options())
	put(t, l, "one", "a").Placed()
	require.NoError(t, l.Close())
	l = open(t, dir, o.options())
	require.NoError(t, os.RemoveAll(dir))
	put(t, l, "two", "b").Placed()
	after := newObjects()
	open(t, crash(t, dir), after.options())
	require.Equal(t, map[string]string{"b": "two"}, after.there)
}

// What another process has not put in place yet, a start cannot tell from what was deleted.
func TestStartDoesNotGoOnWhileAnotherProcessRecovers(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "journal")
	put(t, open(t, dir, newObjects().options()), "one", "a").Placed()
	left := crash(t, dir)
	lock, err := os.OpenFile(filepath.Join(left, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	defer lock.Close()
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	journal.SetStartPatience(t, 50*time.Millisecond)
	_, err = journal.Open(left, newObjects().options())
	require.ErrorContains(t, err, "another process holds the lock of the journal")
	require.NoError(t, lock.Close())
	after := newObjects()
	open(t, left, after.options())
	require.Equal(t, map[string]string{"a": "one"}, after.there)
}

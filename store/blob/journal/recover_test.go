package journal_test

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

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

func TestASegmentOfWhichNothingIsKnownIsKept(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "journal"), newObjects()
	l := open(t, dir, o.options())
	put(t, l, "one", "a").Placed()
	left := crash(t, dir)
	damage(t, left, func(string) int { return 10 })
	damage(t, left, func(string) int { return 512 + 10 })
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

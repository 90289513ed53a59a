package blob_test

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
)

func TestWhatPutAcknowledgedSurvivesAPowerCut(t *testing.T) {
	for name, o := range map[string]blob.FSOptions{"journal": {}, "flushed": {WithoutJournal: true}} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t)
			for round := range 10 {
				require.Empty(t, cutRound(t, d, round, o, func(*blob.FS) {}), "lost in round %d", round)
			}
		})
	}
}

func TestPowerCutLosesNothingWithoutUnnamedFiles(t *testing.T) {
	d := newDisk(t)
	for round := range 5 {
		require.Empty(t, cutRound(t, d, round, blob.FSOptions{WithoutJournal: true}, blob.WithoutUnnamedFiles), "lost in round %d", round)
	}
}

func TestDeletedObjectsStayDeletedAfterAPowerCut(t *testing.T) {
	d := newDisk(t)
	for range 5 {
		f, err := blob.NewFS(d.dir, blob.FSOptions{})
		require.NoError(t, err)
		require.NoError(t, f.Put(t.Context(), "t/m/object", strings.NewReader("x"), 1))
		require.NoError(t, f.Delete(t.Context(), "t/m/object"))
		d.cut()
		_ = f.Close() // says that there is no disk
		d.restore()
		f, err = blob.NewFS(d.dir, blob.FSOptions{})
		require.NoError(t, err)
		_, err = f.Stat(t.Context(), "t/m/object")
		require.ErrorIs(t, err, blob.ErrNotFound)
		require.NoError(t, f.Close())
	}
}

// A small object makes directories without a flush: the journal knows them. A big one in them is acknowledged without it.
func TestBigObjectReliesOnNoDirectoryThatASmallOneHasMade(t *testing.T) {
	d := newDisk(t)
	f, err := blob.NewFS(d.dir, blob.FSOptions{})
	require.NoError(t, err)
	require.True(t, blob.HasJournal(f))
	big := strings.Repeat("big\n", 100<<10)
	put(t, f, "t/m/before", big)
	require.NoError(t, os.RemoveAll(filepath.Join(d.dir, "t")))
	put(t, f, "t/m/small", "small")
	flushed := map[string]bool{}
	blob.TellFlushes(f, func(path string) { flushed[path] = true })
	put(t, f, "t/m/after", big)
	d.cut()
	_ = f.Close() // says that there is no disk
	d.restore()
	require.Equal(t, map[string]bool{d.dir: true, filepath.Join(d.dir, "t"): true, filepath.Join(d.dir, "t/m"): true}, flushed)
	f, err = blob.NewFS(d.dir, blob.FSOptions{})
	require.NoError(t, err)
	require.True(t, whole(t, f, "t/m/after", big))
	require.True(t, whole(t, f, "t/m/small", "small"))
	require.NoError(t, f.Close())
}

// This proves that the tests above can fail.
func TestPowerCutLosesNamesWhenDirectoriesAreNotFlushed(t *testing.T) {
	d := newDisk(t)
	for round := range 20 {
		if lost := cutRound(t, d, round, blob.FSOptions{WithoutJournal: true}, blob.WithoutDirectoryFlush); len(lost) > 0 {
			t.Logf("lost in round %d: %v", round, lost)
			return
		}
	}
	t.Fatal("nothing was lost in 20 rounds: the rig does not cut")
}

// cutRound puts and copies objects into directories that are new, cuts the power as soon as the last call has
// returned, and gives the keys that were acknowledged and are not whole after it.
func cutRound(t *testing.T, d *disk, round int, o blob.FSOptions, prepare func(*blob.FS)) []string {
	f, err := blob.NewFS(filepath.Join(d.dir, fmt.Sprintf("base-%d/mail", round/5)), o)
	require.NoError(t, err)
	prepare(f)
	writers := 1 + round%3 // one alone shows most: the flushes of others help an unflushed name to the disk
	errs := make([]error, writers)
	acknowledged := make([][]string, writers)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			key := fmt.Sprintf("t%d/shared-%d/m%d/object", round, round, w)
			errs[w] = errors.Join(
				f.Put(t.Context(), key, strings.NewReader(content(key)), int64(len(content(key)))),
				f.Copy(t.Context(), key, fmt.Sprintf("copy%d/m%d/object", round, w)))
			acknowledged[w] = []string{key, fmt.Sprintf("copy%d/m%d/object", round, w)}
		})
	}
	wg.Wait()
	d.cut()
	require.NoError(t, errors.Join(errs...))
	_ = f.Close() // says that there is no disk
	d.restore()

	f, err = blob.NewFS(filepath.Join(d.dir, fmt.Sprintf("base-%d/mail", round/5)), o)
	require.NoError(t, err)
	defer f.Close()
	var lost []string
	for w, keys := range acknowledged {
		for _, key := range keys {
			if !whole(t, f, key, content(acknowledged[w][0])) {
				lost = append(lost, key)
			}
		}
	}
	return lost
}

// content is more than a page, and different for each key.
func content(key string) string {
	return strings.Repeat(fmt.Sprintf("%x\n", sha256.Sum256([]byte(key))), 200)
}

func whole(t *testing.T, f *blob.FS, key, want string) bool {
	r, _, err := f.Get(t.Context(), key, 0, -1)
	if errors.Is(err, blob.ErrNotFound) {
		return false
	}
	require.NoError(t, err)
	defer r.Close()
	got, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(got) == want
}

package blob_test

import (
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/blobtest"
)

// listAll gives the keys that a List yields, and the error that it ends with.
func listAll(t *testing.T, b blob.Bucket, prefix string) (keys []string, last error) {
	t.Helper()
	for info, err := range b.List(t.Context(), prefix) {
		require.NoError(t, last, "an error is the last")
		if last = err; err == nil {
			keys = append(keys, info.Key)
		}
	}
	return keys, last
}

func TestWhatCannotBeReadKeepsNothingElseFromBeingListed(t *testing.T) {
	base := t.TempDir()
	f := openFS(t, base, blob.FSOptions{})
	for _, key := range []string{"t/a/1", "t/b/1", "t/b/2", "t/c/1", "t/c/2", "u/a/1"} {
		put(t, f, key, "x")
	}
	blobtest.Unreadable(t, filepath.Join(base, "t/b"))
	blobtest.Unreadable(t, filepath.Join(base, "t/c/1"))
	keys, err := listAll(t, f, "")
	require.ElementsMatch(t, []string{"t/a/1", "t/c/2", "u/a/1"}, keys)
	unlisted, is := errors.AsType[*blob.UnlistedError](err)
	require.True(t, is, "%v", err)
	require.Equal(t, int64(2), unlisted.Count)
	var parts []string
	for _, part := range unlisted.Parts {
		parts = append(parts, part.Key)
		require.ErrorIs(t, part.Err, unix.ENOTCONN)
		require.ErrorContains(t, err, part.Key)
	}
	require.ElementsMatch(t, []string{"t/b", "t/c/1"}, parts)

	_, err = listAll(t, f, "u/")
	require.NoError(t, err)
}

func TestAStoreThatCannotBeReadAtAllIsNoneToList(t *testing.T) {
	base := t.TempDir()
	f := openFS(t, base, blob.FSOptions{})
	put(t, f, "t/a/1", "x")
	put(t, f, "t/a/2", "x")
	mend := blobtest.Unreadable(t, filepath.Join(base, "t/a"))
	for _, prefix := range []string{"", "t/", "t/a/", "t/a/1"} {
		keys, err := listAll(t, f, prefix)
		require.Empty(t, keys)
		require.ErrorIs(t, err, unix.ENOTCONN, prefix)
		require.ErrorContains(t, err, "openat a: ")
	}
	mend()
	keys, err := listAll(t, f, "")
	require.NoError(t, err)
	require.Len(t, keys, 2)
}

func TestOnlySomeOfWhatCannotBeReadIsNamed(t *testing.T) {
	var all blob.UnlistedError
	require.False(t, all.Join(nil))
	require.False(t, all.Join(unix.EIO))
	for i := range 3000 {
		one := &blob.UnlistedError{Parts: []blob.UnlistedPart{{Key: fmt.Sprint("t/", i), Err: unix.EIO}}, Count: 1}
		require.True(t, all.Join(fmt.Errorf("list: %w", one)))
	}
	require.Len(t, all.Parts, 1000)
	require.EqualError(t, &all, "not all could be listed: t/0: input/output error; t/1: input/output error; t/2: input/output error; and 2997 more")
}

// So it is on XFS with ftype=0, and of large directories on NFS.
func TestListOnAFileSystemThatDoesNotTellWhatANameIsOf(t *testing.T) {
	d := newDiskWith(t, "has_journal,^filetype")
	f := openFS(t, d.dir, blob.FSOptions{})
	want := []string{"t/a/1", "t/a/2", "t/b/1", "top"}
	for _, key := range want {
		put(t, f, key, "x")
	}
	keys, err := listAll(t, f, "")
	require.NoError(t, err)
	require.ElementsMatch(t, want, keys)
}

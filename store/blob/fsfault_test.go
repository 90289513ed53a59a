package blob_test

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/store/blob"
)

func put(t testing.TB, b blob.Bucket, key, content string) {
	t.Helper()
	require.NoError(t, b.Put(t.Context(), key, strings.NewReader(content), int64(len(content))))
}

func requireMissing(t *testing.T, b blob.Bucket, key string) {
	t.Helper()
	_, err := b.Stat(t.Context(), key)
	require.ErrorIs(t, err, blob.ErrNotFound)
}

func TestFullDiskIsErrFullAndRecovers(t *testing.T) {
	for name, prepare := range map[string]func(*blob.FS){"unnamed": func(*blob.FS) {}, "named": blob.WithoutUnnamedFiles} {
		t.Run(name, func(t *testing.T) {
			f := openFS(t, filepath.Join(mountTmpfs(t, "size=1m"), "mail"), blob.FSOptions{MinFreeBytes: -1})
			prepare(f)
			put(t, f, "t/m/fits", strings.Repeat("x", 300<<10))
			big := bytes.Repeat([]byte("y"), 2<<20)
			err := f.Put(t.Context(), "t/m/big", bytes.NewReader(big), int64(len(big)))
			require.ErrorIs(t, err, blob.ErrFull)
			requireMissing(t, f, "t/m/big")
			put(t, f, "t/m/small", "the space of the failed put is free again")
			require.NoError(t, f.Check(t.Context()))
			require.NoError(t, f.Delete(t.Context(), "t/m/fits"))
			put(t, f, "t/m/again", strings.Repeat("z", 700<<10))
		})
	}
}

func TestNoInodesIsErrFull(t *testing.T) {
	f := openFS(t, mountTmpfs(t, "size=4m,nr_inodes=12"), blob.FSOptions{MinFreeBytes: -1})
	var err error
	for i := 0; err == nil && i < 20; i++ {
		err = f.Put(t.Context(), fmt.Sprintf("d%d/o", i), strings.NewReader("x"), 1)
	}
	require.ErrorIs(t, err, blob.ErrFull)
	require.ErrorIs(t, f.Check(t.Context()), blob.ErrFull)
}

func TestFullExt4IsErrFull(t *testing.T) {
	d := newDisk(t)
	f, err := blob.NewFS(d.dir, blob.FSOptions{})
	require.NoError(t, err)
	chunk := make([]byte, 8<<20)
	for i := 0; err == nil && i < 20; i++ {
		err = f.Put(t.Context(), fmt.Sprintf("o%d", i), bytes.NewReader(chunk), int64(len(chunk)))
	}
	require.ErrorIs(t, err, blob.ErrFull)
	require.ErrorIs(t, f.Check(t.Context()), blob.ErrFull)
	require.NoError(t, f.Close())
}

func TestCheckReportsLittleFreeSpace(t *testing.T) {
	base := mountTmpfs(t, "size=2m")
	require.ErrorIs(t, openFS(t, base, blob.FSOptions{}).Check(t.Context()), blob.ErrFull)
	require.NoError(t, openFS(t, base, blob.FSOptions{MinFreeBytes: 1 << 20}).Check(t.Context()))
}

func TestReadOnlyDiskIsReadableAndComesBack(t *testing.T) {
	base := mountTmpfs(t, "size=4m")
	put(t, openFS(t, base, blob.FSOptions{MinFreeBytes: -1}), "t/m/o", "kept")
	run(t, "mount", "-o", "remount,ro", base)
	f := openFS(t, base, blob.FSOptions{MinFreeBytes: -1})
	err := f.Put(t.Context(), "t/m/new", strings.NewReader("x"), 1)
	require.ErrorIs(t, err, unix.EROFS)
	require.NotErrorIs(t, err, blob.ErrFull)
	require.Error(t, f.Copy(t.Context(), "t/m/o", "t/m/copy"))
	require.Error(t, f.Delete(t.Context(), "t/m/o"))
	require.Error(t, f.Check(t.Context()))
	requireMissing(t, f, "t/m/new")
	require.True(t, whole(t, f, "t/m/o", "kept"))

	run(t, "mount", "-o", "remount,rw", base)
	put(t, f, "t/m/new", "x")
	require.NoError(t, f.Check(t.Context()))
}

func TestCopyToAnotherFileSystemCopiesBytes(t *testing.T) {
	base := t.TempDir()
	f := openFS(t, base, blob.FSOptions{})
	mountOver(t, filepath.Join(base, "t/other"))
	put(t, f, "t/m/o", "content")
	require.NoError(t, f.Copy(t.Context(), "t/m/o", "t/other/dir/o"))
	require.NoError(t, f.Copy(t.Context(), "t/other/dir/o", "t/m/back"))
	require.ErrorIs(t, f.Copy(t.Context(), "t/m/o", "t/other/dir/o"), blob.ErrExists)
	require.ErrorIs(t, f.Copy(t.Context(), "t/m/none", "t/other/dir/o2"), blob.ErrNotFound)
	require.True(t, whole(t, f, "t/other/dir/o", "content"))
	require.True(t, whole(t, f, "t/m/back", "content"))
}

func TestReplacingOnAnotherFileSystem(t *testing.T) {
	base := t.TempDir()
	f := openFS(t, base, blob.FSOptions{})
	mountOver(t, filepath.Join(base, "t"))
	for _, content := range []string{"first", "second"} {
		require.NoError(t, f.Replace(t.Context(), "t/m/mailbox.json", strings.NewReader(content), int64(len(content))))
		require.True(t, whole(t, f, "t/m/mailbox.json", content))
	}
	entries, err := os.ReadDir(filepath.Join(base, "t/m"))
	require.NoError(t, err)
	require.Len(t, entries, 1, "no temporary file is left")
}

func TestPuttingOnAnotherFileSystemWithoutUnnamedFiles(t *testing.T) {
	base := t.TempDir()
	f := openFS(t, base, blob.FSOptions{})
	blob.WithoutUnnamedFiles(f)
	mountOver(t, filepath.Join(base, "t"))
	put(t, f, "other/m/o", "content")
	put(t, f, "t/m/o", "content")
	require.ErrorIs(t, f.Put(t.Context(), "t/m/o", strings.NewReader("x"), 1), blob.ErrExists)
	require.NoError(t, f.Copy(t.Context(), "other/m/o", "t/m/copy"))
	require.True(t, whole(t, f, "t/m/o", "content"))
	require.True(t, whole(t, f, "t/m/copy", "content"))
	entries, err := os.ReadDir(filepath.Join(base, "t/m"))
	require.NoError(t, err)
	require.Len(t, entries, 2, "no temporary file is left")
}

// A kill between writing and renaming leaves a file that is no object.
func TestWhatReplacingHasLeftInACrashGoesAfterADay(t *testing.T) {
	base := t.TempDir()
	f := openFS(t, base, blob.FSOptions{})
	put(t, f, "t/m/o", "content")
	old, young, other := filepath.Join(base, "t/m/.new-OLD"), filepath.Join(base, "t/m/.new-YOUNG"), filepath.Join(base, "t/m/.other")
	for _, path := range []string{old, young, other} {
		require.NoError(t, os.WriteFile(path, nil, 0o600))
	}
	dayBefore := time.Now().Add(-25 * time.Hour)
	require.NoError(t, os.Chtimes(old, dayBefore, dayBefore))
	require.NoError(t, os.Chtimes(other, dayBefore, dayBefore))
	n := 0
	for _, err := range f.List(t.Context(), "") {
		require.NoError(t, err)
		n++
	}
	require.Equal(t, 1, n)
	require.NoFileExists(t, old)
	require.FileExists(t, young)
	require.FileExists(t, other)
}

// A tenant's directory became a mount while a crash had left its mail in the journal.
func TestTheJournalIsPutInPlaceOnAnotherFileSystem(t *testing.T) {
	needRoot(t)
	base, crashed := t.TempDir(), filepath.Join(t.TempDir(), "mail")
	f := openFS(t, base, blob.FSOptions{})
	put(t, f, "t/m/o", "content")
	require.NoError(t, os.CopyFS(crashed, os.DirFS(base)))
	require.NoError(t, os.RemoveAll(filepath.Join(crashed, "t/m")))
	mountOver(t, filepath.Join(crashed, "t"))
	again := openFS(t, crashed, blob.FSOptions{})
	require.True(t, whole(t, again, "t/m/o", "content"))
}

// mountOver mounts a tmpfs on a directory that it makes, until the test ends.
func mountOver(t *testing.T, dir string) {
	t.Helper()
	needRoot(t)
	require.NoError(t, os.MkdirAll(dir, 0o700))
	run(t, "mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", dir)
	t.Cleanup(func() { run(t, "umount", "--lazy", dir) })
}

func TestCopyBeyondTheLinksOfAFileCopiesBytes(t *testing.T) {
	d := newDisk(t)
	f, err := blob.NewFS(d.dir, blob.FSOptions{})
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	put(t, f, "t/m/o", "content")
	object, links := filepath.Join(d.dir, "t/m/o"), filepath.Join(d.dir, "t/links")
	require.NoError(t, os.Mkdir(links, 0o700))
	for i := 0; err == nil && i < 70_000; i++ {
		err = os.Link(object, filepath.Join(links, fmt.Sprint(i)))
	}
	require.ErrorIs(t, err, unix.EMLINK)
	require.NoError(t, f.Copy(t.Context(), "t/m/o", "t/m/copy"))
	require.True(t, whole(t, f, "t/m/copy", "content"))
	require.Equal(t, 1, nlink(t, filepath.Join(d.dir, "t/m/copy")))
}

func TestCopyIsALink(t *testing.T) {
	base := t.TempDir()
	f := openFS(t, base, blob.FSOptions{})
	put(t, f, "t/m/o", "content")
	require.NoError(t, f.Copy(t.Context(), "t/m/o", "t/n/o"))
	require.Equal(t, 2, nlink(t, filepath.Join(base, "t/n/o")))
}

func nlink(t *testing.T, path string) int {
	t.Helper()
	var st unix.Stat_t
	require.NoError(t, unix.Stat(path, &st))
	return int(st.Nlink)
}

func TestFilesAndDirectoriesArePrivate(t *testing.T) {
	base := filepath.Join(t.TempDir(), "new", "base")
	f := openFS(t, base, blob.FSOptions{})
	put(t, f, "t/m/o", "x")
	require.NoError(t, f.Copy(t.Context(), "t/m/o", "t/n/o"))
	require.NoError(t, filepath.WalkDir(filepath.Dir(base), func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := e.Info()
		require.NoError(t, err)
		want := fs.FileMode(0o600)
		if e.IsDir() {
			want = 0o700
		}
		require.Equal(t, want, info.Mode().Perm(), path)
		return nil
	}))
}

func TestLinksAndOtherFilesAreNoObjects(t *testing.T) {
	base, outside := t.TempDir(), t.TempDir()
	f := openFS(t, base, blob.FSOptions{})
	put(t, f, "t/m/o", "x")
	require.NoError(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("secret"), 0o600))
	require.NoError(t, os.Symlink(outside, filepath.Join(base, "t", "out")))
	require.NoError(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(base, "t", "m", "link")))
	require.NoError(t, os.Symlink("o", filepath.Join(base, "t", "m", "inner")))
	require.NoError(t, unix.Mkfifo(filepath.Join(base, "t", "m", "fifo"), 0o600))
	require.NoError(t, os.Mkdir(filepath.Join(base, "lost+found"), 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(base, "lost+found", "x"), nil, 0o600))
	for _, key := range []string{"t/out/secret", "t/m/link", "t/m/inner", "t/m/fifo"} {
		requireMissing(t, f, key)
		_, _, err := f.Get(t.Context(), key, 0, -1)
		require.ErrorIs(t, err, blob.ErrNotFound, key)
		require.ErrorIs(t, f.Copy(t.Context(), key, "t/new"), blob.ErrNotFound, key)
	}
	require.Error(t, f.Put(t.Context(), "t/out/new", strings.NewReader("x"), 1))
	require.ErrorIs(t, f.Put(t.Context(), "t/m/link", strings.NewReader("x"), 1), blob.ErrExists)
	require.NoError(t, f.Delete(t.Context(), "t/out/secret"))
	entries, err := os.ReadDir(outside)
	require.NoError(t, err)
	require.Len(t, entries, 1)
	var keys []string
	for info, err := range f.List(t.Context(), "") {
		require.NoError(t, err)
		keys = append(keys, info.Key)
	}
	require.Equal(t, []string{"t/m/o"}, keys)
}

func TestDirectoriesRemovedByHandAreMadeAgain(t *testing.T) {
	base := t.TempDir()
	f := openFS(t, base, blob.FSOptions{})
	put(t, f, "t/m/d/o", "x")
	require.NoError(t, os.RemoveAll(filepath.Join(base, "t")))
	put(t, f, "t/m/d/o", "y")
	require.True(t, whole(t, f, "t/m/d/o", "y"))
}

// What happens to the path, by a mount over it or a lazy unmount, happens to neither objects nor journal.
func TestTheJournalStaysOnTheDiskOfTheObjects(t *testing.T) {
	above := t.TempDir()
	base, moved := filepath.Join(above, "mail"), filepath.Join(above, "elsewhere")
	f := openFS(t, base, blob.FSOptions{})
	require.NoError(t, os.Rename(base, moved))
	require.NoError(t, os.Mkdir(base, 0o700))
	put(t, f, "t/m/o", "x")
	segments, err := filepath.Glob(filepath.Join(moved, ".journal", "*.seg"))
	require.NoError(t, err)
	require.NotEmpty(t, segments)
	require.FileExists(t, filepath.Join(moved, "t/m/o"))
	entries, err := os.ReadDir(base)
	require.NoError(t, err)
	require.Empty(t, entries)
}

// A process that died may have been told of an error of writing back, which nobody else is told of.
func TestWhatACrashLeavesIsWrittenAnewAlsoWhereItIsThere(t *testing.T) {
	above := t.TempDir()
	base, left := filepath.Join(above, "mail"), filepath.Join(above, "left")
	put(t, openFS(t, base, blob.FSOptions{}), "t/m/o", "x")
	require.NoError(t, os.CopyFS(left, os.DirFS(base)))
	file := func() uint64 {
		info, err := os.Stat(filepath.Join(left, "t/m/o"))
		require.NoError(t, err)
		return info.Sys().(*syscall.Stat_t).Ino //nolint:forcetypeassert // of os.Stat on Linux
	}
	before := file()
	f := openFS(t, left, blob.FSOptions{})
	require.NotEqual(t, before, file())
	require.True(t, whole(t, f, "t/m/o", "x"))
}

// What cannot be linked in the end must not be in the journal either: its record would be voided, and the put refused.
func TestWithoutUnnamedFilesNothingGoesThroughTheJournal(t *testing.T) {
	base := newDisk(t).dir
	f, err := blob.NewFS(base, blob.FSOptions{})
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	require.True(t, blob.HasJournal(f))
	blob.WithoutUnnamedFiles(f)
	require.NoError(t, f.PutAll(t.Context(), []string{"t/m/o", "t/n/o"}, strings.NewReader("small"), 5))
	require.True(t, whole(t, f, "t/n/o", "small"))
	segments, err := filepath.Glob(filepath.Join(base, ".journal", "*.seg"))
	require.NoError(t, err)
	require.Empty(t, segments)
}

func TestFailedPutsLeaveNoFilesBehind(t *testing.T) {
	base := t.TempDir()
	f := openFS(t, base, blob.FSOptions{})
	blob.WithoutUnnamedFiles(f)
	require.Error(t, f.Put(t.Context(), "t/o", strings.NewReader("short"), 9))
	put(t, f, "t/o", "x")
	require.ErrorIs(t, f.Put(t.Context(), "t/o", strings.NewReader("x"), 1), blob.ErrExists)
	entries, err := os.ReadDir(filepath.Join(base, ".tmp"))
	require.NoError(t, err)
	require.Empty(t, entries)
}

func TestOldTemporaryFilesAreSweptAtTheStart(t *testing.T) {
	base := t.TempDir()
	openFS(t, base, blob.FSOptions{})
	stale, fresh := filepath.Join(base, ".tmp", "stale"), filepath.Join(base, ".tmp", "fresh")
	for _, path := range []string{stale, fresh} {
		require.NoError(t, os.WriteFile(path, nil, 0o600))
	}
	old := time.Now().Add(-48 * time.Hour)
	require.NoError(t, os.Chtimes(stale, old, old))
	openFS(t, base, blob.FSOptions{})
	_, err := os.Stat(stale)
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = os.Stat(fresh)
	require.NoError(t, err, "another process may be writing it")
}

func TestOpenRefusesABaseThatIsNoDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, nil, 0o600))
	_, err := blob.NewFS(path, blob.FSOptions{})
	require.ErrorIs(t, err, unix.ENOTDIR)
	_, err = blob.NewFS(filepath.Join(path, "below"), blob.FSOptions{})
	require.True(t, errors.Is(err, unix.ENOTDIR), err)
}

func TestWhatRootMakesBelongsToTheOwnerOfTheStore(t *testing.T) {
	needRoot(t)
	base := t.TempDir()
	require.NoError(t, os.Chown(base, 12345, 12346))
	f := openFS(t, base, blob.FSOptions{})
	put(t, f, "t/m/journaled", "x")
	put(t, f, "t/n/flushed", strings.Repeat("x", 300<<10))
	require.NoError(t, f.Replace(t.Context(), "t/m/replaced", strings.NewReader("x"), 1))
	require.NoError(t, filepath.WalkDir(base, func(path string, e fs.DirEntry, err error) error {
		require.NoError(t, err)
		var st unix.Stat_t
		require.NoError(t, unix.Lstat(path, &st))
		require.Equal(t, []uint32{12345, 12346}, []uint32{st.Uid, st.Gid}, path)
		return nil
	}))
}

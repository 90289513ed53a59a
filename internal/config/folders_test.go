package config_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/internal/config"
)

// loadFolders loads a configuration with two stores that are files.
func loadFolders(t *testing.T, storage, previous string) error {
	t.Helper()
	_, _, err := config.Load(write(t, fmt.Sprintf(
		"storage:\n  options: {base_path: %q}\n  previous:\n    backend: fs\n    options: {base_path: %q}\n", storage, previous)))
	return err
}

// requireNested wants both directions refused.
func requireNested(t *testing.T, a, b string) {
	t.Helper()
	require.ErrorContains(t, loadFolders(t, a, b), "storage.previous: is the same")
	require.ErrorContains(t, loadFolders(t, b, a), "storage.previous: is the same")
}

func TestPreviousStorageInsideStorageByASymbolicLink(t *testing.T) {
	dir := t.TempDir()
	mail, other := filepath.Join(dir, "mail"), filepath.Join(dir, "other")
	require.NoError(t, os.MkdirAll(filepath.Join(mail, "old"), 0o700))
	require.NoError(t, os.MkdirAll(other, 0o700))
	for link, to := range map[string]string{
		"same": mail, "inner": filepath.Join(mail, "old"), "twice": filepath.Join(dir, "inner"), "outer": dir,
	} {
		require.NoError(t, os.Symlink(to, filepath.Join(dir, link)))
	}
	for _, previous := range []string{"same", "inner", "twice", "outer", "inner/not/there/yet", "outer/mail", "outer/mail/old/not-there-yet"} {
		requireNested(t, mail, filepath.Join(dir, previous))
	}
	require.NoError(t, loadFolders(t, mail, other))
	require.NoError(t, loadFolders(t, mail, filepath.Join(dir, "outer/other")))
	require.NoError(t, loadFolders(t, mail, filepath.Join(dir, "same-not")))
}

func TestPreviousStorageInsideStorageByAMount(t *testing.T) {
	dir := t.TempDir()
	mail, bound, other := filepath.Join(dir, "mail"), filepath.Join(dir, "bound to"), filepath.Join(dir, "other")
	old := filepath.Join(mail, "old")
	for _, path := range []string{filepath.Join(old, "deep"), bound, other} {
		require.NoError(t, os.MkdirAll(path, 0o700))
	}
	t.Run("of the store", func(t *testing.T) {
		bind(t, mail, bound)
		requireNested(t, mail, bound)
		requireNested(t, mail, filepath.Join(bound, "old"))
		requireNested(t, old, filepath.Join(bound, "old", "not there yet"))
		require.NoError(t, loadFolders(t, old, filepath.Join(bound, "new")))
	})
	t.Run("of a folder in it, above which nothing is the store", func(t *testing.T) {
		bind(t, old, bound)
		requireNested(t, mail, bound)
		requireNested(t, mail, filepath.Join(bound, "deep"))
		require.NoError(t, loadFolders(t, filepath.Join(mail, "new"), bound))
	})
	t.Run("of another folder", func(t *testing.T) {
		bind(t, other, bound)
		require.NoError(t, loadFolders(t, mail, bound))
	})
}

// bind shows a folder at another place until the test ends. Who may not mount skips; with CI=true that is a failure.
func bind(t *testing.T, from, at string) {
	t.Helper()
	if err := unix.Mount(from, at, "", unix.MS_BIND, ""); err != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), "mounts need root: %v", err)
		t.Skipf("SKIPPED: mounts need root: %v", err)
	}
	t.Cleanup(func() { require.NoError(t, unix.Unmount(at, unix.MNT_DETACH)) })
}

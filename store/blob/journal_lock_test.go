package blob_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/store/blob"
)

func putOne(t *testing.T, f *blob.FS, key string) {
	t.Helper()
	require.NoError(t, f.Put(t.Context(), key, bytes.NewReader([]byte("x")), 1))
}

// A command that was stopped (Ctrl-Z) while it put in place what a crash had left holds the lock of the journal.
func TestNoPutWaitsForAnotherProcessThatHasTheLockOfTheJournal(t *testing.T) {
	base := t.TempDir()
	f := openFS(t, base, blob.FSOptions{})
	lock, err := os.OpenFile(filepath.Join(base, ".journal", "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	require.NoError(t, err)
	defer lock.Close()
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_EX))
	done := make(chan struct{})
	go func() {
		defer close(done)
		putOne(t, f, "t/m/a")
		putOne(t, f, "t/m/b")
	}()
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatal("they wait")
	}
	require.NoError(t, unix.Flock(int(lock.Fd()), unix.LOCK_UN))
	putOne(t, f, "t/m/c")
	segments, err := filepath.Glob(filepath.Join(base, ".journal", "*.seg"))
	require.NoError(t, err)
	require.Len(t, segments, 1, "the journal is used again")
}

// What the journal says of an object that was deleted is of that object only.
func TestObjectThatIsPutAgainWithoutTheJournalStaysAfterACrash(t *testing.T) {
	for name, again := range map[string]func(f *blob.FS) error{
		"copy": func(f *blob.FS) error { return f.Copy(t.Context(), "t/m/b", "t/m/a") },
		"replace": func(f *blob.FS) error {
			return f.Replace(t.Context(), "t/m/a", bytes.NewReader([]byte("x")), 1)
		},
		"put, too large for it": func(f *blob.FS) error {
			return f.Put(t.Context(), "t/m/a", bytes.NewReader(make([]byte, 4<<20)), 4<<20)
		},
		"put": func(f *blob.FS) error { return f.Put(t.Context(), "t/m/a", bytes.NewReader([]byte("x")), 1) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base, crashed := t.TempDir(), filepath.Join(t.TempDir(), "mail")
			f := openFS(t, base, blob.FSOptions{})
			putOne(t, f, "t/m/a")
			putOne(t, f, "t/m/b")
			require.NoError(t, f.Delete(t.Context(), "t/m/a"))
			require.NoError(t, again(f))
			require.NoError(t, os.CopyFS(crashed, os.DirFS(base)))
			_, err := openFS(t, crashed, blob.FSOptions{}).Stat(t.Context(), "t/m/a")
			require.NoError(t, err)
		})
	}
}

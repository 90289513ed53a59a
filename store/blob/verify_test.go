package blob_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
)

// failingDisk is a store whose medium fails: from one reading on, the last byte of an object is another one, and nothing tells.
type failingDisk struct {
	*blob.FS
	t    *testing.T
	base string
	// good is how many readings are still right.
	good int
}

func (d *failingDisk) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	if d.good == 0 {
		d.damage(filepath.Join(d.base, key))
	}
	d.good--
	return d.FS.Get(ctx, key, offset, n)
}

func (d *failingDisk) damage(path string) {
	d.t.Helper()
	before, err := os.Stat(path)
	require.NoError(d.t, err)
	data, err := os.ReadFile(path)
	require.NoError(d.t, err)
	data[len(data)-1] ^= 1
	require.NoError(d.t, os.WriteFile(path, data, 0o600))
	require.NoError(d.t, os.Chtimes(path, before.ModTime(), before.ModTime()))
	after, err := os.Stat(path)
	require.NoError(d.t, err)
	require.Equal(d.t, before.ModTime(), after.ModTime())
}

// Whether a disk fails before an object is read or while it is, no byte is given out that was not stored. That a reading was
// good says nothing of the next.
func TestNoByteOfAFailingDiskIsGivenOut(t *testing.T) {
	for _, size := range []int64{1000, 256 << 10, 256<<10 + 1, 1 << 20, 1<<20 + 1, 3 << 20} {
		for _, withPieces := range []bool{true, false} {
			for good := range 3 {
				t.Run(fmt.Sprintf("%d bytes, pieces %t, %d good", size, withPieces, good), func(t *testing.T) {
					readFailing(t, size, withPieces, good)
				})
			}
		}
	}
}

func readFailing(t *testing.T, size int64, withPieces bool, good int) {
	base := t.TempDir()
	disk := &failingDisk{FS: openFS(t, base, blob.FSOptions{}), t: t, base: base, good: good}
	data := make([]byte, size)
	_, _ = rand.Read(data)
	want := wantOf("t/m/o", data)
	if !withPieces {
		want.Pieces = ""
	}
	// One that is not long is believed to be good for a while when it was read whole.
	long, opens := size > blob.PieceBytes, 1
	if long {
		opens = 3
	}
	require.NoError(t, disk.Put(t.Context(), want.Key, bytes.NewReader(data), size))
	v, failed := blob.NewVerifier(disk), false
	for range opens {
		got, err := open(t, v, want, [2]int64{0, -1})
		require.True(t, bytes.HasPrefix(data, got), "only what was stored")
		if err == nil {
			require.Len(t, got, int(size))
			require.False(t, failed, "once damaged, it stays so")
			continue
		}
		require.ErrorIs(t, err, blob.ErrDamaged)
		failed = true
	}
	// A short one is read once to ask whether the backend compares for itself, and then once to compare it.
	require.Equal(t, long || good < 2, failed)
}

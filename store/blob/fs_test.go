package blob_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/blobtest"
)

func openFS(t testing.TB, base string, o blob.FSOptions) *blob.FS {
	t.Helper()
	f, err := blob.NewFS(base, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

func TestFS(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Bucket { return openFS(t, t.TempDir(), blob.FSOptions{}) })
}

func TestFSWithoutUnnamedFiles(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Bucket {
		f := openFS(t, t.TempDir(), blob.FSOptions{})
		blob.WithoutUnnamedFiles(f)
		return f
	})
}

func TestAnObjectForMoreKeysThanTheJournalTakes(t *testing.T) {
	f := openFS(t, t.TempDir(), blob.FSOptions{})
	var keys []string
	for i := range 300 {
		keys = append(keys, fmt.Sprintf("t/m%d/o", i))
	}
	require.NoError(t, f.PutAll(t.Context(), keys, strings.NewReader("shared"), 6))
	for _, key := range keys {
		require.True(t, whole(t, f, key, "shared"), key)
	}
}

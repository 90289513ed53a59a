package blobtest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
)

func replace(t *testing.T, b blob.Bucket, key, content string) error {
	t.Helper()
	r, ok := b.(blob.Replacer)
	require.True(t, ok, "every backend replaces")
	return r.Replace(t.Context(), key, strings.NewReader(content), int64(len(content)))
}

func testReplace(t *testing.T, b blob.Bucket) {
	for _, content := range []string{"first", "the second one is longer", "", "x"} {
		require.NoError(t, replace(t, b, "new/dir/mailbox.json", content))
		requireContent(t, b, "new/dir/mailbox.json", content)
	}
	require.Equal(t, []string{"new/dir/mailbox.json"}, list(t, b, ""), "nothing else is left")
	put(t, b, "a", "put")
	require.NoError(t, b.Copy(t.Context(), "a", "b"))
	require.NoError(t, replace(t, b, "a", "replaced"))
	requireContent(t, b, "a", "replaced")
	requireContent(t, b, "b", "put")

	r, _ := b.(blob.Replacer)
	for _, key := range badKeys {
		require.ErrorIs(t, r.Replace(t.Context(), key, strings.NewReader("x"), 1), blob.ErrKey, "%q", key)
	}
	require.Error(t, r.Replace(t.Context(), "a", strings.NewReader("short"), 6))
	require.Error(t, r.Replace(t.Context(), "a", strings.NewReader("too long"), 3))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.ErrorIs(t, r.Replace(ctx, "a", strings.NewReader("x"), 1), context.Canceled)
	requireContent(t, b, "a", "replaced")
	require.ElementsMatch(t, []string{"a", "b", "new/dir/mailbox.json"}, list(t, b, ""))
}

func testReplaceWhole(t *testing.T, b blob.Bucket) {
	versions := make([]string, 8)
	for i := range versions {
		versions[i] = strings.Repeat(fmt.Sprint(i), 40_000+i)
	}
	require.NoError(t, replace(t, b, "d/o", versions[0]))
	errs := make([]error, 2*len(versions))
	atOnce(2*len(versions), func(i int) {
		if i%2 == 0 {
			errs[i] = replace(t, b, "d/o", versions[i/2])
			return
		}
		for range 20 {
			r, info, err := b.Get(t.Context(), "d/o", 0, -1)
			if err != nil {
				errs[i] = err
				return
			}
			got, err := io.ReadAll(r)
			_ = r.Close()
			if err != nil || int64(len(got)) != info.SizeBytes || string(got) != versions[got[0]-'0'] {
				errs[i] = fmt.Errorf("not a version: %d bytes, %w", len(got), err)
			}
		}
	})
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.Len(t, list(t, b, ""), 1)
}

func testReader(t *testing.T, b blob.Bucket) {
	_, err := blob.NewReader(t.Context(), b, "none")
	require.ErrorIs(t, err, blob.ErrNotFound)
	put(t, b, "a/b", "0123456789")
	r, err := blob.NewReader(t.Context(), b, "a/b")
	require.NoError(t, err)
	defer func() { require.NoError(t, r.Close()) }()
	require.Equal(t, int64(10), r.Info().SizeBytes)
	for _, c := range []struct {
		offset int64
		whence int
		want   string
	}{{0, io.SeekStart, "0123456789"}, {4, io.SeekStart, "456789"}, {-2, io.SeekEnd, "89"}, {-10, io.SeekCurrent, "0123456789"}, {3, io.SeekCurrent, ""}} {
		_, err := r.Seek(c.offset, c.whence)
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		require.Equal(t, c.want, string(got))
	}
	_, err = r.Seek(-1, io.SeekStart)
	require.Error(t, err)
	_, err = r.Seek(0, io.SeekStart)
	require.NoError(t, err)
	require.NoError(t, b.Put(t.Context(), "copy", r, 10))
	requireContent(t, b, "copy", "0123456789")
}

func testVerifier(t *testing.T, b blob.Bucket) {
	v := blob.NewVerifier(b)
	for _, size := range []int64{0, 1, 1000, 256 << 10, 256<<10 + 1, 1 << 20} {
		key := fmt.Sprintf("v/%d", size)
		data := random(size)
		sum := sha256.Sum256(data)
		want := blob.Want{Key: key, SizeBytes: size, Digest: hex.EncodeToString(sum[:])}
		_, err := v.Open(t.Context(), want, 0, -1)
		require.ErrorIs(t, err, blob.ErrNotFound)
		require.NoError(t, b.Put(t.Context(), key, bytes.NewReader(data), size))
		for range 2 { // the second time it is remembered
			for _, r := range [][2]int64{{0, -1}, {0, 10}, {size / 2, 7}, {size, 1}} {
				got, err := v.Open(t.Context(), want, r[0], r[1])
				require.NoError(t, err)
				content, err := io.ReadAll(got)
				require.NoError(t, err)
				require.NoError(t, got.Close())
				end := size
				if r[1] >= 0 {
					end = min(size, r[0]+r[1])
				}
				require.True(t, bytes.Equal(data[r[0]:end], content))
			}
		}
		if size == 0 {
			continue
		}
		_, err = blob.NewVerifier(b).Open(t.Context(), blob.Want{Key: key, SizeBytes: size, Digest: strings.Repeat("0", 64)}, 0, 1)
		require.ErrorIs(t, err, blob.ErrDamaged, "another digest, though the first byte alone is asked for")
		_, err = v.Open(t.Context(), blob.Want{Key: key, SizeBytes: size + 1, Digest: want.Digest}, 0, 1)
		require.ErrorIs(t, err, blob.ErrDamaged, "another size")

		data[size-1] ^= 1
		replaceLater(t, b, key, string(data))
		_, err = v.Open(t.Context(), want, 0, 1)
		require.ErrorIs(t, err, blob.ErrDamaged, "altered after it was found to be good")
		require.NoError(t, replace(t, b, key, string(data[:size-1])))
		_, err = v.Open(t.Context(), want, 0, 1)
		require.ErrorIs(t, err, blob.ErrDamaged, "shortened")
	}
}

// replaceLater replaces until the backend's clock has moved on.
func replaceLater(t *testing.T, b blob.Bucket, key, content string) {
	t.Helper()
	before, err := b.Stat(t.Context(), key)
	require.NoError(t, err)
	for now := before; now.Modified.Equal(before.Modified); {
		require.NoError(t, replace(t, b, key, content))
		now, err = b.Stat(t.Context(), key)
		require.NoError(t, err)
	}
}

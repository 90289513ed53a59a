package crypt

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
)

const sample = "age-encryption.org/v1\n-> mairust 1 tenant key\n" + b43 + "\n-> X25519 " + b43 + "\n" + b43 + "\n--- " + b43 + "\n"

const b43 = "0123456789012345678901234567890123456789012"

func TestParseHeader(t *testing.T) {
	h, ours, err := parseHeader([]byte(sample + "payload"))
	require.NoError(t, err)
	require.True(t, ours)
	require.Equal(t, header{tenant: "tenant", key: "key", bytes: int64(len(sample)), covered: b43}, h)
	for _, plain := range []string{"", "Return-Path: <>\r\n", "{", "age-encryption.org/v2\n", "age-encryption.org/v1\n-> X25519 a\n"} {
		_, ours, err := parseHeader([]byte(plain))
		require.NoError(t, err)
		require.False(t, ours, "%q", plain)
	}
	for _, bad := range []string{
		sample[:10], sample[:40], sample[:len(sample)-1], strings.Replace(sample, "tenant key", "tenant", 1),
		strings.Replace(sample, "key\n", "key more\n", 1), strings.Replace(sample, "X25519", "scrypt", 1),
		strings.Replace(sample, b43+"\n", "\n", 1), strings.Replace(sample, "--- ", "-> 4", 1),
		strings.Replace(sample, "tenant", strings.Repeat("t", 2000), 1), strings.Replace(sample, " tenant", "  tenant", 1),
	} {
		_, ours, err := parseHeader([]byte(bad))
		require.True(t, ours, "%q", bad)
		require.ErrorIs(t, err, blob.ErrDamaged, "%q", bad)
	}
	_, ours, err = parseHeader([]byte(strings.Replace(sample, "mairust 1", "mairust 2", 1)))
	require.True(t, ours)
	require.ErrorContains(t, err, "newer version")
	require.NotErrorIs(t, err, blob.ErrDamaged)
}

func TestSizesMapBothWays(t *testing.T) {
	for _, size := range []int64{0, 1, 65_535, 65_536, 65_537, 1 << 30, 1<<40 + 7} {
		got, err := plainBytes(300, storedBytes(300, size))
		require.NoError(t, err)
		require.Equal(t, size, got)
	}
	for _, stored := range []int64{-1, 0, 300, 316, 331, 316 + 65_552 + 1, 316 + 65_552 + 16} {
		_, err := plainBytes(300, stored)
		require.ErrorIs(t, err, blob.ErrDamaged, "%d", stored)
	}
}

// FuzzHeader: any bytes are an object of ours, one that is not encrypted, or an error; never a panic, never a header that
// is longer than what there is.
func FuzzHeader(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(sample[:60]))
	f.Add([]byte("Return-Path: <a@b.test>\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		h, ours, err := parseHeader(b)
		if err != nil || !ours {
			require.Zero(t, h)
			return
		}
		require.LessOrEqual(t, h.bytes, int64(len(b)))
		require.Equal(t, byte('\n'), b[h.bytes-1])
		require.Equal(t, headerBytes(h.tenant, h.key), h.bytes)
		if size, err := plainBytes(h.bytes, int64(len(b))); err == nil {
			require.Equal(t, int64(len(b)), storedBytes(h.bytes, size))
		}
	})
}

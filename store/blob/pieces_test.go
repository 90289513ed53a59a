package blob_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
)

func TestADigestIsThatOfAllBytesHoweverTheyAreWritten(t *testing.T) {
	for _, size := range []int{0, 1, 1 << 20, 1<<20 + 1, 2 << 20, 3<<20 + 5} {
		data := make([]byte, size)
		_, _ = rand.Read(data)
		var pieces string
		for i, step := range []int{1 << 30, 1 << 20, 4096, 77_777} {
			d := blob.NewDigester()
			for rest := data; len(rest) > 0; {
				n := min(step, len(rest))
				_, _ = d.Write(rest[:n])
				rest = rest[n:]
			}
			require.Equal(t, sha256.Sum256(data), d.Sum(), "%d by %d", size, step)
			if i == 0 {
				pieces = d.Pieces()
			}
			require.Equal(t, pieces, d.Pieces(), "%d by %d", size, step)
			require.Equal(t, pieces, d.Pieces(), "asked again")
		}
		require.Equal(t, size > 1<<20, pieces != "", "%d", size)
	}
}

func TestARangeOfALongObjectIsComparedWithoutReadingAll(t *testing.T) {
	data := make([]byte, 5<<20+17)
	_, _ = rand.Read(data)
	want := wantOf("t/m/o", data)
	ranges := [][2]int64{{0, 10}, {1<<20 - 1, 2}, {1 << 20, 1 << 20}, {3 << 20, -1}, {5 << 20, 17}, {5<<20 + 16, 1}, {5<<20 + 17, -1}, {7, 4 << 20}}

	m := blob.NewMemory()
	counted := &counting{Bucket: m}
	require.NoError(t, m.Put(t.Context(), want.Key, bytes.NewReader(data), want.SizeBytes))
	for _, r := range ranges {
		counted.read = 0
		got, err := open(t, blob.NewVerifier(counted), want, r)
		require.NoError(t, err)
		end := want.SizeBytes
		if r[1] >= 0 {
			end = min(end, r[0]+r[1])
		}
		require.True(t, bytes.Equal(data[r[0]:end], got), "%v", r)
		require.LessOrEqual(t, counted.read, end-r[0]+2<<20, "%v", r)
	}

	bad := bytes.Clone(data)
	bad[3<<20+5] ^= 1
	require.NoError(t, m.Replace(t.Context(), want.Key, bytes.NewReader(bad), want.SizeBytes))
	got, err := open(t, blob.NewVerifier(m), want, [2]int64{2 << 20, 1 << 20})
	require.NoError(t, err, "another piece is as it was")
	require.True(t, bytes.Equal(data[2<<20:3<<20], got))
	got, err = open(t, blob.NewVerifier(m), want, [2]int64{2 << 20, 3 << 20})
	require.ErrorIs(t, err, blob.ErrDamaged)
	require.Len(t, got, 1<<20, "no byte of the altered piece is given out")
	require.NoError(t, m.Replace(t.Context(), want.Key, bytes.NewReader(data[:len(data)-1]), want.SizeBytes-1))
	_, err = open(t, blob.NewVerifier(m), want, ranges[0])
	require.ErrorIs(t, err, blob.ErrDamaged, "shortened")

	require.NoError(t, m.Replace(t.Context(), want.Key, bytes.NewReader(data), want.SizeBytes))
	for _, pieces := range []string{"", "not base64!", want.Pieces[:100], want.Pieces + "AAAA"} {
		want.Pieces = pieces
		got, err := open(t, blob.NewVerifier(m), want, ranges[1])
		require.NoError(t, err, "the whole is compared then")
		require.True(t, bytes.Equal(data[1<<20-1:1<<20+1], got))
	}
}

func TestABrokenConnectionIsNoDamage(t *testing.T) {
	for _, size := range []int{1000, 300 << 10, 3 << 20} {
		data := make([]byte, size)
		_, _ = rand.Read(data)
		want := wantOf("t/m/o", data)
		m := blob.NewMemory()
		require.NoError(t, m.Put(t.Context(), want.Key, bytes.NewReader(data), want.SizeBytes))
		for _, why := range []error{io.EOF, io.ErrUnexpectedEOF} {
			_, err := open(t, blob.NewVerifier(&breaking{m, fmt.Errorf("connection reset: %w", why)}), want, [2]int64{0, 900})
			require.ErrorContains(t, err, "connection reset")
			require.NotErrorIs(t, err, blob.ErrDamaged)
			_, err = open(t, blob.NewVerifier(&breaking{m, io.EOF}), want, [2]int64{0, 900})
			require.ErrorIs(t, err, blob.ErrDamaged, "it ended early")
		}
	}
}

// breaking gives half a piece, then an error.
type breaking struct {
	blob.Bucket
	err error
}

func (b *breaking) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	r, info, err := b.Bucket.Get(ctx, key, offset, n)
	if err != nil {
		return nil, info, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r, 500), failing{b.err}), r}, info, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// wantOf is what an object with these bytes is.
func wantOf(key string, data []byte) blob.Want {
	d := blob.NewDigester()
	_, _ = d.Write(data)
	sum := d.Sum()
	return blob.Want{Key: key, SizeBytes: int64(len(data)), Digest: hex.EncodeToString(sum[:]), Pieces: d.Pieces()}
}

func open(t *testing.T, v *blob.Verifier, want blob.Want, part [2]int64) ([]byte, error) {
	t.Helper()
	r, err := v.Open(t.Context(), want, part[0], part[1])
	if err != nil {
		return nil, err
	}
	defer func() { require.NoError(t, r.Close()) }()
	return io.ReadAll(r)
}

// counting counts what is read of a bucket.
type counting struct {
	blob.Bucket
	read int64
}

func (c *counting) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	r, info, err := c.Bucket.Get(ctx, key, offset, n)
	if err != nil {
		return nil, info, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.TeeReader(r, c), r}, info, nil
}

func (c *counting) Write(p []byte) (int, error) {
	c.read += int64(len(p))
	return len(p), nil
}

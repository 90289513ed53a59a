package s3_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/s3"
)

// withClient is a bucket, and other hands that reach into it.
func withClient(t *testing.T) (b *s3.Bucket, hands loop, prefix string) {
	t.Helper()
	o := optionsOf(labtest.MinIO(t))
	o.Prefix = "test-" + t.Name() + time.Now().Format("150405.000000000") + "/"
	return open(t, o), bareSDK(o), o.Prefix
}

// alter changes one byte of an object in the store, and leaves its metadata as it is.
func (l loop) alter(t *testing.T, name string, at int) {
	t.Helper()
	out, err := l.client.GetObject(t.Context(), &sdk.GetObjectInput{Bucket: &l.bucket, Key: &name})
	require.NoError(t, err)
	raw, err := io.ReadAll(out.Body)
	require.NoError(t, err)
	raw[at] ^= 1
	_, err = l.client.PutObject(t.Context(), &sdk.PutObjectInput{Bucket: &l.bucket, Key: &name, Body: bytes.NewReader(raw), Metadata: out.Metadata})
	require.NoError(t, err)
}

func wantOf(key string, data []byte) blob.Want {
	sum := sha256.Sum256(data)
	return blob.Want{Key: key, SizeBytes: int64(len(data)), Digest: hex.EncodeToString(sum[:])}
}

func readRange(t *testing.T, v *blob.Verifier, want blob.Want, offset, n int64) ([]byte, error) {
	t.Helper()
	r, err := v.Open(t.Context(), want, offset, n)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

func TestObjectWhoseListOfDigestsIsMissingIsCopiedIfItIsWhole(t *testing.T) {
	b, hands, prefix := withClient(t)
	data := content(41 << 20)
	putBytes(t, b, "a", data)
	_, err := hands.client.DeleteObject(t.Context(), &sdk.DeleteObjectInput{Bucket: &hands.bucket, Key: aws.String(prefix + ".sums/a")})
	require.NoError(t, err)
	require.NoError(t, b.Copy(t.Context(), "a", "b"))
	got, err := get(t, b, "b")
	require.NoError(t, err)
	require.True(t, bytes.Equal(data, got))

	hands.alter(t, prefix+"a", 3<<20)
	require.ErrorIs(t, b.Copy(t.Context(), "a", "c"), blob.ErrDamaged)
	_, err = b.Stat(t.Context(), "c")
	require.ErrorIs(t, err, blob.ErrNotFound)
}

func TestRangesAreGoodWhereTheObjectIs(t *testing.T) {
	b, hands, prefix := withClient(t)
	data := content(5<<20 + 9)
	putBytes(t, b, "a", data)
	hands.alter(t, prefix+"a", 3<<20)
	v := blob.NewVerifier(b)
	got, err := readRange(t, v, wantOf("a", data), 1<<20+5, 1000)
	require.NoError(t, err, "the damage is elsewhere")
	require.Equal(t, data[1<<20+5:1<<20+1005], got)
	_, err = readRange(t, v, wantOf("a", data), 3<<20+100, 1)
	require.ErrorIs(t, err, blob.ErrDamaged, "its chunk is damaged")
	require.ErrorIs(t, v.Check(t.Context(), wantOf("a", data)), blob.ErrDamaged)
	got, err = readRange(t, v, wantOf("a", data), 0, -1)
	require.ErrorIs(t, err, blob.ErrDamaged)
	require.True(t, bytes.Equal(data[:len(got)], got), "what came before is good")
}

func TestLongObjectsHaveTheirDigestsBeside(t *testing.T) {
	b, hands, prefix := withClient(t)
	data := content(45<<20 + 1)
	require.NoError(t, b.PutAll(t.Context(), []string{"t/a", "t/b"}, bytes.NewReader(data), int64(len(data))))
	require.NoError(t, b.Copy(t.Context(), "t/b", "t/c"))
	for _, key := range []string{"t/a", "t/b", "t/c"} {
		r, info, err := b.Get(t.Context(), key, 44<<20+3, 100)
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.Equal(t, data[44<<20+3:44<<20+103], got)
		require.Equal(t, wantOf(key, data).Digest, info.Digest, "what it gives was compared")
	}
	var keys []string
	for info, err := range b.List(t.Context(), "") {
		require.NoError(t, err)
		keys = append(keys, info.Key)
	}
	require.ElementsMatch(t, []string{"t/a", "t/b", "t/c"}, keys, "digests are no objects")

	hands.alter(t, prefix+".sums/t/a", 5)
	o := optionsOf(labtest.MinIO(t))
	o.Prefix = prefix
	b = open(t, o) // one that has not read them before
	_, info, err := b.Get(t.Context(), "t/a", 0, 10)
	require.NoError(t, err)
	require.Empty(t, info.Digest, "its digests cannot be believed")
	got, err := readRange(t, blob.NewVerifier(b), wantOf("t/a", data), 7, 10)
	require.NoError(t, err, "it is compared as a whole instead")
	require.Equal(t, data[7:17], got)

	require.NoError(t, b.Delete(t.Context(), "t/b"))
	n, err := b.Tidy(t.Context(), time.Now().Add(-time.Hour))
	require.NoError(t, err)
	require.Zero(t, n, "it may be one whose object is coming")
	n, err = b.Tidy(t.Context(), time.Now().Add(time.Hour))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	_, info, err = b.Get(t.Context(), "t/c", 0, 10)
	require.NoError(t, err)
	require.NotEmpty(t, info.Digest)
}

func TestDigestsOfALongObjectAreReadOnceForAllItsRanges(t *testing.T) {
	faulty, _, p := behindProxy(t, nil)
	data := content(41 << 20)
	putBytes(t, faulty, "t/a", data)
	p.Set(lab.Fault{Only: func(r *http.Request) bool {
		return r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/.sums/")
	}})
	for offset := range int64(5) {
		r, info, err := faulty.Get(t.Context(), "t/a", offset<<20+5, 10)
		require.NoError(t, err)
		require.NotEmpty(t, info.Digest)
		got, err := io.ReadAll(r)
		require.NoError(t, errors.Join(err, r.Close()))
		require.Equal(t, data[offset<<20+5:offset<<20+15], got)
	}
	require.Equal(t, 1, p.Hits())
}

func TestObjectThatOtherHandsPutBackIsRead(t *testing.T) {
	b, hands, prefix := withClient(t)
	for _, size := range []int{0, 10, 3<<20 + 1} {
		data := content(size)
		for key, meta := range map[string]map[string]string{
			"t/none": nil, "t/nonsense": {"mairust-sha256": "zz", "mairust-chunks": "?"}, "t/short": {"mairust-sha256": strings.Repeat("ab", 32), "mairust-chunks": "AAAA"},
		} {
			if key == "t/short" && size <= 1<<20 {
				continue // then its digest is understood, and another one
			}
			_, err := hands.client.PutObject(t.Context(), &sdk.PutObjectInput{
				Bucket: &hands.bucket, Key: aws.String(prefix + key), Body: bytes.NewReader(data), Metadata: meta,
			})
			require.NoError(t, err)
			got, err := get(t, b, key)
			require.NoError(t, err, key)
			require.True(t, bytes.Equal(data, got))
			got, err = readRange(t, blob.NewVerifier(b), wantOf(key, data), int64(size/2), 5)
			require.NoError(t, err)
			require.Equal(t, data[size/2:min(size, size/2+5)], got)
		}
	}
}

func TestOptionsThatCannotBe(t *testing.T) {
	good := s3.Options{Bucket: "mail", Region: "ap-northeast-1"}
	require.NoError(t, good.WithDefaults().Validate())
	for name, change := range map[string]func(*s3.Options){
		"bucket":                 func(o *s3.Options) { o.Bucket = "a/b" },
		"region":                 func(o *s3.Options) { o.Region = "" },
		"endpoint":               func(o *s3.Options) { o.Endpoint = "s3.example.com" },
		"prefix":                 func(o *s3.Options) { o.Prefix = "../mail/" },
		"access_key_id":          func(o *s3.Options) { o.AccessKeyID = "AKIA" },
		"multipart_threshold_mb": func(o *s3.Options) { o.MultipartThresholdMB = 129 },
		"kms_key_id":             func(o *s3.Options) { o.KMSKeyID = "key" },
		"attempts":               func(o *s3.Options) { o.Attempts = -1 },
	} {
		o := good
		change(&o)
		require.ErrorContains(t, o.WithDefaults().Validate(), name)
	}
}

package s3_test

import (
	"cmp"
	"crypto/rand"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/blobtest"
	"github.com/mairust/mairust/store/blob/s3"
)

// endpoint is the server of these tests: the one that the environment names (docs/s3.md), else a MinIO.
func endpoint(t testing.TB) s3.Options {
	t.Helper()
	env := func(name string) string { return os.Getenv("MAIRUST_S3_TEST_" + name) }
	if env("BUCKET") != "" {
		return s3.Options{
			Bucket: env("BUCKET"), Region: env("REGION"), Endpoint: env("ENDPOINT"), PathStyle: env("PATH_STYLE") == "true",
			AccessKeyID: env("ACCESS_KEY_ID"), SecretAccessKey: env("SECRET_ACCESS_KEY"),
			Encryption: env("ENCRYPTION"), KMSKeyID: env("KMS_KEY_ID"), Checksums: env("CHECKSUMS"),
		}
	}
	return optionsOf(labtest.MinIO(t))
}

func optionsOf(m *lab.MinIO) s3.Options {
	return s3.Options{Bucket: m.Bucket, Endpoint: m.URL(), PathStyle: true, AccessKeyID: m.User, SecretAccessKey: m.Password}
}

// open opens what lies below a prefix of its own, and removes it in the end.
func open(t testing.TB, o s3.Options) *s3.Bucket {
	t.Helper()
	o.Prefix = cmp.Or(o.Prefix, "test-"+rand.Text()+"/")
	b, err := s3.New(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.Close()) })
	return b
}

func TestS3(t *testing.T) {
	o := endpoint(t)
	blobtest.Run(t, func(t *testing.T) blob.Bucket { return open(t, o) })
}

func TestS3InSmallParts(t *testing.T) {
	o := endpoint(t)
	o.MultipartThresholdMB, o.MultipartChunkMB = 1, 5
	blobtest.Run(t, func(t *testing.T) blob.Bucket { return open(t, o) })
}

func TestS3WithKMS(t *testing.T) {
	o := endpoint(t)
	if os.Getenv("MAIRUST_S3_TEST_BUCKET") == "" {
		o.KMSKeyID = labtest.MinIO(t).KMSKey
	} else if o.KMSKeyID == "" {
		t.Skip("SKIPPED: MAIRUST_S3_TEST_KMS_KEY_ID names no key of this server")
	}
	o.Encryption, o.Checksums = s3.SSEKMS, s3.ChecksumsCRC32
	blobtest.Run(t, func(t *testing.T) blob.Bucket { return open(t, o) })
}

func TestS3WithoutEncryptionAndChecksums(t *testing.T) {
	o := endpoint(t)
	o.Encryption, o.KMSKeyID, o.Checksums = s3.None, "", s3.ChecksumsOff
	blobtest.Run(t, func(t *testing.T) blob.Bucket { return open(t, o) })
}

func put(t testing.TB, b blob.Bucket, key, content string) {
	t.Helper()
	require.NoError(t, b.Put(t.Context(), key, strings.NewReader(content), int64(len(content))))
}

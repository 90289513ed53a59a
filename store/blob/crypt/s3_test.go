package crypt_test

import (
	"crypto/rand"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/blobtest"
	"github.com/mairust/mairust/store/blob/s3"
)

func TestEncryptedS3(t *testing.T) {
	m := labtest.MinIO(t)
	blobtest.Run(t, func(t *testing.T) blob.Bucket {
		b, err := s3.New(t.Context(), s3.Options{
			Bucket: m.Bucket, Endpoint: m.URL(), PathStyle: true, AccessKeyID: m.User, SecretAccessKey: m.Password,
			Prefix: "crypt-" + rand.Text() + "/", MultipartThresholdMB: 1, MultipartChunkMB: 5,
		})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, b.Close()) })
		return withoutKeys{newRig(t, b).Bucket}
	})
}

package config_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/config"
)

func TestStorageInS3WithTheFilesBefore(t *testing.T) {
	t.Setenv("S3_SECRET", "not to be seen")
	c, _, err := config.Load(write(t, `
data_dir: /srv/mairust
storage:
  backend: s3
  options:
    bucket: mail
    region: ap-northeast-1
    access_key_id: AKIA
    secret_access_key: env:S3_SECRET
    multipart_chunk_mb: 16
  previous:
    backend: fs
`))
	require.NoError(t, err)
	require.Equal(t, "not to be seen", c.Storage.Options.S3.SecretAccessKey)
	require.Equal(t, int64(16), c.Storage.Options.S3.MultipartChunkMB)
	require.Equal(t, int64(8), c.Storage.Options.S3.MultipartThresholdMB)
	require.Equal(t, "sse-s3", c.Storage.Options.S3.Encryption)
	require.Equal(t, "none", c.Storage.Previous.Options.Encryption)
	require.Empty(t, c.Storage.Options.BasePath)
	require.Equal(t, "/srv/mairust/mail", c.Storage.Previous.Options.BasePath)
	require.Equal(t, []string{"/srv/mairust/mail"}, c.BasePaths())
	require.NotContains(t, c.String(), "not to be seen")
}

func TestPreviousStorageInS3HidesItsSecretToo(t *testing.T) {
	t.Setenv("S3_SECRET", "not to be seen")
	c, _, err := config.Load(write(t, `
storage:
  previous:
    backend: s3
    options: {bucket: mail, endpoint: "https://s3.example.com", access_key_id: AKIA, secret_access_key: env:S3_SECRET}
`))
	require.NoError(t, err)
	require.Equal(t, "not to be seen", c.Storage.Previous.Options.S3.SecretAccessKey)
	require.Equal(t, int64(8), c.Storage.Previous.Options.S3.MultipartChunkMB)
	require.NotContains(t, c.String(), "not to be seen")
}

package config_test

import (
	"fmt"
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

// The sweep takes what is in a store and not in the index for nobody's.
func TestNothingOfOursLiesInTheFolderOfTheMail(t *testing.T) {
	for text, inside := range map[string]string{
		"data_dir: /srv/mairust\nstorage: {options: {base_path: /srv/mairust}}\n":                                                        "data_dir",
		"data_dir: /srv/mail/state\nstorage: {options: {base_path: /srv/mail}}\n":                                                        "data_dir",
		"database: {path: /srv/mail/x.db}\nstorage: {options: {base_path: /srv/mail}}\n":                                                 "database.path",
		"secrets: {keyring: 'file:/srv/mail/keyring'}\nstorage: {options: {base_path: /srv/mail}}\n":                                     "secrets.keyring",
		"storage: {options: {base_path: /srv/mail}, encryption: {operator_identity: 'file:/srv/mail/operator.key'}}\n":                   "storage.encryption.operator_identity",
		"database: {path: /old/x.db}\nstorage: {options: {base_path: /srv/mail}, previous: {backend: fs, options: {base_path: /old}}}\n": "database.path",
	} {
		_, _, err := config.Load(write(t, text))
		require.ErrorContains(t, err, "`"+inside+"` is inside this folder", text)
	}
	_, _, err := config.Load(write(t, "data_dir: /srv/mairust\nstorage: {options: {base_path: /srv/mairust/mail}}\n"))
	require.NoError(t, err)
}

// So no store may lie inside another.
func TestPreviousStorageInsideStorage(t *testing.T) {
	const (
		s3Text = "storage:\n  backend: s3\n  options: {region: r, bucket: mail%s}\n  previous:\n    backend: s3\n    options: {region: r, bucket: %s}\n"
		fsText = "storage:\n  options: {base_path: %s}\n  previous:\n    backend: fs\n    options: {base_path: %s}\n"
	)
	for _, refused := range []string{
		fmt.Sprintf(s3Text, ", prefix: v2/", "mail"),
		fmt.Sprintf(s3Text, "", "mail, prefix: v1/"),
		fmt.Sprintf(s3Text, ", prefix: a/b/", "mail, prefix: a/, request_timeout: 9s"),
		fmt.Sprintf(s3Text, ", endpoint: 'https://s3.example.com'", "mail, prefix: v1/, endpoint: 'https://S3.example.com:443/'"),
		fmt.Sprintf(s3Text, "", "mail, prefix: v1/, endpoint: 'https://s3.eu-west-1.amazonaws.com'"),
		fmt.Sprintf(fsText, "/srv/mail", "/srv/mail/old"),
		fmt.Sprintf(fsText, "/srv/mail/new", "/srv//mail/"),
		fmt.Sprintf(fsText, "/srv/mail", "/srv/x/../mail"),
		fmt.Sprintf(fsText, "/srv/mail, encryption: client", "/srv/mail"),
	} {
		_, _, err := config.Load(write(t, refused))
		require.ErrorContains(t, err, "storage.previous: is the same", refused)
	}
	for _, taken := range []string{
		fmt.Sprintf(s3Text, ", prefix: v2/", "mail, prefix: v1/"),
		fmt.Sprintf(s3Text, ", prefix: v2/", "old"),
		fmt.Sprintf(s3Text, ", endpoint: 'https://a.example.com'", "mail, endpoint: 'https://b.example.com'"),
		fmt.Sprintf(fsText, "/srv/mail2", "/srv/mail"),
		fmt.Sprintf(fsText, "/srv/..mail", "/srv/mail"),
	} {
		_, _, err := config.Load(write(t, taken))
		require.NoError(t, err, taken)
	}
}

package config_test

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/config"
)

const postgres = "database:\n  backend: postgres\n  url: "

func TestSecretsComeFromTheFileTheEnvironmentOrAFile(t *testing.T) {
	const want = "postgres://mairust:hunter2@db/mairust"
	t.Setenv("MAIRUST_TEST_URL", want)
	path := filepath.Join(t.TempDir(), "url")
	require.NoError(t, os.WriteFile(path, []byte(want+"\n"), 0o600))
	for name, ref := range map[string]string{"literal": want, "env": "env:MAIRUST_TEST_URL", "file": "file:" + path} {
		t.Run(name, func(t *testing.T) {
			c, _, err := config.Load(write(t, postgres+ref+"\n"))
			require.NoError(t, err)
			require.Equal(t, want, c.Database.URL)
		})
	}
}

func TestSecretsThatCannotBeTaken(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("MAIRUST_TEST_EMPTY", "")
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
		return "file:" + path
	}
	for _, row := range []struct{ name, ref, want string }{
		{"not set", "env:MAIRUST_TEST_NOT_SET", `the environment variable "MAIRUST_TEST_NOT_SET" is not set`},
		{"set to nothing", "env:MAIRUST_TEST_EMPTY", `"env:MAIRUST_TEST_EMPTY" is empty`},
		{"no file", "file:" + dir + "/none", "secret file: " + dir + "/none does not exist"},
		{"a folder", "file:" + dir, "is not a regular file"},
		{"only a newline", file("newline", "\n"), "is empty"},
		{"two lines", file("lines", "hunter2\nhunter3\n"), "has more than one line"},
		{"too large", file("large", string(make([]byte, 70_000))), "is larger than 65536 bytes"},
	} {
		t.Run(row.name, func(t *testing.T) {
			_, _, err := config.Load(write(t, postgres+row.ref+"\n"))
			require.ErrorContains(t, err, row.want)
			require.NotContains(t, err.Error(), "hunter")
		})
	}
}

func TestAPrintedConfigShowsNoSecret(t *testing.T) {
	c, _, err := config.Load(write(t, postgres+"postgres://mairust:hunter2@db/mairust\n"))
	require.NoError(t, err)
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("loaded", "config", c)
	for _, text := range []string{c.String(), fmt.Sprint(c), fmt.Sprintf("%v %+v %s %q", c, c, c, c), log.String()} {
		require.NotContains(t, text, "hunter2")
		require.Contains(t, text, "(secret)")
	}
}

func TestKeysOfAnObjectStoreAreReadAgainFromTheirFiles(t *testing.T) {
	dir := t.TempDir()
	id, secret := filepath.Join(dir, "id"), filepath.Join(dir, "secret")
	keep := func(path, content string) { require.NoError(t, os.WriteFile(path, []byte(content), 0o600)) }
	keep(id, "one\n")
	keep(secret, "first\n")
	options := fmt.Sprintf("{bucket: mail, region: r, access_key_id: 'file:%s', secret_access_key: 'file:%s'}", id, secret)
	c, _, err := config.Load(write(t, "storage:\n  previous: {backend: s3, options: "+options+"}\n"))
	require.NoError(t, err)
	o := c.Storage.Previous.Options.S3
	require.Equal(t, "first", o.SecretAccessKey)
	keep(id, "two\n")
	keep(secret, "second\n")
	nowID, nowSecret, err := o.Keys()
	require.NoError(t, err)
	require.Equal(t, []string{"two", "second"}, []string{nowID, nowSecret})
	require.NoError(t, os.Remove(secret))
	_, _, err = o.Keys()
	require.ErrorContains(t, err, "does not exist")
	require.Nil(t, c.Storage.Options.S3.Keys, "it has none")
}

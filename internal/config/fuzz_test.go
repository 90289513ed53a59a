package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/config"
)

// FuzzLoad: no file makes Load panic, what it accepts passes Check, and no secret is ever in an error or in a
// printed configuration.
func FuzzLoad(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	require.NoError(f, err)
	for _, file := range files {
		data, err := os.ReadFile(file)
		require.NoError(f, err)
		f.Add(data)
	}
	var defaults strings.Builder
	require.NoError(f, config.Defaults(&defaults))
	f.Add([]byte(defaults.String()))
	f.Add([]byte("database: {backend: postgres, url: 'env:MAIRUST_FUZZ_SECRET'}"))
	f.Add([]byte("database:\n  url: env:MAIRUST_FUZZ_SECRET\n"))

	const inEnvironment, inFile = "Zk93qXenvironment", "Zk93qXfile"
	path := filepath.Join(f.TempDir(), "config.yaml")
	f.Fuzz(func(t *testing.T, data []byte) {
		t.Setenv("MAIRUST_FUZZ_SECRET", inEnvironment)
		load := func(data []byte) {
			require.NoError(t, os.WriteFile(path, data, 0o600))
			c, src, err := config.Load(path)
			if err != nil {
				require.NotContains(t, err.Error(), inEnvironment)
				require.NotContains(t, err.Error(), inFile)
				return
			}
			require.NoError(t, c.Check(src))
			require.NotContains(t, c.String(), inEnvironment)
			require.NotContains(t, c.String(), inFile)
		}
		load(data)
		load([]byte("database:\n  backend: postgres\n  url: \"" + inFile + "\"\n" + string(data)))
	})
}

package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/require"
)

// write puts text into a configuration file of its own and returns its path.
func write(t testing.TB, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config.yaml")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// keyOrItem matches what Defaults comments out, apart from its prose.
var keyOrItem = regexp.MustCompile(`(?m)^([a-z_]+:( |$)|  - )`)

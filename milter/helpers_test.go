package milter_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/require"
)

// release lets all held messages go.
func release(ctx context.Context, confDir string) error {
	if out, err := exec.CommandContext(ctx, "postsuper", "-c", confDir, "-H", "ALL").CombinedOutput(); err != nil {
		return fmt.Errorf("postsuper: %w: %s", err, out)
	}
	if out, err := exec.CommandContext(ctx, "postqueue", "-c", confDir, "-f").CombinedOutput(); err != nil {
		return fmt.Errorf("postqueue: %w: %s", err, out)
	}
	return nil
}

// breakSpool makes a directory that takes no files.
func breakSpool(t *testing.T, dir string) {
	t.Helper()
	require.NoError(t, os.Remove(dir))
}

package main

import (
	"bytes"
	"log/slog"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRootIsWarnedOfADataDirectoryOfAnotherUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("SKIPPED: needs root")
	}
	var b bytes.Buffer
	log := slog.New(slog.NewTextHandler(&b, nil))
	dir := t.TempDir()
	warnOfOwner(dir, log)
	warnOfOwner(dir+"/none", log)
	require.Empty(t, b.String())
	require.NoError(t, os.Chown(dir, int(nobody(t).Uid), -1))
	warnOfOwner(dir, log)
	require.Contains(t, b.String(), "runuser -u nobody -- mairust")
	require.Contains(t, b.String(), dir)
}

package main

import (
	"cmp"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// buildMutant builds mairust with a tag that leaves a flush out, or as it is without one, and without the race detector. The flags are
// those with which the dependencies have been compiled already, since that takes minutes: make's for the release, or this test's own.
func buildMutant(t *testing.T, tag string) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), cmp.Or(tag, "mairust"))
	cmd := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-tags", tag, "-o", program)
	cmd.Env = os.Environ()
	if tortureProgram() != "" || isRaceTest() {
		cmd.Args = append(cmd.Args, "-trimpath")
		cmd.Env = append(cmd.Env, "CGO_ENABLED=0")
	}
	cmd.Args = append(cmd.Args, ".")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return program
}

// isRaceTest says whether this test was built with the race detector.
func isRaceTest() bool {
	info, ok := debug.ReadBuildInfo()
	return ok && slices.ContainsFunc(info.Settings, func(s debug.BuildSetting) bool { return s.Key == "-race" && s.Value == "true" })
}

// appendLine adds a line to a file, and flushes it.
func appendLine(t *testing.T, path, line string) {
	t.Helper()
	f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
	require.NoError(t, err)
	_, err = f.WriteString(line + "\n")
	require.NoError(t, errors.Join(err, f.Sync(), f.Close()))
}

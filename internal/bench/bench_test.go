package main

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestMain(m *testing.M) {
	beFlushingSink()
	beBusy()
	os.Exit(m.Run())
}

// program builds the daemon as `make build` does.
func program(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "mairust")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", path, "../../cmd/mairust")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return path
}

// The harness must not rot: each part runs for a moment, on directories.
func TestEveryPartMeasures(t *testing.T) {
	document := filepath.Join(t.TempDir(), "figures.md")
	require.NoError(t, os.WriteFile(document, []byte("# Figures\n<!-- bench:delivery -->\nold\n<!-- end -->\nafter\n"), 0o600))
	o := parse([]string{"-seconds", "1", "-repeat", "1", "-loads", "4 KB, 32 kept|queue|messages in", "-servers", "flushing|dovecot|sqlite|computing|in memory", "-disk", "0",
		"-messages", "100", "-mailboxes", "10,60", "-mairust", program(t), "-out", document})
	var out, progress bytes.Buffer
	require.NoError(t, run(t.Context(), o, &out, &progress), "%s", &progress)

	written, err := os.ReadFile(document)
	require.NoError(t, err)
	text := string(written)
	assert.NotContains(t, text, "old")
	assert.Contains(t, text, "after\n")
	rows := map[string]int{"4 KB, 32 kept connections": 2, "| a full queue is emptied  ": 4, "| a full queue is emptied, apart": 6, "100 messages in": 3}
	if os.Geteuid() != 0 {
		rows = map[string]int{"4 KB, 32 kept connections": 1, "100 messages in": 3} // no Dovecot, no Postfix
		assert.Contains(t, progress.String(), "LEFT OUT")
	}
	for row, n := range rows {
		assert.Equal(t, n, strings.Count(text, row), "%s\n%s\n%s", row, text, &progress)
		assert.Equal(t, n, strings.Count(out.String(), row))
	}
	assert.NotContains(t, text, "NaN")
}

func TestEveryFreshFileSystemIsEmptyAndLeavesNothing(t *testing.T) {
	needLoop(t)
	d, err := newDisk(t.Context(), 64)
	require.NoError(t, err)
	var first string
	b := &bench{disk: d}
	for range 2 {
		require.NoError(t, b.onFreshDisk(t.Context(), func(dir string) error {
			list, err := filepath.Glob(filepath.Join(dir, "*"))
			require.NoError(t, err)
			require.Equal(t, []string{filepath.Join(dir, "lost+found")}, list)
			require.NotEqual(t, first, dir)
			first = dir
			return os.WriteFile(filepath.Join(dir, "mail"), nil, 0o600)
		}))
	}
	require.NoError(t, d.Close())
	require.NoDirExists(t, d.dir)
}

// needLoop skips loudly without the right to mount, which is a failure in CI, and without loop devices.
func needLoop(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 || exec.CommandContext(t.Context(), "unshare", "--mount", "true").Run() != nil {
		require.NotEqual(t, "true", os.Getenv("CI"), "this test mounts file systems: CI must run it as root")
		t.Skip("SKIPPED: this test mounts file systems and needs root")
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("SKIPPED: no loop devices")
	}
}

func TestMedianIsThatOfEachFigure(t *testing.T) {
	got := median([]figures{{rate: 1, cpu: 30, p99: 5}, {rate: 3, cpu: 10, p99: 4}, {rate: 2, cpu: 20, p99: 9}})
	require.Equal(t, figures{rate: 2, cpu: 20, p99: 5}, got)
	require.Equal(t, figures{}, median(nil))
}

func TestGoalsSayWhetherTheyAreMet(t *testing.T) {
	g := goal{rate: 3, best: 5, cpu: 0.25, p99: 0.25}
	require.Equal(t, "≥ 3× met, ≥ 5× **missed**, CPU ≤ 0.25 met, p99 ≤ 0.25 **missed**", g.judge(4, 0.25, 0.3))
}

func TestCPUTimeIsCountedWithThatOfChildrenThatEnded(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `(i=0; while [ $i -lt 150000 ]; do i=$((i+1)); done); echo done; read -r word`)
	stdin, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	_, err = bufio.NewReader(stdout).ReadString('\n')
	require.NoError(t, err)
	used, err := treeCPU(cmd.Process.Pid)
	require.NoError(t, err)
	require.Greater(t, used, 20*time.Millisecond, "the subshell has ended")
	require.NoError(t, stdin.Close())
	_ = cmd.Wait() // read fails at the end of the file
	_, err = treeCPU(cmd.Process.Pid)
	require.Error(t, err)
}

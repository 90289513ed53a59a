package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestDemoTakesNoDirectoryThatOthersPrepared has traps as another user could lay them for root.
func TestDemoTakesNoDirectoryThatOthersPrepared(t *testing.T) {
	for name, lay := range map[string]func(t *testing.T, dir, victim string){
		"a link to a directory": func(t *testing.T, dir, _ string) {
			target := t.TempDir()
			require.NoError(t, os.WriteFile(filepath.Join(target, demoMarker), nil, 0o600))
			require.NoError(t, os.Symlink(target, dir))
		},
		"a directory that others can write": func(t *testing.T, dir, victim string) {
			layDemo(t, dir, victim)
			require.NoError(t, os.Chmod(dir, 0o777))
		},
		"the directory of another user": func(t *testing.T, dir, victim string) {
			if os.Geteuid() != 0 {
				t.Skip("SKIPPED: only root can give a directory away")
			}
			layDemo(t, dir, victim)
			require.NoError(t, os.Chown(dir, int(nobody(t).Uid), -1))
		},
		"a marker that is a link": func(t *testing.T, dir, victim string) {
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, os.Symlink(victim, filepath.Join(dir, demoMarker)))
		},
		"a marker that others can write": func(t *testing.T, dir, victim string) {
			layDemo(t, dir, victim)
			require.NoError(t, os.Chmod(filepath.Join(dir, demoMarker), 0o666))
		},
		"a file": func(t *testing.T, dir, _ string) {
			require.NoError(t, os.WriteFile(dir, nil, 0o600))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir, victim := filepath.Join(t.TempDir(), "demo"), filepath.Join(t.TempDir(), "victim")
			require.NoError(t, os.WriteFile(victim, []byte("precious"), 0o600))
			lay(t, dir, victim)
			_, err := openDemoDir(dir)
			require.Error(t, err)
			require.Error(t, resetDemo(dir, os.Stderr))
			content, err := os.ReadFile(victim)
			require.NoError(t, err)
			require.Equal(t, "precious", string(content))
			_, err = os.Lstat(dir)
			require.NoError(t, err, "nothing was removed")
		})
	}
}

// layDemo makes what looks like an earlier demo, with links where the demo writes.
func layDemo(t *testing.T, dir, victim string) {
	t.Helper()
	require.NoError(t, os.Mkdir(dir, 0o700))
	require.NoError(t, os.WriteFile(filepath.Join(dir, demoMarker), nil, 0o600))
	for _, name := range []string{demoConfig, demoConfig + ".new", demoLog} {
		require.NoError(t, os.Symlink(victim, filepath.Join(dir, name)))
	}
}

func TestDemoNeverWritesThroughALink(t *testing.T) {
	dir, outside := filepath.Join(t.TempDir(), "demo"), t.TempDir()
	victim := filepath.Join(outside, "victim")
	require.NoError(t, os.WriteFile(victim, []byte("precious"), 0o600))
	layDemo(t, dir, victim)
	require.NoError(t, os.Symlink(outside, filepath.Join(dir, "mail")))

	d, err := openDemoDir(dir)
	require.NoError(t, err, "it is our own")
	defer d.Close()
	require.NoError(t, d.write(demoConfig, []byte("new")))
	content, err := os.ReadFile(d.configFile())
	require.NoError(t, err)
	require.Equal(t, "new", string(content))
	require.Error(t, d.write("mail/victim", []byte("new")))
	_, err = d.root.OpenFile(demoLog, os.O_APPEND|os.O_WRONLY, 0o600)
	require.Error(t, err)
	content, err = os.ReadFile(victim)
	require.NoError(t, err)
	require.Equal(t, "precious", string(content))
}

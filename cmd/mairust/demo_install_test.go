package main

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireForbidden asks a policy as invoke-rc.d does.
func requireForbidden(t *testing.T, policy string) {
	t.Helper()
	exit, ok := errors.AsType[*exec.ExitError](exec.CommandContext(t.Context(), policy, "postfix", "start").Run())
	require.True(t, ok)
	require.Equal(t, 101, exit.ExitCode())
}

func TestServicesAreForbiddenWhileThePackageIsInstalled(t *testing.T) {
	policy := filepath.Join(t.TempDir(), "policy-rc.d")
	f, err := forbidServices(t.Context(), policy)
	require.NoError(t, err)
	requireForbidden(t, policy)
	_, err = forbidServices(t.Context(), policy)
	require.ErrorIs(t, err, errInstalling, "it would be taken away from under the other")
	out := &bytes.Buffer{}
	require.NoError(t, clearPolicy(policy, demoPrinter{out}))
	requireForbidden(t, policy)
	require.Empty(t, out.String())
	require.NoError(t, f.end())
	_, err = os.Stat(policy)
	require.ErrorIs(t, err, fs.ErrNotExist)
}

func TestPolicyOfTheMachineStaysAndIsAsked(t *testing.T) {
	for script, may := range map[string]bool{
		"exit 101": true,
		"exit 0":   false,
		"exit 104": false,
		"exit 100": false,
		"test \"$1\" = postfix && exit 101; exit 0": false,
		"test \"$2\" = start && exit 101; exit 0":   true,
		"kill $$": false,
	} {
		t.Run(script, func(t *testing.T) {
			policy := filepath.Join(t.TempDir(), "policy-rc.d")
			text := "#!/bin/sh\n" + script + "\n"
			require.NoError(t, os.WriteFile(policy, []byte(text), 0o755))
			f, err := forbidServices(t.Context(), policy)
			if may {
				require.NoError(t, err)
				require.NoError(t, f.end())
			} else {
				require.ErrorContains(t, err, "would let it start")
			}
			require.NoError(t, clearPolicy(policy, demoPrinter{&bytes.Buffer{}}))
			after, err := os.ReadFile(policy)
			require.NoError(t, err)
			require.Equal(t, text, string(after))
		})
	}
	policy := filepath.Join(t.TempDir(), "policy-rc.d")
	require.NoError(t, os.WriteFile(policy, []byte("#!/bin/sh\nexit 101\n"), 0o644))
	_, err := forbidServices(t.Context(), policy)
	require.ErrorContains(t, err, "would let it start", "nobody asks a file that is no program")
}

func TestPolicyOfADemoThatWasKilledIsTakenAway(t *testing.T) {
	if os.Geteuid() != 0 && os.Getenv("CI") != "true" {
		t.Skip("SKIPPED: only root installs")
	}
	policy := filepath.Join(t.TempDir(), "policy-rc.d")
	f, err := forbidServices(t.Context(), policy)
	require.NoError(t, err)
	read, write, err := os.Pipe()
	require.NoError(t, err)
	apt := exec.CommandContext(t.Context(), "cat") // which goes on
	apt.Stdin, apt.ExtraFiles = read, []*os.File{f.lock}
	require.NoError(t, apt.Start())
	require.NoError(t, errors.Join(f.lock.Close(), read.Close())) // as the end of the process does

	out := &bytes.Buffer{}
	require.NoError(t, clearPolicy(policy, demoPrinter{out}))
	requireForbidden(t, policy)
	require.NoError(t, write.Close())
	require.NoError(t, apt.Wait())

	f, err = forbidServices(t.Context(), policy)
	require.NoError(t, err, "the next one installs")
	require.NoError(t, f.lock.Close())
	require.NoError(t, clearPolicy(policy, demoPrinter{out}))
	_, err = os.Stat(policy)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.Contains(t, out.String(), "is removed")
	require.Contains(t, out.String(), "disable")
	require.NoError(t, clearPolicy(policy, demoPrinter{out}))
}

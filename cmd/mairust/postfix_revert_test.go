package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
)

func TestRevertAfterOthersChangedTheFilesTakesOnlyOursOut(t *testing.T) {
	t.Parallel()
	a := adopt(t, lab.PostfixOptions{ExtraMain: map[string]string{"smtpd_milters": "{ inet:127.0.0.1:11332, default_action=accept }"}}, nil, "bob")
	a.apply(t)
	main := a.read(t, "main.cf")
	main = strings.Replace(main, "smtpd_milters = ", "smtpd_milters = { inet:127.0.0.1:9999, default_action=accept }, ", 1) + "# by hand\ndelay_warning_time = 4h\n"
	require.NoError(t, os.WriteFile(filepath.Join(a.postfix.ConfDir(), "main.cf"), []byte(main), 0o644))
	out := a.mairust(t, "revert", "--yes")
	require.Contains(t, out, "main.cf was changed by others since")
	require.Contains(t, out, "MaiRust's settings are out")
	want := strings.Replace(a.main, "smtpd_milters = ", "smtpd_milters = { inet:127.0.0.1:9999, default_action=accept }, ", 1) + "# by hand\ndelay_warning_time = 4h\n"
	require.Equal(t, want, a.read(t, "main.cf"))
	require.Equal(t, a.master, a.read(t, "master.cf"))
	backups, err := filepath.Glob(filepath.Join(a.postfix.ConfDir(), "mairust", "backup-*", "main.cf"))
	require.NoError(t, err)
	require.Len(t, backups, 1)
	text, err := os.ReadFile(backups[0])
	require.NoError(t, err)
	require.Equal(t, a.main, string(text))
}

func TestRevertThatLeavesTablesFails(t *testing.T) {
	t.Parallel()
	a := adopt(t, lab.PostfixOptions{}, nil, "bob")
	a.apply(t, "--mode", "copy")
	path := filepath.Join(a.postfix.ConfDir(), "main.cf")
	own := "sender_bcc_maps = regexp:$config_directory/mairust/copy_to.regexp\n"
	require.NoError(t, os.WriteFile(path, []byte(a.read(t, "main.cf")+own), 0o644))
	out, err := a.try(t, "", "revert", "--yes")
	require.Error(t, err)
	require.Contains(t, out, "still names what is MaiRust's: sender_bcc_maps")
	require.Contains(t, out, "Partly reverted")
	require.Contains(t, out, "Postfix was reloaded")
	require.NotContains(t, out, "mairust: failed")

	require.NoError(t, os.WriteFile(path, []byte(strings.Replace(a.read(t, "main.cf"), own, "", 1)), 0o644))
	require.Contains(t, a.mairust(t, "revert", "--yes"), "Reverted: ")
	require.NoFileExists(t, filepath.Join(a.postfix.ConfDir(), "mairust", "copy_to.regexp"))
}

func TestWhatWasNotReloadedIsReloadedByTheNextApply(t *testing.T) {
	t.Parallel()
	a := adopt(t, lab.PostfixOptions{VirtualMailboxMaps: "inline:{{old@example.test=x}}"}, nil, "bob")
	require.Contains(t, a.mairust(t, "apply", "--yes", "--no-reload"), "what was written holds after: postfix reload")
	out := a.mairust(t, "apply", "--yes", "--no-reload")
	require.Contains(t, out, "Nothing to do")
	require.Contains(t, out, "what was written holds after: postfix reload")
	require.NotContains(t, a.mairust(t, "apply", "--dry-run"), "reloaded")
	require.Contains(t, a.mairust(t, "apply", "--yes"), "Postfix was reloaded")
	out = a.mairust(t, "apply", "--yes")
	require.Contains(t, out, "Nothing to do")
	require.NotContains(t, out, "reloaded", "once is enough")
	a.flows(t, "example.test")
	a.mairust(t, "revert", "--yes", "--no-reload")
	require.Contains(t, a.mairust(t, "revert", "--yes"), "If Postfix was not reloaded since the last revert: postfix reload")
}

func TestApplyAsksAndTakesNoForAnAnswer(t *testing.T) {
	t.Parallel()
	a := adopt(t, lab.PostfixOptions{}, nil, "bob")
	out, err := a.try(t, "accept\nn\n", "apply")
	require.Error(t, err)
	require.Contains(t, out, "default_action=accept }")
	require.Contains(t, out, "nothing was written")
	out, err = a.try(t, "", "apply")
	require.Error(t, err, "the end of input is a no")
	require.Contains(t, out, "default_action=tempfail }")
	out, err = a.try(t, "", "apply", "--dry-run")
	require.NoError(t, err, out)
	require.Contains(t, out, "Nothing was written (--dry-run)")
	require.Equal(t, a.main, a.read(t, "main.cf"))
	require.NoDirExists(t, filepath.Join(a.postfix.ConfDir(), "mairust"))
	out, err = a.try(t, "\ny\ny\n", "apply")
	require.NoError(t, err, out)
	a.flows(t, "example.test")
	out, err = a.try(t, "y\n\n", "revert")
	require.NoError(t, err, out)
	require.Equal(t, a.main, a.read(t, "main.cf"))
}

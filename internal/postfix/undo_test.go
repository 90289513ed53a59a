package postfix_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/postfix"
)

// What we changed in the entry of local(8) is not what was there before, though others have changed the entry since.
func TestOverridesOfLocalAreTakenBackFromAChangedEntry(t *testing.T) {
	main := "compatibility_level = 3.6\nmydestination = example.test, host.test\nalias_maps = inline:{{postmaster=root}}\n"
	master := strings.Replace(plainMaster, "local unix - n n - - local\n", `local unix - n n - - local
  -o mailbox_transport=lmtp:unix:private/dovecot
  -o mailbox_transport_maps=inline:{{kim=x:}}
`, 1)
	h := newHost(t, main, master)
	apply(t, h, options(postfix.Replace))
	edit := func(text string) string {
		return strings.Replace(text, "local unix - n n - - local\n", "local unix - n n - 7 local\n", 1)
	}
	require.NoError(t, os.WriteFile(filepath.Join(h.Dir, "master.cf"), []byte(edit(read(t, h, "master.cf"))), 0o644))
	cool(t, h)
	b, p, err := plan(t, h, options(postfix.Replace))
	require.NoError(t, err)
	require.Equal(t, edit(master), b.Master)
	require.Contains(t, p.Master(), `
mairust-keep  unix  -       n       n       -       7       local
  -o mailbox_transport=lmtp:unix:private/dovecot
  -o mailbox_transport_maps=inline:{{kim=x:}}
`)
	require.True(t, b.Clean())
	b.Main += "#transport_maps = texthash:$config_directory/mairust/transport\n"
	require.True(t, b.Clean(), "nobody reads a comment")
	b.Main += "transport_maps = texthash:$config_directory/mairust/transport\n"
	require.False(t, b.Clean())
}

func TestModesFollowOneAnotherAndTheOriginalComesBack(t *testing.T) {
	h := newHost(t, virtualMain+"  # no final line break\nmyhostname = x.test", plainMaster)
	main := read(t, h, "main.cf")
	pilot := options(postfix.Pilot)
	pilot.Recipients = []postfix.Recipient{{Address: "bob@example.test", Line: 1}}
	for _, o := range []postfix.Options{options(postfix.Replace), pilot, options(postfix.Copy), options(postfix.Replace)} {
		apply(t, h, o)
	}
	s, err := h.State()
	require.NoError(t, err)
	require.Len(t, s.Backups, 1, "the original is kept once")
	b, err := h.Undo()
	require.NoError(t, err)
	require.NoError(t, h.Revert(b))
	require.Equal(t, main, read(t, h, "main.cf"))
	require.Equal(t, plainMaster, read(t, h, "master.cf"))
	require.ErrorIs(t, h.Revert(&postfix.Baseline{}), postfix.ErrNotApplied)
}

func TestCrashBetweenTheFilesIsUndone(t *testing.T) {
	h := newHost(t, virtualMain, plainMaster+"submission inet n - n - - smtpd -o smtpd_milters=\n")
	master := read(t, h, "master.cf")
	apply(t, h, options(postfix.Replace))
	written := read(t, h, "master.cf")
	require.NotEqual(t, master, written)
	require.NoError(t, os.WriteFile(filepath.Join(h.Dir, "master.cf"), []byte(master), 0o644)) // as before the second rename
	b, err := h.Undo()
	require.NoError(t, err)
	require.True(t, b.Exact)
	require.NoError(t, h.Revert(b))
	require.Equal(t, virtualMain, read(t, h, "main.cf"))
	require.Equal(t, master, read(t, h, "master.cf"))
}

func TestLostBackupMeansThatTheRecordIsFollowed(t *testing.T) {
	h := newHost(t, virtualMain, plainMaster+"submission inet n - n - - smtpd -o smtpd_milters=\n")
	master := read(t, h, "master.cf")
	apply(t, h, options(postfix.Replace))
	s, err := h.State()
	require.NoError(t, err)
	require.NoError(t, os.RemoveAll(filepath.Join(h.Dir, "mairust", s.Backups[0])))
	b, err := h.Undo()
	require.NoError(t, err)
	require.False(t, b.Exact)
	require.NoError(t, h.Revert(b))
	require.Equal(t, virtualMain, read(t, h, "main.cf"))
	require.Equal(t, master, read(t, h, "master.cf"))
}

func TestChangesOfOthersStay(t *testing.T) {
	h := newHost(t, virtualMain+"smtpd_milters = inet:localhost:8891\n", plainMaster+"submission inet n - n - - smtpd -o smtpd_milters=\n")
	apply(t, h, options(postfix.Replace))
	change := func(name, old, new string) {
		text := read(t, h, name)
		require.Contains(t, text, old)
		require.NoError(t, os.WriteFile(filepath.Join(h.Dir, name), []byte(strings.Replace(text, old, new, 1)), 0o644))
	}
	change("main.cf", "smtpd_milters = $mairust_milter, inet", "smtpd_milters = inet:localhost:1,$mairust_milter, inet")
	change("main.cf", "virtual_mailbox_maps = socketmap", "virtual_mailbox_maps = hash:/y, socketmap")
	change("main.cf", "compatibility_level = 3.6\n", "")
	change("master.cf", "-o smtpd_milters=$mairust_milter", "-o smtpd_milters=$mairust_milter -o syslog_name=sub")
	b, err := h.Undo()
	require.NoError(t, err)
	require.False(t, b.Exact)
	require.True(t, b.Clean())
	require.NoError(t, h.Revert(b))
	main := read(t, h, "main.cf")
	require.Contains(t, main, "smtpd_milters = inet:localhost:1, inet:localhost:8891\n")
	require.NotContains(t, main, "compatibility_level")
	require.NotContains(t, main, "mairust")
	require.Contains(t, main, "virtual_mailbox_maps = hash:/y, socketmap", "changed by others: left, and said")
	var said strings.Builder
	for _, n := range b.Notes {
		said.WriteString(n.Text + n.Mend + "\n")
	}
	require.Contains(t, said.String(), "virtual_mailbox_maps was changed since and stays")
	require.Contains(t, said.String(), "submission/inet of master.cf was changed since")
	require.Contains(t, read(t, h, "master.cf"), "submission inet n - n - - smtpd -o smtpd_milters= -o syslog_name=sub\n")
}

func TestApplyAfterChangesOfOthersStartsFromThem(t *testing.T) {
	h := newHost(t, virtualMain, plainMaster)
	apply(t, h, options(postfix.Replace))
	text := read(t, h, "main.cf") + "# by hand\nbiff = no\n"
	require.NoError(t, os.WriteFile(filepath.Join(h.Dir, "main.cf"), []byte(text), 0o644))
	cool(t, h)
	apply(t, h, options(postfix.Replace))
	s, err := h.State()
	require.NoError(t, err)
	require.Equal(t, []string{"backup-20261122T100000Z", "backup-20261122T100000Z-2"}, s.Backups)
	b, err := h.Undo()
	require.NoError(t, err)
	require.True(t, b.Exact)
	require.NoError(t, h.Revert(b))
	require.Equal(t, virtualMain+"# by hand\nbiff = no\n", read(t, h, "main.cf"))
	require.Equal(t, plainMaster, read(t, h, "master.cf"))
}

func TestRecordOfAnotherVersionIsNotTouched(t *testing.T) {
	h := newHost(t, virtualMain, plainMaster)
	require.NoError(t, os.Mkdir(filepath.Join(h.Dir, "mairust"), 0o755))
	for text, want := range map[string]string{`{"version": 9}`: "is of version 9, this program knows 1", "{": "unexpected end"} {
		require.NoError(t, os.WriteFile(filepath.Join(h.Dir, "mairust", "state.json"), []byte(text), 0o644))
		_, err := h.Undo()
		require.ErrorContains(t, err, want)
	}
}

func TestTablesStayWhileSomethingNamesThem(t *testing.T) {
	h := newHost(t, virtualMain, plainMaster)
	apply(t, h, options(postfix.Copy))
	text := read(t, h, "main.cf") + "sender_bcc_maps = regexp:$config_directory/mairust/copy_to.regexp\n"
	require.NoError(t, os.WriteFile(filepath.Join(h.Dir, "main.cf"), []byte(text), 0o644))
	b, err := h.Undo()
	require.NoError(t, err)
	require.False(t, b.Clean())
	require.NoError(t, h.Revert(b))
	require.FileExists(t, filepath.Join(h.Dir, "mairust", "copy_to.regexp"))
	require.Contains(t, b.Notes[len(b.Notes)-1].Text, "sender_bcc_maps")
}

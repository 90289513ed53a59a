package lmtp_test

import (
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/lmtp"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// spoilSpools writes zeros into the files without a name that lie in dir, as a disk has them that took no page back.
func spoilSpools(t *testing.T, dir string) (spoiled int) {
	t.Helper()
	open, err := os.ReadDir("/proc/self/fd")
	require.NoError(t, err)
	for _, fd := range open {
		path := "/proc/self/fd/" + fd.Name()
		if name, err := os.Readlink(path); err != nil || filepath.Dir(name) != dir || !strings.Contains(name, ".spool") {
			continue
		}
		file, err := os.OpenFile(path, os.O_WRONLY, 0)
		require.NoError(t, err)
		_, err = unix.Pwrite(int(file.Fd()), make([]byte, 4096), 8192)
		require.NoError(t, err)
		require.NoError(t, file.Close())
		spoiled++
	}
	return spoiled
}

func TestMessageThatItsSpoolHasLostIsNotStored(t *testing.T) {
	for name, size := range map[string]int{"small": 20_000, "large": 3 << 20} {
		t.Run(name, func(t *testing.T) {
			storetest.Run(t, func(t *testing.T, st *store.Store) {
				site := storetest.NewSite(t, st, "t1", "example.test", "bob", "ann")
				spoil, dir := true, ""
				r := newReal(t, st, func(o *lmtp.Options, d *lmtp.Deps) {
					o.SpoolMemoryBytes, dir = 4096, d.SpoolDir
					d.Summarize = func(m io.Reader, limits mail.Limits) (*mail.Summary, error) {
						if spoil {
							require.Equal(t, 1, spoilSpools(t, dir))
						}
						return mail.Summarize(m, limits)
					}
				})
				message := "Subject: long\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", size/18)
				for _, rcpts := range [][]string{{"bob@example.test"}, {"bob@example.test", "ann@example.test"}} {
					for _, reply := range r.hello().deliver("a@sender.test", message, rcpts...) {
						require.Contains(t, reply, "451 4.3.0")
					}
				}
				require.Empty(t, keysOf(t, r.files))
				require.ErrorContains(t, r.server.Check(t.Context()), "other bytes")
				spoil = false
				requireStored(t, r.hello().deliver("a@sender.test", message, "bob@example.test")...)
				_, bytes := r.messages(t, site.Mailboxes["bob"], store.Inbox)
				require.Equal(t, []string{"Return-Path: <a@sender.test>\r\n" + message}, bytes)
			})
		})
	}
}

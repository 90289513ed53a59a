package listen_test

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/internal/listen"
)

func openUnix(t *testing.T, o listen.Options) (*listen.Listener, error) {
	t.Helper()
	return listen.Open(t.Context(), o, listen.Limits{}, listen.Hooks{})
}

func TestSocketFileHasModeAndGroupAndGoesAtClose(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "s.sock")
	o := listen.Options{Address: "unix:" + path}
	want := uint32(os.Getegid())
	if os.Geteuid() == 0 {
		o.SocketGroup, want = "nogroup", 65534
	}
	for mode, perm := range map[string]fs.FileMode{"": 0o660, "0600": 0o600, "666": 0o666} {
		o.SocketMode = mode
		ln, err := openUnix(t, o)
		require.NoError(t, err)
		info, err := os.Stat(path)
		require.NoError(t, err)
		require.Equal(t, fs.ModeSocket|perm, info.Mode())
		st, ok := info.Sys().(*syscall.Stat_t)
		require.True(t, ok)
		require.Equal(t, want, st.Gid)
		require.NoError(t, ln.Close())
		_, err = os.Lstat(path)
		require.ErrorIs(t, err, fs.ErrNotExist)
	}
}

// stale leaves a socket file behind, as a killed process does.
func stale(t *testing.T, path string) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	require.NoError(t, err)
	ln.SetUnlinkOnClose(false)
	require.NoError(t, ln.Close())
}

func TestStaleSocketFileIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	stale(t, path)
	e := openEcho(t, listen.Options{Address: "unix:" + path}, listen.Limits{})
	requireEcho(t, e.dial(t))
}

func TestLiveSocketIsLeftAlone(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	e := openEcho(t, listen.Options{Address: "unix:" + path}, listen.Limits{})
	_, err := openUnix(t, listen.Options{Address: "unix:" + path})
	require.ErrorContains(t, err, "in use by another process")
	requireEcho(t, e.dial(t))
}

func TestSocketWithAFullBacklogIsInUse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	require.NoError(t, err)
	defer unix.Close(fd)
	require.NoError(t, unix.Bind(fd, &unix.SockaddrUnix{Name: path}))
	require.NoError(t, unix.Listen(fd, 0))
	c, err := net.Dial("unix", path)
	require.NoError(t, err)
	defer c.Close()
	_, err = openUnix(t, listen.Options{Address: "unix:" + path})
	require.ErrorContains(t, err, "in use by another process")
}

func TestOtherFilesAreNeverRemoved(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(path, []byte("precious"), 0o600))
	_, err := openUnix(t, listen.Options{Address: "unix:" + path})
	require.ErrorContains(t, err, "not a socket")
	kept, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, "precious", string(kept))

	datagram := filepath.Join(t.TempDir(), "log")
	ln, err := net.ListenPacket("unixgram", datagram)
	require.NoError(t, err)
	defer ln.Close()
	_, err = openUnix(t, listen.Options{Address: "unix:" + datagram})
	require.ErrorContains(t, err, "is it in use")
	_, err = os.Lstat(datagram)
	require.NoError(t, err)
}

func TestCloseLeavesTheSocketOfASuccessor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	old, err := openUnix(t, listen.Options{Address: "unix:" + path})
	require.NoError(t, err)
	require.NoError(t, os.Remove(path))
	e := openEcho(t, listen.Options{Address: "unix:" + path}, listen.Limits{})
	require.NoError(t, old.Close())
	requireEcho(t, e.dial(t))
}

func TestOneOfManyStartersGetsTheSocket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.sock")
	stale(t, path)
	const n = 8
	listeners, errs := make([]*listen.Listener, n), make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { listeners[i], errs[i] = openUnix(t, listen.Options{Address: "unix:" + path}) })
	}
	wg.Wait()
	opened := 0
	for i := range n {
		if errs[i] != nil {
			require.ErrorContains(t, errs[i], "in use by another process")
			continue
		}
		opened++
		require.NoError(t, listeners[i].Close())
	}
	require.Equal(t, 1, opened, fmt.Sprint(errs))
}

func TestOpeningEndsWithItsContext(t *testing.T) {
	dir := t.TempDir()
	d, err := os.Open(dir)
	require.NoError(t, err)
	defer d.Close()
	require.NoError(t, unix.Flock(int(d.Fd()), unix.LOCK_EX))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err = listen.Open(ctx, listen.Options{Address: "unix:" + filepath.Join(dir, "s")}, listen.Limits{}, listen.Hooks{})
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestPeerUID(t *testing.T) {
	ln, err := openUnix(t, listen.Options{Address: "unix:" + filepath.Join(t.TempDir(), "s")})
	require.NoError(t, err)
	defer ln.Close()
	c, err := net.Dial("unix", ln.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	server, err := ln.Accept()
	require.NoError(t, err)
	defer server.Close()
	uid, ok := listen.PeerUID(server)
	require.True(t, ok)
	require.Equal(t, os.Geteuid(), uid)

	tcp, _ := pair(t, listen.Limits{})
	_, ok = listen.PeerUID(tcp)
	require.False(t, ok)
}

func TestALockThatIsNeverReleasedEndsTheStart(t *testing.T) {
	dir := t.TempDir()
	held, err := os.Open(dir)
	require.NoError(t, err)
	defer held.Close()
	require.NoError(t, unix.Flock(int(held.Fd()), unix.LOCK_EX))
	_, err = openUnix(t, listen.Options{Address: "unix:" + filepath.Join(dir, "s.sock")})
	require.ErrorContains(t, err, "another process has held the lock for 5s")
}

package blobtest

import (
	"fmt"
	"os"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// Unreadable has every call fail that looks at a directory or file of an FS, or into it, as a bad block would, until the test ends or mend is
// called: a file system whose server has died is mounted there.
func Unreadable(t testing.TB, path string) (mend func()) {
	t.Helper()
	info, err := os.Stat(path)
	require.NoError(t, err)
	mode := unix.S_IFREG
	if info.IsDir() {
		mode = unix.S_IFDIR
	}
	server, err := unix.Open("/dev/fuse", unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil || os.Geteuid() != 0 {
		skip(t, "root and /dev/fuse")
	}
	options := fmt.Sprintf("fd=%d,rootmode=%o,user_id=0,group_id=0", server, mode)
	err = unix.Mount("dead", path, "fuse", 0, options)
	require.NoError(t, unix.Close(server))
	if err != nil {
		skip(t, "to mount: "+err.Error())
	}
	mounted := true
	mend = func() {
		t.Helper()
		if mounted {
			mounted = false
			require.NoError(t, unix.Unmount(path, unix.MNT_DETACH))
		}
	}
	t.Cleanup(mend)
	return mend
}

// skip fails in CI, where nothing may be missing.
func skip(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal("this test mounts file systems: CI must let it, it needs ", what)
	}
	t.Skip("SKIPPED: this test mounts file systems, needs ", what)
}

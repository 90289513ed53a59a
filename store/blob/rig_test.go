package blob_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// fsIOCShutdown is FS_IOC_SHUTDOWN, _IOR('X', 125, __u32); noLogFlush drops what the journal does not have yet.
const (
	fsIOCShutdown = 0x8004587d
	noLogFlush    = 2
)

// needRoot skips loudly without the right to mount; in CI that is a failure.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() == 0 && exec.Command("unshare", "--mount", "true").Run() == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatal("this test mounts file systems: CI must run it as root")
	}
	t.Skip("SKIPPED: this test mounts file systems and needs root")
}

// needLoop skips where there are no loop devices, as in many containers.
func needLoop(t testing.TB) {
	t.Helper()
	needRoot(t)
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("SKIPPED: no power-cut test without loop devices")
	}
}

func run(t testing.TB, name string, args ...string) {
	t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(t, err, "%s %v: %s", name, args, out)
}

// mountTmpfs mounts a tmpfs of the given size and gives its path.
func mountTmpfs(t testing.TB, options string) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	run(t, "mount", "-t", "tmpfs", "-o", options, "tmpfs", dir)
	t.Cleanup(func() { run(t, "umount", dir) })
	return dir
}

// disk is an ext4 file system on a loop device that can lose its power.
type disk struct {
	t          testing.TB
	image, dir string
}

func newDisk(t testing.TB) *disk {
	t.Helper()
	return newDiskWith(t, "has_journal")
}

// newDiskWith makes one with these features of ext4.
func newDiskWith(t testing.TB, features string) *disk {
	t.Helper()
	needLoop(t)
	d := &disk{t: t, image: filepath.Join(t.TempDir(), "image"), dir: t.TempDir()}
	require.NoError(t, os.WriteFile(d.image, nil, 0o600))
	require.NoError(t, os.Truncate(d.image, 96<<20))
	run(t, "mkfs.ext4", "-q", "-F", "-O", features, "-E", "lazy_itable_init=0", d.image)
	d.mount()
	t.Cleanup(d.unmount)
	return d
}

func (d *disk) mount()   { run(d.t, "mount", "-o", "loop", d.image, d.dir) }
func (d *disk) unmount() { run(d.t, "umount", d.dir) }

// cut takes the power away: what was not flushed is lost. restore brings the disk back, journal replayed.
func (d *disk) cut() {
	f, err := os.Open(d.dir)
	require.NoError(d.t, err)
	require.NoError(d.t, unix.IoctlSetPointerInt(int(f.Fd()), fsIOCShutdown, noLogFlush))
	require.NoError(d.t, f.Close())
}

// It is a copy of the image that is mounted: a process with a mount namespace of its own, whosoever, may hold a copy
// of the mount, and with it the file system that was shut down.
func (d *disk) restore() {
	d.unmount()
	last := d.image
	d.image += "+"
	run(d.t, "cp", "--sparse=always", last, d.image)
	require.NoError(d.t, os.Remove(last))
	d.mount()
}

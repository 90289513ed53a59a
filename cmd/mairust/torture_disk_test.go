package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"
)

// fsIOCShutdown is FS_IOC_SHUTDOWN, _IOR('X', 125, __u32). noLogFlush (EXT4_GOING_FLAGS_NOLOGFLUSH) drops all that is
// not on the disk, the file system's own journal included.
const (
	fsIOCShutdown = 0x8004587d
	noLogFlush    = 2
)

// tmpfsMagic is TMPFS_MAGIC of statfs(2).
const tmpfsMagic = 0x01021994

// tortureDisk is an ext4 file system on a loop device, mounted at dir, that can lose its power. The image is in memory
// where that can be had: what was flushed to it stays, what was not is gone, and a round costs little.
//
// Each image is mounted once. To mount it again a copy is made, because a process with a mount namespace of its own,
// whosoever, may hold a copy of the mount, and with it the file system that was shut down, for as long as it lives.
type tortureDisk struct {
	t               testing.TB
	dir             string
	template, image string
	images          int
	root            *os.File // open on the mounted file system, nil while it is not mounted
}

// newTortureDisk makes a file system and mounts it. It skips where that can't be done; with CI=true that is a failure.
func newTortureDisk(t testing.TB, dir string, sizeBytes int64) *tortureDisk {
	t.Helper()
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("SKIPPED: no power cut without loop devices")
	}
	if os.Geteuid() != 0 || exec.Command("unshare", "--mount", "true").Run() != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("this test mounts file systems: CI must run it as root")
		}
		t.Skip("SKIPPED: a power cut needs root, to mount file systems")
	}
	images, err := os.MkdirTemp(imageDir(), "mairust-torture-")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(images)) })
	d := &tortureDisk{t: t, dir: dir, template: filepath.Join(images, "template"), image: filepath.Join(images, "0")}
	require.NoError(t, os.MkdirAll(dir, 0o711))
	require.NoError(t, os.WriteFile(d.image, nil, 0o600))
	require.NoError(t, os.Truncate(d.image, sizeBytes))
	d.tool("mkfs.ext4", "-q", "-F", "-J", "size=8", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", d.image)
	d.mount()
	t.Cleanup(d.unmount)
	return d
}

// imageDir is a tmpfs, or "" for the system's directory for temporary files.
func imageDir() string {
	var st unix.Statfs_t
	if unix.Statfs("/dev/shm", &st) == nil && st.Type == tmpfsMagic && st.Bavail*uint64(st.Bsize) > 2<<30 {
		return "/dev/shm"
	}
	return ""
}

func (d *tortureDisk) tool(name string, args ...string) {
	d.t.Helper()
	out, err := exec.Command(name, args...).CombinedOutput()
	require.NoError(d.t, err, "%s %v: %s", name, args, out)
}

func (d *tortureDisk) mount() {
	d.t.Helper()
	d.tool("mount", "-t", "ext4", "-o", "loop", d.image, d.dir)
	var err error
	d.root, err = os.Open(d.dir)
	require.NoError(d.t, err)
}

// unmount does nothing when it has been done. Processes that were killed may hold the file system a moment longer.
func (d *tortureDisk) unmount() {
	d.t.Helper()
	if d.root == nil {
		return
	}
	require.NoError(d.t, d.root.Close())
	d.root = nil
	require.Eventually(d.t, func() bool { return unix.Unmount(d.dir, 0) == nil }, time.Minute, 2*time.Millisecond)
}

// keep makes what is on the disk now what every fresh disk has. It is unmounted by that.
func (d *tortureDisk) keep() {
	d.t.Helper()
	require.NoError(d.t, unix.Syncfs(int(d.root.Fd()))) // see above: this may not be the last mount
	d.unmount()
	require.NoError(d.t, os.Rename(d.image, d.template))
}

// fresh mounts a new copy of what was kept.
func (d *tortureDisk) fresh() {
	d.t.Helper()
	d.unmount()
	d.mountCopy(d.template)
}

// mountCopy mounts a copy of an image in the place of the last one.
func (d *tortureDisk) mountCopy(of string) {
	d.t.Helper()
	last := d.image
	d.images++
	d.image = filepath.Join(filepath.Dir(d.template), strconv.Itoa(d.images))
	d.tool("cp", "--sparse=always", of, d.image)
	require.NoError(d.t, os.RemoveAll(last))
	d.mount()
}

// cut takes the power away. It is a single system call, so that nothing reaches the disk while it is prepared.
func (d *tortureDisk) cut() {
	if err := unix.IoctlSetPointerInt(int(d.root.Fd()), fsIOCShutdown, noLogFlush); err != nil {
		d.t.Errorf("cut the power: %v", err)
	}
}

// remount changes flags of the file system while it is in use. The kernel refuses to make it read-only while somebody has a file open for writing.
func (d *tortureDisk) remount(flags uintptr) error {
	return unix.Mount("", d.dir, "", unix.MS_REMOUNT|flags, "")
}

// fail lets the file system find an error in itself, upon which it becomes read-only until it is mounted anew.
func (d *tortureDisk) fail() {
	d.t.Helper()
	d.tool("mount", "-o", "remount,errors=remount-ro", d.dir)
	d.tool("mount", "-o", "remount,abort", d.dir)
}

// restore brings the power back: the kernel replays the file system's journal. Nobody may have files open.
func (d *tortureDisk) restore() {
	d.t.Helper()
	d.unmount()
	d.mountCopy(d.image)
}

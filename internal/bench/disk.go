package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/mairust/mairust/internal/lab"
)

// journalMB is at most the size of the journal. mkfs.ext4 would give a disk of 64 GB one like this; a journal to the
// measure of the image would be full all the time.
const journalMB = 512

// disk gives every run a file system of its own. ext4 makes files up to ten times more slowly for minutes after many
// were deleted, so the second server on the same file system would pay for the first one's mail.
type disk struct {
	// dir is ours; the file system is mounted below it.
	dir string
	// device is the loop device, nil for plain directories.
	device *os.File
	sizeMB int
	runs   int
}

// newDisk makes an image of sizeMB and a loop device over it; with sizeMB 0, fresh makes directories below /tmp.
func newDisk(ctx context.Context, sizeMB int) (*disk, error) {
	dir, err := os.MkdirTemp("/tmp", "mb-") // short: there will be unix sockets in it
	if err != nil {
		return nil, err
	}
	d := &disk{dir: dir, sizeMB: sizeMB}
	if err := os.Chmod(dir, 0o755); err != nil { // #nosec G302 -- servers run as users of their own
		return nil, errors.Join(err, d.Close())
	}
	if sizeMB > 0 {
		if err := d.attach(ctx); err != nil {
			return nil, errors.Join(fmt.Errorf("loop device: %w", err), d.Close())
		}
	}
	return d, nil
}

// attach makes the loop device. Image and device vanish with the last descriptor, even when this process is killed:
// the image has no name, and a device that is detached while it is open goes when it is closed.
func (d *disk) attach(ctx context.Context) error {
	image := filepath.Join(d.dir, "image")
	if err := writeZeros(ctx, image, d.sizeMB); err != nil {
		return err
	}
	out, err := tool(ctx, "losetup", "--find", "--show", "--direct-io=on", image)
	if err != nil {
		return err
	}
	name := string(out[:len(out)-1])
	device, errOpen := os.OpenFile(name, os.O_RDWR, 0) // #nosec G304 -- losetup said so
	_, errDetach := tool(ctx, "losetup", "--detach", name)
	d.device = device
	return errors.Join(errOpen, errDetach, os.Remove(image))
}

// writeZeros makes a file whose blocks are all written: blocks that are only reserved would cost the outer file
// system a commit when they are written first.
func writeZeros(ctx context.Context, path string, sizeMB int) error {
	f, err := os.Create(path) // #nosec G304 -- ours
	if err != nil {
		return err
	}
	zeros := make([]byte, 1<<20)
	for range sizeMB {
		_, err := f.Write(zeros)
		if err := errors.Join(err, ctx.Err()); err != nil {
			return errors.Join(err, f.Close())
		}
	}
	return errors.Join(f.Sync(), f.Close())
}

// fresh makes an empty file system, and returns its directory and what takes it away.
func (d *disk) fresh(ctx context.Context) (dir string, remove func() error, err error) {
	d.runs++
	dir = filepath.Join(d.dir, fmt.Sprint(d.runs))
	if err := os.Mkdir(dir, 0o755); err != nil { // #nosec G301 -- servers run as users of their own
		return "", nil, err
	}
	if d.device == nil {
		return dir, func() error { return os.RemoveAll(dir) }, nil
	}
	// One inode for 4 KB, since mail is small files; all of it written now, not in the background of the run.
	_, err = tool(ctx, "mkfs.ext4", "-q", "-i", "4096", "-J", fmt.Sprintf("size=%d", min(journalMB, d.sizeMB/8)),
		"-E", "nodiscard,lazy_itable_init=0,lazy_journal_init=0", d.device.Name())
	if err == nil {
		_, err = tool(ctx, "mount", d.device.Name(), dir)
	}
	if err != nil {
		return "", nil, errors.Join(err, os.Remove(dir))
	}
	return dir, func() error {
		// The last processes of a server that was told to end may take a moment.
		err := lab.Eventually(context.WithoutCancel(ctx), func(ctx context.Context) error {
			_, err := tool(ctx, "umount", dir)
			return err
		})
		return errors.Join(err, os.Remove(dir))
	}, nil
}

// onFresh runs act with the directory of an empty file system, which is taken away afterwards.
func (d *disk) onFresh(ctx context.Context, act func(dir string) error) (err error) {
	dir, remove, err := d.fresh(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, remove()) }()
	return act(dir)
}

// Close gives the space back.
func (d *disk) Close() error {
	var err error
	if d.device != nil {
		err = d.device.Close()
	}
	return errors.Join(err, os.RemoveAll(d.dir))
}

// flushTime is the median time of writing 4 KB over old ones and flushing them, in a file of dir.
func flushTime(ctx context.Context, dir string) (time.Duration, error) {
	path := filepath.Join(dir, "flush")
	if err := writeZeros(ctx, path, 1); err != nil {
		return 0, err
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0) // #nosec G304 -- ours
	if err != nil {
		return 0, err
	}
	var took []time.Duration
	for i := range 256 {
		start := time.Now()
		if _, err = f.WriteAt(make([]byte, 4096), int64(i)*4096); err == nil {
			err = syscall.Fdatasync(int(f.Fd()))
		}
		if err != nil {
			break
		}
		took = append(took, time.Since(start))
	}
	if err := errors.Join(err, f.Close(), os.Remove(path)); err != nil {
		return 0, err
	}
	slices.Sort(took)
	return took[len(took)/2], nil
}

// tool runs a program of the host to its end; the error has what it said.
func tool(ctx context.Context, name string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, name, args...) // #nosec G204 -- our own words
	// mkfs: write zeros, don't punch holes into the image instead.
	cmd.Env = append(os.Environ(), "UNIX_IO_NOZEROOUT=1")
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", name, err, &said)
	}
	return out, nil
}

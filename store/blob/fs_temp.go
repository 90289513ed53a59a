package blob

import (
	"context"
	"crypto/rand"
	"errors"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// tempDir holds files under construction where O_TMPFILE is not to be had, and the probes of Check. No key
// begins with a dot, so no object is ever there.
const tempDir = ".tmp"

// staleTemp is the age at which a file in tempDir belongs to a process that died.
const staleTemp = 24 * time.Hour

// tempFile is a file that has no name yet, or only a temporary one: in tempDir, or a hidden one in the directory that it is for.
type tempFile struct {
	*os.File
	in   *dir   // nil for an O_TMPFILE
	name string // in it
}

// create opens a new file that will be linked into d.
func (f *FS) create(d *dir) (*tempFile, error) {
	if !f.noTmpfile {
		file, err := createUnnamed(d)
		if err == nil {
			if err = giveTo(d.fd(), int(file.Fd())); err != nil {
				file.discard()
			}
		}
		if !errors.Is(err, unix.EOPNOTSUPP) {
			return file, err
		}
		return createBeside(d) // a file system without it is mounted inside
	}
	return f.createNamed()
}

func createUnnamed(d *dir) (*tempFile, error) {
	fd, err := openat(d.fd(), ".", unix.O_TMPFILE|unix.O_WRONLY, 0o600)
	if errors.Is(err, unix.EISDIR) { // what file systems say that do not know the flag, open(2)
		err = unix.EOPNOTSUPP
	}
	if err != nil {
		return nil, err
	}
	return &tempFile{File: os.NewFile(uintptr(fd), "object")}, nil
}

// createNamed makes a file in tempDir.
func (f *FS) createNamed() (*tempFile, error) {
	in, err := f.durableDir(tempDir)
	if err != nil {
		return nil, err
	}
	return createIn(in, rand.Text())
}

// createBeside makes a file in d itself, for what cannot be linked or renamed to there from tempDir: d is on another file system, in
// another subvolume (btrfs), or of another project (quotas). No key has a segment that begins with a dot.
func createBeside(d *dir) (*tempFile, error) {
	in, err := d.open("")
	if err != nil {
		return nil, err
	}
	return createIn(in, hidden+rand.Text())
}

// hidden is what the names of createBeside begin with.
const hidden = ".new-"

// dropStale removes a file of createBeside that a crash has left.
func (d *dir) dropStale(name string) {
	if !strings.HasPrefix(name, hidden) {
		return
	}
	if info, err := d.stat(name); err == nil && time.Since(info.Modified) > staleTemp {
		_ = d.unlink(name) // it only takes space
	}
}

// createIn makes a file in a directory, which it closes with it.
func createIn(in *dir, name string) (*tempFile, error) {
	fd, err := openat(in.fd(), name, unix.O_CREAT|unix.O_EXCL|unix.O_WRONLY, 0o600)
	if err != nil {
		in.close()
		return nil, err
	}
	file := &tempFile{File: os.NewFile(uintptr(fd), name), in: in, name: name}
	if err := giveTo(in.fd(), fd); err != nil {
		file.discard()
		return nil, err
	}
	return file, nil
}

// fill writes the bytes and puts them on the disk. ctx is honoured to the end.
func (t *tempFile) fill(ctx context.Context, r io.ReadSeeker, size int64) error {
	if err := CopyExactly(ctx, t, r, size); err != nil {
		return err
	}
	// After a failed fsync the pages count as clean, so a second one would succeed without them: give up.
	if err := syncData(t.File); err != nil {
		return err
	}
	return ctx.Err()
}

// link gives the file its name in d; EEXIST when that is taken.
func (t *tempFile) link(d *dir, name string) error {
	if t.in == nil {
		return unnamed(t.Fd()).link(place{d.fd(), name})
	}
	err := ignoringEINTR(func() error { return unix.Linkat(t.in.fd(), t.name, d.fd(), name, 0) })
	return os.NewSyscallError("linkat", err)
}

// discard closes the file and drops its temporary name. Both may fail without harm: the bytes were flushed
// before, or are not wanted, and a name left over is swept, in tempDir at the next start, elsewhere by the next List.
func (t *tempFile) discard() {
	_ = t.Close()
	if t.in != nil {
		_ = t.in.unlink(t.name)
		t.in.close()
	}
}

// prepareTemp makes tempDir, sweeps it, and finds out whether unnamed files can be had. A store that cannot be
// written just now (full, read-only) still opens: its objects can be read.
func (f *FS) prepareTemp() error {
	err := f.base.mkdir(tempDir)
	if errors.Is(err, unix.EROFS) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return nil
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := f.base.open(tempDir)
	if err != nil {
		return err
	}
	defer d.close()
	if err := sweepTemp(d); err != nil {
		return err
	}
	f.noTmpfile = !unnamedWorks(d)
	return nil
}

func unnamedWorks(d *dir) bool {
	file, err := createUnnamed(d)
	if err != nil {
		return !errors.Is(err, unix.EOPNOTSUPP)
	}
	defer file.discard()
	name := rand.Text()
	if err := file.link(d, name); err != nil {
		return !errors.Is(err, unix.ENOENT) // ENOENT: an older kernel, and no /proc
	}
	return d.unlink(name) == nil
}

func sweepTemp(d *dir) error {
	for {
		names, err := d.file.Readdirnames(1000)
		for _, name := range names {
			info, err := d.stat(name)
			if err == nil && time.Since(info.Modified) > staleTemp {
				_ = d.unlink(name) // it only takes space
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

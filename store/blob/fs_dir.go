package blob

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// dir is an open directory. Its methods take names, never paths, except open.
type dir struct{ file *os.File }

func openBase(path string) (*dir, error) {
	fd, err := openat(unix.AT_FDCWD, path, unix.O_DIRECTORY, 0)
	if err != nil {
		return nil, err
	}
	return &dir{os.NewFile(uintptr(fd), path)}, nil
}

// close closes the directory, which was not written through this descriptor: nothing can get lost by it.
func (d *dir) close() { _ = d.file.Close() }

func (d *dir) fd() int { return int(d.file.Fd()) }

// open walks down a relative path of segments, "" being d itself, and follows no symbolic link.
func (d *dir) open(path string) (*dir, error) {
	fd, err := openat(d.fd(), ".", unix.O_DIRECTORY, 0)
	if err != nil || path == "" {
		return newDir(fd, path, err)
	}
	for segment := range strings.SplitSeq(path, "/") {
		next, err := openat(fd, segment, unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
		_ = unix.Close(fd) // only read from
		if err != nil {
			return nil, err
		}
		fd = next
	}
	return newDir(fd, path, nil)
}

func newDir(fd int, path string, err error) (*dir, error) {
	if err != nil {
		return nil, err
	}
	return &dir{os.NewFile(uintptr(fd), path)}, nil
}

// openFile opens a file for reading. Non-blocking, so that a FIFO put there cannot hang the reader.
func (d *dir) openFile(name string) (*os.File, error) {
	fd, err := openat(d.fd(), name, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(fd), name), nil
}

// stat describes a regular file; anything else is missing. The key is left to the caller.
func (d *dir) stat(name string) (Info, error) {
	var st unix.Stat_t
	err := ignoringEINTR(func() error { return unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err == nil && st.Mode&unix.S_IFMT != unix.S_IFREG {
		err = unix.ENOENT
	}
	if err != nil {
		return Info{}, os.NewSyscallError("fstatat", err)
	}
	return Info{SizeBytes: st.Size, Modified: modified(&st)}, nil
}

func (d *dir) unlink(name string) error {
	return os.NewSyscallError("unlinkat", ignoringEINTR(func() error { return unix.Unlinkat(d.fd(), name, 0) }))
}

func (d *dir) mkdir(name string) error {
	if err := mkdirat(d.fd(), name); err != nil {
		return os.NewSyscallError("mkdirat", err)
	}
	return nil
}

// mkdirat makes a directory, which belongs to whom the one above belongs: what root makes while it looks after the
// store must not be closed to the user of the service.
func mkdirat(parent int, name string) error {
	if err := ignoringEINTR(func() error { return unix.Mkdirat(parent, name, 0o700) }); err != nil {
		return err
	}
	if os.Geteuid() != 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(parent, &st); err != nil || st.Uid == 0 {
		return err
	}
	return unix.Fchownat(parent, name, int(st.Uid), int(st.Gid), unix.AT_SYMLINK_NOFOLLOW)
}

// giveTo makes a new file belong to whom the directory belongs that it is for, when root writes it.
func giveTo(d, file int) error {
	if os.Geteuid() != 0 {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(d, &st); err != nil || st.Uid == 0 {
		return err
	}
	return os.NewSyscallError("fchown", unix.Fchown(file, int(st.Uid), int(st.Gid)))
}

// madeDirs remembers directories whose names, and those of all their parents, are known to be on disk.
type madeDirs struct {
	mu    sync.Mutex
	paths map[string]struct{}
	// age rises when one may have been made that is not on disk: what was flushed before that says nothing of it.
	age int
}

// maxMadeDirs bounds the memory; forgetting costs one flush per directory.
const maxMadeDirs = 50_000

func (m *madeDirs) has(path string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	_, ok := m.paths[path]
	return ok
}

func (m *madeDirs) now() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.age
}

// add remembers a directory that was flushed since an age.
func (m *madeDirs) add(path string, since int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.age != since {
		return
	}
	if m.paths == nil || len(m.paths) >= maxMadeDirs {
		m.paths = map[string]struct{}{}
	}
	m.paths[path] = struct{}{}
}

func (m *madeDirs) forgetAll() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.paths = nil
	m.age++
}

// unflushed says that somebody makes a directory and flushes nothing.
func (m *madeDirs) unflushed(path string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if _, ok := m.paths[path]; ok { // it was removed by hand
		m.paths = nil
	}
	m.age++
}

// durableDir opens the directory at path, made if need be, whose name is on disk when it returns.
func (f *FS) durableDir(path string) (*dir, error) {
	if f.made.has(path) {
		d, err := f.base.open(path)
		switch {
		case err == nil && f.made.has(path): // still: nobody has made it again meanwhile
			return d, nil
		case err == nil:
			d.close()
		case !errors.Is(err, fs.ErrNotExist):
			return nil, err
		}
		f.made.forgetAll() // somebody removed directories by hand
	}
	if path == "" {
		return f.base.open("")
	}
	above, name := splitKey(path)
	since := f.made.now()
	parent, err := f.durableDir(above)
	if err != nil {
		return nil, err
	}
	defer parent.close()
	if err := parent.mkdir(name); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	// Also when it was there: whoever made it may not have flushed it yet, and this put relies on it.
	if err := f.flush(parent); err != nil {
		return nil, err
	}
	d, err := parent.open(name)
	if err != nil {
		return nil, err
	}
	f.made.add(path, since)
	return d, nil
}

// flush makes the names in d durable. Concurrent puts into one directory don't share it: the journal of the file
// system already commits them together, and sharing gained nothing that could be measured on ext4.
func (f *FS) flush(d *dir) error { return f.syncNames(d.file) }

// makeBase makes the base directory and what is missing above it, all durable. A directory that is there is
// flushed into its parent too: the process that made it may have died before it did.
func makeBase(base string) error {
	above := filepath.Dir(base)
	_, err := os.Stat(base)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeBase(above); err != nil {
			return err
		}
		err = os.Mkdir(base, 0o700)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	d, err := os.Open(above)
	if errors.Is(err, fs.ErrPermission) {
		return nil // not ours: whoever owns it made base
	}
	if err != nil {
		return err
	}
	return errors.Join(syncNames(d), d.Close())
}

func openat(dirfd int, name string, flags int, mode uint32) (fd int, err error) {
	err = ignoringEINTR(func() error {
		fd, err = unix.Openat(dirfd, name, flags|unix.O_CLOEXEC, mode)
		return err
	})
	if err != nil {
		return -1, &fs.PathError{Op: "openat", Path: name, Err: err}
	}
	return fd, nil
}

// ignoringEINTR repeats a call that a signal interrupted, as network file systems let happen.
func ignoringEINTR(call func() error) error {
	for {
		if err := call(); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

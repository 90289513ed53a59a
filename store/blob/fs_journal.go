package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/store/blob/journal"
)

// journalDir holds the journal. No key begins with a dot, so no object is ever there.
const journalDir = ".journal"

// maxJournaled is the size up to which an object goes through the journal. Above it, writing the bytes twice costs
// more than a flush of their own.
const maxJournaled = 256 << 10

// maxJournaledKeys bounds the directories that are open for one object.
const maxJournaledKeys = 100

// trustedFS are the file systems on which syncfs(2) is known to flush all files and to tell of every error of
// writing back, by their magic numbers (statfs(2)). overlayfs and network file systems are not among them.
var trustedFS = []int64{unix.EXT4_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.BTRFS_SUPER_MAGIC, unix.TMPFS_MAGIC}

// trustedKernel is the first Linux whose syncfs(2) tells of errors of writing back.
var trustedKernel = [2]int{5, 8}

// openJournal opens the journal where it can be relied on. Where it is not to be used, what one has left is put in
// place all the same; it stays open while that cannot be.
func (f *FS) openJournal(base string, o FSOptions) error {
	path := filepath.Join(base, journalDir)
	unused := o.WithoutJournal || !canJournal(f.base)
	f.unjournaled = unused
	if _, err := os.Stat(path); unused && errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	l, err := journal.Open(path, journal.Options{
		Place: f.place, Remove: f.remove, Sync: f.syncAll, Log: o.Log, Registerer: o.Registerer,
	})
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%w (the journal belongs to another user: run as the user of the service)", err)
	}
	if err == nil && unused && l.Recovered() == nil {
		return l.Close()
	}
	f.journal = l
	return err
}

func canJournal(d *dir) bool {
	var st unix.Statfs_t
	var name unix.Utsname
	if unix.Fstatfs(d.fd(), &st) != nil || unix.Uname(&name) != nil {
		return false
	}
	var major, minor int
	if _, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor); err != nil {
		return false
	}
	return slices.Contains(trustedFS, st.Type) && slices.Compare([]int{major, minor}, trustedKernel[:]) >= 0
}

func (f *FS) closeJournal() error {
	if f.journal == nil {
		return nil
	}
	return f.journal.Close()
}

// recovered is an error while a crash has left objects that are not in place yet.
func (f *FS) recovered() error {
	if f.journal == nil {
		return nil
	}
	return f.journal.Recovered()
}

func (f *FS) syncAll() error { return syncAll(f.base.file) }

// maxBodies is how many bytes of objects are in memory at most on their way through the journal, whoever brings them.
const maxBodies = 64 << 20

// bodies are buffers for objects on their way through the journal.
var bodies = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// putJournaled stores a small object: written without a name, made durable in the journal, then linked.
// journal.ErrNotTaken when that cannot be, and nothing was done.
func (f *FS) putJournaled(ctx context.Context, keys []string, r io.ReadSeeker, size int64) error {
	if f.journal == nil || f.unjournaled || f.noTmpfile || size > maxJournaled || len(keys) > maxJournaledKeys {
		return journal.ErrNotTaken
	}
	if err := f.bodies.Acquire(ctx, max(size, 0)); err != nil {
		return err
	}
	defer f.bodies.Release(max(size, 0))
	body, ok := bodies.Get().(*bytes.Buffer)
	if !ok {
		body = new(bytes.Buffer)
	}
	defer bodies.Put(body)
	body.Reset()
	if err := CopyExactly(ctx, body, r, size); err != nil {
		return err
	}
	places, err := f.openPlaces(keys)
	defer places.close()
	if err != nil {
		return err
	}
	failedSyncs := f.journal.FailedSyncs()
	file, err := places.create(body.Bytes())
	if err != nil {
		return err
	}
	defer file.close()
	ticket, free, err := f.journal.Put(ctx, keys, body.Bytes(), failedSyncs)
	switch {
	case err != nil:
		return err
	case !free:
		return ErrExists
	}
	if err := places.link(file); err != nil {
		if failed := ticket.Void(context.WithoutCancel(ctx)); failed != nil {
			err = fmt.Errorf("%w, and the journal keeps it: %v", err, failed) //nolint:errorlint // not an ErrNotTaken: something was done
		}
		return err
	}
	ticket.Placed()
	return nil
}

// forgetJournaled keeps an object that is about to be deleted from coming back after a crash.
func (f *FS) forgetJournaled(ctx context.Context, key string) error {
	if f.journal == nil {
		return nil
	}
	return f.journal.Delete(ctx, key)
}

// awaitDeletion keeps an object that is not in the journal from being deleted after a crash, in place of an earlier one under its key.
func (f *FS) awaitDeletion(ctx context.Context, key string) error {
	if f.journal == nil {
		return nil
	}
	return f.journal.AwaitDeletion(ctx, key)
}

// places are the open directories and names that one object is to get.
type places []place

type place struct {
	dir  int
	name string
}

// beneath keeps a path below its start, on its file system, and free of symbolic links.
const beneath = unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_XDEV

// openPlaces opens, and makes, the directories of keys, none of which may be taken. A directory on another file system
// is none for the journal.
func (f *FS) openPlaces(keys []string) (places, error) {
	var all places
	for _, key := range keys {
		parent, name := splitKey(key)
		fd, err := f.openBeneath(parent)
		if err != nil {
			return all, err
		}
		all = append(all, place{fd, name})
		var st unix.Stat_t
		err = ignoringEINTR(func() error { return unix.Fstatat(fd, name, &st, unix.AT_SYMLINK_NOFOLLOW) })
		switch {
		case err == nil:
			return all, ErrExists
		case !errors.Is(err, unix.ENOENT):
			return all, os.NewSyscallError("fstatat", err)
		}
	}
	return all, nil
}

// openBeneath opens the directory at path, which it makes when missing. No name is flushed: the journal knows them. Whoever relies on one
// without the journal must flush it, also where the directory was there once and somebody has removed it by hand.
func (f *FS) openBeneath(path string) (int, error) {
	fd, err := openat2(f.base.fd(), path)
	if !errors.Is(err, unix.ENOENT) || path == "" {
		return fd, err
	}
	above, name := splitKey(path)
	parent, err := f.openBeneath(above)
	if err != nil {
		return -1, err
	}
	defer func() { _ = unix.Close(parent) }() // only looked into
	f.made.unflushed(path)
	if err := mkdirat(parent, name); err != nil && !errors.Is(err, unix.EEXIST) {
		return -1, os.NewSyscallError("mkdirat", err)
	}
	return openat2(parent, name)
}

func openat2(at int, path string) (fd int, err error) {
	if path == "" {
		path = "."
	}
	err = ignoringEINTR(func() error {
		fd, err = unix.Openat2(at, path, &unix.OpenHow{Flags: unix.O_DIRECTORY | unix.O_RDONLY | unix.O_CLOEXEC, Resolve: beneath})
		return err
	})
	switch {
	case errors.Is(err, unix.EXDEV), errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM): // another file system; an old kernel; a sandbox
		return -1, fmt.Errorf("%w: openat2: %w", journal.ErrNotTaken, err)
	case err != nil:
		return -1, os.NewSyscallError("openat2", err)
	}
	return fd, nil
}

func (p places) close() {
	for _, one := range p {
		_ = unix.Close(one.dir) // only looked into
	}
}

// unnamed is the descriptor of a file without a name.
type unnamed int

// create writes body to a file that has no name yet.
func (p places) create(body []byte) (unnamed, error) {
	var fd int
	err := ignoringEINTR(func() (err error) {
		fd, err = unix.Openat(p[0].dir, ".", unix.O_TMPFILE|unix.O_WRONLY|unix.O_CLOEXEC, 0o600)
		return err
	})
	switch {
	case errors.Is(err, unix.EISDIR), errors.Is(err, unix.EOPNOTSUPP):
		return -1, fmt.Errorf("%w: O_TMPFILE: %w", journal.ErrNotTaken, err)
	case err != nil:
		return -1, os.NewSyscallError("openat", err)
	}
	err = giveTo(p[0].dir, fd)
	for len(body) > 0 && err == nil {
		var n int
		err = ignoringEINTR(func() (err error) {
			n, err = unix.Write(fd, body)
			return err
		})
		body = body[max(n, 0):]
	}
	if err != nil {
		return -1, errors.Join(os.NewSyscallError("write", err), unix.Close(fd))
	}
	return unnamed(fd), nil
}

// close closes the file. What it holds is in the journal.
func (u unnamed) close() { _ = unix.Close(int(u)) }

// link gives the file all its names, or none.
func (p places) link(file unnamed) error {
	for i, one := range p {
		if err := file.link(one); err != nil {
			for _, made := range p[:i] {
				err = errors.Join(err, unix.Unlinkat(made.dir, made.name, 0))
			}
			return err
		}
	}
	return nil
}

func (u unnamed) link(to place) error {
	// Without a right of root, AT_EMPTY_PATH is granted by new kernels only; open(2) shows the way through /proc.
	err := ignoringEINTR(func() error { return unix.Linkat(int(u), "", to.dir, to.name, unix.AT_EMPTY_PATH) })
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.EPERM) {
		path := "/proc/self/fd/" + strconv.Itoa(int(u))
		err = ignoringEINTR(func() error { return unix.Linkat(unix.AT_FDCWD, path, to.dir, to.name, unix.AT_SYMLINK_FOLLOW) })
	}
	return os.NewSyscallError("linkat", err)
}

// place puts an object in place that the journal has kept, over whatever is there.
func (f *FS) place(keys []string, body []byte) error {
	for _, key := range keys {
		if err := CheckKey(key); err != nil {
			return err // not written by us
		}
		if err := f.replace(context.Background(), key, bytes.NewReader(body), int64(len(body))); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// remove removes an object that was deleted before a crash.
func (f *FS) remove(key string) error {
	parent, name := splitKey(key)
	d, err := f.base.open(parent)
	if err == nil {
		defer d.close()
		err = d.unlink(name)
	}
	if isMissing(err) {
		return nil
	}
	return err
}

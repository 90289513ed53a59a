package blob

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/semaphore"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/store/blob/journal"
)

// FS keeps objects as files below a directory, one file per key. Directories have mode 0700, files 0600.
// Symbolic links inside are never followed, and nothing but regular files counts as an object.
//
// A file is written without a name (O_TMPFILE) and only then linked under its name, so that no name ever shows half
// an object. What makes it durable is, for a small one, the journal, before the linking: many share one flush there.
// A large one, and every one where there is no journal, is flushed itself; its directory is flushed after the linking,
// and so is every parent that the put relies on. Directories are never removed: another put may be about to use
// them. Whoever cleans up empty ones must do so while the process is stopped.
type FS struct {
	base      *dir
	minFree   int64
	noTmpfile bool // the file system has no O_TMPFILE, or what it makes cannot be linked: an older kernel without /proc
	made      madeDirs
	syncNames func(dir *os.File) error // syncNames, but in tests that look at it or leave it out
	// journal is nil where there is none, and where unjournaled is true only as long as not all of what it holds is in place.
	journal     *journal.Log
	unjournaled bool
	// bodies bounds the bytes of objects on their way through the journal.
	bodies *semaphore.Weighted
	// mayMake is that of the options.
	mayMake func(ctx context.Context, dir string) error
	filled  filledDirs
}

// FSOptions tune an FS. Zero values mean the defaults.
type FSOptions struct {
	// MinFreeBytes is the free space below which Check reports ErrFull; default 64 MiB, negative for none.
	MinFreeBytes int64
	// WithoutJournal flushes every object by itself. That is the rule anyway on file systems where one call
	// cannot be trusted to flush them all (see journal.go).
	WithoutJournal bool
	// MayMake is asked about each directory that is not there or empty and would be made or used for an object, by its path below the base. An error is
	// a reason not to: the object is refused with an ErrMissing. nil lets all be made.
	MayMake func(ctx context.Context, dir string) error
	// Log and Registerer may be nil.
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

var _ Bucket = (*FS)(nil)

// NewFS opens the bucket at base, a directory that is made when missing, and puts in place what a crash has left in
// the journal. Close it in the end.
func NewFS(base string, o FSOptions) (*FS, error) {
	f, err := openFS(base, o)
	if err != nil {
		return nil, fmt.Errorf("open object store %s: %w", base, err)
	}
	return f, nil
}

func openFS(base string, o FSOptions) (*FS, error) {
	if err := makeBase(base); err != nil {
		return nil, err
	}
	d, err := openBase(base)
	if err != nil {
		return nil, err
	}
	f := &FS{base: d, minFree: cmp.Or(o.MinFreeBytes, 64<<20), syncNames: syncNames, bodies: semaphore.NewWeighted(maxBodies), mayMake: o.MayMake}
	err = f.prepareTemp()
	if err == nil {
		err = f.openJournal(base, o)
	}
	if err != nil {
		d.close()
		return nil, err
	}
	return f, nil
}

// Close gives the directory back. No method may be called after it.
func (f *FS) Close() error { return errors.Join(f.closeJournal(), f.base.file.Close()) }

// Put writes an object. ctx is honoured until the object gets its name.
func (f *FS) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	return f.PutAll(ctx, []string{key}, r, size)
}

// PutAll writes an object and links it under all keys, with copies of its bytes where links end.
func (f *FS) PutAll(ctx context.Context, keys []string, r io.ReadSeeker, size int64) error {
	for _, key := range keys {
		if err := CheckPut(ctx, key, size); err != nil {
			return fmt.Errorf("put %s: %w", key, err)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	err := f.mayPut(ctx, keys...)
	if err == nil {
		err = f.putJournaled(ctx, keys, r, size)
	}
	if errors.Is(err, journal.ErrNotTaken) {
		err = f.putAllFlushed(ctx, keys, r, size)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", keys[0], writeError(err))
	}
	return nil
}

func (f *FS) putAllFlushed(ctx context.Context, keys []string, r io.ReadSeeker, size int64) error {
	if err := f.putFlushed(ctx, keys[0], r, size); err != nil {
		return err
	}
	for i, key := range keys[1:] {
		if err := f.copy(ctx, keys[0], key); err != nil {
			return errors.Join(fmt.Errorf("copy to %s: %w", key, err), DeleteAll(ctx, f, keys[:i+1]))
		}
	}
	return nil
}

func (f *FS) putFlushed(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	if err := f.awaitDeletion(ctx, key); err != nil {
		return err
	}
	parent, name := splitKey(key)
	d, err := f.durableDir(parent)
	if err != nil {
		return err
	}
	defer d.close()
	err = f.putInto(ctx, d, parent, name, r, size, f.create)
	if errors.Is(err, unix.EXDEV) {
		err = f.putInto(ctx, d, parent, name, r, size, createBeside)
	}
	return err
}

// putInto writes a file that create makes, and links it to name in d. EXDEV when it cannot be linked there.
func (f *FS) putInto(ctx context.Context, d *dir, parent, name string, r io.ReadSeeker, size int64, create func(*dir) (*tempFile, error)) error {
	file, err := create(d)
	if err != nil {
		return err
	}
	defer file.discard()
	if err := file.fill(ctx, r, size); err != nil {
		return err
	}
	return f.settle(d, parent, name, file.link(d, name))
}

// Copy links the file under a second name, and copies its bytes where links end (another file system, too
// many links, a file system that has none).
func (f *FS) Copy(ctx context.Context, src, dst string) error {
	if err := errors.Join(CheckKey(src), CheckKey(dst), ctx.Err()); err != nil {
		return fmt.Errorf("copy %s to %s: %w", src, dst, err)
	}
	err := f.mayPut(ctx, dst)
	if err == nil {
		err = f.copy(ctx, src, dst)
	}
	if err != nil {
		return fmt.Errorf("copy %s to %s: %w", src, dst, writeError(err))
	}
	return nil
}

func (f *FS) copy(ctx context.Context, src, dst string) error {
	if err := f.awaitDeletion(ctx, dst); err != nil {
		return err
	}
	err := f.link(src, dst)
	if linksEnd(err) {
		return f.copyBytes(ctx, src, dst)
	}
	return err
}

func (f *FS) link(src, dst string) error {
	srcDir, srcName := splitKey(src)
	from, err := f.base.open(srcDir)
	if err != nil {
		return readError(err)
	}
	defer from.close()
	if err := f.flushBytes(from, srcName); err != nil {
		return readError(err)
	}
	dstDir, dstName := splitKey(dst)
	to, err := f.durableDir(dstDir)
	if err != nil {
		return err
	}
	defer to.close()
	err = ignoringEINTR(func() error { return unix.Linkat(from.fd(), srcName, to.fd(), dstName, 0) })
	return f.settle(to, dstDir, dstName, os.NewSyscallError("linkat", err))
}

// flushBytes puts an object on the disk that may be only in the journal, which does not know the new name.
func (f *FS) flushBytes(d *dir, name string) error {
	if _, err := d.stat(name); err != nil {
		return err
	}
	file, err := d.openFile(name)
	if err != nil {
		return err
	}
	return errors.Join(syncData(file), file.Close())
}

func (f *FS) copyBytes(ctx context.Context, src, dst string) error {
	file, info, err := f.openObject(src)
	if err != nil {
		return readError(err)
	}
	defer func() { _ = file.Close() }() // only read
	return f.putFlushed(ctx, dst, file, info.SizeBytes)
}

// settle makes the name durable that linking gave, or failed to give with linkErr. When it cannot be made
// durable it is taken back, so that the caller, who is told of the error, may try again. A name that was taken is
// flushed too: a caller that finds its own object may rely on it, and who made it may not be there yet.
func (f *FS) settle(d *dir, parent, name string, linkErr error) error {
	if linkErr != nil && !errors.Is(linkErr, unix.EEXIST) {
		return linkErr
	}
	err := f.flush(d)
	switch {
	case err == nil:
		return linkErr
	case linkErr == nil:
		return errors.Join(err, d.unlink(name))
	}
	return err
}

// Get opens the file. ctx counts for the opening only.
func (f *FS) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, Info, error) {
	if err := CheckGet(ctx, key, offset); err != nil {
		return nil, Info{}, fmt.Errorf("get %s: %w", key, err)
	}
	file, info, err := f.openObject(key)
	if err != nil {
		return nil, Info{}, fmt.Errorf("get %s: %w", key, readError(err))
	}
	start, length := CutRange(info.SizeBytes, offset, n)
	return struct {
		*io.SectionReader
		io.Closer
	}{io.NewSectionReader(file, start, length), file}, info, nil
}

func (f *FS) openObject(key string) (*os.File, Info, error) {
	parent, name := splitKey(key)
	d, err := f.base.open(parent)
	if err != nil {
		return nil, Info{}, err
	}
	defer d.close()
	file, err := d.openFile(name)
	if err != nil {
		return nil, Info{}, err
	}
	fi, err := file.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = unix.ENOENT
	}
	if err != nil {
		return nil, Info{}, errors.Join(err, file.Close())
	}
	return file, Info{Key: key, SizeBytes: fi.Size(), Modified: fi.ModTime()}, nil
}

// Stat describes the file.
func (f *FS) Stat(ctx context.Context, key string) (Info, error) {
	if err := CheckGet(ctx, key, 0); err != nil {
		return Info{}, fmt.Errorf("stat %s: %w", key, err)
	}
	parent, name := splitKey(key)
	d, err := f.base.open(parent)
	if err != nil {
		return Info{}, fmt.Errorf("stat %s: %w", key, readError(err))
	}
	defer d.close()
	info, err := d.stat(name)
	if err != nil {
		return Info{}, fmt.Errorf("stat %s: %w", key, readError(err))
	}
	info.Key = key
	return info, nil
}

// Delete removes the file and flushes its directory, which stays even when it is empty now.
func (f *FS) Delete(ctx context.Context, key string) error {
	if err := CheckGet(ctx, key, 0); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	if err := f.forgetJournaled(ctx, key); err != nil {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	parent, name := splitKey(key)
	d, err := f.base.open(parent)
	if err == nil {
		defer d.close()
		err = ctx.Err() // opening may have taken long where the disk is away: others may need the object by now
	}
	if err == nil {
		err = d.unlink(name)
		if err == nil || isMissing(err) { // missing: perhaps by a delete whose flush failed
			err = f.flush(d)
		}
	}
	if err != nil && !isMissing(err) {
		return fmt.Errorf("delete %s: %w", key, err)
	}
	return nil
}

// writeError and readError add the error that callers test for.
func writeError(err error) error {
	switch {
	case errors.Is(err, unix.ENOSPC), errors.Is(err, unix.EDQUOT):
		return fmt.Errorf("%w: %w", ErrFull, err)
	case errors.Is(err, unix.EEXIST):
		return fmt.Errorf("%w: %w", ErrExists, err)
	}
	return err
}

func readError(err error) error {
	if isMissing(err) {
		return fmt.Errorf("%w: %w", ErrNotFound, err)
	}
	return err
}

// isMissing: no such name, a parent that is a file, or something that is no object: a directory, a symbolic link.
func isMissing(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.EISDIR) || errors.Is(err, unix.ELOOP)
}

// linksEnd says whether bytes must be copied because no link could be made.
func linksEnd(err error) bool {
	return errors.Is(err, unix.EXDEV) || errors.Is(err, unix.EMLINK) || errors.Is(err, unix.EPERM) || errors.Is(err, unix.EOPNOTSUPP)
}

func modified(st *unix.Stat_t) time.Time { return time.Unix(st.Mtim.Unix()) }

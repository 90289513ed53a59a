package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// ErrMissing says that a directory is not there, or empty, in which there must be objects.
var ErrMissing = errors.New("the directory is missing or empty")

type makingAllKey struct{}

// MakingAll is for work that makes directories anew which are gone for good: with it MayMake is not asked.
func MakingAll(ctx context.Context) context.Context {
	return context.WithValue(ctx, makingAllKey{}, true)
}

// mayPut asks MayMake about the directories of keys that are not there or empty, those above others too. What the journal has kept is put in place
// without: a power cut may have taken the directory, whose name is durable when the journal says so.
func (f *FS) mayPut(ctx context.Context, keys ...string) error {
	if f.mayMake == nil || ctx.Value(makingAllKey{}) != nil {
		return nil
	}
	for _, key := range keys {
		for dir, _ := splitKey(key); dir != "" && f.isBare(dir); dir, _ = splitKey(dir) {
			if err := f.mayMake(ctx, dir); err != nil && f.isBareStill(dir) {
				return fmt.Errorf("%w: %s: %w", ErrMissing, dir, err)
			}
		}
	}
	return nil
}

// isBare says whether there is nothing at a path, or a directory with nothing in it. Of everything else whoever opens it tells what is wrong.
func (f *FS) isBare(path string) bool {
	var st unix.Stat_t
	err := ignoringEINTR(func() error { return unix.Fstatat(f.base.fd(), path, &st, unix.AT_SYMLINK_NOFOLLOW) })
	if err != nil || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return errors.Is(err, unix.ENOENT)
	}
	inode := [2]uint64{st.Dev, st.Ino}
	if f.filled.has(inode) {
		return false
	}
	d, err := f.base.open(path)
	if err != nil {
		return false
	}
	defer d.close()
	if d.isEmpty() {
		return true
	}
	f.filled.add(inode)
	return false
}

// isBareStill looks again, after the directory above was opened: a file system over the network may tell what was so a while ago, before
// another node made the directory.
func (f *FS) isBareStill(path string) bool {
	above, _ := splitKey(path)
	if parent, err := f.base.open(above); err == nil {
		parent.close()
	}
	return f.isBare(path)
}

// isEmpty says whether there is nothing that can be an object, or lead to one. lost+found cannot.
func (d *dir) isEmpty() bool {
	for {
		names, err := d.file.Readdirnames(listBatch)
		if slices.ContainsFunc(names, isSegmentStart) || err != nil && !errors.Is(err, io.EOF) {
			return false
		}
		if err != nil {
			return true
		}
	}
}

// filledDirs remembers directories in which something was seen, by device and inode: another one that is mounted over them is not remembered.
type filledDirs struct {
	mu     sync.Mutex
	inodes map[[2]uint64]struct{}
}

func (f *filledDirs) has(inode [2]uint64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	_, ok := f.inodes[inode]
	return ok
}

func (f *filledDirs) add(inode [2]uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.inodes == nil || len(f.inodes) >= maxMadeDirs {
		f.inodes = map[[2]uint64]struct{}{}
	}
	f.inodes[inode] = struct{}{}
}

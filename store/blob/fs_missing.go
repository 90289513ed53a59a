package blob

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// ErrMissing says that a directory is not there in which there must be objects.
var ErrMissing = errors.New("the directory is missing")

// mayPut asks MayMake about the directories of keys that are not there, those above others too. What the journal has kept is put in place without: a power cut may have
// taken the directory, whose name is durable when the journal says so.
func (f *FS) mayPut(ctx context.Context, keys ...string) error {
	if f.mayMake == nil {
		return nil
	}
	for _, key := range keys {
		for dir, _ := splitKey(key); dir != "" && f.isNowhere(dir); dir, _ = splitKey(dir) {
			if err := f.mayMake(ctx, dir); err != nil && f.isToBeMade(dir) {
				return fmt.Errorf("%w: %s: %w", ErrMissing, dir, err)
			}
		}
	}
	return nil
}

// isNowhere says whether there is nothing at a path. Of everything else whoever opens it tells what is wrong.
func (f *FS) isNowhere(path string) bool {
	var st unix.Stat_t
	err := ignoringEINTR(func() error { return unix.Fstatat(f.base.fd(), path, &st, unix.AT_SYMLINK_NOFOLLOW) })
	return errors.Is(err, unix.ENOENT)
}

// isToBeMade makes sure that a directory is not there, by making and removing it: a file system over the network may tell what was so a while
// ago, before another node made it.
func (f *FS) isToBeMade(path string) bool {
	above, name := splitKey(path)
	parent, err := f.base.open(above)
	if err != nil {
		return true
	}
	defer parent.close()
	err = parent.mkdir(name)
	if err == nil {
		err = ignoringEINTR(func() error { return unix.Unlinkat(parent.fd(), name, unix.AT_REMOVEDIR) })
	}
	return !errors.Is(err, os.ErrExist)
}

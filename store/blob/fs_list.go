package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
)

// listBatch is how many names of a directory are in memory at once.
const listBatch = 512

// List walks the directories. It skips what is no object: files of other names (lost+found), links, devices; what a crash has
// left of writing beside others goes (createBeside). It is an error when a crash has left objects that could not be put in place yet.
func (f *FS) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		err := CheckPrefix(prefix)
		if err == nil {
			err = f.recovered()
		}
		if err == nil {
			parent, begin := splitKey(prefix)
			err = walker{yield}.walk(ctx, f.base, parent, parent, begin)
		}
		if err != nil && !errors.Is(err, errStop) {
			yield(Info{}, fmt.Errorf("list %q: %w", prefix, err))
		}
	}
}

// errStop says that the consumer wants no more.
var errStop = errors.New("stop")

type walker struct {
	yield func(Info, error) bool
}

// walk yields what is below path, seen from d, whose names there begin with begin. key is its full path.
func (w walker) walk(ctx context.Context, d *dir, path, key, begin string) error {
	sub, err := d.open(path)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer sub.close()
	for {
		entries, err := sub.file.ReadDir(listBatch)
		for _, e := range entries {
			if !strings.HasPrefix(e.Name(), begin) || !isSegmentStart(e.Name()) {
				sub.dropStale(e.Name())
				continue
			}
			if err := w.entry(ctx, sub, e, joinKey(key, e.Name())); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) || isMissing(err) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (w walker) entry(ctx context.Context, d *dir, e fs.DirEntry, key string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if e.IsDir() {
		return w.walk(ctx, d, e.Name(), key, "")
	}
	info, err := d.stat(e.Name())
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	info.Key = key
	if !w.yield(info, nil) {
		return errStop
	}
	return nil
}

func joinKey(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

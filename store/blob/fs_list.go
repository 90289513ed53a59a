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
// A directory or file that cannot be read keeps no other from being listed, unless it is the one that prefix names, or nothing
// else can be read either: UnlistedError.
func (f *FS) List(ctx context.Context, prefix string) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		err := CheckPrefix(prefix)
		if err == nil {
			err = f.recovered()
		}
		if err == nil {
			w := walker{yield: yield}
			parent, begin := splitKey(prefix)
			err = w.all(ctx, f.base, parent, begin)
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
	// listed says that there was an object.
	listed   bool
	unlisted UnlistedError
}

func (w *walker) all(ctx context.Context, base *dir, path, begin string) error {
	err := w.walk(ctx, base, path, path, begin)
	switch {
	case err != nil || w.unlisted.Count == 0:
		return err
	case !w.listed:
		return fmt.Errorf("nothing can be read: %s: %w", w.unlisted.Parts[0].Key, w.unlisted.Parts[0].Err)
	}
	return &w.unlisted
}

// walk yields what is below path, seen from d, whose names there begin with begin. key is its full path.
func (w *walker) walk(ctx context.Context, d *dir, path, key, begin string) error {
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

// entry yields an object, or what is in a directory. An error ends all.
func (w *walker) entry(ctx context.Context, d *dir, e fs.DirEntry, key string) error {
	err := ctx.Err()
	switch {
	case err != nil:
	case e.IsDir():
		err = w.walk(ctx, d, e.Name(), key, "")
	default:
		err = w.object(d, e.Name(), key)
	}
	if err == nil || errors.Is(err, errStop) || ctx.Err() != nil {
		return err
	}
	w.unlisted.add(key, err)
	return nil
}

func (w *walker) object(d *dir, name, key string) error {
	info, err := d.stat(name)
	if isMissing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	info.Key, w.listed = key, true
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

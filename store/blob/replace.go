package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Replacer is what a backend does for the few objects that are not immutable: descriptions, which are made again
// whenever what they describe changes.
type Replacer interface {
	// Replace stores size bytes from r under key, whether or not there is an object already. A reader sees the old one
	// or the new one whole, also after a power cut; when Replace returns nil, the new one. Otherwise as Put. A key is
	// either put or replaced, never both, unless to give it back the very bytes that it was put with: what was put a moment
	// ago may come back after a crash.
	Replace(ctx context.Context, key string, r io.ReadSeeker, size int64) error
}

var (
	_ Replacer = (*FS)(nil)
	_ Replacer = (*Memory)(nil)
)

// Replace writes a file beside the others and renames it over the old one.
func (f *FS) Replace(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	err := CheckPut(ctx, key, size)
	if err == nil {
		err = f.mayPut(ctx, key)
	}
	if err == nil {
		err = f.awaitDeletion(ctx, key)
	}
	if err == nil {
		err = f.replace(ctx, key, r, size)
	}
	if err != nil {
		return fmt.Errorf("replace %s: %w", key, writeError(err))
	}
	return nil
}

// replace writes a file that it flushes and renames over the key.
func (f *FS) replace(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	parent, name := splitKey(key)
	d, err := f.durableDir(parent)
	if err != nil {
		return err
	}
	defer d.close()
	err = renameTo(ctx, d, name, r, size, func(*dir) (*tempFile, error) { return f.createNamed() })
	if errors.Is(err, unix.EXDEV) {
		err = renameTo(ctx, d, name, r, size, createBeside)
	}
	if err != nil {
		return err
	}
	return f.flush(d)
}

// renameTo writes a file that create makes, and renames it to name in d. EXDEV when it cannot be moved there.
func renameTo(ctx context.Context, d *dir, name string, r io.ReadSeeker, size int64, create func(*dir) (*tempFile, error)) error {
	file, err := create(d)
	if err != nil {
		return err
	}
	defer file.discard()
	if err := file.fill(ctx, r, size); err != nil {
		return err
	}
	err = ignoringEINTR(func() error { return unix.Renameat(file.in.fd(), file.name, d.fd(), name) })
	return os.NewSyscallError("renameat", err)
}

// Replace puts the object in the place of the old one.
func (m *Memory) Replace(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	if err := CheckPut(ctx, key, size); err != nil {
		return fmt.Errorf("replace %s: %w", key, err)
	}
	var b bytes.Buffer
	if err := CopyExactly(ctx, &b, r, size); err != nil {
		return fmt.Errorf("replace %s: %w", key, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[key] = memoryObject{data: b.Bytes(), modified: time.Now()}
	return nil
}

package blob

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"

	"golang.org/x/sys/unix"
)

// Check writes and removes a small file exactly as Put does, and looks at the journal and the free space: ErrFull when less
// than FSOptions.MinFreeBytes is left.
func (f *FS) Check(ctx context.Context) error {
	if err := f.probe(ctx); err != nil {
		return fmt.Errorf("check object store: %w", writeError(err))
	}
	return nil
}

func (f *FS) probe(ctx context.Context) error {
	if err := f.checkSpace(); err != nil {
		return err
	}
	if err := f.recovered(); err != nil {
		return err
	}
	if f.journal != nil {
		if err := f.journal.Check(); err != nil {
			return err
		}
	}
	name := rand.Text()
	content := []byte("probe " + name)
	if err := f.putFlushed(ctx, tempDir+"/"+name, bytes.NewReader(content), int64(len(content))); err != nil {
		return err
	}
	d, err := f.base.open(tempDir)
	if err != nil {
		return err
	}
	defer d.close()
	return d.unlink(name)
}

func (f *FS) checkSpace() error {
	var st unix.Statfs_t
	err := ignoringEINTR(func() error { return unix.Fstatfs(f.base.fd(), &st) })
	if err != nil {
		return err
	}
	if free := int64(st.Bavail) * st.Bsize; free < f.minFree {
		return fmt.Errorf("%w: %d bytes free, %d wanted", ErrFull, free, f.minFree)
	}
	return nil
}

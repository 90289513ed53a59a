package blob

import (
	"context"
	"fmt"
	"io"
	"sync"
)

// copyBytes is how much is copied at once; buffers of smallCopyBytes are kept, as most objects are small.
const (
	copyBytes      = 256 << 10
	smallCopyBytes = 64 << 10
)

var smallCopies = sync.Pool{New: func() any { return new([smallCopyBytes]byte) }}

// CopyExactly copies the size bytes that r holds from its beginning to w. It is an error when r holds less
// or more. ctx is looked at before each chunk.
func CopyExactly(ctx context.Context, w io.Writer, r io.ReadSeeker, size int64) error {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("rewind: %w", err)
	}
	buf, done := copyBuffer(size + 1) // one byte more shows that r is too long
	defer done()
	return copyExactly(ctx, w, r, size, buf)
}

// copyBuffer gives a buffer for n bytes that are copied, or for a part of them, and the function to call after its last use.
func copyBuffer(n int64) (buf []byte, done func()) {
	if n > smallCopyBytes {
		return make([]byte, min(n, copyBytes)), func() {}
	}
	small, ok := smallCopies.Get().(*[smallCopyBytes]byte)
	if !ok {
		small = new([smallCopyBytes]byte)
	}
	return small[:n], func() { smallCopies.Put(small) }
}

func copyExactly(ctx context.Context, w io.Writer, r io.Reader, size int64, buf []byte) error {
	for done := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, buf[:min(size+1-done, int64(len(buf)))])
		if done+int64(n) > size {
			return fmt.Errorf("content is longer than %d bytes", size)
		}
		if _, werr := w.Write(buf[:n]); werr != nil {
			return fmt.Errorf("write: %w", werr)
		}
		done += int64(n)
		switch {
		case err == nil:
		case err != io.EOF && err != io.ErrUnexpectedEOF: // one that wraps them is the connection's
			return fmt.Errorf("read content: %w", err)
		case done < size:
			return fmt.Errorf("content is %d bytes long, not %d: %w", done, size, io.ErrUnexpectedEOF)
		default:
			return nil
		}
	}
}

// Exact gives the n bytes of an object that r was opened for: an end before them is ErrDamaged. A connection that broke, whose
// error may wrap io.ErrUnexpectedEOF, is not.
func Exact(r io.Reader, n int64) io.Reader { return &exact{r: r, left: n} }

type exact struct {
	r    io.Reader
	left int64
}

func (e *exact) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	if e.left -= int64(n); e.left > 0 && (err == io.EOF || err == io.ErrUnexpectedEOF) { //nolint:errorlint // see above
		err = ErrDamaged
	}
	return n, err
}

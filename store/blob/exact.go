package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
)

const copyBytes = 256 << 10

// CopyExactly copies the size bytes that r holds from its beginning to w. It is an error when r holds less
// or more. ctx is looked at before each chunk.
func CopyExactly(ctx context.Context, w io.Writer, r io.ReadSeeker, size int64) error {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("rewind: %w", err)
	}
	buf := make([]byte, min(size+1, copyBytes)) // one byte more shows that r is too long
	for done := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := io.ReadFull(r, buf[:min(size+1-done, copyBytes)])
		if done+int64(n) > size {
			return fmt.Errorf("content is longer than %d bytes", size)
		}
		if _, werr := w.Write(buf[:n]); werr != nil {
			return fmt.Errorf("write: %w", werr)
		}
		done += int64(n)
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("read content: %w", err)
		case done < size:
			return fmt.Errorf("content is %d bytes long, not %d: %w", done, size, io.ErrUnexpectedEOF)
		default:
			return nil
		}
	}
}

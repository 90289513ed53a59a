package blob

import (
	"context"
	"errors"
)

// checkPut and checkGet are what every backend asks of its arguments first.
func checkPut(ctx context.Context, key string, size int64) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if size < 0 {
		return errors.New("negative size")
	}
	return ctx.Err()
}

func checkGet(ctx context.Context, key string, offset int64) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if offset < 0 {
		return errors.New("negative offset")
	}
	return ctx.Err()
}

// cutRange cuts n bytes from offset (n < 0: all) to an object of size bytes.
func cutRange(size, offset, n int64) (start, length int64) {
	start = min(offset, size)
	if n < 0 || n > size-start {
		n = size - start
	}
	return start, n
}

// deleteAll takes back what a PutAll has stored that came to no good end.
func deleteAll(ctx context.Context, b Bucket, keys []string) error {
	var errs []error
	for _, key := range keys {
		errs = append(errs, b.Delete(context.WithoutCancel(ctx), key))
	}
	return errors.Join(errs...)
}

package blob

import (
	"context"
	"errors"
	"time"
)

// takeBackTimeout bounds DeleteAll.
const takeBackTimeout = 30 * time.Second

// CheckPut is what every backend asks of the arguments of a put first: a key that is well-formed, a size that is not
// negative, a context that has not ended.
func CheckPut(ctx context.Context, key string, size int64) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if size < 0 {
		return errors.New("negative size")
	}
	return ctx.Err()
}

// CheckGet is CheckPut for a reading from offset, and for what has no offset (0).
func CheckGet(ctx context.Context, key string, offset int64) error {
	if err := CheckKey(key); err != nil {
		return err
	}
	if offset < 0 {
		return errors.New("negative offset")
	}
	return ctx.Err()
}

// CutRange cuts n bytes from offset (n < 0: all) to an object of size bytes.
func CutRange(size, offset, n int64) (start, length int64) {
	start = min(offset, size)
	if n < 0 || n > size-start {
		n = size - start
	}
	return start, n
}

// DeleteAll takes back what a PutAll has stored that came to no good end, also when ctx has ended. It takes 30 s at most;
// what is there then is the sweep's.
func DeleteAll(ctx context.Context, b Bucket, keys []string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), takeBackTimeout)
	defer cancel()
	var errs []error
	for _, key := range keys {
		errs = append(errs, b.Delete(ctx, key))
	}
	return errors.Join(errs...)
}

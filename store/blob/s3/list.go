package s3

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/url"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mairust/mairust/store/blob"
)

// List asks for a thousand keys at a time. It skips what is no object of ours, by its key.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		err := errors.Join(blob.CheckPrefix(prefix), ctx.Err())
		if err == nil {
			err = b.listAll(ctx, prefix, func(o types.Object) bool {
				key := strings.TrimPrefix(aws.ToString(o.Key), b.o.Prefix)
				if blob.CheckKey(key) != nil {
					return true
				}
				return yield(blob.Info{Key: key, SizeBytes: aws.ToInt64(o.Size), Modified: aws.ToTime(o.LastModified)}, nil)
			})
		}
		if err != nil {
			yield(blob.Info{}, fmt.Errorf("list %q: %w", prefix, err))
		}
	}
}

// listAll gives all objects below a prefix, ours or not, until do returns false.
func (b *Bucket) listAll(ctx context.Context, prefix string, do func(types.Object) bool) error {
	in := &s3.ListObjectsV2Input{Bucket: &b.o.Bucket, Prefix: b.name(prefix), EncodingType: types.EncodingTypeUrl}
	for name := ""; ; {
		page, err := b.requestList(ctx, in, name)
		if err != nil {
			return err
		}
		name = *page.Name
		for _, o := range page.Contents {
			if err := ctx.Err(); err != nil {
				return err
			}
			o.Key = decoded(o.Key, page.EncodingType)
			if !do(o) {
				return nil
			}
		}
		next := aws.ToString(page.NextContinuationToken)
		switch {
		case !aws.ToBool(page.IsTruncated):
			return nil
		case next == "" || next == aws.ToString(in.ContinuationToken):
			return errCutShort // else whoever lists takes what was left out for removed
		}
		in.ContinuationToken = page.NextContinuationToken
	}
}

// requestList asks for a page of a list; bucket is what the page before has named, empty for the first.
func (b *Bucket) requestList(ctx context.Context, in *s3.ListObjectsV2Input, bucket string) (page *s3.ListObjectsV2Output, err error) {
	err = b.try(ctx, "list", 0, func(ctx context.Context) error {
		if page, err = b.client.ListObjectsV2(ctx, in); err != nil {
			return err
		}
		return mustName(page.Name, bucket)
	})
	return page, err
}

// mustName is errLied for a page that names no bucket, or another than the page before: all servers name it, and to the SDK
// an empty answer, and any other XML, is a list that has come to its end. That the name is the one that was asked for is not
// wanted: an access point, or a gateway that has names of its own, may say what is behind it.
func mustName(name *string, before string) error {
	switch is := aws.ToString(name); {
	case is == "":
		return fmt.Errorf("%w: a list that names no bucket: is it another server that answers?", errLied)
	case before != "" && is != before:
		return fmt.Errorf("%w: a list of the bucket %q that goes on with %q", errLied, before, is)
	}
	return nil
}

// errCutShort is about a server that does not say where its list goes on.
var errCutShort = errors.New("the server says that the list goes on, and not where")

// decoded is a key of a list. Lists are asked for in URL encoding: others may have put a key with a character that XML
// does not have, which would make the whole list unreadable. Servers that do not know it say so.
func decoded(key *string, as types.EncodingType) *string {
	if as != types.EncodingTypeUrl {
		return key
	}
	plain, err := url.QueryUnescape(aws.ToString(key))
	if err != nil {
		return key
	}
	return &plain
}

// Tidy gives up uploads that were never finished, and removes probes, and digests whose object is gone.
func (b *Bucket) Tidy(ctx context.Context, before time.Time) (removed int, err error) {
	for _, tidy := range []func(context.Context, time.Time) (int, error){b.tidyUploads, b.tidyProbes, b.tidySums} {
		n, failed := tidy(ctx, before)
		removed += n
		err = errors.Join(err, failed)
	}
	if err != nil {
		return removed, fmt.Errorf("tidy object store: %w", err)
	}
	return removed, nil
}

func (b *Bucket) tidyUploads(ctx context.Context, before time.Time) (removed int, err error) {
	err = b.uploads(ctx, func(u types.MultipartUpload) error {
		name := aws.ToString(u.Key)
		if !aws.ToTime(u.Initiated).Before(before) {
			return nil
		}
		done, err := b.abort(ctx, name, aws.ToString(u.UploadId))
		if err != nil || !done {
			return err
		}
		removed++
		b.metrics.aborted.Inc()
		b.log.Warn("unfinished upload removed", "key", strings.TrimPrefix(name, b.o.Prefix), "since", aws.ToTime(u.Initiated))
		return nil
	})
	return removed, err
}

// uploads gives the unfinished uploads below our prefix. It asks for all of the bucket: MinIO finds none by the beginning
// of their key.
func (b *Bucket) uploads(ctx context.Context, do func(types.MultipartUpload) error) error {
	in := &s3.ListMultipartUploadsInput{Bucket: &b.o.Bucket, EncodingType: types.EncodingTypeUrl}
	for name := ""; ; {
		page, err := b.requestUploads(ctx, in, name)
		if err != nil {
			return err
		}
		name = *page.Bucket
		for _, u := range page.Uploads {
			u.Key = decoded(u.Key, page.EncodingType)
			key, ours := strings.CutPrefix(aws.ToString(u.Key), b.o.Prefix)
			if !ours || blob.CheckKey(strings.TrimPrefix(key, probeDir)) != nil {
				continue
			}
			if err := do(u); err != nil {
				return err
			}
		}
		switch {
		case !aws.ToBool(page.IsTruncated):
			return nil
		case aws.ToString(page.NextKeyMarker) == "":
			return errCutShort
		}
		in.KeyMarker, in.UploadIdMarker = decoded(page.NextKeyMarker, page.EncodingType), page.NextUploadIdMarker
	}
}

func (b *Bucket) requestUploads(ctx context.Context, in *s3.ListMultipartUploadsInput, bucket string) (page *s3.ListMultipartUploadsOutput, err error) {
	err = b.try(ctx, "list_uploads", 0, func(ctx context.Context) error {
		if page, err = b.client.ListMultipartUploads(ctx, in); err != nil {
			return err
		}
		return mustName(page.Bucket, bucket)
	})
	return page, err
}

func (b *Bucket) tidyProbes(ctx context.Context, before time.Time) (int, error) {
	return b.tidyDir(ctx, probeDir, before, func(string) (bool, error) { return true, nil })
}

func (b *Bucket) tidySums(ctx context.Context, before time.Time) (int, error) {
	return b.tidyDir(ctx, sumsDir, before, func(key string) (bool, error) {
		_, err := b.Stat(ctx, key)
		if errors.Is(err, blob.ErrNotFound) {
			return true, nil
		}
		return false, err
	})
}

// tidyDir removes what is old below dir and may go.
func (b *Bucket) tidyDir(ctx context.Context, dir string, before time.Time, mayGo func(key string) (bool, error)) (removed int, err error) {
	var failed error
	err = b.listAll(ctx, dir, func(o types.Object) bool {
		key := strings.TrimPrefix(aws.ToString(o.Key), b.o.Prefix+dir)
		if !aws.ToTime(o.LastModified).Before(before) || blob.CheckKey(key) != nil {
			return true
		}
		var may bool
		if may, failed = mayGo(key); failed == nil && may {
			if failed = b.delete(ctx, dir+key); failed == nil {
				removed++
			}
		}
		return failed == nil
	})
	return removed, errors.Join(err, failed)
}

package s3

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/mairust/mairust/store/blob"
)

// head is what the server says of an object.
type head struct {
	info blob.Info
	etag string
	meta map[string]string
	// put and chunks are of the metadata.
	put, chunks string
}

func (b *Bucket) newHead(key string, sizeBytes int64, modified *time.Time, etag *string, meta map[string]string) head {
	h := head{
		info: blob.Info{Key: key, SizeBytes: sizeBytes, Modified: aws.ToTime(modified), Digest: meta[metaDigest]},
		etag: aws.ToString(etag), meta: meta, put: meta[metaPut], chunks: meta[metaChunks],
	}
	if chunksOf(sizeBytes) > 1 && h.chunks == "" {
		h.info.Digest = "" // its parts cannot be compared
	}
	return h
}

func (b *Bucket) head(ctx context.Context, key string) (h head, err error) {
	err = b.try(ctx, "head", 0, func(ctx context.Context) error {
		h, err = b.requestHead(ctx, key)
		return err
	})
	return h, err
}

// headOnce is head after many attempts at something else.
func (b *Bucket) headOnce(ctx context.Context, key string) (h head, err error) {
	err = b.once(ctx, "head", 0, func(ctx context.Context) error {
		h, err = b.requestHead(ctx, key)
		return err
	})
	return h, explain(err)
}

func (b *Bucket) requestHead(ctx context.Context, key string) (head, error) {
	out, err := b.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: &b.o.Bucket, Key: b.name(key)})
	if err == nil && out.ContentLength == nil {
		err = errNoLength
	}
	if err != nil {
		return head{}, err
	}
	return b.newHead(key, *out.ContentLength, out.LastModified, out.ETag, out.Metadata), nil
}

// errNoLength is no word about the object: whoever takes it for an empty one finds all of them damaged.
var errNoLength = fmt.Errorf("%w: it does not say how long the object is: does a proxy send it on in chunks?", errLied)

// Get reads an object chunk by chunk: each is compared with its digest before a byte of it is given, and read again when
// the connection broke or the bytes came altered. blob.ErrDamaged, from here or from the reader, when they are so in the
// store. What other hands have put, without digests, is given as it comes. ctx counts until the end of the reading.
func (b *Bucket) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	err := blob.CheckGet(ctx, key, offset)
	var r *reader
	if err == nil {
		r, err = b.open(ctx, key, offset, n)
	}
	if err != nil {
		return nil, blob.Info{}, fmt.Errorf("get %s: %w", key, err)
	}
	return r, r.head.info, nil
}

// open opens the object and has the first chunk of what was asked for.
func (b *Bucket) open(ctx context.Context, key string, offset, n int64) (*reader, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	r := &reader{b: b, ctx: ctx, cancel: cancel, key: key}
	err := r.begin(offset, n)
	if err == nil && r.left > 0 {
		err = r.fill()
	}
	if err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// begin makes the first request, which tells how large the object is.
func (r *reader) begin(offset, n int64) (err error) {
	r.next, r.end = offset-offset%chunkBytes, math.MaxInt64
	if n >= 0 && n < math.MaxInt64-offset-chunkBytes {
		r.end = (offset + n + chunkBytes - 1) / chunkBytes * chunkBytes
	}
	if n != 0 {
		err = r.connect()
	}
	if n == 0 || status(err) == http.StatusRequestedRangeNotSatisfiable {
		r.head, err = r.b.head(r.ctx, r.key) // nothing of it is wanted but its size
	}
	if err != nil {
		return err
	}
	start, length := blob.CutRange(r.head.info.SizeBytes, offset, n)
	r.skip, r.left, r.end = start-r.next, length, min(r.end, r.head.info.SizeBytes)
	r.sums = r.b.readSums(r.ctx, r.key, r.head.info.SizeBytes, r.head.meta)
	if r.sums == nil {
		r.head.info.Digest = ""
	}
	return nil
}

// connect asks for what is left, from r.next on; of the same object as before.
func (r *reader) connect() error {
	in := &s3.GetObjectInput{Bucket: &r.b.o.Bucket, Key: r.b.name(r.key)}
	if r.head.etag != "" {
		in.IfMatch = &r.head.etag
	}
	switch {
	case r.end != math.MaxInt64:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-%d", r.next, r.end-1))
	case r.next > 0:
		in.Range = aws.String(fmt.Sprintf("bytes=%d-", r.next))
	}
	// Not once: its deadline would end the body too.
	return r.b.try(r.ctx, "get", 0, func(limit context.Context) error {
		ctx, cancel := context.WithCancelCause(r.ctx)
		stop := context.AfterFunc(limit, func() { cancel(errSlow) })
		out, err := r.b.client.GetObject(ctx, in)
		if !stop() && err == nil {
			err = errors.Join(errSlow, context.DeadlineExceeded, out.Body.Close())
		}
		if err == nil {
			err = r.take(out, in.Range != nil)
		}
		if err != nil {
			cancel(err)
			return err
		}
		r.body, r.drop = out.Body, cancel
		return nil
	})
}

// take notes what an answer says of the object.
func (r *reader) take(out *s3.GetObjectOutput, ranged bool) error {
	size := aws.ToInt64(out.ContentLength)
	switch {
	case !ranged && out.ContentLength == nil:
		return errors.Join(errNoLength, out.Body.Close())
	case ranged:
		_, total, found := strings.Cut(aws.ToString(out.ContentRange), "/")
		of, err := strconv.ParseInt(total, 10, 64)
		if !found || err != nil || !strings.HasPrefix(*out.ContentRange, fmt.Sprintf("bytes %d-", r.next)) {
			return errors.Join(fmt.Errorf("%w: a range was asked for, got %q", errLied, aws.ToString(out.ContentRange)), out.Body.Close())
		}
		size = of
	}
	h := r.b.newHead(r.key, size, out.LastModified, out.ETag, out.Metadata)
	if r.head.etag == "" {
		r.head = h
	}
	return nil
}

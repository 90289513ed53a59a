package s3

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mairust/mairust/store/blob"
)

const (
	// maxParts is how many S3 takes in one upload.
	maxParts = 10_000
	// abortTimeout bounds the giving up of an upload.
	abortTimeout = 15 * time.Second
)

// partBytes is how much one request carries; all of it below the threshold. What would come to too many parts gets
// larger ones.
func (b *Bucket) partBytes(sizeBytes int64) int64 {
	if sizeBytes <= b.o.MultipartThresholdMB<<20 {
		return max(sizeBytes, chunkBytes)
	}
	least := (sizeBytes/maxParts/chunkBytes + 1) * chunkBytes
	return max(b.o.MultipartChunkMB<<20, least)
}

// inParts sends the content part by part, one at a time: each is read from the caller while it is sent, so that memory
// holds none of it. Several deliveries run at once anyway. An upload that fails is given up.
func (u *upload) inParts(ctx context.Context) error {
	id, err := u.begin(ctx)
	if err != nil {
		return err
	}
	var done []types.CompletedPart
	for i, p := range u.src.parts {
		var one types.CompletedPart
		if one, err = u.sendPart(ctx, id, int32(i+1), p); err != nil {
			break
		}
		done = append(done, one)
	}
	if err == nil {
		err = u.complete(ctx, id, done)
	}
	if err == nil {
		return nil
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	if _, failed := u.b.abort(last, *u.b.name(u.key), id); failed != nil {
		u.b.log.Warn("unfinished upload not removed; the sweep will", "key", u.key, "err", failed)
	}
	return err
}

// begin may leave an upload nobody knows of, when its answer is lost: Tidy finds it.
func (u *upload) begin(ctx context.Context) (id string, err error) {
	err = u.b.try(ctx, "create_upload", 0, func(ctx context.Context) error {
		in := &s3.CreateMultipartUploadInput{Bucket: &u.b.o.Bucket, Key: u.b.name(u.key), Metadata: u.meta}
		in.ServerSideEncryption, in.SSEKMSKeyId = u.b.sse()
		if u.can.checksums {
			in.ChecksumAlgorithm = types.ChecksumAlgorithmCrc32
		}
		out, err := u.b.client.CreateMultipartUpload(ctx, in)
		if err != nil {
			return err
		}
		if id = aws.ToString(out.UploadId); id == "" {
			return fmt.Errorf("%w: it names no upload", errLied)
		}
		return nil
	})
	return id, err
}

func (u *upload) sendPart(ctx context.Context, id string, number int32, p part) (types.CompletedPart, error) {
	done := types.CompletedPart{PartNumber: &number}
	err := u.b.try(ctx, "put_part", p.sizeBytes, func(ctx context.Context) error {
		in := &s3.UploadPartInput{
			Bucket: &u.b.o.Bucket, Key: u.b.name(u.key), UploadId: &id, PartNumber: &number,
			Body: u.src.open(p), ContentLength: &p.sizeBytes,
		}
		if u.can.checksums {
			in.ChecksumCRC32 = p.checksum()
		}
		out, err := u.b.client.UploadPart(ctx, in, signed(p.digest))
		if err != nil {
			return err
		}
		done.ETag, done.ChecksumCRC32 = out.ETag, in.ChecksumCRC32
		return u.compare(p, out.ChecksumCRC32)
	})
	if err != nil {
		return done, fmt.Errorf("part %d: %w", number, err)
	}
	return done, nil
}

// complete makes the parts an object, and sees that it is there: a server may answer that it is at work, and fail then. It
// gets a second more for each MiB, because some servers copy the parts.
func (u *upload) complete(ctx context.Context, id string, parts []types.CompletedPart) error {
	err := u.b.try(ctx, "complete_upload", u.src.sizeBytes/16, func(ctx context.Context) error {
		_, err := u.b.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
			Bucket: &u.b.o.Bucket, Key: u.b.name(u.key), UploadId: &id, IfNoneMatch: u.guard,
			MultipartUpload: &types.CompletedMultipartUpload{Parts: parts},
		})
		return err
	})
	gone := code(err) == "NoSuchUpload" // completed by an attempt whose answer was lost, or removed by somebody
	if err != nil && !gone {
		return err
	}
	has, failed := u.b.head(ctx, u.key)
	switch {
	case gone && failed == nil && has.put != u.id:
		return err
	case failed == nil && (has.put != u.id && has.put != "" || has.info.SizeBytes != u.src.sizeBytes):
		u.lied = true
		return fmt.Errorf("%w: %d bytes instead of %d", errLied, has.info.SizeBytes, u.src.sizeBytes)
	case errors.Is(failed, blob.ErrNotFound):
		return errors.Join(errors.New("the upload is gone"), err)
	}
	return failed
}

// abort removes an unfinished upload. done is false when it was not there, which is no error: MinIO goes on listing one
// whose end its client did not wait for. name is the key with its prefix.
func (b *Bucket) abort(ctx context.Context, name, id string) (done bool, err error) {
	err = b.try(ctx, "abort_upload", 0, func(ctx context.Context) error {
		_, err := b.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &b.o.Bucket, Key: &name, UploadId: &id})
		return err
	})
	if code(err) == "NoSuchUpload" {
		return false, nil
	}
	return err == nil, err
}

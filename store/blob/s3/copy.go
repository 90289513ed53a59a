package s3

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mairust/mairust/store/blob"
)

// copiesAtOnce bounds the requests that one delivery to many makes at the same time.
const copiesAtOnce = 8

// putFurther gives an object that is stored under the first key all the others. When that fails, it takes back all.
func (b *Bucket) putFurther(ctx context.Context, keys []string, src *source) error {
	further := keys[1:]
	errs := make([]error, len(further))
	var group sync.WaitGroup
	slots := make(chan struct{}, copiesAtOnce)
	for i, key := range further {
		slots <- struct{}{}
		group.Go(func() {
			defer func() { <-slots }()
			if src.inMemory() {
				errs[i] = b.store(ctx, key, src, create)
			} else {
				errs[i] = b.copy(ctx, keys[0], key)
			}
		})
	}
	group.Wait()
	if errors.Join(errs...) == nil {
		return nil
	}
	made := keys[:1:1]
	for i, err := range errs {
		if !errors.Is(err, blob.ErrExists) { // what is there then is not ours
			made = append(made, further[i])
		}
	}
	return errors.Join(errors.Join(errs...), blob.DeleteAll(ctx, b, made))
}

// Copy has the server copy; where it cannot, the bytes are read and put.
func (b *Bucket) Copy(ctx context.Context, src, dst string) error {
	err := errors.Join(blob.CheckKey(src), blob.CheckKey(dst), ctx.Err())
	if err == nil {
		err = b.copy(ctx, src, dst)
	}
	if err != nil {
		return fmt.Errorf("copy %s to %s: %w", src, dst, err)
	}
	return nil
}

// copy looks first whether the key is free: few servers have conditional copies. As mustBeFree says, that is enough.
func (b *Bucket) copy(ctx context.Context, src, dst string) error {
	from, err := b.head(ctx, src)
	if err != nil {
		return err
	}
	defer b.takeTurn(dst)()
	if err := b.mustBeFree(ctx, dst); err != nil {
		return err
	}
	err = b.serverCopy(ctx, src, dst, from)
	// After errLied the key was deleted: a server that does so late must not take what would be put there now.
	if err == nil || ctx.Err() != nil || errors.Is(err, blob.ErrNotFound) || errors.Is(err, blob.ErrFull) || errors.Is(err, errLied) {
		return err
	}
	b.log.Info("the server did not copy; the bytes are sent", "key", dst, "err", err)
	return b.copyBytes(ctx, src, dst, from.info.Digest)
}

// serverCopy copies an object with its metadata, and sees that all came over.
func (b *Bucket) serverCopy(ctx context.Context, src, dst string, from head) error {
	if strings.HasPrefix(from.chunks, "@") {
		err := b.requestCopy(ctx, sumsDir+src, sumsDir+dst, head{})
		if errors.Is(err, blob.ErrNotFound) {
			return errors.New("the digests of its chunks are missing") // the object is there
		}
		if err != nil {
			return err
		}
	}
	if err := b.requestCopy(ctx, src, dst, from); err != nil {
		return err
	}
	to, err := b.head(ctx, dst)
	if err == nil && (to.info.SizeBytes != from.info.SizeBytes || to.info.Digest != from.info.Digest || to.chunks != from.chunks) {
		err = errors.Join(fmt.Errorf("%w: the copy is another object", errLied), b.delete(ctx, dst))
	}
	return err
}

// requestCopy copies the object as it was when its head was read, if it was.
func (b *Bucket) requestCopy(ctx context.Context, src, dst string, from head) error {
	var etag *string
	if from.etag != "" {
		etag = &from.etag
	}
	source := (&url.URL{Path: b.o.Bucket + "/" + *b.name(src)}).EscapedPath()
	return b.try(ctx, "copy", from.info.SizeBytes, func(ctx context.Context) error {
		in := &s3.CopyObjectInput{
			Bucket: &b.o.Bucket, Key: b.name(dst), CopySource: aws.String(source), CopySourceIfMatch: etag,
			MetadataDirective: types.MetadataDirectiveCopy,
		}
		in.ServerSideEncryption, in.SSEKMSKeyId = b.sse()
		_, err := b.client.CopyObject(ctx, in)
		return err
	})
}

// copyBytes reads the object and puts it. want is its digest, if it is known: chunks are not compared without theirs.
func (b *Bucket) copyBytes(ctx context.Context, src, dst, want string) error {
	r, err := blob.NewReader(ctx, b, src)
	if err != nil {
		return err
	}
	size := r.Info().SizeBytes
	content, err := measure(ctx, r, size, b.partBytes(size))
	if err == nil && want != "" && hex.EncodeToString(content.whole[:]) != want {
		err = fmt.Errorf("%w: %s has another digest", blob.ErrDamaged, src)
	}
	if err == nil {
		err = b.store(ctx, dst, content, replace) // the caller has the turn, and has seen that the key is free
	}
	return errors.Join(err, r.Close())
}

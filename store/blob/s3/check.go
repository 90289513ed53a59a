package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// abilities are what this server can do beyond what all can.
type abilities struct {
	// conditional: a PUT with If-None-Match refuses a key that is taken.
	conditional bool
	// checksums: uploads may carry a CRC-32.
	checksums bool
	// encrypted: it says that it has encrypted as it was asked to.
	encrypted bool
}

// Check stores and removes a small object.
func (b *Bucket) Check(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("check object store: %w", err)
	}
	can, err := b.abilities(ctx)
	if err == nil {
		err = b.probe(ctx, can.checksums)
	}
	if err != nil {
		return fmt.Errorf("check object store: %w", err)
	}
	return nil
}

func (b *Bucket) probe(ctx context.Context, checksums bool) error {
	key := probeDir + rand.Text()
	if _, err := b.putProbe(ctx, key, checksums, nil); err != nil {
		return err
	}
	return b.delete(ctx, key)
}

// unable is why the last search for the server's abilities failed; it holds for a moment, so that a thousand who wait do
// not ask one after the other.
type unable struct {
	err   error
	until time.Time
}

const unableFor = time.Second

// abilities finds out once what the server can do, at the first put.
func (b *Bucket) abilities(ctx context.Context) (abilities, error) {
	select {
	case <-ctx.Done():
		return abilities{}, ctx.Err()
	case b.probing <- struct{}{}:
		defer func() { <-b.probing }()
	}
	if b.can != nil {
		return *b.can, nil
	}
	if time.Now().Before(b.unable.until) {
		return abilities{}, b.unable.err
	}
	can, err := b.findAbilities(ctx)
	if err != nil {
		if ctx.Err() == nil {
			b.unable = unable{err, time.Now().Add(unableFor)}
		}
		return can, err
	}
	b.can = &can
	b.log.Info("object store", "bucket", b.String(), "conditional_put", can.conditional, "checksums", can.checksums,
		"encryption", b.o.Encryption)
	if !can.encrypted {
		b.log.Warn("the object store does not say that it encrypts what it stores", "encryption", b.o.Encryption)
	}
	return can, nil
}

func (b *Bucket) findAbilities(ctx context.Context) (abilities, error) {
	can := abilities{checksums: b.o.Checksums != ChecksumsOff}
	key := probeDir + rand.Text()
	out, err := b.putProbe(ctx, key, can.checksums, nil)
	if err != nil && b.o.Checksums == ChecksumsAuto && isUnsupported(err) {
		can.checksums = false
		out, err = b.putProbe(ctx, key, false, nil)
	}
	if err != nil {
		return can, err
	}
	want, _ := b.sse()
	can.encrypted = out.ServerSideEncryption == want || want == ""
	_, err = b.putProbe(ctx, key, can.checksums, aws.String("*"))
	can.conditional = isTaken(err)
	if err != nil && !isTaken(err) && !isUnsupported(err) {
		return can, errors.Join(err, b.delete(ctx, key))
	}
	return can, b.delete(ctx, key)
}

func (b *Bucket) putProbe(ctx context.Context, key string, checksums bool, guard *string) (out *s3.PutObjectOutput, err error) {
	content := []byte("probe")
	src, err := measure(ctx, bytes.NewReader(content), int64(len(content)), chunkBytes)
	if err != nil {
		return nil, err
	}
	err = b.try(ctx, "put", 0, func(ctx context.Context) error {
		in := &s3.PutObjectInput{Bucket: &b.o.Bucket, Key: b.name(key), Body: src.open(src.parts[0]), IfNoneMatch: guard}
		b.encrypt(in)
		if checksums {
			in.ChecksumCRC32 = src.parts[0].checksum()
		}
		out, err = b.client.PutObject(ctx, in, signed(src.whole))
		return err
	})
	return out, err
}

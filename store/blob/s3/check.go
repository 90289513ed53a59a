package s3

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
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
	// echoes: its answers name the checksum of what it has stored, which no other server could.
	echoes bool
	// remembers: it keeps metadata. It is found out, and needed, only where it does not echo.
	remembers bool
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
		err = b.probe(ctx, can)
	}
	if err != nil {
		return fmt.Errorf("check object store: %w", err)
	}
	return nil
}

func (b *Bucket) probe(ctx context.Context, can abilities) error {
	u, err := b.newProbe(ctx, can)
	if err == nil {
		err = u.atOnce(ctx)
	}
	if err != nil {
		return err
	}
	return b.delete(ctx, u.key)
}

// newProbe is a small upload, under a key of its own.
func (b *Bucket) newProbe(ctx context.Context, can abilities) (*upload, error) {
	const content = "probe"
	src, err := measure(ctx, strings.NewReader(content), int64(len(content)), chunkBytes)
	return b.newUpload(probeDir+rand.Text(), src, can), err
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
	u, err := b.newProbe(ctx, abilities{checksums: b.o.Checksums != ChecksumsOff})
	if err != nil {
		return u.can, err
	}
	if err := u.findChecksums(ctx); err != nil {
		return u.can, err
	}
	u.guard = aws.String("*")
	err = u.atOnce(ctx)
	u.can.conditional = isTaken(err)
	if err != nil && !isTaken(err) && !isUnsupported(err) {
		return u.can, errors.Join(err, b.delete(ctx, u.key))
	}
	return u.can, b.delete(ctx, u.key)
}

// findChecksums puts the probe, and finds out what the server makes of its checksum. What is no object store's answer tells nothing.
func (u *upload) findChecksums(ctx context.Context) error {
	out, err := u.ask(ctx)
	if err != nil && u.b.o.Checksums == ChecksumsAuto && isUnsupported(err) {
		u.can.checksums = false
		out, err = u.ask(ctx)
	}
	if err != nil {
		return err
	}
	want, _ := u.b.sse()
	u.can.encrypted = out.ServerSideEncryption == want || want == ""
	u.can.echoes = u.can.checksums && out.ChecksumCRC32 != nil
	if u.can.echoes {
		return nil
	}
	has, err := u.mustBeThere(ctx)
	u.can.remembers = has.put == u.id
	return err
}

// ask puts the probe, and gives what the server says.
func (u *upload) ask(ctx context.Context) (out *s3.PutObjectOutput, err error) {
	p := u.src.parts[0]
	err = u.b.try(ctx, "put", 0, func(ctx context.Context) error {
		if out, err = u.request(ctx, p); err != nil {
			return err
		}
		return u.compare(p, out.ChecksumCRC32)
	})
	return out, err
}

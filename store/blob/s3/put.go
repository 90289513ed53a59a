package s3

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash/maphash"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/mairust/mairust/store/blob"
)

// Put stores an object: it is there once the server has said so, whole and under its own digest.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	return b.PutAll(ctx, []string{key}, r, size)
}

// PutAll stores an object under several keys. A small one is sent to each, a large one sent once and copied by the server.
func (b *Bucket) PutAll(ctx context.Context, keys []string, r io.ReadSeeker, size int64) error {
	for _, key := range keys {
		if err := blob.CheckPut(ctx, key, size); err != nil {
			return fmt.Errorf("put %s: %w", key, err)
		}
	}
	if len(keys) == 0 {
		return nil
	}
	src, err := measure(ctx, r, size, b.partBytes(size))
	if err == nil {
		err = b.store(ctx, keys[0], src, create)
	}
	if err == nil && len(keys) > 1 {
		err = b.putFurther(ctx, keys, src)
	}
	if err != nil {
		return fmt.Errorf("put %s: %w", keys[0], err)
	}
	return nil
}

// Replace puts the object in the place of the old one: S3 shows one or the other, whole.
func (b *Bucket) Replace(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	err := blob.CheckPut(ctx, key, size)
	var src *source
	if err == nil {
		src, err = measure(ctx, r, size, b.partBytes(size))
	}
	if err == nil {
		err = b.store(ctx, key, src, replace)
	}
	if err != nil {
		return fmt.Errorf("replace %s: %w", key, err)
	}
	return nil
}

// mode says whether a key may be taken.
type mode int

const (
	create mode = iota
	replace
)

// upload is one put under way.
type upload struct {
	b     *Bucket
	key   string
	src   *source
	id    string
	meta  map[string]string
	can   abilities
	mode  mode
	guard *string
	// before is the id of the put that is to be replaced, where it is asked afterwards what is there.
	before string
	// lied says that an answer showed the stored object to be another one.
	lied bool
}

// newUpload is one of something small that needs no digests in its metadata.
func (b *Bucket) newUpload(key string, src *source, can abilities) *upload {
	id := rand.Text()
	return &upload{b: b, key: key, src: src, id: id, meta: map[string]string{metaPut: id}, can: can}
}

// store puts a content under one key. When its answer was lost it asks what became of it.
func (b *Bucket) store(ctx context.Context, key string, src *source, m mode) error {
	can, err := b.abilities(ctx)
	if err != nil {
		return err
	}
	u := &upload{b: b, key: key, src: src, id: rand.Text(), can: can, mode: m}
	if m == create && !can.conditional {
		defer b.takeTurn(key)()
	}
	if err := u.lookFirst(ctx); err != nil {
		return err
	}
	var list []byte
	if u.meta, list = src.metadata(u.id); list != nil {
		if err := b.putChunks(ctx, key, list, can); err != nil {
			return err
		}
	}
	if len(src.parts) > 1 {
		err = u.inParts(ctx)
	} else {
		err = u.atOnce(ctx)
	}
	return u.settle(ctx, err)
}

// lookFirst asks what is under the key where the put itself does not tell: whether it is free, or what is replaced.
func (u *upload) lookFirst(ctx context.Context) error {
	switch {
	case u.mode == create && u.can.conditional:
		u.guard = aws.String("*")
	case u.mode == create:
		return u.b.mustBeFree(ctx, u.key)
	case !u.can.echoes:
		has, err := u.b.head(ctx, u.key)
		if errors.Is(err, blob.ErrNotFound) {
			return nil
		}
		u.before = has.put
		return err
	}
	return nil
}

// settle finds out what became of a put that gave an error which does not say so. What is ours and not as it was sent is
// no success, whatever is asked later; it is removed.
func (u *upload) settle(ctx context.Context, err error) error {
	taken := isTaken(err)
	if err == nil || ctx.Err() != nil || !taken && !mayPass(err) {
		return err
	}
	has, failed := u.b.headOnce(ctx, u.key)
	switch {
	case failed == nil && has.put == u.id && (u.lied || has.info.SizeBytes != u.src.sizeBytes):
		err = fmt.Errorf("%w: stored as %d bytes of %d: %w", errLied, has.info.SizeBytes, u.src.sizeBytes, err)
		if u.mode == replace {
			return err // whoever replaces again puts it right
		}
		return errors.Join(err, u.b.delete(ctx, u.key))
	case failed == nil && has.put == u.id:
		u.b.metrics.lost.Inc()
		return nil // it is ours: the answer to an earlier attempt was lost
	case failed == nil && u.mode == create && (has.put != "" || !errors.Is(err, errLied)): // else it may be a web server's page
		return fmt.Errorf("%w: %w", blob.ErrExists, err)
	case taken && errors.Is(failed, blob.ErrNotFound):
		return fmt.Errorf("%w, but went away: %w", blob.ErrExists, err)
	}
	return err
}

// atOnce sends the content with one request, and sees that it is stored.
func (u *upload) atOnce(ctx context.Context) error {
	p := u.src.parts[0]
	err := u.b.try(ctx, "put", p.sizeBytes, func(ctx context.Context) error {
		out, err := u.request(ctx, p)
		if err != nil {
			return err
		}
		if u.can.echoes && out.ChecksumCRC32 == nil {
			return errNoEcho // which leaves open what is stored
		}
		err = u.compare(p, out.ChecksumCRC32)
		u.lied = err != nil
		return err
	})
	if err == nil && !u.can.echoes {
		_, err = u.mustBeThere(ctx)
	}
	return err
}

func (u *upload) request(ctx context.Context, p part) (*s3.PutObjectOutput, error) {
	in := &s3.PutObjectInput{
		Bucket: &u.b.o.Bucket, Key: u.b.name(u.key), Body: u.src.open(p), ContentLength: &p.sizeBytes,
		Metadata: u.meta, IfNoneMatch: u.guard,
	}
	in.ServerSideEncryption, in.SSEKMSKeyId = u.b.sse()
	if u.can.checksums {
		in.ChecksumCRC32 = p.checksum()
	}
	return u.b.client.PutObject(ctx, in, signed(p.digest))
}

// compare looks at the checksum that the server says it has stored, if it says any.
func (u *upload) compare(p part, has *string) error {
	if u.can.checksums && has != nil && *has != *p.checksum() {
		return fmt.Errorf("%w: checksum %q instead of %q", errLied, *has, *p.checksum())
	}
	return nil
}

// errNoEcho is about an answer without the checksum that this server always names: a web server in the place of S3 says that
// all is well, too.
var errNoEcho = fmt.Errorf("%w: no checksum is named, as the object store does: is it another server that answers?", errLied)

// mustBeThere asks for what was put where the answer to the put does not show that it is stored.
func (u *upload) mustBeThere(ctx context.Context) (head, error) {
	has, err := u.b.head(ctx, u.key)
	isOther := has.put != u.id && (has.put != "" || u.can.remembers)
	isLater := u.mode == replace && isOther && has.put != "" && has.put != u.before
	switch {
	case isLater: // somebody has replaced ours already
	case errors.Is(err, blob.ErrNotFound):
		err = fmt.Errorf("%w: the put was answered, and nothing is there", errLied)
	case err == nil && (isOther || has.info.SizeBytes != u.src.sizeBytes):
		u.lied = has.put == u.id
		err = fmt.Errorf("%w: another object is there, of %d bytes instead of %d", errLied, has.info.SizeBytes, u.src.sizeBytes)
	}
	return has, err
}

// signed gives the signature the digest that is known already; else the SDK would read the content for it.
func signed(d digest) func(*s3.Options) {
	return s3.WithAPIOptions(func(stack *middleware.Stack) error {
		known := middleware.FinalizeMiddlewareFunc("KnownPayloadHash",
			func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
				return next.HandleFinalize(v4.SetPayloadHash(ctx, hex.EncodeToString(d[:])), in)
			})
		return stack.Finalize.Insert(known, (*v4.ComputePayloadSHA256)(nil).ID(), middleware.Before)
	})
}

// sse is how the server is asked to encrypt what it stores.
func (b *Bucket) sse() (types.ServerSideEncryption, *string) {
	switch b.o.Encryption {
	case SSES3:
		return types.ServerSideEncryptionAes256, nil
	case SSEKMS:
		if b.o.KMSKeyID == "" {
			return types.ServerSideEncryptionAwsKms, nil
		}
		return types.ServerSideEncryptionAwsKms, &b.o.KMSKeyID
	}
	return "", nil
}

// mustBeFree is for servers without conditional PUT. Between it and the put another process may take the key; keys have
// random parts, and none has been seen twice.
func (b *Bucket) mustBeFree(ctx context.Context, key string) error {
	_, err := b.head(ctx, key)
	switch {
	case errors.Is(err, blob.ErrNotFound):
		return nil
	case err == nil:
		return blob.ErrExists
	}
	return err
}

var seed = maphash.MakeSeed()

// takeTurn waits until nobody else in this process writes the key, and gives what ends the turn.
func (b *Bucket) takeTurn(key string) (end func()) {
	turn := &b.turns[maphash.String(seed, key)%uint64(len(b.turns))]
	turn.Lock()
	return turn.Unlock
}

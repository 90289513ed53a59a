package s3

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"

	"github.com/mairust/mairust/store/blob"
)

// Proof is what was found of one operation.
type Proof struct {
	// What was tried, in words.
	What string
	// Err is why nothing works without it; nil when it works.
	Err error
	// Lacks says what is not as it should be, and works all the same; empty when nothing.
	Lacks string
	// Mend says what an operator can do about it.
	Mend string
}

// prover tries one operation after the other.
type prover struct {
	b       *Bucket
	key     string
	content []byte
	proofs  []Proof
	can     abilities
}

// Prove tries every operation that is needed, with objects of its own that it removes again, and says what this server
// does not do.
func (b *Bucket) Prove(ctx context.Context) []Proof {
	p := &prover{b: b, key: probeDir + rand.Text(), content: bytes.Repeat([]byte("mail\r\n"), 1000)}
	if !p.list(ctx) || !p.put(ctx) {
		return p.proofs
	}
	p.conditional(ctx)
	p.read(ctx)
	p.copy(ctx)
	p.multipart(ctx)
	p.remove(ctx)
	return p.proofs
}

func (p *prover) found(what string, err error, mend string) bool {
	p.proofs = append(p.proofs, Proof{What: what, Err: err, Mend: mend})
	return err == nil
}

func (p *prover) lacks(what, text, mend string) {
	p.proofs = append(p.proofs, Proof{What: what, Lacks: text, Mend: mend})
}

func (p *prover) list(ctx context.Context) bool {
	in := &s3.ListObjectsV2Input{Bucket: &p.b.o.Bucket, Prefix: p.b.name(""), MaxKeys: aws.Int32(1)}
	_, err := p.b.requestList(ctx, in, "")
	return p.found("the bucket can be listed", err,
		"look at endpoint, region, path_style, bucket and keys; the keys need s3:ListBucket")
}

// put also tells whether checksums and encryption are what was asked for.
func (p *prover) put(ctx context.Context) bool {
	b := p.b
	var err error
	p.can, err = b.findAbilities(ctx)
	if err != nil && b.o.Encryption != None && b.o.Encryption != ClientSide {
		plain := &Bucket{o: b.o, client: b.client, log: b.log, metrics: b.metrics}
		plain.o.Encryption = None
		if _, failed := plain.findAbilities(ctx); failed == nil {
			return p.found("objects can be put", fmt.Errorf("the server refuses encryption: %s, and stores without: %w", b.o.Encryption, err),
				"give the server a key (MinIO: MINIO_KMS_SECRET_KEY, docs/s3.md), or set storage.options.encryption to client or none")
		}
	}
	if err == nil {
		err = p.putContent(ctx)
	}
	if !p.found("objects can be put", err, "the keys need s3:PutObject") {
		return false
	}
	p.checksums()
	p.encryption()
	return true
}

func (p *prover) putContent(ctx context.Context) error {
	src, err := measure(ctx, bytes.NewReader(p.content), int64(len(p.content)), chunkBytes)
	if err != nil {
		return err
	}
	u := &upload{b: p.b, key: p.key, src: src, id: rand.Text(), can: p.can}
	u.meta, _ = src.metadata(u.id)
	return u.atOnce(ctx)
}

func (p *prover) checksums() {
	switch {
	case p.b.o.Checksums == ChecksumsOff, p.can.echoes:
	case p.can.checksums:
		p.lacks("checksums", "the server does not say which CRC-32 it has stored; each message is looked up after it was put, one request more",
			"nothing needs to be done")
	default:
		p.lacks("checksums", "the server refuses uploads with a CRC-32; they are sent without, and each message is looked up after it was put, one request more",
			"nothing needs to be done; storage.options.checksums: off says so")
	}
}

func (p *prover) encryption() {
	switch e := p.b.o.Encryption; {
	case e == None, e == ClientSide:
	case p.can.encrypted:
		p.found("the server says that it encrypts ("+e+")", nil, "")
	default:
		p.lacks("encryption", "the server ignores encryption: "+e+", objects lie there as they are",
			"set storage.options.encryption to client, or to none if the server's disks are encrypted")
	}
}

func (p *prover) conditional(ctx context.Context) {
	u, err := p.b.newProbe(ctx, abilities{})
	if err == nil {
		u.key, u.guard = p.key, aws.String("*")
		err = u.atOnce(ctx)
	}
	if err == nil {
		err = p.putContent(ctx) // in the place of the probe, to be looked at
	}
	switch what := "a key that is taken is refused (If-None-Match)"; {
	case isTaken(err):
		p.found(what, nil, "")
	case err == nil || isUnsupported(err):
		p.lacks("conditional put", "the server has no PUT with If-None-Match; each key is looked up first, one request more for a message",
			"nothing needs to be done: no two messages have the same key")
	default:
		p.found(what, err, "see the error")
	}
}

// read looks at an object whole, in part, and from outside.
func (p *prover) read(ctx context.Context) {
	has, err := p.b.head(ctx, p.key)
	if size := int64(len(p.content)); err == nil && has.info.SizeBytes != size {
		err = fmt.Errorf("%w: %d bytes instead of %d", errLied, has.info.SizeBytes, size)
	}
	if !p.found("objects can be looked up (HEAD)", err, "the keys need s3:GetObject") {
		return
	}
	if has.info.Digest == "" {
		p.lacks("metadata", "the server does not keep the metadata of objects; to show a part of one it is read whole", "use another server for large mail")
	}
	err = p.readRange(ctx, 0, -1)
	p.found("objects can be read", err, "the keys need s3:GetObject")
	if err == nil {
		p.found("parts of objects can be read", p.readRange(ctx, 3, 2), "the server must know the header Range")
	}
}

func (p *prover) readRange(ctx context.Context, offset, n int64) error {
	r, err := p.b.open(ctx, p.key, offset, n)
	if err != nil {
		return err
	}
	got, err := io.ReadAll(r)
	start, length := blob.CutRange(int64(len(p.content)), offset, n)
	if err == nil && !bytes.Equal(got, p.content[start:start+length]) {
		err = fmt.Errorf("%w: %d bytes from %d are not the %d that were put", errLied, len(got), start, length)
	}
	return errors.Join(err, r.Close())
}

func (p *prover) copy(ctx context.Context) {
	to := p.key + "-copy"
	err := p.b.requestCopy(ctx, p.key, to, head{})
	switch {
	case err == nil:
		p.found("the server copies objects", p.b.delete(ctx, to), "the keys need s3:DeleteObject")
	case isUnsupported(err):
		p.lacks("copy", "the server copies no objects; a large message to several recipients is sent several times", "nothing needs to be done")
	default:
		p.lacks("copy", "copying an object gave an error, so a large message to several recipients is sent several times: "+err.Error(), "the keys need s3:GetObject and s3:PutObject")
	}
}

// multipart begins an upload, finds it, and gives it up.
func (p *prover) multipart(ctx context.Context) {
	u := &upload{b: p.b, key: p.key + "-parts", id: rand.Text(), src: &source{}}
	id, err := u.begin(ctx)
	if !p.found("uploads in parts can be begun", err, "the keys need s3:PutObject") {
		return
	}
	if p.b.o.MultipartChunkMB < smallestPartMB {
		p.found(fmt.Sprintf("parts of %d MiB are taken", p.b.o.MultipartChunkMB), p.smallParts(ctx), "set storage.options.multipart_chunk_mb to 5 or more")
	}
	seen := false
	err = p.b.uploads(ctx, func(m types.MultipartUpload) error {
		seen = seen || aws.ToString(m.UploadId) == id
		return nil
	})
	if err != nil || !seen {
		p.lacks("unfinished uploads", "the server does not list unfinished uploads, so the sweep cannot remove them: "+fmt.Sprint(errors.Join(err)),
			"the keys need s3:ListBucketMultipartUploads; a lifecycle rule can remove them too (AbortIncompleteMultipartUpload)")
	}
	_, err = p.b.abort(ctx, *p.b.name(u.key), id)
	p.found("uploads can be given up", err, "the keys need s3:AbortMultipartUpload")
}

// smallestPartMB is S3's own minimum for a part that is not the last.
const smallestPartMB = 5

// smallParts sends one part of the size that is configured, and a last one.
func (p *prover) smallParts(ctx context.Context) error {
	part := p.b.o.MultipartChunkMB << 20
	content := bytes.NewReader(make([]byte, part+1))
	src, err := measure(ctx, content, part+1, part)
	if err != nil {
		return err
	}
	u := &upload{b: p.b, key: p.key + "-small", src: src, id: rand.Text(), mode: replace}
	u.meta, _ = src.metadata(u.id)
	err = u.inParts(ctx)
	return errors.Join(err, p.b.delete(ctx, u.key))
}

func (p *prover) remove(ctx context.Context) {
	err := p.b.delete(ctx, p.key)
	if err == nil {
		_, failed := p.b.head(ctx, p.key)
		if failed == nil {
			failed = errors.New("the object is still there")
		}
		if !errors.Is(failed, blob.ErrNotFound) {
			err = failed
		}
	}
	p.found("objects can be removed", err, "the keys need s3:DeleteObject")
}

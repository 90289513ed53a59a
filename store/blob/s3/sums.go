package s3

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Metadata of an object. S3 takes 2 KB of it altogether, names and values.
const (
	// metaDigest is the SHA-256 of the object, in hex.
	metaDigest = "mairust-sha256"
	// metaChunks are those of its chunks one after the other, in base64; or an "@" and the SHA-256, in hex, of the object
	// below sumsDir that they are in. An object of one chunk has none.
	metaChunks = "mairust-chunks"
	// metaPut tells the put that made the object from all others.
	metaPut = "mairust-put"
)

const (
	// chunkBytes is how much of an object must be read to know that a part of it is good.
	chunkBytes = 1 << 20
	// inlineChunks is how many digests the metadata holds: 40 of them come to 1,707 bytes.
	inlineChunks = 40
)

type digest = [sha256.Size]byte

// sums are the digests of an object.
type sums struct {
	whole digest
	// chunks has none for an object of one chunk.
	chunks []digest
}

// isChunk says whether p is the i-th chunk of the object.
func (s *sums) isChunk(i int, p []byte) bool {
	want := s.whole
	if len(s.chunks) > 0 {
		if i >= len(s.chunks) {
			return false
		}
		want = s.chunks[i]
	}
	return sha256.Sum256(p) == want
}

func chunksOf(sizeBytes int64) int64 { return (sizeBytes + chunkBytes - 1) / chunkBytes }

// metadata gives what an object carries, and the content of the object that holds the digests of its chunks, nil where it
// needs none.
func (s *sums) metadata(put string) (meta map[string]string, list []byte) {
	meta = map[string]string{metaDigest: hex.EncodeToString(s.whole[:]), metaPut: put}
	for _, d := range s.chunks {
		list = append(list, d[:]...)
	}
	switch {
	case len(s.chunks) == 0:
	case len(s.chunks) <= inlineChunks:
		meta[metaChunks] = base64.RawStdEncoding.EncodeToString(list)
		return meta, nil
	default:
		of := sha256.Sum256(list)
		meta[metaChunks] = "@" + hex.EncodeToString(of[:])
	}
	return meta, list
}

// readSums gives the digests that an object carries; nil where it carries none that can be understood, as when it was
// put by other hands. It is read like any other object then, and compared as a whole by who has its digest.
func (b *Bucket) readSums(ctx context.Context, key string, sizeBytes int64, meta map[string]string) *sums {
	raw, err := hex.DecodeString(meta[metaDigest])
	if err != nil || len(raw) != sha256.Size {
		return nil
	}
	s := &sums{whole: digest(raw)}
	count := chunksOf(sizeBytes)
	if count <= 1 {
		return s
	}
	list, err := b.readChunks(ctx, key, meta[metaChunks], count)
	if err != nil || int64(len(list)) != count*sha256.Size {
		b.log.Warn("digests of an object not read", "key", key, "err", err)
		return nil
	}
	for ; len(list) > 0; list = list[sha256.Size:] {
		s.chunks = append(s.chunks, digest(list[:sha256.Size]))
	}
	return s
}

func (b *Bucket) readChunks(ctx context.Context, key, value string, count int64) ([]byte, error) {
	of, elsewhere := strings.CutPrefix(value, "@")
	if !elsewhere {
		return base64.RawStdEncoding.DecodeString(value)
	}
	if list := b.lists.get(of); list != nil {
		return list, nil
	}
	var list []byte
	err := b.try(ctx, "get", count*sha256.Size, func(ctx context.Context) error {
		out, err := b.client.GetObject(ctx, &s3.GetObjectInput{Bucket: &b.o.Bucket, Key: b.name(sumsDir + key)})
		if err != nil {
			return err
		}
		defer out.Body.Close()
		list, err = io.ReadAll(io.LimitReader(out.Body, count*sha256.Size+1))
		return err
	})
	if err != nil {
		return nil, err
	}
	if sum := sha256.Sum256(list); hex.EncodeToString(sum[:]) != of {
		return nil, errors.New("the list is another one")
	}
	b.lists.add(of, list)
	return list, nil
}

// recentLists keeps lists of digests that were read a moment ago, by their own digest: reading a part of a large object that
// is encrypted opens it several times.
type recentLists struct {
	mu    sync.Mutex
	lists [16]struct {
		of   string
		list []byte
	}
	next int
}

// maxRecentBytes is the length of a list that is kept: that of an object of 2 GiB.
const maxRecentBytes = 2048 * sha256.Size

// get gives nil for a list that is not kept. Nobody may change it.
func (r *recentLists) get(of string) []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, l := range r.lists {
		if l.of == of {
			return l.list
		}
	}
	return nil
}

func (r *recentLists) add(of string, list []byte) {
	if len(list) > maxRecentBytes {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lists[r.next].of, r.lists[r.next].list = of, list
	r.next = (r.next + 1) % len(r.lists)
}

// putChunks stores the digests of an object's chunks, before the object: one without the other does no harm.
func (b *Bucket) putChunks(ctx context.Context, key string, list []byte, can abilities) error {
	size := int64(len(list))
	src, err := measure(ctx, bytes.NewReader(list), size, max(size, chunkBytes))
	if err == nil {
		err = b.newUpload(sumsDir+key, src, can).atOnce(ctx)
	}
	if err != nil {
		return fmt.Errorf("put digests: %w", err)
	}
	return nil
}

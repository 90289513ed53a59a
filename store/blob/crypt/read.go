package crypt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"

	"filippo.io/age"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// Get yields n bytes from offset, decrypted. Of a range only the chunks (64 KiB) that it touches are read, beside the
// header and the last chunk, which shows that nothing was cut off. What is not encrypted is the backend's own reader, and
// costs no more than a look at its beginning.
func (b *Bucket) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	tenant := tenantOf(key)
	if tenant == "" || offset < 0 {
		return b.backend.Get(ctx, key, offset, n)
	}
	get := b.ranged
	if offset == 0 && n < 0 {
		get = b.whole
	}
	r, info, err := get(ctx, tenant, key, offset, n)
	if errors.Is(err, blob.ErrNoKey) || errors.Is(err, blob.ErrDamaged) {
		err = b.metrics.failed(err)
	}
	return r, info, err
}

// ranged reads a part of an object. The beginning of one that is far away is asked for first, unless it is known to be plain.
func (b *Bucket) ranged(ctx context.Context, tenant store.TenantID, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	if b.near.Load() || b.plain.has(key) {
		r, info, err := b.backend.Get(ctx, key, offset, n)
		if err != nil {
			return nil, info, err
		}
		if file, ok := fileOf(r, info); ok {
			return b.local(ctx, tenant, file, r, info, offset, n)
		}
		if b.plain.is(info) {
			return r, info, nil
		}
		b.near.Store(false)
		if err := r.Close(); err != nil {
			return nil, info, fmt.Errorf("get %s: %w", key, err)
		}
	}
	p, err := b.peek(ctx, key)
	if err != nil {
		return nil, p.info, err
	}
	b.near.Store(p.near)
	h, ours, err := parseHeader(p.head)
	switch {
	case err != nil:
		return nil, p.info, fmt.Errorf("get %s: %w", key, err)
	case !ours:
		b.plain.add(p.info)
		return b.backend.Get(ctx, key, offset, n)
	}
	return b.part(ctx, tenant, h, p, offset, n)
}

// fileOf gives the whole of an object whose reader reads from any place, as those of files do, whatever part of it was asked for.
func fileOf(r io.Reader, info blob.Info) (io.ReaderAt, bool) {
	section, ok := r.(interface {
		Outer() (r io.ReaderAt, off, n int64)
	})
	if !ok {
		return nil, false
	}
	file, _, _ := section.Outer()
	return io.NewSectionReader(file, 0, info.SizeBytes), true
}

// local reads a part of an object that is in a file; r was opened for that part.
func (b *Bucket) local(
	ctx context.Context, tenant store.TenantID, file io.ReaderAt, r io.ReadCloser, info blob.Info, offset, n int64,
) (io.ReadCloser, blob.Info, error) {
	stored := info.SizeBytes
	head := make([]byte, min(peekBytes, stored))
	got, err := file.ReadAt(head, 0)
	if err == io.EOF { //nolint:errorlint // io.ReaderAt's own word
		err = nil
	}
	var h header
	ours := false
	if err == nil {
		h, ours, err = parseHeader(head[:got])
	}
	if err == nil && !ours {
		return r, info, nil
	}
	if err == nil {
		info.SizeBytes, err = plainBytes(h.bytes, stored)
	}
	var identity age.Identity
	if err == nil {
		identity, info.Digest, err = b.open(ctx, tenant, h, head[:got])
	}
	if err != nil {
		return nil, info, errors.Join(fmt.Errorf("get %s: %w", info.Key, err), r.Close())
	}
	start, length := blob.CutRange(info.SizeBytes, offset, n)
	return decryptPart(&random{file: file, open: r, key: info.Key}, identity, info, stored, start, length)
}

// peeked is the beginning of an object as it is stored.
type peeked struct {
	head []byte
	info blob.Info
	// near says that it is in a file.
	near bool
}

func (b *Bucket) peek(ctx context.Context, key string) (peeked, error) {
	r, info, err := b.backend.Get(ctx, key, 0, headBytes)
	if err != nil {
		return peeked{info: info}, err
	}
	_, near := fileOf(r, info)
	head, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return peeked{info: info}, fmt.Errorf("get %s: %w", key, err)
	}
	return peeked{head, info, near}, nil
}

// whole reads an object from its beginning to its end.
func (b *Bucket) whole(ctx context.Context, tenant store.TenantID, key string, _, _ int64) (io.ReadCloser, blob.Info, error) {
	r, info, err := b.backend.Get(ctx, key, 0, -1)
	if err != nil {
		return nil, info, err
	}
	if file, ok := fileOf(r, info); ok {
		return b.local(ctx, tenant, file, r, info, 0, -1)
	}
	head := make([]byte, min(peekBytes, info.SizeBytes))
	n, err := readFull(r, head)
	if err != nil && err != io.EOF { //nolint:errorlint // an error that wraps it is the connection's
		return nil, info, errors.Join(fmt.Errorf("get %s: %w", key, err), r.Close())
	}
	src := &source{r: io.MultiReader(bytes.NewReader(head[:n]), r), closer: r}
	h, ours, err := parseHeader(head[:n])
	if err == nil && !ours {
		b.plain.add(info)
		return src, info, nil
	}
	if err == nil {
		info.SizeBytes, err = plainBytes(h.bytes, info.SizeBytes)
	}
	var identity age.Identity
	if err == nil {
		identity, info.Digest, err = b.open(ctx, tenant, h, head[:n])
	}
	if err != nil {
		return nil, info, errors.Join(fmt.Errorf("get %s: %w", key, err), r.Close())
	}
	plain, err := age.Decrypt(src, identity)
	if err != nil {
		return nil, info, errors.Join(fmt.Errorf("get %s: %w", key, src.explain(err)), r.Close())
	}
	return &decrypted{r: plain, src: src, key: key}, info, nil
}

// open gives what decrypts an object, and the digest of what is in it. An object of another tenant is damaged: what lies
// below a tenant's name is the tenant's.
func (b *Bucket) open(ctx context.Context, tenant store.TenantID, h header, head []byte) (age.Identity, string, error) {
	if string(tenant) != h.tenant {
		return nil, "", fmt.Errorf("%w: it is encrypted to another tenant", blob.ErrDamaged)
	}
	identity, err := b.keys.identity(ctx, tenant, h.key)
	if err != nil {
		return nil, "", err
	}
	b.metrics.decrypted()
	return h.open(head, identity)
}

// part reads n bytes from offset of an encrypted object.
func (b *Bucket) part(ctx context.Context, tenant store.TenantID, h header, p peeked, offset, n int64) (io.ReadCloser, blob.Info, error) {
	info := p.info
	size, err := plainBytes(h.bytes, info.SizeBytes)
	if err != nil {
		return nil, info, fmt.Errorf("get %s: %w", info.Key, err)
	}
	start := min(offset, size)
	if n < 0 || n > size-start {
		n = size - start
	}
	var identity age.Identity
	if identity, info.Digest, err = b.open(ctx, tenant, h, p.head); err != nil {
		return nil, info, fmt.Errorf("get %s: %w", info.Key, err)
	}
	src, err := b.openPart(ctx, h, p, start, n)
	if err != nil {
		return nil, info, err
	}
	info.SizeBytes = size
	return decryptPart(src, identity, info, p.info.SizeBytes, start, n)
}

// decryptPart decrypts n bytes from start of an object of so many bytes as it is stored.
func decryptPart(src *random, identity age.Identity, info blob.Info, stored, start, n int64) (io.ReadCloser, blob.Info, error) {
	at, _, err := age.DecryptReaderAt(src, stored, identity)
	if err != nil {
		return nil, info, errors.Join(fmt.Errorf("get %s: %w", info.Key, src.explain(err)), src.Close())
	}
	return &decrypted{r: newSection(at, start, n), src: src, key: info.Key}, info, nil
}

// Stat describes an object as it is decrypted, with its digest if its key is at hand. Its beginning is read for that.
func (b *Bucket) Stat(ctx context.Context, key string) (blob.Info, error) {
	tenant := tenantOf(key)
	if tenant == "" {
		return b.backend.Stat(ctx, key)
	}
	p, err := b.peek(ctx, key)
	if err != nil {
		return p.info, err
	}
	info, h, ours, err := describe(p)
	if err == nil && ours {
		_, info.Digest, err = b.open(ctx, tenant, h, p.head)
	}
	if err != nil && !errors.Is(err, blob.ErrNoKey) {
		return info, fmt.Errorf("stat %s: %w", key, err)
	}
	return info, nil
}

// describe gives the size of what is in an object.
func describe(p peeked) (info blob.Info, h header, ours bool, err error) {
	info = p.info
	h, ours, err = parseHeader(p.head)
	if err != nil || !ours {
		return info, h, ours, err
	}
	info.Digest = "" // the backend's is that of what is stored
	info.SizeBytes, err = plainBytes(h.bytes, info.SizeBytes)
	return info, h, ours, err
}

// List yields objects as they are decrypted; the beginning of each is read for that. One that is damaged is listed with
// the size that it is stored in.
func (b *Bucket) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for stored, err := range b.backend.List(ctx, prefix) {
			info := stored
			if err == nil && tenantOf(stored.Key) != "" && stored.SizeBytes > int64(len(magic)) {
				var p peeked
				if p, err = b.peek(ctx, stored.Key); err == nil {
					info, _, _, err = describe(p)
				}
				info.Digest = ""
			}
			switch {
			case errors.Is(err, blob.ErrNotFound):
				continue // it went meanwhile
			case errors.Is(err, blob.ErrDamaged):
				info, err = stored, nil
			}
			if !yield(info, err) || err != nil {
				return
			}
		}
	}
}

// ListStored is the backend's List.
func (b *Bucket) ListStored(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return b.backend.List(ctx, prefix)
}

// StatExpecting is the backend's Stat of what has the size of a plain object, unless objects are encrypted: most are plain then, and each look
// into one is a reading of the disk.
func (b *Bucket) StatExpecting(ctx context.Context, key string, size int64) (blob.Info, error) {
	if !b.encrypt {
		if info, err := b.backend.Stat(ctx, key); err != nil || info.SizeBytes == size {
			return info, err
		}
	}
	return b.Stat(ctx, key)
}

// CanHold says whether what is stored can be an object of size bytes, encrypted or not.
func (b *Bucket) CanHold(stored blob.Info, size int64) bool {
	tenant := string(tenantOf(stored.Key))
	return stored.SizeBytes == size || stored.SizeBytes == storedBytes(headerBytes(tenant, exampleKeyID), size)
}

// decrypted is an object on its way out.
type decrypted struct {
	r   io.Reader
	src interface {
		io.Closer
		explain(err error) error
	}
	key string
}

func (d *decrypted) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && err != io.EOF { //nolint:errorlint // io.Reader's own word
		err = fmt.Errorf("read %s: %w", d.key, d.src.explain(err))
	}
	return n, err
}

func (d *decrypted) Close() error { return d.src.Close() }

// source is an object as it is stored. It keeps the backend's error apart from what is wrong with the bytes.
type source struct {
	r      io.Reader
	closer io.Closer
	err    error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

func (s *source) Close() error { return s.closer.Close() }

// explain gives the backend's error when there was one; else the bytes are not what was stored.
func (s *source) explain(err error) error {
	if s.err != nil {
		return s.err
	}
	return fmt.Errorf("%w: %w", blob.ErrDamaged, err)
}

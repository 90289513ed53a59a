package crypt

import (
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io"

	"filippo.io/age"
	"golang.org/x/crypto/chacha20poly1305"
)

// sealed reads an object encrypted. It can be read from any place, again and again, with the same bytes each time: a
// backend that repeats an upload must not send others. age's own writer cannot do that, so age makes the header, and the
// payload (STREAM with ChaCha20-Poly1305, age-encryption.org/v1) is made here; age's reader reads it.
//
// plain must not change as long as it is used. Not for use by several goroutines.
type sealed struct {
	plain io.ReadSeeker
	size  int64
	// head is the header and the payload's nonce.
	head []byte
	aead cipher.AEAD
	// at is where the next byte is read from, of stored bytes.
	at, stored int64
	// chunk is the chunk that was read last, and index which one it is; -1 before the first.
	chunk []byte
	index int64
	// plainAt is where plain stands; -1 when that is not known.
	plainAt int64
}

// seal begins to encrypt size bytes to a key. plain is read once for its digest.
func seal(ctx context.Context, k Key, plain io.ReadSeeker, size int64) (*sealed, error) {
	sum := sha256.New()
	if err := digestExactly(ctx, sum, plain, size); err != nil {
		return nil, err
	}
	l := &label{tenant: string(k.Tenant), key: k.ID, digest: [sha256.Size]byte(sum.Sum(nil))}
	var head bytes.Buffer
	if _, err := age.Encrypt(&head, l, k.recipient); err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	header := headerBytes(l.tenant, l.key)
	if int64(head.Len()) != header+nonceBytes {
		return nil, fmt.Errorf("encrypt: the header has %d bytes, not %d", head.Len()-nonceBytes, header)
	}
	streamKey, err := hkdf.Key(sha256.New, l.fileKey, head.Bytes()[header:], "payload", chacha20poly1305.KeySize)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	aead, err := chacha20poly1305.New(streamKey)
	if err != nil {
		return nil, fmt.Errorf("encrypt: %w", err)
	}
	return &sealed{
		plain: plain, size: size, head: head.Bytes(), aead: aead, stored: storedBytes(header, size), index: -1, plainAt: -1,
	}, nil
}

// Read reads on.
func (s *sealed) Read(p []byte) (int, error) {
	if s.at < int64(len(s.head)) {
		n := copy(p, s.head[s.at:])
		s.at += int64(n)
		return n, nil
	}
	if s.at >= s.stored {
		return 0, io.EOF
	}
	index, within := (s.at-int64(len(s.head)))/sealedBytes, (s.at-int64(len(s.head)))%sealedBytes
	if index != s.index {
		if err := s.load(index); err != nil {
			return 0, err
		}
	}
	n := copy(p, s.chunk[within:])
	s.at += int64(n)
	return n, nil
}

// load encrypts a chunk.
func (s *sealed) load(index int64) error {
	s.index = -1
	start := index * chunkBytes
	length := min(chunkBytes, s.size-start)
	last := start+length == s.size
	if s.plainAt != start {
		if _, err := s.plain.Seek(start, io.SeekStart); err != nil {
			return fmt.Errorf("seek content: %w", err)
		}
		s.plainAt = start
	}
	if s.chunk == nil {
		s.chunk = make([]byte, 0, min(s.size, chunkBytes)+chacha20poly1305.Overhead)
	}
	text := s.chunk[:length]
	n, err := io.ReadFull(s.plain, text)
	s.plainAt += int64(n)
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("content is %d bytes long, not %d: %w", start+int64(n), s.size, io.ErrUnexpectedEOF)
	case err != nil:
		return fmt.Errorf("read content: %w", err)
	}
	var nonce [chacha20poly1305.NonceSize]byte
	binary.BigEndian.PutUint64(nonce[3:11], uint64(index))
	if last {
		nonce[len(nonce)-1] = 1
	}
	s.chunk, s.index = s.aead.Seal(text[:0], nonce[:], text, nil), index
	return nil
}

// Seek goes to another place.
func (s *sealed) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += s.at
	case io.SeekEnd:
		offset += s.stored
	}
	if offset < 0 {
		return 0, errors.New("seek before the beginning")
	}
	s.at = offset
	return offset, nil
}

// digestExactly writes the size bytes that r holds to a hash. It is an error when r holds less or more.
func digestExactly(ctx context.Context, w hash.Hash, r io.ReadSeeker, size int64) error {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("rewind: %w", err)
	}
	buf := make([]byte, min(size+1, chunkBytes)) // one byte more shows that r is too long
	for done := int64(0); ; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		if done += int64(n); done > size {
			return fmt.Errorf("content is longer than %d bytes", size)
		}
		_, _ = w.Write(buf[:n]) // a hash never fails
		switch {
		case err == nil:
		case !errors.Is(err, io.EOF):
			return fmt.Errorf("read content: %w", err)
		case done < size:
			return fmt.Errorf("content is %d bytes long, not %d: %w", done, size, io.ErrUnexpectedEOF)
		default:
			return nil
		}
	}
}

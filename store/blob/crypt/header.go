package crypt

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"filippo.io/age"
	"golang.org/x/crypto/chacha20poly1305"

	"github.com/mairust/mairust/store/blob"
)

// An encrypted object is an age file (age-encryption.org/v1) whose header names its key, before the stanza of the one
// recipient:
//
//	age-encryption.org/v1
//	-> mairust 1 <tenant_id> <key_id>
//	<43 characters of base64>
//	-> X25519 <43 characters of base64>
//	<43 characters of base64>
//	--- <43 characters of base64>
//
// Every age program passes over stanzas that it does not know, so that it decrypts the object as it is. Ours holds the
// SHA-256 of what is in the object, under a key stream made of the file's key: nobody can tell from it what that is, and
// the header's MAC keeps it from being altered.
const (
	intro      = "age-encryption.org/v1\n"
	stanzaType = "mairust"
	// stanzaVersion changes when an older MaiRust could not read the object.
	stanzaVersion = "1"
	magic         = intro + "-> " + stanzaType + " "
	x25519        = "-> X25519 "
	macLine       = "--- "
	// base64Key is 32 bytes in base64 without padding, and base64KeyLine with the line's end.
	base64Key     = 43
	base64KeyLine = base64Key + 1
	// restBytes is what follows the first line of our stanza in every header.
	restBytes = base64KeyLine + len(x25519) + base64KeyLine + base64KeyLine + len(macLine) + base64KeyLine
)

// Lengths of the payload (age-encryption.org/v1, Payload): a nonce, then chunks that are 16 bytes longer than what is in
// them, all full but the last.
const (
	nonceBytes  = 16
	chunkBytes  = 64 << 10
	sealedBytes = chunkBytes + chacha20poly1305.Overhead
)

// peekBytes holds the header of every object of ours: keys bound the length of a tenant's name.
const peekBytes = 1024

// headBytes is how much is read of the beginning: what age's parser asks for at once, so that it asks the backend for nothing.
const headBytes = 4096

// header is what the header of an object says of its key.
type header struct {
	tenant, key string
	// bytes is the length of the header, without the payload's nonce.
	bytes int64
	// covered is the digest under its key stream, in base64.
	covered string
}

// parseHeader reads the header at the beginning of an object. ok is false for one that is not encrypted.
// blob.ErrDamaged for one that begins as ours do and goes on otherwise.
func parseHeader(b []byte) (h header, ok bool, err error) {
	if !looksEncrypted(b) {
		return h, false, nil
	}
	text := strings.TrimPrefix(string(b[:min(len(b), peekBytes)]), magic)
	line, rest, whole := strings.Cut(text, "\n")
	words := strings.Split(line, " ")
	switch {
	case !whole || len(words) != 3 || words[1] == "" || words[2] == "":
		return h, true, fmt.Errorf("%w: its header is not one of ours", blob.ErrDamaged)
	case words[0] != stanzaVersion:
		return h, true, fmt.Errorf("the object was encrypted by a newer version (%.20q)", words[0])
	}
	if !isRest(rest) {
		return h, true, fmt.Errorf("%w: its header is not one of ours", blob.ErrDamaged)
	}
	h = header{tenant: words[1], key: words[2], covered: rest[:base64Key]}
	h.bytes = headerBytes(h.tenant, h.key)
	return h, true, nil
}

// isRest knows the lengths of what follows the first line of our stanza; age looks at the words.
func isRest(s string) bool {
	if len(s) < restBytes {
		return false
	}
	s = s[:restBytes]
	second, third := base64KeyLine+len(x25519), base64KeyLine+len(x25519)+2*base64KeyLine
	return strings.HasPrefix(s[base64KeyLine:], x25519) && strings.HasPrefix(s[third:], macLine) && strings.Count(s, "\n") == 4 &&
		s[base64Key] == '\n' && s[second+base64Key] == '\n' && s[third-1] == '\n' && s[restBytes-1] == '\n'
}

// headerBytes is the length of a header.
func headerBytes(tenant, key string) int64 {
	return int64(len(magic) + len(stanzaVersion) + 1 + len(tenant) + 1 + len(key) + 1 + restBytes)
}

// looksEncrypted says that readers take the bytes for the beginning of an encrypted object, or for one that was cut.
func looksEncrypted(b []byte) bool {
	return len(b) > 0 && strings.HasPrefix(magic, string(b[:min(len(b), len(magic))]))
}

// storedBytes is how long an object of size bytes is when it is encrypted under a header.
func storedBytes(header, size int64) int64 {
	chunks := max(1, (size+chunkBytes-1)/chunkBytes)
	return header + nonceBytes + size + chunks*chacha20poly1305.Overhead
}

// plainBytes is the inverse of storedBytes. blob.ErrDamaged when nothing comes out as long: the object was cut.
func plainBytes(header, stored int64) (int64, error) {
	payload := stored - header - nonceBytes
	chunks := (payload + sealedBytes - 1) / sealedBytes
	size := payload - chunks*chacha20poly1305.Overhead
	if payload < chacha20poly1305.Overhead || storedBytes(header, size) != stored {
		return 0, fmt.Errorf("%w: no object is %d bytes long when it is encrypted", blob.ErrDamaged, stored)
	}
	return size, nil
}

// label is the recipient that writes our stanza, and takes note of the file's key: age makes the header, this package
// the payload.
type label struct {
	tenant, key string
	digest      [sha256.Size]byte
	fileKey     []byte
}

// Wrap implements age.Recipient.
func (l *label) Wrap(fileKey []byte) ([]*age.Stanza, error) {
	l.fileKey = bytes.Clone(fileKey)
	covered, err := cover(l.digest[:], fileKey)
	return []*age.Stanza{{Type: stanzaType, Args: []string{stanzaVersion, l.tenant, l.key}, Body: covered}}, err
}

// cover puts a digest under its key stream, or takes it out again.
func cover(digest, fileKey []byte) ([]byte, error) {
	stream, err := hkdf.Key(sha256.New, fileKey, nil, "mairust digest", sha256.Size)
	if err != nil {
		return nil, fmt.Errorf("cover digest: %w", err)
	}
	out := make([]byte, sha256.Size)
	subtle.XORBytes(out, digest, stream)
	return out, nil
}

// open gives the file's key, with which the payload is decrypted, and the digest of what is in the object.
func (h header) open(head []byte, identity age.Identity) (fileKey age.Identity, digest string, err error) {
	key, err := age.DecryptHeader(head[:h.bytes], identity)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", blob.ErrDamaged, err)
	}
	covered, err := base64.RawStdEncoding.Strict().DecodeString(h.covered)
	if err == nil && len(covered) != sha256.Size {
		err = errors.New("the digest has another length")
	}
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", blob.ErrDamaged, err)
	}
	sum, err := cover(covered, key)
	return age.NewInjectedFileKeyIdentity(key), hex.EncodeToString(sum), err
}

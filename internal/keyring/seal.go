package keyring

import (
	"crypto/aes"
	"crypto/cipher"
	"encoding/base64"
	"errors"
	"fmt"
)

// ErrSeal is wrapped by every error of Unseal: malformed, of an unknown key, or changed.
var ErrSeal = errors.New("sealed secret cannot be opened")

const sealVersion = "s1"

// Seal encrypts a secret that must come back one day (a hook's secret, a TOTP seed) with the newest key:
// "s1.<key id>.<base64url of nonce, AES-256-GCM ciphertext and tag>". Two seals of the same text differ.
func (r *Ring) Seal(p Purpose, plaintext []byte) (string, error) {
	k := r.current()
	aead, err := k.aead(p)
	if err != nil {
		return "", fmt.Errorf("seal: %w", err)
	}
	sealed := aead.Seal(nil, nil, plaintext, []byte(k.id)) //nolint:gosec // no nonce is passed because the AEAD makes its own
	return sealVersion + "." + k.id + "." + base64.RawURLEncoding.EncodeToString(sealed), nil
}

// Unseal is the inverse of Seal. The age of the key does not matter. Every error is an ErrSeal.
func (r *Ring) Unseal(p Purpose, sealed string) ([]byte, error) {
	id, data, err := split(sealVersion, sealed)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSeal, err)
	}
	k, _, ok := r.find(id)
	if !ok {
		return nil, fmt.Errorf("%w: unknown key id", ErrSeal)
	}
	aead, err := k.aead(p)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSeal, err)
	}
	plaintext, err := aead.Open(nil, nil, data, []byte(k.id))
	if err != nil {
		return nil, ErrSeal
	}
	return plaintext, nil
}

// aead prepends a random nonce itself; 96 bits are safe for 2^32 secrets per key and purpose (NIST SP 800-38D, 8.3).
func (k key) aead(p Purpose) (cipher.AEAD, error) {
	block, err := aes.NewCipher(k.derive("seal", p))
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

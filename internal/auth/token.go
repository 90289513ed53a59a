package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// KeyPrefix begins every API key, so that people and secret scanners know one when they see it.
const KeyPrefix = "mk_live_"

// shownChars of a key's secret are kept to tell keys apart; 48 of its 256 bits.
const shownChars = 8

// Key is a new API key.
type Key struct {
	// Secret is the whole key. It is shown once and kept nowhere.
	Secret string
	// Hash is what the database keeps: SHA-256 in hex.
	Hash string
	// Prefix is the beginning of the key, for lists.
	Prefix string
}

// NewKey makes an API key of 256 random bits.
func NewKey() Key {
	secret := KeyPrefix + newToken()
	return Key{Secret: secret, Hash: hashSecret(secret), Prefix: secret[:len(KeyPrefix)+shownChars]}
}

// newToken makes 256 random bits in base64url without padding.
func newToken() string {
	var b [32]byte
	mustRead(b[:])
	return base64.RawURLEncoding.EncodeToString(b[:])
}

// hashSecret is SHA-256 in hex. A slow hash would add nothing: the input is random.
func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

// lowerText makes n random characters of 5 bits each.
func lowerText(n int) string {
	const alphabet = "abcdefghijkmnpqrstuvwxyz23456789" // without l, o, 0, 1, which people confuse
	b := make([]byte, n)
	mustRead(b)
	var s strings.Builder
	for _, c := range b {
		s.WriteByte(alphabet[c%32])
	}
	return s.String()
}

// mustRead fills b with random bytes; crypto/rand.Read never returns an error since Go 1.24.
func mustRead(b []byte) {
	if _, err := rand.Read(b); err != nil {
		panic(err)
	}
}

package auth

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/alexedwards/argon2id"
	"golang.org/x/crypto/argon2"
)

// What strangers can make long is cut here. RFC 5321 allows 254 bytes for an address.
const (
	maxLogin    = 320
	maxPassword = 1024
	maxToken    = 128
)

// How long a login waits for its turn to be hashed, and how many may wait.
const (
	hashPatience = 5 * time.Second
	hashQueue    = 32
)

// MinPassword is how many bytes a password has at least.
const MinPassword = 8

// ErrPassword says that a password cannot be used.
var ErrPassword = errors.New("password must have 8 to 1024 bytes")

// hashParams: 64 MiB and two passes in one lane, above the minimum of 46 MiB and one pass that OWASP gives;
// one lane, so that a hash occupies one core. A stored hash carries its own parameters (RFC 9106).
func hashParams() *argon2id.Params {
	return &argon2id.Params{Memory: 64 << 10, Iterations: 2, Parallelism: 1, SaltLength: 16, KeyLength: 32}
}

// HashPassword gives what store.User.PasswordHash keeps, an argon2id string (RFC 9106).
// It takes 64 MiB for about 0.1 s. ErrPassword when the password is too short or too long.
func HashPassword(password string) (string, error) {
	if err := usable(password); err != nil {
		return "", err
	}
	h, err := argon2id.CreateHash(password, hashParams())
	if err != nil {
		return "", fmt.Errorf("hash password: %w", err)
	}
	return h, nil
}

// usable tells without any cost whether HashPassword takes a password: ErrPassword if not.
func usable(password string) error {
	if len(password) < MinPassword || len(password) > maxPassword {
		return ErrPassword
	}
	return nil
}

// RandomPassword makes a password of 128 bits that can be typed: lower-case letters and digits.
func RandomPassword() string { return lowerText(26) }

// hasher hashes passwords, a few at once: each takes 64 MiB, and a flood must not take them all.
type hasher struct {
	// nobody is the hash of a password that nobody has.
	nobody string
	slots  chan struct{}
	queue  chan struct{}
}

func newHasher(atOnce int) *hasher {
	return &hasher{nobody: nobodysHash(), slots: make(chan struct{}, atOnce), queue: make(chan struct{}, atOnce+hashQueue)}
}

// nobodysHash is random where a hash would stand: nobody knows a password that gives it.
func nobodysHash() string {
	p, b64 := hashParams(), base64.RawStdEncoding
	salt, sum := make([]byte, p.SaltLength), make([]byte, p.KeyLength)
	mustRead(salt)
	mustRead(sum)
	return fmt.Sprintf("$argon2id$v=%d$m=%d,t=%d,p=%d$%s$%s", argon2.Version, p.Memory, p.Iterations, p.Parallelism,
		b64.EncodeToString(salt), b64.EncodeToString(sum))
}

// verify compares; ErrBusy when its turn does not come. A stored hash that cannot be read matches nothing.
func (h *hasher) verify(ctx context.Context, password, hash string) (bool, error) {
	var ok bool
	err := h.inTurn(ctx, func() (err error) {
		if ok, err = argon2id.ComparePasswordAndHash(password, hash); err != nil {
			return fmt.Errorf("compare password: %w", err)
		}
		return nil
	})
	return ok && err == nil, err
}

// inTurn does what hashes when its turn has come, and gives back its error; ErrBusy when the turn does not come.
func (h *hasher) inTurn(ctx context.Context, hash func() error) error {
	select {
	case h.queue <- struct{}{}:
		defer func() { <-h.queue }()
	default:
		return ErrBusy
	}
	patience := time.NewTimer(hashPatience)
	defer patience.Stop()
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-patience.C:
		return ErrBusy
	case <-ctx.Done():
		return ctx.Err()
	}
	return hash()
}

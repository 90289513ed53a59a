package keyring

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// ErrMAC is wrapped by every error of Verify: malformed, of an unknown or outdated key, or simply wrong.
var ErrMAC = errors.New("MAC does not verify")

const macVersion = "v1"

// MAC authenticates fields for one purpose with the newest key: "v1.<key id>.<base64url of HMAC-SHA256>".
// The bytes under the MAC are the fields with their lengths, so that no two lists of fields are alike.
func (r *Ring) MAC(p Purpose, fields ...string) string {
	k := r.current()
	return macVersion + "." + k.id + "." + base64.RawURLEncoding.EncodeToString(k.mac(p, fields))
}

// Verify checks, in constant time, that mac was made by MAC for the same purpose and fields, with the
// newest key or one superseded less than VerifyFor ago. Every error is an ErrMAC.
func (r *Ring) Verify(p Purpose, mac string, fields ...string) error {
	id, sum, err := split(macVersion, mac)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrMAC, err)
	}
	k, superseded, ok := r.find(id)
	if !ok {
		return fmt.Errorf("%w: unknown key id", ErrMAC)
	}
	if !superseded.IsZero() && !r.now().Before(superseded.Add(VerifyFor)) {
		return fmt.Errorf("%w: key %s is outdated", ErrMAC, k.id)
	}
	if !hmac.Equal(sum, k.mac(p, fields)) {
		return ErrMAC
	}
	return nil
}

func (k key) mac(p Purpose, fields []string) []byte { return sum(k.derive("mac", p), fields) }

func sum(secret []byte, fields []string) []byte {
	h := hmac.New(sha256.New, secret)
	var length [8]byte
	for _, f := range fields {
		binary.BigEndian.PutUint64(length[:], uint64(len(f)))
		h.Write(length[:])
		h.Write([]byte(f))
	}
	return h.Sum(nil)
}

// split takes "<version>.<key id>.<base64url>" apart.
func split(version, s string) (id string, data []byte, err error) {
	rest, ok := strings.CutPrefix(s, version+".")
	id, encoded, dotted := strings.Cut(rest, ".")
	if !ok || !dotted {
		return "", nil, errors.New("not in the form " + version + ".KEY.DATA")
	}
	data, err = base64.RawURLEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return "", nil, errors.New("not base64url")
	}
	return id, data, nil
}

// Hash gives a function that makes 64 bits of fields, which nobody without the ring can link to them. It comes from the
// oldest key alone, so that rotation never changes it: what was hashed in the past must be found again.
func (r *Ring) Hash(p Purpose) func(fields ...string) uint64 {
	secret := (*r.keys.Load())[0].derive("hash", p)
	return func(fields ...string) uint64 { return binary.BigEndian.Uint64(sum(secret, fields)) }
}

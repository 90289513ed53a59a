// Package keyring holds the installation's secret keys: one root secret per key id, from which a key per
// purpose is derived (HKDF, RFC 5869).
//
// A ring is a small text file, or the same text in an environment variable. It is read at the start of a process. Keys are added to it by
// hand, as the file says, and none is removed: the newest one makes MACs and seals secrets, older ones still verify for a week and unseal for ever.
package keyring

import (
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"time"
)

// Purpose separates keys: what was made for one purpose means nothing for any other. Packages may
// have purposes of their own; a word, once used, must never change.
type Purpose string

// The purposes that several packages share.
const (
	// Scan is the MAC of the X-MaiRust-Scan header field.
	Scan Purpose = "scan-header"
	// Cursor is the MAC of paging cursors given to API clients.
	Cursor Purpose = "cursor"
	// Recipient is the hash of recipient addresses in what the outbound engine remembers.
	Recipient Purpose = "recipient"
	// Letter is the proof that a mail to administrators is ours.
	Letter Purpose = "letter"
)

// VerifyFor says how long MACs of a key stay valid once a newer key exists.
const VerifyFor = 7 * 24 * time.Hour

// secretBytes is the length of a root secret and of every key derived from it.
const secretBytes = 32

// Ring is a set of keys. All methods may be called at once from many goroutines; WithClock must come first.
// No way of printing a Ring shows a secret.
type Ring struct {
	// keys is never empty and in order of creation. It is behind a pointer without a type, so that
	// printing by reflection ends there.
	keys atomic.Pointer[[]key]
	now  func() time.Time
}

// key is one root secret. It may be used to make MACs from created on.
type key struct {
	id      string
	secret  []byte
	created time.Time
}

// Open reads the keyring that ref names: "file:PATH", or "env:NAME" for a variable that holds the text of
// such a file, or its lines joined with ";". The error wraps fs.ErrNotExist when there is none.
func Open(ref string) (*Ring, error) {
	kind, name, _ := strings.Cut(ref, ":")
	switch {
	case kind == "file" && name != "":
		return openFile(name)
	case kind == "env" && name != "":
		return openEnv(name)
	}
	return nil, errors.New("keyring: the reference must be file:PATH or env:NAME")
}

// OpenOrCreate is Open, but makes the file when it is missing; the bool says so. It never makes a variable.
func OpenOrCreate(ref string) (*Ring, bool, error) {
	r, err := Open(ref)
	path, isFile := strings.CutPrefix(ref, "file:")
	if !isFile || !errors.Is(err, fs.ErrNotExist) {
		return r, false, err
	}
	r, err = Create(path)
	if errors.Is(err, fs.ErrExist) { // another process was first
		r, err = Open(ref)
		return r, false, err
	}
	return r, err == nil, err
}

// WithClock replaces the clock that decides which keys are old, for tests. It returns r.
func (r *Ring) WithClock(now func() time.Time) *Ring {
	r.now = now
	return r
}

// CheckValue is a public fingerprint of the installation, to be kept in the database: another ring than
// the one that a database was made with has another value. It comes from the oldest key alone, so that
// rotation does not change it, and reveals nothing of that key.
func (r *Ring) CheckValue() string {
	root := (*r.keys.Load())[0]
	return root.id + "." + base64.RawURLEncoding.EncodeToString(root.derive("check", "")[:16])
}

func newRing(keys []key) *Ring {
	r := &Ring{now: time.Now}
	r.keys.Store(&keys)
	return r
}

// current is the newest key whose time has come. A key created in the future waits: so a ring can
// reach every node before the first of them makes MACs with its new key.
func (r *Ring) current() key {
	keys, now := *r.keys.Load(), r.now()
	for i := len(keys) - 1; i > 0; i-- {
		if !keys[i].created.After(now) {
			return keys[i]
		}
	}
	return keys[0]
}

// find gives the key named id, and when it was superseded: the zero time means that it was not.
func (r *Ring) find(id string) (k key, superseded time.Time, ok bool) {
	keys := *r.keys.Load()
	for i := range keys {
		if keys[i].id != id {
			continue
		}
		if i+1 < len(keys) {
			superseded = keys[i+1].created
		}
		return keys[i], superseded, true
	}
	return key{}, time.Time{}, false
}

// derive gives the key for one use ("mac", "seal", "check") and purpose.
func (k key) derive(use string, p Purpose) []byte {
	derived, err := hkdf.Key(sha256.New, k.secret, nil, fmt.Sprintf("mairust/v1/%s/%s", use, p), secretBytes)
	if err != nil { // only for more than 255 × 32 bytes (RFC 5869, 2.3)
		panic("keyring: " + err.Error())
	}
	return derived
}

package keyring

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// Bounds on what is read: a ring rotated every week for nearly five years.
const (
	maxKeys  = 256
	maxBytes = 64 << 10
)

const textVersion = "mairust-keyring 1"

const textHeader = `# The secret keys of a MaiRust installation: every node needs the same ones. Whoever reads them can forge
# scan results and read sealed secrets; without them sealed secrets are lost. Keep a copy with the backups.
# One key per line, oldest first: id, secret (base64), time from which it is used. Remove none. To use a new key, add a line at
# the end, on all nodes the same, and restart them before its time comes, as in an hour with this one, in the directory of this file:
#   echo "$(od -An -N4 -tx4 /dev/urandom | tr -d ' ') $(head -c 32 /dev/urandom | base64) $(date -u -d '1 hour' +%FT%TZ)" >> keyring
`

var keyID = regexp.MustCompile(`^[0-9a-z]{4,32}$`)

// parse reads the text of a keyring. Its errors name lines and never quote them.
func parse(text []byte) ([]key, error) {
	if len(text) > maxBytes {
		return nil, fmt.Errorf("longer than %d bytes", maxBytes)
	}
	var keys []key
	versioned := false
	for i, line := range strings.Split(string(text), "\n") {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || strings.HasPrefix(line, "#"):
			continue
		case !versioned && line != textVersion:
			return nil, fmt.Errorf("line %d: the first line must be %q", i+1, textVersion)
		case !versioned:
			versioned = true
			continue
		}
		k, err := parseKey(line)
		if err == nil {
			err = follows(keys, k)
		}
		if err != nil {
			return nil, fmt.Errorf("line %d: %w", i+1, err)
		}
		keys = append(keys, k)
	}
	if len(keys) == 0 {
		return nil, errors.New("no key in it")
	}
	return keys, nil
}

func parseKey(line string) (key, error) {
	fields := strings.Fields(line)
	if len(fields) != 3 {
		return key{}, errors.New("a key is three words: id, secret, time")
	}
	if !keyID.MatchString(fields[0]) {
		return key{}, errors.New("a key id is 4 to 32 of a-z and 0-9")
	}
	secret, err := base64.StdEncoding.Strict().DecodeString(fields[1])
	if err != nil || len(secret) != secretBytes {
		return key{}, fmt.Errorf("a secret is %d bytes in base64", secretBytes)
	}
	created, err := time.Parse(time.RFC3339, fields[2])
	if err != nil {
		return key{}, errors.New("a time looks like 2026-01-31T09:00:00Z")
	}
	return key{id: fields[0], secret: secret, created: created.UTC()}, nil
}

// follows checks that k may stand after keys.
func follows(keys []key, k key) error {
	if len(keys) >= maxKeys {
		return fmt.Errorf("more than %d keys", maxKeys)
	}
	for _, earlier := range keys {
		if earlier.id == k.id {
			return errors.New("this key id was used before")
		}
	}
	if n := len(keys); n > 0 && k.created.Before(keys[n-1].created) {
		return errors.New("keys must be in order of time, oldest first")
	}
	return nil
}

// format is the inverse of parse.
func format(keys []key) []byte {
	var b bytes.Buffer
	b.WriteString(textHeader + textVersion + "\n")
	for _, k := range keys {
		fmt.Fprintf(&b, "%s %s %s\n", k.id, base64.StdEncoding.EncodeToString(k.secret), k.created.Format(time.RFC3339))
	}
	return b.Bytes()
}

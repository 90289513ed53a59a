package crypt

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"filippo.io/age"

	"github.com/mairust/mairust/store"
)

// ParseRecipients reads the operator's public keys, "age1…" each; "age1pq1…" are post-quantum ones, which do not mix with
// the others.
func ParseRecipients(list []string) ([]age.Recipient, error) {
	var recipients []age.Recipient
	for i, text := range list {
		r, err := age.ParseRecipients(strings.NewReader(text))
		if err != nil || len(r) != 1 {
			return nil, fmt.Errorf("recipient %d is no public key of age: it begins with age1", i+1)
		}
		recipients = append(recipients, r...)
	}
	return recipients, nil
}

// RecipientsCheck tells recipients from others, in whatever order they are: the SHA-256 of their texts, in hex. Empty when there are none.
func RecipientsCheck(recipients []age.Recipient) string {
	if len(recipients) == 0 {
		return ""
	}
	texts := make([]string, 0, len(recipients))
	for _, r := range recipients {
		texts = append(texts, fmt.Sprint(r))
	}
	slices.Sort(texts)
	sum := sha256.Sum256([]byte(strings.Join(slices.Compact(texts), "\n")))
	return hex.EncodeToString(sum[:])
}

// CheckOperator says whether keys of tenants go to the operator's recipients that this keyring has: store.ErrOperator when they go to
// others. Nil where there are none yet, or where this keyring has no recipients.
func (k *Keyring) CheckOperator(ctx context.Context) error {
	if k.check == "" {
		return nil
	}
	return k.index.CheckOperator(ctx, k.check)
}

// AdoptOperator is for the start of a process. It records the recipients of this keyring where keys were made before that was done with the first one, if
// the newest key can be opened with the identity of one of them, and goes to as many: else it goes to others, as far as can be seen from here. Then it is CheckOperator.
func (k *Keyring) AdoptOperator(ctx context.Context) error {
	if k.check == "" || len(k.operator) == 0 {
		return k.CheckOperator(ctx)
	}
	keeper, err := k.keeper()
	if err != nil {
		return err
	}
	row, err := keeper.NewestTenantKey(ctx)
	if errors.Is(err, store.ErrNotFound) {
		return k.CheckOperator(ctx)
	}
	var now []age.Identity
	if err == nil {
		now, err = k.operatorOfNow()
	}
	if err != nil {
		return err
	}
	if k.goesToAsMany(row.Wrapped, now) {
		noted, err := keeper.AdoptOperator(ctx, k.check)
		if err != nil {
			return err
		}
		if noted {
			k.log.Info("noted the operator's recipients that keys of tenants are encrypted to")
		}
	}
	return k.CheckOperator(ctx)
}

// goesToAsMany says whether a wrapped key goes to one of those whose identities are given, and to as many as there are recipients now.
func (k *Keyring) goesToAsMany(wrapped string, now []age.Identity) bool {
	for _, identity := range now {
		c := &counting{Identity: identity}
		if _, err := unwrap(wrapped, []age.Identity{c}); err == nil {
			return c.recipients == len(k.recipients)
		}
	}
	return false
}

// HasRecipients says whether check is the RecipientsCheck of this keyring's recipients.
func (k *Keyring) HasRecipients(check string) bool { return k.check == check }

// maxIdentities bounds the file of the operator's identities.
const maxIdentities = 64 << 10

// ReadIdentities reads the operator's private keys, as age-keygen writes them, from "file:PATH" or "env:NAME"; none for "".
// Errors say where it was looked for, never what was found.
func ReadIdentities(ref string) ([]age.Identity, error) {
	if ref == "" {
		return nil, nil
	}
	text, err := readReference(ref)
	if err != nil {
		return nil, err
	}
	list, err := age.ParseIdentities(strings.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("%s holds no identity of age: lines that begin with AGE-SECRET-KEY-", ref)
	}
	return list, nil
}

func readReference(ref string) (string, error) {
	if name, ok := strings.CutPrefix(ref, "env:"); ok {
		text, ok := os.LookupEnv(name)
		if !ok {
			return "", fmt.Errorf("the environment variable %q is not set", name)
		}
		return text, nil
	}
	path, ok := strings.CutPrefix(ref, "file:")
	if !ok {
		return "", errors.New("wants file:PATH or env:NAME")
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	info, err := f.Stat()
	var raw []byte
	switch {
	case err != nil:
	case !info.Mode().IsRegular():
		err = fmt.Errorf("%s is no file", path)
	case info.Mode().Perm()&0o077 != 0:
		err = fmt.Errorf("%s is readable by others than its owner: chmod 600 %s", path, path)
	default:
		raw, err = io.ReadAll(io.LimitReader(f, maxIdentities))
	}
	return string(raw), errors.Join(err, f.Close())
}

// ErrOtherOperator says that the identities at hand cannot decrypt what is encrypted to the recipients.
var ErrOtherOperator = errors.New("the operator's identity belongs to none of the operator's recipients")

// Match says whether the identities can decrypt what is encrypted to the recipients. ErrOtherOperator when they cannot.
func Match(recipients []age.Recipient, operator []age.Identity) error {
	var sealed bytes.Buffer
	w, err := age.Encrypt(&sealed, recipients...)
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return fmt.Errorf("encrypt to the operator: %w", err)
	}
	if _, err := age.Decrypt(&sealed, operator...); err != nil {
		return ErrOtherOperator
	}
	return nil
}

// NewOperator makes a key pair for an operator, as age-keygen does: the text of the identity file, and the public key.
func NewOperator(now time.Time) (file, recipient string, err error) {
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		return "", "", fmt.Errorf("generate key: %w", err)
	}
	recipient = identity.Recipient().String()
	return fmt.Sprintf("# created: %s\n# public key: %s\n%s\n", now.UTC().Format(time.RFC3339), recipient, identity), recipient, nil
}

// Package crypt encrypts objects before a backend gets them, each to the key of its tenant alone (filippo.io/age), over
// any blob.Bucket.
//
// The tenant is the first segment of an object's key, or the second below orphan/ and archive/. Its key pair (X25519) is
// itself kept encrypted to the operator, in the index and as <tenant_id>/keys/<key_id>.age beside the objects, so that the
// age program alone gets back everything: docs/encryption.md. What is encrypted names its key in its header (header.go);
// what is not is passed on as it is, so that a store may hold both.
package crypt

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// Backend is where the encrypted objects go.
type Backend interface {
	blob.Bucket
	blob.Replacer
}

// Options of a Bucket. Backend and Keys are required.
type Options struct {
	Backend Backend
	Keys    *Keyring
	// Encrypt says whether what is put is encrypted. What is encrypted already can be read in either case.
	Encrypt bool
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
}

// Bucket encrypts what is put, and decrypts what is got. It makes the promises of its backend; besides, what was altered
// on the backend is blob.ErrDamaged, be it a range of it, and what has a key that is not at hand is blob.ErrNoKey.
//
// With Encrypt false and no identity it is for an installation that encrypts nothing: it passes everything on, and tells
// what another process has encrypted meanwhile (blob.ErrKeyLocked) from what is damaged.
type Bucket struct {
	backend Backend
	keys    *Keyring
	encrypt bool
	metrics *metrics
	// near says that the object that was read last is in a file: a look at its beginning is no round trip.
	near atomic.Bool
	// plain are objects elsewhere that were seen to be plain.
	plain seen
}

var (
	_ blob.Bucket   = (*Bucket)(nil)
	_ blob.Replacer = (*Bucket)(nil)
	_ blob.Stored   = (*Bucket)(nil)
)

// New makes a Bucket.
func New(o Options) *Bucket {
	return &Bucket{backend: o.Backend, keys: o.Keys, encrypt: o.Encrypt, metrics: newMetrics(o.Registerer)}
}

// asidePrefix is above what the sweep puts aside.
const asidePrefix = "orphan/"

// keysDir is the folder of a tenant's keys.
const keysDir = "keys"

// tenantOf gives the tenant whose key encrypts an object; none for the installation's own objects and for keys.
func tenantOf(key string) store.TenantID {
	for _, above := range []string{asidePrefix, "archive/"} {
		key = strings.TrimPrefix(key, above)
	}
	tenant, rest, below := strings.Cut(key, "/")
	if !below || tenant == "installation" || isKeyFile(rest) {
		return ""
	}
	return store.TenantID(tenant)
}

// isKeyFile knows the key of a tenant's key file, without the tenant.
func isKeyFile(rest string) bool {
	name, ok := strings.CutPrefix(rest, keysDir+"/")
	return ok && strings.HasSuffix(name, ".age") && !strings.Contains(name, "/")
}

// Put encrypts an object and stores it.
func (b *Bucket) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	return b.PutAll(ctx, []string{key}, r, size)
}

// PutAll encrypts an object once for each tenant; the keys of one tenant share its bytes where the backend can.
func (b *Bucket) PutAll(ctx context.Context, keys []string, r io.ReadSeeker, size int64) error {
	if !b.encrypt {
		return b.putPlain(ctx, keys, r, size)
	}
	groups, err := b.groups(ctx, keys, size)
	if err != nil {
		return err
	}
	for i, g := range groups {
		content, stored, err := b.content(ctx, g.keys[0], r, size)
		if err == nil {
			err = b.backend.PutAll(ctx, g.keys, content, stored)
		} else {
			err = fmt.Errorf("put %s: %w", g.keys[0], err)
		}
		if err != nil {
			var done []string
			for _, g := range groups[:i] {
				done = append(done, g.keys...)
			}
			return errors.Join(err, blob.DeleteAll(ctx, b.backend, done))
		}
	}
	return nil
}

// putPlain stores an object as it is.
func (b *Bucket) putPlain(ctx context.Context, keys []string, r io.ReadSeeker, size int64) error {
	for _, key := range keys {
		if tenantOf(key) == "" {
			continue
		}
		if err := refuseAmbiguous(r); err != nil {
			return fmt.Errorf("put %s: %w", key, err)
		}
		break
	}
	return b.backend.PutAll(ctx, keys, r, size)
}

// group are keys of one tenant.
type group struct {
	tenant store.TenantID
	keys   []string
}

// groups sorts keys by tenant, in the order in which they come.
func (b *Bucket) groups(ctx context.Context, keys []string, size int64) ([]group, error) {
	var groups []group
	at := map[store.TenantID]int{}
	for _, key := range keys {
		if err := checkPut(ctx, key, size); err != nil {
			return nil, fmt.Errorf("put %s: %w", key, err)
		}
		tenant := tenantOf(key)
		i, ok := at[tenant]
		if !ok {
			i = len(groups)
			at[tenant] = i
			groups = append(groups, group{tenant: tenant})
		}
		groups[i].keys = append(groups[i].keys, key)
	}
	return groups, nil
}

// checkPut comes before any key is made: nobody's tenant gets one.
func checkPut(ctx context.Context, key string, size int64) error {
	if err := blob.CheckKey(key); err != nil {
		return err
	}
	if size < 0 {
		return errors.New("negative size")
	}
	return ctx.Err()
}

// content is what the backend gets of an object.
func (b *Bucket) content(ctx context.Context, key string, r io.ReadSeeker, size int64) (io.ReadSeeker, int64, error) {
	tenant := tenantOf(key)
	switch {
	case tenant == "":
		return r, size, nil
	case !b.encrypt:
		return r, size, refuseAmbiguous(r)
	}
	to, err := b.keys.Current(ctx, tenant)
	if err != nil {
		return nil, 0, b.metrics.failed(err)
	}
	s, err := seal(ctx, to, r, size)
	if err != nil {
		return nil, 0, err
	}
	b.metrics.encrypted()
	return s, s.stored, nil
}

// errAmbiguous says that content cannot be stored as it is. No message is like that: each begins with its Return-Path.
var errAmbiguous = errors.New("content begins as an encrypted object does")

// refuseAmbiguous keeps a tenant's plain object from being taken for an encrypted one.
func refuseAmbiguous(r io.ReadSeeker) error {
	if _, err := r.Seek(0, io.SeekStart); err != nil {
		return fmt.Errorf("rewind: %w", err)
	}
	begin := make([]byte, len(magic))
	if n, _ := io.ReadFull(r, begin); looksEncrypted(begin[:n]) { // an error comes again when it is stored
		return errAmbiguous
	}
	return nil
}

// Replace encrypts an object and stores it in the place of the old one.
func (b *Bucket) Replace(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	err := checkPut(ctx, key, size)
	if err != nil {
		return fmt.Errorf("replace %s: %w", key, err)
	}
	content, stored, err := b.content(ctx, key, r, size)
	if err != nil {
		return fmt.Errorf("replace %s: %w", key, err)
	}
	return b.backend.Replace(ctx, key, content, stored)
}

// Copy shares the bytes within a tenant. For another tenant the object is encrypted anew.
func (b *Bucket) Copy(ctx context.Context, src, dst string) error {
	if tenantOf(src) == tenantOf(dst) {
		return b.backend.Copy(ctx, src, dst)
	}
	err := checkPut(ctx, dst, 0)
	if err == nil {
		err = b.copyAnew(ctx, src, dst)
	}
	if err != nil {
		return fmt.Errorf("copy %s to %s: %w", src, dst, err)
	}
	return nil
}

func (b *Bucket) copyAnew(ctx context.Context, src, dst string) error {
	r, err := blob.NewReader(ctx, b, src)
	if err != nil {
		return err
	}
	return errors.Join(b.Put(ctx, dst, r, r.Info().SizeBytes), r.Close())
}

// CopyStored puts an object under another key of its tenant, as it is stored: what is encrypted stays so, also when the
// index does not know the tenant.
func (b *Bucket) CopyStored(ctx context.Context, src, dst string) error {
	if tenantOf(src) != tenantOf(dst) {
		return fmt.Errorf("copy %s to %s: another tenant", src, dst)
	}
	r, err := blob.NewReader(ctx, b.backend, src)
	if err != nil {
		return err
	}
	return errors.Join(b.backend.Put(ctx, dst, r, r.Info().SizeBytes), r.Close())
}

// Delete removes an object.
func (b *Bucket) Delete(ctx context.Context, key string) error { return b.backend.Delete(ctx, key) }

// Check proves that the backend works.
func (b *Bucket) Check(ctx context.Context) error { return b.backend.Check(ctx) }

// Tidy is the backend's, where it has one.
func (b *Bucket) Tidy(ctx context.Context, before time.Time) (removed int, err error) {
	if t, ok := b.backend.(blob.Tidier); ok {
		return t.Tidy(ctx, before)
	}
	return 0, nil
}

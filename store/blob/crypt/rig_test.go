package crypt_test

import (
	"bytes"
	"cmp"
	"context"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/crypt"
)

// index keeps keys in memory, for any tenant that is asked for.
type index struct {
	mu   sync.Mutex
	keys []store.TenantKey
	err  error
	// unknown says that it knows no tenant.
	unknown bool
	// operator is what was noted of the operator's recipients.
	operator string
	// beforeAdding is done before a key is added.
	beforeAdding func()
}

func (x *index) NoteOperator(_ context.Context, check string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.operator = check
	return nil
}

func (x *index) AdoptOperator(_ context.Context, check string) (bool, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.operator != "" {
		return false, nil
	}
	x.operator = check
	return true, nil
}

func (x *index) NewestTenantKey(context.Context) (newest store.TenantKey, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, k := range x.keys {
		if k.Destroyed.IsZero() && k.ID > newest.ID {
			newest = k
		}
	}
	if newest.ID == "" {
		return newest, store.ErrNotFound
	}
	return newest, nil
}

func (x *index) CheckOperator(_ context.Context, check string) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.operator != "" && x.operator != check {
		return store.ErrOperator
	}
	return nil
}

func (x *index) TenantKeys(_ context.Context, tenant store.TenantID) ([]store.TenantKey, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	var list []store.TenantKey
	for _, k := range x.keys {
		if k.Tenant == tenant {
			list = append(list, k)
		}
	}
	return list, x.err
}

func (x *index) AddTenantKey(_ context.Context, k store.TenantKey, _ store.Beside) error {
	return x.add(k, func(has store.TenantKey) bool { return has.ID == k.ID })
}

func (x *index) AddFirstTenantKey(_ context.Context, k store.TenantKey) error {
	return x.add(k, func(has store.TenantKey) bool { return has.Tenant == k.Tenant })
}

func (x *index) add(k store.TenantKey, conflicts func(store.TenantKey) bool) error {
	if x.beforeAdding != nil {
		x.beforeAdding()
	}
	operator := k.Operator
	if operator != "" {
		if err := x.CheckOperator(context.Background(), operator); err != nil {
			return err
		}
		k.Operator = ""
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.unknown:
		return store.ErrNotFound
	case slices.ContainsFunc(x.keys, conflicts):
		return store.ErrExists
	}
	x.operator = cmp.Or(x.operator, operator)
	x.keys = append(x.keys, k)
	slices.SortFunc(x.keys, func(a, b store.TenantKey) int { return strings.Compare(a.ID, b.ID) })
	return x.err
}

func (x *index) RewrapTenantKey(_ context.Context, tenant store.TenantID, id, wrapped string, _ store.Beside) error {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range x.keys {
		if x.keys[i].Tenant == tenant && x.keys[i].ID == id {
			x.keys[i].Wrapped = wrapped
			return nil
		}
	}
	return store.ErrNotFound
}

func (x *index) DestroyTenantKeys(_ context.Context, tenant store.TenantID, _ store.Beside) (n int64, err error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for i := range x.keys {
		if k := &x.keys[i]; k.Tenant == tenant && k.Destroyed.IsZero() {
			k.Wrapped, k.Destroyed = "", time.Now()
			n++
		}
	}
	return n, nil
}

// operator is a key pair of the operator, the same for all tests: making one costs nothing, reading about two confuses.
var operator = must(age.GenerateX25519Identity())

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// rig is an encrypting bucket and what is below it.
type rig struct {
	*crypt.Bucket
	backend crypt.Backend
	keys    *crypt.Keyring
	index   *index
	now     time.Time
}

func newRig(t testing.TB, backend crypt.Backend) *rig {
	t.Helper()
	r := &rig{backend: backend, index: &index{}, now: time.Now()}
	r.open(true, operator)
	return r
}

// open opens the bucket anew, as another process would.
func (r *rig) open(encrypt bool, operators ...age.Identity) {
	r.keys = crypt.NewKeyring(crypt.KeyringOptions{
		Index: r.index, Backend: r.backend, Recipients: []age.Recipient{operator.Recipient()}, Operator: operators,
		Now: r.clock,
	})
	r.Bucket = crypt.New(crypt.Options{Backend: r.backend, Keys: r.keys, Encrypt: encrypt})
}

func (r *rig) clock() time.Time { return r.now }

// expire makes the keyring ask the index again.
func (r *rig) expire() { r.now = r.now.Add(time.Hour) }

func (r *rig) put(t testing.TB, key, content string) {
	t.Helper()
	require.NoError(t, r.Put(t.Context(), key, strings.NewReader(content), int64(len(content))))
}

// stored gives an object as the backend has it.
func (r *rig) stored(t testing.TB, key string) []byte {
	t.Helper()
	return content(t, r.backend, key)
}

// alter puts other bytes in the place of what the backend has.
func (r *rig) alter(t testing.TB, key string, raw []byte) {
	t.Helper()
	require.NoError(t, r.backend.Replace(t.Context(), key, bytes.NewReader(raw), int64(len(raw))))
}

func content(t testing.TB, from blob.Getter, key string) []byte {
	t.Helper()
	r, _, err := from.Get(t.Context(), key, 0, -1)
	require.NoError(t, err)
	raw, err := io.ReadAll(r)
	require.NoError(t, err)
	require.NoError(t, r.Close())
	return raw
}

// readAll reads a range, wherever an error comes.
func readAll(t testing.TB, from blob.Getter, key string, offset, n int64) ([]byte, error) {
	t.Helper()
	r, _, err := from.Get(t.Context(), key, offset, n)
	if err != nil {
		return nil, err
	}
	defer func() { require.NoError(t, r.Close()) }()
	return io.ReadAll(r)
}

// remote is a backend whose readers go forwards only, as those of a network do.
type remote struct {
	crypt.Backend
	mu   sync.Mutex
	gets [][2]int64
}

func (b *remote) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	b.mu.Lock()
	b.gets = append(b.gets, [2]int64{offset, n})
	b.mu.Unlock()
	r, info, err := b.Backend.Get(ctx, key, offset, n)
	if err != nil {
		return nil, info, err
	}
	return struct{ io.ReadCloser }{r}, info, nil
}

func newFS(t testing.TB) *blob.FS {
	t.Helper()
	f, err := blob.NewFS(t.TempDir(), blob.FSOptions{})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, f.Close()) })
	return f
}

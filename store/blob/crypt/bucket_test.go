package crypt_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"testing"

	"filippo.io/age"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/blobtest"
	"github.com/mairust/mairust/store/blob/crypt"
)

// withoutKeys lists objects without the keys of tenants, which the suite of all backends knows nothing of.
type withoutKeys struct{ *crypt.Bucket }

func (b withoutKeys) List(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	return func(yield func(blob.Info, error) bool) {
		for info, err := range b.Bucket.List(ctx, prefix) {
			if strings.HasSuffix(info.Key, ".age") && strings.Contains(info.Key, "/keys/") {
				continue
			}
			if !yield(info, err) {
				return
			}
		}
	}
}

func TestEncryptedFiles(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Bucket { return withoutKeys{newRig(t, newFS(t)).Bucket} })
}

func TestEncryptedMemory(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Bucket { return withoutKeys{newRig(t, blob.NewMemory()).Bucket} })
}

func TestEncryptedRemote(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Bucket {
		return withoutKeys{newRig(t, &remote{Backend: blob.NewMemory()}).Bucket}
	})
}

func TestPlainThroughTheWrapper(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Bucket {
		r := newRig(t, newFS(t))
		r.open(false, operator)
		return withoutKeys{r.Bucket}
	})
}

func TestPlainThroughTheWrapperOfOneThatEncryptsNothing(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Bucket {
		r := newRig(t, &remote{Backend: blob.NewMemory()})
		r.open(false)
		return r.Bucket
	})
}

const message = "Return-Path: <a@b.test>\r\nSubject: secret plans\r\n\r\nhello\r\n"

func TestNothingPlainReachesTheBackend(t *testing.T) {
	r := newRig(t, blob.NewMemory())
	for _, key := range []string{"t1/m/o.eml", "orphan/t1/m/o.eml", "archive/t1/m/o.eml", "t1/m/o/attachments/2"} {
		r.put(t, key, message)
		raw := r.stored(t, key)
		require.True(t, bytes.HasPrefix(raw, []byte("age-encryption.org/v1\n-> mairust 1 t1 ")), "%q", raw[:60])
		require.NotContains(t, string(raw), "secret")
		require.Equal(t, message, string(content(t, r, key)))
	}
	require.Len(t, r.index.keys, 1, "one key for the tenant, wherever its objects lie")
	r.put(t, "installation/database.json", "{}")
	require.Equal(t, "{}", string(r.stored(t, "installation/database.json")), "the installation is no tenant")
}

func TestEachTenantHasItsOwnKey(t *testing.T) {
	r := newRig(t, blob.NewMemory())
	require.NoError(t, r.PutAll(t.Context(), []string{"t1/m/o", "t2/m/o", "t1/n/o"}, strings.NewReader(message), int64(len(message))))
	require.Equal(t, r.stored(t, "t1/m/o"), r.stored(t, "t1/n/o"), "recipients of a tenant share bytes")
	require.NotEqual(t, r.stored(t, "t1/m/o"), r.stored(t, "t2/m/o"))
	require.Len(t, r.index.keys, 2)

	// An object that somebody moves to another tenant is not decrypted there.
	r.alter(t, "t2/m/o", r.stored(t, "t1/m/o"))
	_, err := readAll(t, r, "t2/m/o", 0, -1)
	require.ErrorIs(t, err, blob.ErrDamaged)
	// Copying it by way of the bucket encrypts it anew.
	require.NoError(t, r.Copy(t.Context(), "t1/m/o", "t3/m/o"))
	require.Equal(t, message, string(content(t, r, "t3/m/o")))
	require.NoError(t, r.Copy(t.Context(), "t1/m/o", "t1/m/copy"))
	require.Equal(t, r.stored(t, "t1/m/o"), r.stored(t, "t1/m/copy"))
}

func TestPutAllLeavesNothingWhenATenantsTurnFails(t *testing.T) {
	r := newRig(t, blob.NewMemory())
	r.put(t, "t2/m/o", "taken")
	err := r.PutAll(t.Context(), []string{"t1/m/o", "t2/m/o"}, strings.NewReader(message), int64(len(message)))
	require.ErrorIs(t, err, blob.ErrExists)
	_, err = r.Stat(t.Context(), "t1/m/o")
	require.ErrorIs(t, err, blob.ErrNotFound)
	require.Equal(t, "taken", string(content(t, r, "t2/m/o")))
}

func TestAnUploadThatIsRepeatedHasTheSameBytes(t *testing.T) {
	plain := make([]byte, 300_000)
	_, _ = rand.Read(plain)
	r := newRig(t, &twice{Backend: blob.NewMemory(), t: t})
	require.NoError(t, r.Put(t.Context(), "t1/m/o", bytes.NewReader(plain), int64(len(plain))))
	require.Equal(t, plain, content(t, r, "t1/m/o"))
}

// twice reads what it is to store from several places before it stores it.
type twice struct {
	crypt.Backend
	t *testing.T
}

func (b *twice) PutAll(ctx context.Context, keys []string, r io.ReadSeeker, size int64) error {
	first, err := io.ReadAll(r)
	require.NoError(b.t, err)
	require.Len(b.t, first, int(size))
	for _, at := range []int64{0, 1, 100, 65_000, 66_000, 150_000, size - 1, size, 70_000} {
		_, err := r.Seek(at, io.SeekStart)
		require.NoError(b.t, err)
		again, err := io.ReadAll(r)
		require.NoError(b.t, err)
		require.True(b.t, bytes.Equal(first[at:], again), "from %d", at)
	}
	return b.Backend.PutAll(ctx, keys, r, size)
}

// Ranges around the borders of chunks (64 KiB), against what age's own program would give.
func TestRangesOverManyChunks(t *testing.T) {
	for _, size := range []int64{0, 1, 65_535, 65_536, 65_537, 131_072, 131_073, 400_000} {
		plain := make([]byte, size)
		_, _ = rand.Read(plain)
		far := &remote{Backend: blob.NewMemory()}
		for name, r := range map[string]*rig{"local": newRig(t, newFS(t)), "remote": newRig(t, far)} {
			require.NoError(t, r.Put(t.Context(), "t/m/o", bytes.NewReader(plain), size))
			for _, offset := range []int64{0, 1, 65_535, 65_536, 65_537, 131_072, size - 1, size} {
				for _, n := range []int64{-1, 0, 1, 2, 65_536, 65_537, 200_000} {
					if offset < 0 || offset > size {
						continue
					}
					got, err := readAll(t, r, "t/m/o", offset, n)
					require.NoError(t, err)
					end := size
					if n >= 0 {
						end = min(size, offset+n)
					}
					require.True(t, bytes.Equal(plain[offset:end], got), "%s: %d from %d of %d", name, n, offset, size)
				}
			}
		}
	}
}

func TestARangeReadsLittle(t *testing.T) {
	const size = 64 << 20
	far := &remote{Backend: blob.NewMemory()}
	r := newRig(t, far)
	require.NoError(t, r.Put(t.Context(), "t/m/o", bytes.NewReader(make([]byte, size)), size))
	far.gets = nil
	got, err := readAll(t, r, "t/m/o", size/2+5, 1000)
	require.NoError(t, err)
	require.Len(t, got, 1000)
	var sum int64
	for _, g := range far.gets {
		require.Positive(t, g[1], "nothing is opened to its end")
		sum += g[1]
	}
	require.LessOrEqual(t, len(far.gets), 3, "header, range, last chunk: each is a round trip")
	require.Less(t, sum, int64(300_000))
}

func TestAlteredAndCutObjectsAreNeverServed(t *testing.T) {
	plain := make([]byte, 200_000)
	_, _ = rand.Read(plain)
	for _, backend := range []crypt.Backend{blob.NewMemory(), &remote{Backend: blob.NewMemory()}} {
		r := newRig(t, backend)
		require.NoError(t, r.Put(t.Context(), "t/m/o", bytes.NewReader(plain), int64(len(plain))))
		good := r.stored(t, "t/m/o")
		damage := map[string][]byte{"longer": append(bytes.Clone(good), 0)}
		for _, cut := range []int{1, 16, 17, 65_552, 2 * 65_552, len(good) - 300, len(good) - 30} {
			damage[fmt.Sprint("cut by ", cut)] = good[:len(good)-cut]
		}
		for _, at := range []int{45, 90, 120, 200, 260, 300, 1000, 70_000, len(good) - 1} {
			bad := bytes.Clone(good)
			bad[at] ^= 1
			damage[fmt.Sprint("altered at ", at)] = bad
		}
		swapped := bytes.Clone(good) // two chunks of one object change places
		h := len(good) - (200_000 + 4*16)
		copy(swapped[h:], good[h+65_552:h+2*65_552])
		copy(swapped[h+65_552:], good[h:h+65_552])
		damage["chunks swapped"] = swapped
		for what, raw := range damage {
			r.alter(t, "t/m/o", raw)
			_, err := readAll(t, r, "t/m/o", 0, -1)
			require.Error(t, err, what)
			// In the header the name of the key may be what was altered: then there is no such key.
			require.True(t, errors.Is(err, blob.ErrDamaged) || errors.Is(err, blob.ErrNoKey), "%s: %v", what, err)
			if got, err := readAll(t, r, "t/m/o", 70_000, 60_000); err == nil {
				require.Equal(t, plain[70_000:130_000], got, "%s: a range is right or refused", what)
			}
		}
		r.alter(t, "t/m/o", good)
		require.Equal(t, plain, content(t, r, "t/m/o"))
	}
}

func TestAFaultOfTheBackendIsNoDamage(t *testing.T) {
	b := &breaking{Backend: blob.NewMemory()}
	r := newRig(t, b)
	r.put(t, "t/m/o", strings.Repeat("x", 200_000))
	for _, b.broken = range []error{errBroken, fmt.Errorf("%w: %w", errBroken, io.ErrUnexpectedEOF), fmt.Errorf("%w: %w", errBroken, io.EOF)} {
		for _, b.after = range []int64{10, 2000} {
			for _, part := range [][2]int64{{0, -1}, {100_000, 10}, {0, 150_000}} {
				_, err := readAll(t, r, "t/m/o", part[0], part[1])
				require.ErrorIs(t, err, errBroken)
				require.NotErrorIs(t, err, blob.ErrDamaged)
			}
		}
	}
}

var errBroken = fmt.Errorf("connection reset by the test")

// breaking gives readers that break after so many bytes.
type breaking struct {
	crypt.Backend
	broken error
	after  int64
}

func (b *breaking) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	r, info, err := b.Backend.Get(ctx, key, offset, n)
	if err != nil || b.broken == nil || strings.HasSuffix(key, ".age") {
		return r, info, err
	}
	head := io.LimitReader(r, b.after)
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(head, failing{b.broken}), r}, info, nil
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func TestAStoreMayHoldBoth(t *testing.T) {
	r := newRig(t, newFS(t))
	r.open(false, operator)
	r.put(t, "t/m/plain", message)
	r.open(true, operator)
	r.put(t, "t/m/encrypted", message)
	for _, encrypt := range []bool{true, false} {
		r.open(encrypt, operator)
		for _, key := range []string{"t/m/plain", "t/m/encrypted"} {
			require.Equal(t, message, string(content(t, r, key)), key)
			got, err := readAll(t, r, key, 13, 5)
			require.NoError(t, err)
			require.Equal(t, message[13:18], string(got))
			info, err := r.Stat(t.Context(), key)
			require.NoError(t, err)
			require.EqualValues(t, len(message), info.SizeBytes)
		}
		for stored, err := range r.ListStored(t.Context(), "t/m/") {
			require.NoError(t, err)
			require.True(t, r.CanHold(stored, int64(len(message))), stored.Key)
			require.False(t, r.CanHold(stored, int64(len(message))+1), stored.Key)
		}
	}
	err := r.Put(t.Context(), "t/m/o", bytes.NewReader(r.stored(t, "t/m/encrypted")), 100)
	require.Error(t, err, "what would be taken for an encrypted object is not stored plain")
}

func TestWithoutTheOperatorsIdentityMailIsTakenInAndNotRead(t *testing.T) {
	r := newRig(t, blob.NewMemory())
	r.open(true)
	r.put(t, "t/m/o", message)
	_, err := readAll(t, r, "t/m/o", 0, -1)
	require.ErrorIs(t, err, blob.ErrNoKey)
	info, err := r.Stat(t.Context(), "t/m/o")
	require.NoError(t, err)
	require.EqualValues(t, len(message), info.SizeBytes)

	r.open(true, must(age.GenerateX25519Identity()))
	_, err = readAll(t, r, "t/m/o", 3, 4)
	require.ErrorIs(t, err, blob.ErrNoKey, "another operator")
	r.open(true, must(age.GenerateX25519Identity()), operator)
	require.Equal(t, message, string(content(t, r, "t/m/o")), "one of several identities")
}

func TestWhatAnotherProcessHasEncryptedIsLockedForOneThatEncryptsNothing(t *testing.T) {
	for name, backend := range map[string]crypt.Backend{"local": newFS(t), "remote": &remote{Backend: blob.NewMemory()}} {
		for _, has := range []string{"its row", "its copy beside the objects alone"} {
			r := newRig(t, backend)
			key := "t/m/" + strings.Fields(has)[1]
			r.put(t, key, message)
			if has != "its row" {
				r.index.keys = nil
			}
			r.open(false)
			for _, part := range [][2]int64{{0, -1}, {0, 3}, {13, 5}, {1000, 1}} {
				_, err := readAll(t, r, key, part[0], part[1])
				require.ErrorIs(t, err, blob.ErrKeyLocked, "%s, %s: %v", name, has, part)
				require.NotErrorIs(t, err, blob.ErrDamaged)
			}
			info, err := r.Stat(t.Context(), key)
			require.NoError(t, err)
			require.EqualValues(t, len(message), info.SizeBytes)
			expected, err := r.StatExpecting(t.Context(), key, info.SizeBytes)
			require.NoError(t, err)
			require.Equal(t, info, expected)
			stored, err := backend.Stat(t.Context(), key)
			require.NoError(t, err)
			require.NotEqual(t, stored.SizeBytes, info.SizeBytes)
			require.True(t, r.CanHold(stored, info.SizeBytes))
		}
	}
}

func TestAPlainObjectThatIsFarAwayIsLookedIntoOnce(t *testing.T) {
	far := &remote{Backend: blob.NewMemory()}
	r := newRig(t, far)
	r.open(false)
	r.put(t, "t/m/o", message)
	for _, first := range [][2]int64{{0, -1}, {13, 5}} {
		r.open(false)
		_, err := readAll(t, r, "t/m/o", first[0], first[1])
		require.NoError(t, err)
		far.gets = nil
		got, err := readAll(t, r, "t/m/o", 13, 5)
		require.NoError(t, err)
		require.Equal(t, message[13:18], string(got))
		require.Equal(t, [][2]int64{{13, 5}}, far.gets, "one round trip")
	}
}

func TestAnObjectThatWasPlainAndIsEncryptedNowIsLookedIntoAgain(t *testing.T) {
	far := &remote{Backend: blob.NewMemory()}
	r := newRig(t, far)
	r.open(false)
	r.put(t, "t/m/o", message)
	_, err := readAll(t, r, "t/m/o", 0, -1)
	require.NoError(t, err)
	still := r.Bucket
	r.open(true, operator)
	require.NoError(t, r.Replace(t.Context(), "t/m/o", strings.NewReader(message), int64(len(message))))
	_, _, err = still.Get(t.Context(), "t/m/o", 13, 5)
	require.ErrorIs(t, err, blob.ErrKeyLocked)
}

// together counts how often something is put.
type together struct {
	crypt.Backend
	puts int
}

func (b *together) PutAll(ctx context.Context, keys []string, r io.ReadSeeker, size int64) error {
	b.puts++
	return b.Backend.PutAll(ctx, keys, r, size)
}

func TestWhatIsNotEncryptedIsStoredOnceForAllTenants(t *testing.T) {
	b := &together{Backend: blob.NewMemory()}
	r := newRig(t, b)
	r.open(false)
	require.NoError(t, r.PutAll(t.Context(), []string{"t/m/o", "u/m/o"}, strings.NewReader(message), int64(len(message))))
	require.Equal(t, 1, b.puts)
}

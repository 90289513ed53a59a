package crypt_test

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/crypt"
)

// BenchmarkOverhead puts and reads objects plain and encrypted in turns, and reports the processor time of both and how many
// times as much it is with encryption (x-plain): on files as they are kept, and on memory, where little but the encryption is
// left.
func BenchmarkOverhead(b *testing.B) {
	for _, size := range []int{4 << 10, 50 << 10, 1 << 20, 25 << 20} {
		data := make([]byte, size)
		_, _ = rand.Read(data)
		for name, backend := range map[string]crypt.Backend{"files": newFS(b), "memory": blob.NewMemory()} {
			r := newRig(b, backend)
			r.put(b, "t/m/warm", "the tenant has a key now")
			b.Run(fmt.Sprintf("put/%dKiB/%s", size>>10, name), func(b *testing.B) {
				inTurns(b, size, func(i int) { put(b, backend, fmt.Sprintf("t/p%d/o%d", size, i), data) },
					func(i int) { put(b, r, fmt.Sprintf("t/e%d/o%d", size, i), data) },
					func(i int) {
						require.NoError(b, backend.Delete(b.Context(), fmt.Sprintf("t/p%d/o%d", size, i)))
						require.NoError(b, backend.Delete(b.Context(), fmt.Sprintf("t/e%d/o%d", size, i)))
					})
			})
			put(b, backend, "t/plain/o", data)
			put(b, r, "t/encrypted/o", data)
			b.Run(fmt.Sprintf("get/%dKiB/%s", size>>10, name), func(b *testing.B) {
				inTurns(b, size, func(int) { readWhole(b, backend, "t/plain/o") }, func(int) { readWhole(b, r, "t/encrypted/o") }, func(int) {})
			})
			require.NoError(b, backend.Delete(b.Context(), "t/plain/o"))
			require.NoError(b, backend.Delete(b.Context(), "t/encrypted/o"))
		}
	}
}

// inTurns measures two acts in the same conditions.
func inTurns(b *testing.B, size int, plain, encrypted, clean func(i int)) {
	b.Helper()
	var of [2]time.Duration
	for i := range b.N {
		for n, act := range []func(int){plain, encrypted} {
			began := cpu(b)
			act(i)
			of[n] += cpu(b) - began
		}
		clean(i)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(of[0].Microseconds())/float64(b.N), "plain-cpu-µs")
	b.ReportMetric(float64(of[1].Microseconds())/float64(b.N), "encrypted-cpu-µs")
	b.ReportMetric(float64(of[1])/float64(of[0]), "x-plain")
	b.ReportMetric(float64(size)*float64(b.N)/1e6/of[1].Seconds(), "encrypted-MB/cpu-s")
}

func put(b *testing.B, bucket blob.Bucket, key string, data []byte) {
	b.Helper()
	require.NoError(b, bucket.Put(b.Context(), key, bytes.NewReader(data), int64(len(data))))
}

func readWhole(b *testing.B, bucket blob.Getter, key string) {
	b.Helper()
	r, _, err := bucket.Get(b.Context(), key, 0, -1)
	require.NoError(b, err)
	_, err = io.Copy(io.Discard, struct{ io.Reader }{r})
	require.NoError(b, err)
	require.NoError(b, r.Close())
}

// cpu is the processor time of this process.
func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkPassThrough does with a backend, and with the same one behind a Bucket that encrypts nothing, what deliveries and readers of
// an installation without encryption do.
func BenchmarkPassThrough(b *testing.B) {
	const size = 8 << 10
	data := make([]byte, size)
	_, _ = rand.Read(data)
	for name, backend := range map[string]crypt.Backend{"files": newFS(b), "remote": &remote{Backend: blob.NewMemory()}} {
		r := newRig(b, backend)
		r.open(false)
		for way, bucket := range map[string]blob.Bucket{"bare": backend, "behind": r} {
			key := fmt.Sprintf("t/%s/o", way)
			put(b, bucket, key, data)
			for act, do := range map[string]func(i int){
				"put":    func(i int) { put(b, bucket, fmt.Sprintf("t/%s/o%d", way, i), data) },
				"get":    func(int) { readWhole(b, bucket, key) },
				"range":  func(int) { readRange(b, bucket, key, 5000, 1000) },
				"stat":   func(int) { _, err := bucket.Stat(b.Context(), key); require.NoError(b, err) },
				"expect": func(int) { statExpecting(b, bucket, key, size) },
			} {
				b.Run(fmt.Sprintf("%s/%s/%s", name, act, way), func(b *testing.B) {
					b.ReportAllocs()
					for i := 0; b.Loop(); i++ {
						do(i)
					}
					if act == "put" {
						b.StopTimer()
						for i := range b.N {
							require.NoError(b, bucket.Delete(b.Context(), fmt.Sprintf("t/%s/o%d", way, i)))
						}
					}
				})
			}
		}
	}
}

func readRange(b *testing.B, bucket blob.Getter, key string, offset, n int64) {
	b.Helper()
	r, _, err := bucket.Get(b.Context(), key, offset, n)
	require.NoError(b, err)
	_, err = io.Copy(io.Discard, struct{ io.Reader }{r})
	require.NoError(b, err)
	require.NoError(b, r.Close())
}

// statExpecting asks as fsck does.
func statExpecting(b *testing.B, bucket blob.Bucket, key string, size int64) {
	b.Helper()
	var err error
	if s, ok := bucket.(blob.Stored); ok {
		_, err = s.StatExpecting(b.Context(), key, size)
	} else {
		_, err = bucket.Stat(b.Context(), key)
	}
	require.NoError(b, err)
}

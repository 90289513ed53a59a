package fsck_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/storetest"
)

// BenchmarkWholeInstallation measures a sweep and a check of many objects: by default 100,000, in 100 mailboxes, on each
// database. MAIRUST_BENCH_OBJECTS sets another number. It reports CPU and peak memory, which must not grow with it.
func BenchmarkWholeInstallation(b *testing.B) {
	n, err := strconv.Atoi(os.Getenv("MAIRUST_BENCH_OBJECTS"))
	if err != nil {
		n = 100_000
	}
	for _, backend := range storetest.Backends() {
		r := newRig(b, backend)
		fill(b, r, n)
		b.Run(backend+"/sweep", func(b *testing.B) {
			measure(b, n, func() {
				swept, err := r.fsck().Sweep(context.Background())
				require.NoError(b, err)
				require.GreaterOrEqual(b, swept.Objects, int64(n))
				require.Empty(b, swept.Orphans)
			})
		})
		b.Run(backend+"/check", func(b *testing.B) {
			measure(b, n, func() {
				report, err := r.fsck().Check(context.Background(), fsck.Request{MinAge: -1}, func(fsck.Event) {})
				require.NoError(b, err)
				require.Zero(b, report.Found)
				require.Equal(b, int64(n), report.Messages)
			})
		})
	}
}

// fill makes n messages in 100 mailboxes, without waiting for the disk.
func fill(b *testing.B, r *rig, n int) {
	b.Helper()
	var locals []string
	for i := range 100 {
		locals = append(locals, fmt.Sprint("u", i))
	}
	site := storetest.NewSite(b, r.store, "one", "one.test", locals...)
	for i := 0; i < n; i += len(locals) {
		var copies []store.Copy
		for _, local := range locals {
			l := r.write(site.Target(local), fmt.Sprint("m", i), "", "")
			path := filepath.Join(r.base, l.copy.Key)
			require.NoError(b, os.MkdirAll(filepath.Dir(path), 0o700))
			require.NoError(b, os.WriteFile(path, []byte(l.raw), 0o600))
			copies = append(copies, l.copy)
		}
		storetest.Deliver(b, r.store, copies...)
	}
	require.NoError(b, r.fsck().DescribeAll(b.Context()))
}

func measure(b *testing.B, n int, act func()) {
	b.Helper()
	runtime.GC()
	var peak atomic.Uint64
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			peak.Store(max(peak.Load(), m.HeapAlloc))
			time.Sleep(10 * time.Millisecond)
		}
	}()
	before := cpu(b)
	b.ResetTimer()
	for range b.N {
		act()
	}
	b.StopTimer()
	cancel()
	<-done
	b.ReportMetric(float64((cpu(b)-before).Nanoseconds())/float64(b.N*n), "cpu-ns/object")
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*n), "ns/object")
	b.ReportMetric(float64(peak.Load())/1e6, "peak-MB")
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	require.NoError(b, syscall.Getrusage(syscall.RUSAGE_SELF, &u))
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

package store_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// BenchmarkIndex is the index's part of a delivery alone, beside messages that are there already: the copies are made
// before the clock starts. Besides time it gives the CPU time of this process and of PostgreSQL's for each message.
// MAIRUST_BENCH_STORED=10000,1000000 and MAIRUST_BENCH_MAILBOXES=10,10000 choose what is there before.
func BenchmarkIndex(b *testing.B) {
	for _, backend := range storetest.Backends() {
		for _, mailboxes := range numbers(b, "MAIRUST_BENCH_MAILBOXES", "50") {
			for _, stored := range numbers(b, "MAIRUST_BENCH_STORED", "0") {
				rig := &benchRig{backend: backend}
				for _, workers := range []int{1, 32} {
					b.Run(fmt.Sprintf("%s/mailboxes=%d/stored=%d/workers=%d", backend, mailboxes, stored, workers), func(b *testing.B) {
						if rig.store == nil {
							rig.open(b, mailboxes, stored)
						}
						rig.deliver(b, workers)
					})
				}
				rig.close(b)
			}
		}
	}
}

// benchRig is one preloaded database.
type benchRig struct {
	backend string
	dir     string
	server  *lab.Postgres
	db      *sqldb.DB
	store   *store.Store
	crowd   *storetest.Crowd
}

func (r *benchRig) open(b *testing.B, mailboxes, stored int) {
	b.Helper()
	dir, err := os.MkdirTemp("", "index-bench-")
	require.NoError(b, err)
	r.dir = dir
	o := sqldb.Options{Backend: r.backend, Path: filepath.Join(dir, "mairust.db")}
	if r.backend == sqldb.Postgres {
		labtest.Postgres(b) // skips or fails with the reason when there is none
		r.server, err = lab.StartPostgres(b.Context(), lab.PostgresOptions{})
		require.NoError(b, err)
		o.URL = r.server.URL()
	}
	r.db, err = sqldb.Open(b.Context(), o)
	require.NoError(b, err)
	_, err = r.db.Migrate(b.Context())
	require.NoError(b, err)
	r.crowd = storetest.Preload(b, r.db, mailboxes, stored)
	if r.server != nil {
		_, err := r.server.Exec(b.Context(), "VACUUM ANALYZE")
		require.NoError(b, err)
		_, err = r.server.Exec(b.Context(), "CHECKPOINT")
		require.NoError(b, err)
	}
	r.store = store.New(store.Options{DB: r.db})
}

func (r *benchRig) close(b *testing.B) {
	b.Helper()
	if r.db != nil {
		require.NoError(b, r.db.Close())
	}
	if r.server != nil {
		require.NoError(b, r.server.Close())
	}
	require.NoError(b, os.RemoveAll(r.dir))
}

func (r *benchRig) deliver(b *testing.B, workers int) {
	b.Helper()
	copies, at := make([]store.Copy, b.N), time.Now()
	for i := range copies {
		copies[i] = storetest.NewCopy(b, r.crowd.Targets[i*7919%len(r.crowd.Targets)], "x")
		copies[i].DeliveryID = storetest.DeliveryID(string(copies[i].ID), at.Add(time.Duration(i)*300*time.Microsecond))
	}
	var next atomic.Int64
	took := make([]time.Duration, b.N)
	own, server := cpuOfProcess(), r.serverCPU(b)
	b.ResetTimer()
	parallel(workers, func(int) {
		for {
			i := int(next.Add(1)) - 1
			if i >= b.N {
				return
			}
			start := time.Now()
			if err := r.store.Deliver(context.Background(), copies[i:i+1])[0].Err; err != nil {
				b.Error(err)
			}
			took[i] = time.Since(start)
		}
	})
	b.StopTimer()
	perMessage := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1000 / float64(b.N) }
	b.ReportMetric(perMessage(cpuOfProcess()-own), "cpu-µs/msg")
	if r.server != nil {
		b.ReportMetric(perMessage(r.serverCPU(b)-server), "server-µs/msg")
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msgs/s")
	b.ReportMetric(float64(percentile(took, 0.99).Microseconds())/1000, "p99-ms")
}

func percentile(took []time.Duration, p float64) time.Duration {
	sorted := slices.Sorted(slices.Values(took))
	return sorted[int(p*float64(len(sorted)-1))]
}

// cpuOfProcess is what this process has used, in user and system mode.
func cpuOfProcess() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u) // cannot fail for RUSAGE_SELF
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// serverCPU is what the processes of the PostgreSQL server have used, also those that are gone.
func (r *benchRig) serverCPU(b *testing.B) time.Duration {
	b.Helper()
	if r.server == nil {
		return 0
	}
	pidFile, err := os.ReadFile(filepath.Join(r.server.Dir(), "data", "postmaster.pid"))
	require.NoError(b, err)
	postmaster := strings.Fields(string(pidFile))[0]
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(b, err)
	var ticks int64
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		// Fields from state on, proc(5): ppid is 1, utime and stime 11 and 12, those of dead children 13 and 14.
		fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
		own := filepath.Base(filepath.Dir(path)) == postmaster
		if !own && fields[1] != postmaster {
			continue
		}
		ticks += number(b, fields[11]) + number(b, fields[12])
		if own {
			ticks += number(b, fields[13]) + number(b, fields[14])
		}
	}
	const ticksPerSecond = 100 // USER_HZ of Linux on every architecture that Go runs on
	return time.Duration(ticks) * time.Second / ticksPerSecond
}

func number(b *testing.B, text string) int64 {
	b.Helper()
	n, err := strconv.ParseInt(text, 10, 64)
	require.NoError(b, err)
	return n
}

// numbers reads a list of numbers from the environment.
func numbers(b *testing.B, variable, otherwise string) []int {
	b.Helper()
	text := os.Getenv(variable)
	if text == "" {
		text = otherwise
	}
	var list []int
	for word := range strings.SplitSeq(text, ",") {
		list = append(list, int(number(b, word)))
	}
	return list
}

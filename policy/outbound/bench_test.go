package outbound_test

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/outbound"
	"github.com/mairust/mairust/policy/redis"
)

// BenchmarkDecision is a message with one recipient: MAIL, RCPT and its end, and the slowest of a hundred of these steps. Its
// targets are a p99 of 2 ms in process and of 5 ms with Redis.
func BenchmarkDecision(b *testing.B) {
	for _, backend := range []string{"process", "redis"} {
		b.Run(backend, func(b *testing.B) {
			deps := outbound.Deps{Hash: hash, Dir: b.TempDir(), Log: slog.New(slog.DiscardHandler)}
			if backend == "redis" {
				c, err := redis.Open(redis.Options{URL: labtest.Redis(b).URL()}, nil)
				require.NoError(b, err)
				defer c.Close()
				deps.Shared = c
			}
			g, err := outbound.New(policy.Options{Mode: policy.Enforce, Limits: policy.LimitOptions{
				UserPerHour: 1e6, UserPerDay: 1e6, DomainPerHour: 1e6, TenantPerHour: 1e6,
			}}, outbound.Options{}, nil, deps)
			require.NoError(b, err)
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			go g.Run(ctx)
			n := &node{Gate: g}
			var took []time.Duration
			for i := 0; b.Loop(); i++ {
				e := envelope(fmt.Sprintf("u%d@one.test", i%1000), "192.0.2.7")
				start := time.Now()
				n.send(e, phish, 0, fmt.Sprintf("r%d@x.test", i%5))
				took = append(took, time.Since(start)/3)
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs/decision")
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs/decision")
			b.ReportMetric(float64(took[len(took)-1].Microseconds()), "max-µs/decision")
		})
	}
}

// BenchmarkMemory tells what an account costs: each has sent 30 messages to recipients of its own.
func BenchmarkMemory(b *testing.B) {
	const accounts = 10_000
	g, err := outbound.New(policy.Options{}, outbound.Options{}, nil, outbound.Deps{Hash: hash, Dir: b.TempDir(), Log: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	n := &node{Gate: g}
	for b.Loop() {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range accounts {
			for j := range 30 {
				n.send(envelope(fmt.Sprintf("u%d@one.test", i), "192.0.2.7"), fmt.Sprint(phish, j), 0, fmt.Sprintf("r%d-%d@x.test", i, j))
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/accounts, "bytes/account")
	}
}

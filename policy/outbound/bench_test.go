package outbound_test

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/geoip/geoiptest"
	"github.com/mairust/mairust/policy/outbound"
	"github.com/mairust/mairust/policy/redis"
)

// BenchmarkDecision is a message with one recipient: MAIL, RCPT and its end, and how long one of these steps takes at the median
// and at worst in a hundred, when one sender is at work and when several are at once. The targets are a p99 of 2 ms in process and of 5 ms
// with Redis. On a machine that has other things to do, waiting for a processor is most of it: beside it stand a bare PING of Redis
// after each message, by the same senders, and of one sender the processor time alone.
func BenchmarkDecision(b *testing.B) {
	for _, backend := range []string{"process", "redis"} {
		for _, senders := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("%s, senders %d", backend, senders), func(b *testing.B) { benchDecision(b, backend, senders) })
		}
	}
}

// pause is between the messages of one of several senders: 32 of them then send 1,600 in a second, more than Postfix takes on
// two cores. Without it all would wait for a processor all the time, and that would be what is measured.
const pause = 20 * time.Millisecond

func benchDecision(b *testing.B, backend string, senders int) {
	deps := outbound.Deps{Hash: hash, Dir: b.TempDir(), Log: slog.New(slog.DiscardHandler)}
	countries := filepath.Join(b.TempDir(), "country.mmdb")
	geoiptest.MaxMind.Put(b, countries, builtAt, world)
	var client *redis.Client
	if backend == "redis" {
		var err error
		client, err = redis.Open(redis.Options{URL: labtest.Redis(b).URL()}, nil)
		require.NoError(b, err)
		defer client.Close()
		deps.Shared = client
	}
	g, err := outbound.New(policy.Options{Mode: policy.Enforce, Limits: policy.LimitOptions{
		UserPerHour: 1e6, UserPerDay: 1e6, DomainPerHour: 1e6, TenantPerHour: 1e6,
	}}, outbound.Options{GeoIP: countries}, nil, deps)
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	go g.Run(ctx)
	list := make([]timings, senders)
	var group sync.WaitGroup
	var next atomic.Int64
	b.ResetTimer()
	for i := range list {
		group.Go(func() {
			if senders == 1 { // its processor time is asked for
				runtime.LockOSThread()
				defer runtime.UnlockOSThread()
			}
			for n := next.Add(1); n <= int64(b.N); n = next.Add(1) {
				list[i].message(b, &node{Gate: g}, client, int(n))
				if senders > 1 {
					time.Sleep(pause)
				}
			}
		})
	}
	group.Wait()
	b.StopTimer()
	var all timings
	for _, t := range list {
		all.took, all.used, all.pings = append(all.took, t.took...), append(all.used, t.used...), append(all.pings, t.pings...)
	}
	report(b, all.took, "decision")
	report(b, all.pings, "ping")
	if senders == 1 {
		report(b, all.used, "cpu")
	}
}

// timings are those of decisions, of their processor time, and of a PING.
type timings struct{ took, used, pings []time.Duration }

// message sends one, and then asks Redis for a sign of life if there is one.
func (t *timings) message(b *testing.B, n *node, client *redis.Client, i int) {
	e := envelope(fmt.Sprintf("u%d@one.test", i%1000), "192.0.2.7")
	start, before := time.Now(), threadTime(b)
	n.send(e, phish, 0, fmt.Sprintf("r%d@x.test", i%5))
	t.took, t.used = append(t.took, time.Since(start)/3), append(t.used, (threadTime(b)-before)/3)
	if client != nil {
		start = time.Now()
		if err := client.Ping(b.Context()); err != nil {
			b.Error(err)
		}
		t.pings = append(t.pings, time.Since(start))
	}
}

// threadTime is the processor time of this thread.
func threadTime(b *testing.B) time.Duration {
	b.Helper()
	var ts unix.Timespec
	require.NoError(b, unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts))
	return time.Duration(ts.Nano())
}

func report(b *testing.B, list []time.Duration, what string) {
	b.Helper()
	if len(list) == 0 {
		return
	}
	slices.Sort(list)
	b.ReportMetric(float64(list[len(list)/2].Microseconds()), "p50-µs/"+what)
	b.ReportMetric(float64(list[len(list)*99/100].Microseconds()), "p99-µs/"+what)
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

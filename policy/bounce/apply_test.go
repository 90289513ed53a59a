package bounce_test

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/policy/bounce"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// gate counts what it is told, and knows messages once they are learned.
type gate struct {
	mu     sync.Mutex
	known  map[string]bool
	counts map[string]int
	err    error
}

func (g *gate) BounceOf(_ context.Context, host, queueID string, _ time.Time, dsn string, hash uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case g.err != nil:
		return g.err
	case !g.known[host+"/"+queueID]:
		return fmt.Errorf("sender of %s: %w", queueID, store.ErrNotFound)
	}
	g.counts[fmt.Sprintf("%s/%s %s %d", host, queueID, dsn, hash)]++
	return nil
}

// place is an installation with a clock that the test moves.
type place struct {
	mu     sync.Mutex
	now    time.Time
	store  *store.Store
	gate   *gate
	intake *bounce.Intake
}

func (p *place) time() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *place) pass(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = p.now.Add(d)
}

func (p *place) applier(t *testing.T) *bounce.Applier {
	t.Helper()
	a, err := bounce.NewApplier(bounce.ApplierDeps{Store: p.store, Gate: p.gate, Registerer: prometheus.NewRegistry(), Now: p.time})
	require.NoError(t, err)
	return a
}

func (p *place) apply(t *testing.T) int {
	t.Helper()
	n, err := p.applier(t).Apply(t.Context())
	require.NoError(t, err)
	return n
}

// everywhere runs a test on every database.
func everywhere(t *testing.T, test func(t *testing.T, p *place)) {
	t.Helper()
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			p := &place{now: november, gate: &gate{known: map[string]bool{}, counts: map[string]int{}}}
			p.store = store.New(store.Options{DB: storetest.OpenDB(t, storetest.Options(t, backend)), Now: p.time})
			var err error
			p.intake, err = bounce.NewIntake(bounce.IntakeDeps{
				Store: p.store, Now: p.time, MAC: func(fields ...string) string { return strings.Join(fields, "|") }, Hash: hashOf,
			})
			require.NoError(t, err)
			test(t, p)
		})
	}
}

func hashOf(fields ...string) uint64 {
	h := fnv.New64()
	for _, f := range fields {
		_, _ = h.Write([]byte(f))
	}
	return h.Sum64()
}

func report(host, queueID, rcpt string, at time.Time) bounce.Report {
	return bounce.Report{Host: host, Bounces: []bounce.Bounce{{At: at, QueueID: queueID, Rcpt: rcpt, DSN: "5.1.1"}}}
}

func TestBounceCountsOnceHoweverOftenItIsReported(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		p.gate.known["mx1/AAAAA1"] = true
		r := report("mx1", "AAAAA1", `"nobody"@Example.NET`, november)
		require.NoError(t, p.intake.Report(t.Context(), r))
		require.NoError(t, p.intake.Report(t.Context(), r))
		p.apply(t)
		require.NoError(t, p.intake.Report(t.Context(), report("mx1", "AAAAA1", "nobody@example.net", november)))
		p.apply(t)
		want := fmt.Sprintf("mx1/AAAAA1 5.1.1 %d", hashOf("nobody@example.net"))
		assert.Equal(t, map[string]int{want: 1}, p.gate.counts)

		require.NoError(t, p.intake.Report(t.Context(), report("mx1", "AAAAA1", "other@example.net", november)))
		require.NoError(t, p.intake.Report(t.Context(), report("mx2", "AAAAA1", "nobody@example.net", november)))
		p.apply(t)
		p.pass(26 * time.Hour) // the short id again
		require.NoError(t, p.intake.Report(t.Context(), report("mx1", "AAAAA1", "nobody@example.net", p.time())))
		p.apply(t)
		assert.Equal(t, 2, p.gate.counts[want])
		assert.Len(t, p.gate.counts, 2, "mx2 has sent no such message")
	})
}

func TestBounceWaitsForItsMessageToBeWritten(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		require.NoError(t, p.intake.Report(t.Context(), report("mx1", "AAAAA1", "a@x.test", november)))
		require.NoError(t, p.intake.Report(t.Context(), report("mx1", "AAAAA2", "a@x.test", november)))
		assert.Equal(t, 2, p.apply(t))
		assert.Zero(t, p.apply(t), "not at once again")
		p.pass(2 * time.Second)
		p.gate.known["mx1/AAAAA1"] = true
		assert.Equal(t, 2, p.apply(t))
		assert.Len(t, p.gate.counts, 1)
		p.pass(20 * time.Minute)
		assert.Equal(t, 1, p.apply(t))
		p.gate.known["mx1/AAAAA2"] = true
		p.pass(time.Hour)
		assert.Zero(t, p.apply(t), "it was given up: nobody's")
	})
}

func TestBounceIsKeptWhileTheEngineCannotCountIt(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		p.gate.known["mx1/AAAAA1"] = true
		p.gate.err = errors.New("the database is away")
		require.NoError(t, p.intake.Report(t.Context(), report("mx1", "AAAAA1", "a@x.test", november)))
		_, err := p.applier(t).Apply(t.Context())
		require.ErrorIs(t, err, p.gate.err)
		p.gate.err = nil
		p.pass(time.Hour)
		assert.Equal(t, 1, p.apply(t))
		assert.Len(t, p.gate.counts, 1)
	})
}

func TestLateBouncesDoNotCountAsOfNow(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		p.gate.known["mx1/AAAAA1"] = true
		require.NoError(t, p.intake.Report(t.Context(), report("mx1", "AAAAA1", "a@x.test", november.Add(-3*24*time.Hour))))
		require.NoError(t, p.intake.Report(t.Context(), report("mx1", "AAAAA1", "b@x.test", november.Add(-2*time.Hour-time.Second))))
		require.NoError(t, p.intake.Report(t.Context(), report("mx1", "AAAAA1", "c@x.test", november.Add(-2*time.Hour))))
		assert.Equal(t, 3, p.apply(t))
		assert.Equal(t, map[string]int{fmt.Sprintf("mx1/AAAAA1 5.1.1 %d", hashOf("c@x.test")): 1}, p.gate.counts)
		p.pass(time.Minute)
		assert.Zero(t, p.apply(t), "they are settled")
	})
}

func TestTwoAppliersCountOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		var all bounce.Report
		all.Host = "mx1"
		for i := range bounce.MaxBatch {
			id := fmt.Sprintf("A%05d", i)
			p.gate.known["mx1/"+id] = true
			all.Bounces = append(all.Bounces, bounce.Bounce{At: november, QueueID: id, Rcpt: "a@x.test", DSN: "5.1.1"})
		}
		require.NoError(t, p.intake.Report(t.Context(), all))
		var group sync.WaitGroup
		for range 3 {
			a := p.applier(t)
			group.Go(func() {
				for n := 1; n > 0; {
					var err error
					n, err = a.Apply(t.Context())
					assert.NoError(t, err)
				}
			})
		}
		group.Wait()
		assert.Len(t, p.gate.counts, bounce.MaxBatch)
		for what, n := range p.gate.counts {
			assert.Equal(t, 1, n, what)
		}
	})
}

func TestReportsThatNoFeedSendsAreRefused(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		good := report("mx1", "AAAAA1", "a@x.test", november)
		for name, change := range map[string]func(*bounce.Report){
			"no host":        func(r *bounce.Report) { r.Host = "" },
			"host with text": func(r *bounce.Report) { r.Host = "mx1\nx" },
			"long host":      func(r *bounce.Report) { r.Host = strings.Repeat("x", 256) },
			"no queue id":    func(r *bounce.Report) { r.Bounces[0].QueueID = "' OR 1" },
			"other dsn":      func(r *bounce.Report) { r.Bounces[0].DSN = "5.7.1" },
			"no recipient":   func(r *bounce.Report) { r.Bounces[0].Rcpt = "" },
			"no time":        func(r *bounce.Report) { r.Bounces[0].At = time.Time{} },
			"too many":       func(r *bounce.Report) { r.Bounces = make([]bounce.Bounce, bounce.MaxBatch+1) },
		} {
			bad := bounce.Report{Host: good.Host, Bounces: []bounce.Bounce{good.Bounces[0]}}
			change(&bad)
			require.ErrorIs(t, p.intake.Report(t.Context(), bad), bounce.ErrRefused, name)
		}
		// Odd but true: clocks and logs of long ago.
		good.Bounces[0].At = november.Add(-20 * 24 * time.Hour)
		good.LagBytes, good.LagSeconds = -1, 1e300
		require.NoError(t, p.intake.Report(t.Context(), good))
		waiting, err := p.store.WaitingBounces(t.Context())
		require.NoError(t, err)
		assert.Zero(t, waiting)
	})
}

func TestHostWithoutAFeedIsDegraded(t *testing.T) {
	everywhere(t, func(t *testing.T, p *place) {
		feeds := func() *bounce.Feeds { return bounce.NewFeeds(p.store, 0, p.time) }
		require.NoError(t, feeds().Check(t.Context()), "nobody sends")
		require.NoError(t, p.store.InsertOutboundDecisions(t.Context(), []store.OutboundDecision{
			{LogKey: store.LogKey{At: november, ID: "1"}, Account: "a", QueueHost: "mx1", QueueID: "AAAAA1", Messages: 1},
			{LogKey: store.LogKey{At: november, ID: "2"}, Account: "a", QueueHost: "mx2", QueueID: "AAAAA1", Messages: 1},
		}))
		require.NoError(t, p.intake.Report(t.Context(), bounce.Report{Host: "mx2"}))
		f := feeds()
		assert.True(t, f.Has("mx1"), "nothing is known yet")
		require.ErrorContains(t, f.Check(t.Context()), "degraded: bounces: no feed from mx1:")
		assert.False(t, f.Has("mx1"))
		assert.True(t, f.Has("mx2"))
		p.pass(4 * time.Minute)
		require.NoError(t, p.intake.Report(t.Context(), bounce.Report{Host: "mx1", LagBytes: 9, LagSeconds: 400}))
		require.ErrorContains(t, f.Check(t.Context()), "the log is read late on mx1 (9 bytes, 6m40s)")
		p.pass(2 * time.Minute)
		require.ErrorContains(t, f.Check(t.Context()), "no feed from mx2")
	})
}

package upkeep_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/policy/upkeep"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

const day = 24 * time.Hour

var noon = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)

// place is an installation with a clock that the test moves.
type place struct {
	mu    sync.Mutex
	now   time.Time
	store *store.Store
}

func (p *place) time() time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.now
}

func (p *place) at(t time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.now = t
}

func (p *place) upkeep(t *testing.T, o upkeep.Options) *upkeep.Upkeep {
	t.Helper()
	u, err := upkeep.New(o, upkeep.Deps{Store: p.store, Registerer: prometheus.NewRegistry(), Now: p.time})
	require.NoError(t, err)
	return u
}

// everywhere runs a test on every database.
func everywhere(t *testing.T, test func(ctx context.Context, t *testing.T, p *place)) {
	t.Helper()
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			p := &place{now: noon}
			p.store = store.New(store.Options{DB: storetest.OpenDB(t, storetest.Options(t, backend)), Now: p.time})
			test(t.Context(), t, p)
		})
	}
}

// twice does work as Run does: an hour ago, which is noted after a pause and no more, and now.
func (p *place) twice(ctx context.Context, t *testing.T, work ...func(ctx context.Context) error) {
	t.Helper()
	now := p.time()
	for _, at := range []time.Time{now.Add(-time.Hour), now} {
		p.at(at)
		for _, do := range work {
			require.NoError(t, do(ctx))
		}
	}
}

func (p *place) level(ctx context.Context, t *testing.T, account, level string, until time.Time) {
	t.Helper()
	_, err := p.store.ChangeOutboundAccount(ctx, store.OutboundChange{
		Tenant: "t1", Account: account, Act: "suspend", Level: level, Until: until, ActorKind: "user", Actor: "desk", CapPerHour: 7,
	})
	require.NoError(t, err)
}

func (p *place) account(ctx context.Context, t *testing.T, account string) *store.OutboundAccount {
	t.Helper()
	a, err := p.store.OutboundAccount(ctx, store.System, account)
	require.NoError(t, err)
	return a
}

func TestStopsAndLimitsEndAtTheirTimeAndAreTold(t *testing.T) {
	everywhere(t, func(ctx context.Context, t *testing.T, p *place) {
		p.level(ctx, t, "stopped@x.test", store.LevelHardLimit, noon.Add(time.Hour))
		p.level(ctx, t, "limited@x.test", store.LevelSoftLimit, noon.Add(time.Hour))
		p.level(ctx, t, "later@x.test", store.LevelHardLimit, noon.Add(2*time.Hour))
		p.level(ctx, t, "never@x.test", store.LevelHardLimit, time.Time{})
		for _, domain := range []string{"due.test", "kept.test"} {
			d := store.DomainStop{Tenant: "t1", Domain: domain}
			if domain == "due.test" {
				d.Until = noon.Add(time.Hour)
			}
			require.NoError(t, p.store.StopDomain(ctx, d, nil))
		}
		u := p.upkeep(t, upkeep.Options{})
		require.NoError(t, u.EndDue(ctx))
		assert.Equal(t, store.LevelHardLimit, p.account(ctx, t, "stopped@x.test").Level)

		p.at(noon.Add(time.Hour))
		require.NoError(t, u.EndDue(ctx))
		require.NoError(t, u.EndDue(ctx))
		stopped := p.account(ctx, t, "stopped@x.test")
		assert.Equal(t, store.LevelSoftLimit, stopped.Level, "not normal")
		assert.Equal(t, "auto_reenable", stopped.Act)
		assert.Zero(t, stopped.Until)
		assert.Equal(t, store.LevelNormal, p.account(ctx, t, "limited@x.test").Level)
		assert.Equal(t, store.LevelHardLimit, p.account(ctx, t, "later@x.test").Level)
		assert.Equal(t, store.LevelHardLimit, p.account(ctx, t, "never@x.test").Level)
		domains, err := p.store.StoppedDomains(ctx, store.System, "", 9)
		require.NoError(t, err)
		require.Len(t, domains, 1)
		assert.Equal(t, "kept.test", domains[0].Domain)
		notices, err := p.store.DueNotices(ctx, 9)
		require.NoError(t, err)
		kinds := map[string]string{}
		for _, n := range notices {
			kinds[n.Account] = n.Kind
		}
		assert.Equal(t, map[string]string{"stopped@x.test": "reenabled", "limited@x.test": "normal", "@due.test": "domain_released"}, kinds)
		assert.Len(t, notices, 3, "each once")
	})
}

func TestTwoNodesEndAStopOnce(t *testing.T) {
	everywhere(t, func(ctx context.Context, t *testing.T, p *place) {
		for i := range 20 {
			p.level(ctx, t, fmt.Sprintf("a%d@x.test", i), store.LevelHardLimit, noon)
		}
		var group sync.WaitGroup
		for range 3 {
			u := p.upkeep(t, upkeep.Options{})
			group.Go(func() { assert.NoError(t, u.EndDue(ctx)) })
		}
		group.Wait()
		notices, err := p.store.DueNotices(ctx, 100)
		require.NoError(t, err)
		assert.Len(t, notices, 20)
	})
}

func (p *place) sent(ctx context.Context, t *testing.T, at time.Time) {
	t.Helper()
	require.NoError(t, p.store.InsertOutboundDecisions(ctx, []store.OutboundDecision{{
		LogKey: store.LogKey{At: at}, Tenant: "t1", Account: "a@x.test", Kind: "end", Action: "allow", Messages: 1, Recipients: 2,
	}}))
}

// days gives the recipients of each day that was summed up.
func (p *place) days(ctx context.Context, t *testing.T) map[string]int64 {
	t.Helper()
	list, err := p.store.OutboundDays(ctx, store.System, "a@x.test", noon.Add(-400*day), noon.Add(400*day))
	require.NoError(t, err)
	days := map[string]int64{}
	for _, d := range list {
		days[d.At.Format("01-02")] = d.Recipients
	}
	return days
}

func (p *place) decisions(ctx context.Context, t *testing.T) int {
	t.Helper()
	list, err := p.store.OutboundDecisions(ctx, store.System, store.DecisionFilter{Limit: 10_000})
	require.NoError(t, err)
	return len(list)
}

func TestDaysAreSummedUpAlsoThoseThatWereMissed(t *testing.T) {
	everywhere(t, func(ctx context.Context, t *testing.T, p *place) {
		u := p.upkeep(t, upkeep.Options{})
		p.sent(ctx, t, noon.Add(-20*day)) // before the first run
		p.sent(ctx, t, noon)
		p.twice(ctx, t, u.SumUp)
		assert.Equal(t, map[string]int64{"11-06": 2, "11-26": 2}, p.days(ctx, t))
		p.sent(ctx, t, noon.Add(time.Hour))
		p.sent(ctx, t, noon.Add(day))
		p.at(noon.Add(15 * day)) // nobody worked for two weeks
		p.sent(ctx, t, noon.Add(11*day))
		p.twice(ctx, t, u.SumUp)
		assert.Equal(t, map[string]int64{"11-06": 2, "11-26": 4, "11-27": 2, "12-07": 2}, p.days(ctx, t))
		p.sent(ctx, t, noon.Add(11*day)) // written late
		p.at(noon.Add(16 * day))
		p.twice(ctx, t, u.SumUp)
		assert.Equal(t, int64(4), p.days(ctx, t)["12-07"])
	})
}

func TestNoDecisionGoesUnsummedHoweverLongNobodyWorked(t *testing.T) {
	everywhere(t, func(ctx context.Context, t *testing.T, p *place) {
		u := p.upkeep(t, upkeep.Options{LogDays: 10})
		tidy := func() {
			t.Helper()
			p.twice(ctx, t, u.SumUp, u.Remove)
		}
		p.sent(ctx, t, noon.Add(-20*day)) // before the first run, and older than decisions are kept
		tidy()
		assert.Equal(t, map[string]int64{"11-06": 2}, p.days(ctx, t))
		assert.Zero(t, p.decisions(ctx, t))

		p.sent(ctx, t, noon.Add(day))
		p.at(noon.Add(30 * day)) // nobody worked for a month
		p.sent(ctx, t, noon.Add(21*day))
		tidy()
		assert.Equal(t, map[string]int64{"11-06": 2, "11-27": 2, "12-17": 2}, p.days(ctx, t))
		assert.Equal(t, 1, p.decisions(ctx, t))

		p.at(noon.Add(31*day + time.Hour))
		tidy()
		p.sent(ctx, t, noon.Add(20*day)) // written too late, when others of its day would be gone
		p.at(noon.Add(32 * day))
		tidy()
		assert.Equal(t, map[string]int64{"11-06": 2, "11-27": 2, "12-17": 2}, p.days(ctx, t))
	})
}

func TestADayThatHasLostDecisionsIsNotSummedUpAgain(t *testing.T) {
	everywhere(t, func(ctx context.Context, t *testing.T, p *place) {
		u := p.upkeep(t, upkeep.Options{LogDays: 2})
		p.sent(ctx, t, noon.Add(-3*day))
		p.sent(ctx, t, noon.Add(-3*day))
		p.twice(ctx, t, u.SumUp, u.Remove)
		p.sent(ctx, t, noon.Add(-3*day)) // written late
		p.at(noon.Add(day))
		require.NoError(t, u.SumUp(ctx))
		assert.Equal(t, map[string]int64{"11-23": 4}, p.days(ctx, t))
	})
}

func TestWhatIsKeptNoLongerGoes(t *testing.T) {
	everywhere(t, func(ctx context.Context, t *testing.T, p *place) {
		u := p.upkeep(t, upkeep.Options{LogDays: 10, DailyDays: 20, HistoryDays: 30})
		for _, age := range []int{0, 9, 11, 25} {
			p.sent(ctx, t, noon.Add(-time.Duration(age)*day))
		}
		p.level(ctx, t, "b@x.test", store.LevelHardLimit, time.Time{})
		p.twice(ctx, t, u.Remove)
		assert.Equal(t, 4, p.decisions(ctx, t), "nothing goes before it was summed up")
		p.at(noon.Add(2 * time.Hour))
		p.twice(ctx, t, u.SumUp, u.Remove)
		assert.Equal(t, 2, p.decisions(ctx, t))
		assert.Equal(t, map[string]int64{"11-26": 2, "11-17": 2, "11-15": 2}, p.days(ctx, t), "the oldest is older than sums are kept")

		p.at(noon.Add(15 * day))
		p.twice(ctx, t, u.SumUp, u.Remove)
		assert.Zero(t, p.decisions(ctx, t))
		assert.Equal(t, map[string]int64{"11-26": 2}, p.days(ctx, t), "sums outlive the decisions")
		history, err := p.store.OutboundHistory(ctx, store.System, "account", "b@x.test", store.LogKey{}, 9)
		require.NoError(t, err)
		assert.Len(t, history, 1)
		p.at(noon.Add(31 * day))
		p.twice(ctx, t, u.SumUp, u.Remove)
		assert.Empty(t, p.days(ctx, t))
		history, err = p.store.OutboundHistory(ctx, store.System, "account", "b@x.test", store.LogKey{}, 9)
		require.NoError(t, err)
		assert.Empty(t, history)
		assert.Equal(t, store.LevelHardLimit, p.account(ctx, t, "b@x.test").Level, "a stop stays")
	})
}

func TestAClockThatIsAheadForAWhileRemovesNothing(t *testing.T) {
	everywhere(t, func(ctx context.Context, t *testing.T, p *place) {
		u := p.upkeep(t, upkeep.Options{LogDays: 30, DailyDays: 40, HistoryDays: 50})
		p.sent(ctx, t, noon.Add(-day))
		p.sent(ctx, t, noon)
		p.level(ctx, t, "a@x.test", store.LevelHardLimit, time.Time{})
		tidy := func(at time.Time) {
			t.Helper()
			p.at(at)
			require.NoError(t, u.SumUp(ctx))
			require.NoError(t, u.Remove(ctx))
		}
		has := func(decisions, days, history int) {
			t.Helper()
			assert.Equal(t, decisions, p.decisions(ctx, t))
			assert.Len(t, p.days(ctx, t), days)
			list, err := p.store.OutboundHistory(ctx, store.System, "account", "a@x.test", store.LogKey{}, 9)
			require.NoError(t, err)
			assert.Len(t, list, history)
		}
		tidy(noon.Add(60 * day)) // a new installation
		has(2, 0, 1)
		tidy(noon)
		tidy(noon.Add(time.Hour))
		has(2, 2, 1)

		tidy(noon.Add(60 * day))
		tidy(noon.Add(60*day + 59*time.Minute)) // it is started again meanwhile
		has(2, 2, 1)
		tidy(noon.Add(2 * time.Hour)) // the clock is right again
		has(2, 2, 1)

		tidy(noon.Add(60 * day)) // nobody worked for so long
		has(2, 2, 1)
		tidy(noon.Add(60*day + time.Hour))
		has(0, 0, 0)
	})
}

func TestADayIsSummedUpWholeThoughAClockAheadHadItOver(t *testing.T) {
	everywhere(t, func(ctx context.Context, t *testing.T, p *place) {
		u := p.upkeep(t, upkeep.Options{})
		p.sent(ctx, t, noon)
		p.twice(ctx, t, u.SumUp)
		p.at(noon.Add(40 * day))
		require.NoError(t, u.SumUp(ctx))
		p.sent(ctx, t, noon.Add(time.Hour)) // the clock is right again
		p.at(noon.Add(41 * day))            // nobody worked for so long
		p.twice(ctx, t, u.SumUp)
		assert.Equal(t, map[string]int64{"11-26": 4}, p.days(ctx, t))
	})
}

func TestItRunsAndEndsAtAnyPoint(t *testing.T) {
	everywhere(t, func(ctx context.Context, t *testing.T, p *place) {
		p.level(ctx, t, "a@x.test", store.LevelHardLimit, noon)
		ctx, cancel := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() { defer close(ended); p.upkeep(t, upkeep.Options{}).Run(ctx) }()
		require.NoError(t, lab.Eventually(t.Context(), func(ctx context.Context) error {
			if done, err := p.store.WorkedAt(ctx, "outbound-removal"); err != nil || done.IsZero() {
				return fmt.Errorf("not tidied: %w", err)
			}
			return nil
		}))
		cancel()
		<-ended
		assert.Equal(t, store.LevelSoftLimit, p.account(t.Context(), t, "a@x.test").Level)
		ok, err := p.store.TakeLease(t.Context(), "outbound-upkeep", "another", time.Minute)
		require.NoError(t, err)
		assert.True(t, ok, "the lease was given back")
		require.ErrorIs(t, errors.Join(p.upkeep(t, upkeep.Options{}).SumUp(ctx)), context.Canceled)
	})
}

package store_test

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// clock is a time that the test moves.
type clock struct {
	mu sync.Mutex
	t  time.Time
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.t
}

func (c *clock) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.t = c.t.Add(d)
}

// withClock runs a test on every database, on a clock that the test moves.
func withClock(t *testing.T, test func(ctx context.Context, t *testing.T, s *store.Store, c *clock)) {
	t.Helper()
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			c := &clock{t: noon}
			db := storetest.OpenDB(t, storetest.Options(t, backend))
			test(t.Context(), t, store.New(store.Options{DB: db, Now: c.now}), c)
		})
	}
}

var (
	channels = []string{"mail", "monitor"}
	limits   = store.NoticeLimits{Every: 10 * time.Minute, PerDay: 24}
)

func addNotice(ctx context.Context, t *testing.T, s *store.Store, account, kind string) {
	t.Helper()
	require.NoError(t, s.AddNotice(ctx, store.Notice{Tenant: "t1", Account: account, Kind: kind, Facts: `{"a":1}`}))
}

// planAll plans what is due, and gives the kinds that were planned with how many others they stand for.
func planAll(ctx context.Context, t *testing.T, s *store.Store) []string {
	t.Helper()
	due, err := s.DueNotices(ctx, 100)
	require.NoError(t, err)
	for _, n := range due {
		_, err := s.PlanNotice(ctx, n, channels, limits)
		require.NoError(t, err)
	}
	planned := []string{}
	for {
		send, err := s.ClaimNoticeSend(ctx, "mail", time.Minute)
		if err != nil {
			require.ErrorIs(t, err, store.ErrNotFound)
			return planned
		}
		require.NoError(t, s.SettleNoticeSend(ctx, send, "sent", ""))
		planned = append(planned, fmt.Sprintf("%s %s %d", send.Account, send.Kind, send.Merged))
	}
}

func TestNoticesAreTenMinutesApartAndTheLastOneIsSent(t *testing.T) {
	withClock(t, func(ctx context.Context, t *testing.T, s *store.Store, c *clock) {
		addNotice(ctx, t, s, "a@one.test", "soft_limit")
		addNotice(ctx, t, s, "b@one.test", "soft_limit")
		assert.Equal(t, []string{"a@one.test soft_limit 0", "b@one.test soft_limit 0"}, planAll(ctx, t, s))
		c.pass(time.Minute)
		addNotice(ctx, t, s, "a@one.test", "suspended")
		assert.Empty(t, planAll(ctx, t, s))
		c.pass(time.Minute)
		addNotice(ctx, t, s, "a@one.test", "released")
		assert.Empty(t, planAll(ctx, t, s))
		c.pass(7*time.Minute + 59*time.Second)
		assert.Empty(t, planAll(ctx, t, s))
		c.pass(time.Second)
		assert.Equal(t, []string{"a@one.test released 1"}, planAll(ctx, t, s))
		c.pass(time.Hour)
		assert.Empty(t, planAll(ctx, t, s))
	})
}

func TestAModeAndALevelAreToldBoth(t *testing.T) {
	withClock(t, func(ctx context.Context, t *testing.T, s *store.Store, c *clock) {
		addNotice(ctx, t, s, "a", "suspended")
		require.Equal(t, []string{"a suspended 0"}, planAll(ctx, t, s))
		for _, kind := range []string{store.NoticeOfMode, "released", store.NoticeOfMode, "suspended_by_hand", "released"} {
			c.pass(time.Second)
			addNotice(ctx, t, s, "a", kind)
		}
		require.Empty(t, planAll(ctx, t, s))
		c.pass(10 * time.Minute)
		require.Len(t, planAll(ctx, t, s), 1)
		c.pass(10 * time.Minute)
		require.Len(t, planAll(ctx, t, s), 1)
		sends, err := s.NoticeSends(ctx, store.System, store.LogKey{}, 99)
		require.NoError(t, err)
		told := map[string]int64{}
		for _, n := range sends {
			told[n.Kind] = n.Merged
		}
		assert.Equal(t, map[string]int64{"suspended": 0, store.NoticeOfMode: 1, "released": 2}, told)
	})
}

func TestNoticesOfAnAccountAreTwentyFourADay(t *testing.T) {
	withClock(t, func(ctx context.Context, t *testing.T, s *store.Store, c *clock) {
		for range 23 * 6 { // for 23 hours
			addNotice(ctx, t, s, "a@one.test", "suspended")
			planAll(ctx, t, s)
			c.pass(10 * time.Minute)
		}
		sends, err := s.NoticeSends(ctx, store.System, store.LogKey{}, 1000)
		require.NoError(t, err)
		assert.Len(t, sends, 24*len(channels))
		c.pass(time.Hour - time.Second)
		assert.Empty(t, planAll(ctx, t, s))
		c.pass(time.Second)
		assert.Equal(t, []string{"a@one.test suspended 113"}, planAll(ctx, t, s), "23×6 in all, 24 sent")
	})
}

func TestNoticeIsSentByOneOfMany(t *testing.T) {
	withClock(t, func(ctx context.Context, t *testing.T, s *store.Store, c *clock) {
		for i := range 5 {
			addNotice(ctx, t, s, fmt.Sprintf("a%d@one.test", i), "suspended")
		}
		due, err := s.DueNotices(ctx, 100)
		require.NoError(t, err)
		var group sync.WaitGroup
		var mu sync.Mutex
		claimed := map[string]int{}
		for range 6 {
			group.Go(func() {
				for _, n := range due {
					_, err := s.PlanNotice(ctx, n, channels, limits)
					assert.NoError(t, err)
				}
				for {
					send, err := s.ClaimNoticeSend(ctx, "mail", time.Minute)
					if err != nil {
						assert.ErrorIs(t, err, store.ErrNotFound)
						return
					}
					mu.Lock()
					claimed[send.Account]++
					mu.Unlock()
				}
			})
		}
		group.Wait()
		assert.Len(t, claimed, 5)
		for account, n := range claimed {
			assert.Equal(t, 1, n, account)
		}
		c.pass(2 * time.Minute) // the one that claimed it died
		send, err := s.ClaimNoticeSend(ctx, "mail", time.Minute)
		require.NoError(t, err)
		assert.Equal(t, int64(2), send.Attempts)
		require.NoError(t, s.PostponeNoticeSend(ctx, send, c.now().Add(time.Hour), "connection refused"))
		sends, err := s.NoticeSends(ctx, store.System, store.LogKey{}, 100)
		require.NoError(t, err)
		assert.Len(t, sends, 10)
	})
}

// It could not note what became of its attempt in time, and does so late.
func TestWhoHasLostASendingChangesNothingOfIt(t *testing.T) {
	withClock(t, func(ctx context.Context, t *testing.T, s *store.Store, c *clock) {
		addNotice(ctx, t, s, "a@one.test", "suspended")
		due, err := s.DueNotices(ctx, 1)
		require.NoError(t, err)
		_, err = s.PlanNotice(ctx, due[0], []string{"mail"}, limits)
		require.NoError(t, err)
		claim := func() *store.NoticeSend {
			send, err := s.ClaimNoticeSend(ctx, "mail", time.Minute)
			require.NoError(t, err)
			return send
		}
		is := func(state string, next time.Time) {
			t.Helper()
			list, err := s.NoticeSends(ctx, store.System, store.LogKey{}, 10)
			require.NoError(t, err)
			require.Equal(t, state, list[0].State)
			require.Equal(t, next, list[0].Next)
		}
		lost := claim()
		c.pass(2 * time.Minute)
		his := claim()
		held := c.now().Add(time.Minute)
		require.NoError(t, s.PostponeNoticeSend(ctx, lost, c.now(), "connection refused"))
		is("waiting", held)
		require.NoError(t, s.SettleNoticeSend(ctx, lost, store.NoticeFailed, "too late"))
		is("waiting", held)
		require.NoError(t, s.SettleNoticeSend(ctx, his, store.NoticeSent, ""))
		require.NoError(t, s.SettleNoticeSend(ctx, his, store.NoticeFailed, "too late"))
		is(store.NoticeSent, time.Time{})
	})
}

func TestNoticesAreSeenWithinTheirTenantOnly(t *testing.T) {
	withClock(t, func(ctx context.Context, t *testing.T, s *store.Store, _ *clock) {
		addNotice(ctx, t, s, "a@one.test", "suspended")
		planAll(ctx, t, s)
		for scope, want := range map[store.Scope]int{
			{Tenant: "t1"}: 2, {All: true}: 2, {Tenant: "t2"}: 0, {Tenant: "t1", User: "u"}: 0, {}: 0,
		} {
			sends, err := s.NoticeSends(ctx, scope, store.LogKey{}, 100)
			require.NoError(t, err)
			assert.Len(t, sends, want, "%+v", scope)
		}
		n, err := s.ForgetNotices(ctx, "t1", "a@one.test")
		require.NoError(t, err)
		assert.Equal(t, int64(1), n)
		sends, err := s.NoticeSends(ctx, store.System, store.LogKey{}, 100)
		require.NoError(t, err)
		assert.Empty(t, sends)
	})
}

func TestOldNoticesGoWhenTheyAreSettled(t *testing.T) {
	withClock(t, func(ctx context.Context, t *testing.T, s *store.Store, c *clock) {
		addNotice(ctx, t, s, "a@one.test", "suspended")
		planAll(ctx, t, s) // the monitor's is left
		c.pass(time.Hour)
		n, err := s.PurgeNotices(ctx, c.now(), 100)
		require.NoError(t, err)
		assert.Zero(t, n)
		send, err := s.ClaimNoticeSend(ctx, "monitor", time.Minute)
		require.NoError(t, err)
		require.NoError(t, s.SettleNoticeSend(ctx, send, "failed", "gone"))
		n, err = s.PurgeNotices(ctx, c.now(), 100)
		require.NoError(t, err)
		assert.Equal(t, int64(1), n)
	})
}

func TestWhatNobodySendsIsGivenUpAndGoesWithTheOldNotices(t *testing.T) {
	withClock(t, func(ctx context.Context, t *testing.T, s *store.Store, c *clock) {
		addNotice(ctx, t, s, "a@one.test", "suspended")
		addNotice(ctx, t, s, "b@one.test", "suspended")
		planAll(ctx, t, s) // the monitor's are left, and one of them failed
		tried, err := s.ClaimNoticeSend(ctx, "monitor", time.Minute)
		require.NoError(t, err)
		require.NoError(t, s.PostponeNoticeSend(ctx, tried, c.now().Add(time.Minute), "connection refused"))
		c.pass(time.Hour)
		addNotice(ctx, t, s, "c@one.test", "suspended")
		planAll(ctx, t, s)

		gaveUp, err := s.GiveUpNoticeSends(ctx, c.now(), "too late", 1)
		require.NoError(t, err)
		assert.Equal(t, map[string]int{"monitor": 1}, gaveUp)
		gaveUp, err = s.GiveUpNoticeSends(ctx, c.now(), "too late", 10)
		require.NoError(t, err)
		assert.Equal(t, map[string]int{"monitor": 1}, gaveUp)
		require.NoError(t, s.PostponeNoticeSend(ctx, tried, c.now(), "connection refused"), "by one who was about to try it")

		sends, err := s.NoticeSends(ctx, store.System, store.LogKey{}, 10)
		require.NoError(t, err)
		errs := map[string]string{}
		for _, n := range sends {
			if n.Channel == "monitor" {
				errs[n.Account] = n.State + " " + n.Error
			}
		}
		other := map[string]string{"a@one.test": "b@one.test", "b@one.test": "a@one.test"}[tried.Account]
		assert.Equal(t, map[string]string{tried.Account: "failed connection refused", other: "failed too late", "c@one.test": "waiting "}, errs)
		n, err := s.PurgeNotices(ctx, c.now(), 10)
		require.NoError(t, err)
		assert.Equal(t, int64(2), n)
		send, err := s.ClaimNoticeSend(ctx, "monitor", time.Minute)
		require.NoError(t, err)
		assert.Equal(t, "c@one.test", send.Account, "nothing old comes out")
	})
}

// A hardware clock in local time is nine hours ahead in Japan, until NTP sets it.
func TestNoticesOfAClockThatWasAheadDoNotWaitForItsTime(t *testing.T) {
	for _, ahead := range []time.Duration{9 * time.Hour, 365 * 24 * time.Hour} {
		withClock(t, func(ctx context.Context, t *testing.T, s *store.Store, c *clock) {
			c.pass(ahead)
			addNotice(ctx, t, s, "told@one.test", "suspended")
			require.Len(t, planAll(ctx, t, s), 1)
			addNotice(ctx, t, s, "planned@one.test", "suspended")
			due, err := s.DueNotices(ctx, 100)
			require.NoError(t, err)
			require.Len(t, due, 1)
			_, err = s.PlanNotice(ctx, due[0], channels, limits)
			require.NoError(t, err)
			addNotice(ctx, t, s, "told@one.test", "soft_limit")
			due, err = s.DueNotices(ctx, 100)
			require.NoError(t, err)
			require.Len(t, due, 1)
			planned, err := s.PlanNotice(ctx, due[0], channels, limits)
			require.NoError(t, err)
			require.False(t, planned, "held back by the limits")
			addNotice(ctx, t, s, "stored@one.test", "suspended")
			c.pass(-ahead)
			told := planAll(ctx, t, s)
			require.ElementsMatch(t, []string{"told@one.test soft_limit 0", "planned@one.test suspended 0", "stored@one.test suspended 0"}, told)
			require.Empty(t, planAll(ctx, t, s))
			addNotice(ctx, t, s, "stored@one.test", "released")
			require.Empty(t, planAll(ctx, t, s), "the limits hold as ever")
			c.pass(10 * time.Minute)
			require.Equal(t, []string{"stored@one.test released 0"}, planAll(ctx, t, s))
		})
	}
}

func TestChannelFailsSinceItsFirstFailure(t *testing.T) {
	withClock(t, func(ctx context.Context, t *testing.T, s *store.Store, c *clock) {
		require.NoError(t, s.NoteNoticeChannel(ctx, "monitor", store.NoticeSent, ""))
		c.pass(time.Minute)
		began := c.now()
		require.NoError(t, s.NoteNoticeChannel(ctx, "monitor", store.NoticeFailed, "connection refused"))
		c.pass(time.Minute)
		require.NoError(t, s.NoteNoticeChannel(ctx, "monitor", store.NoticeFailed, "connection reset"))
		list, err := s.NoticeChannels(ctx)
		require.NoError(t, err)
		assert.Equal(t, []store.NoticeChannel{{Channel: "monitor", Tried: c.now(), Worked: noon, Failing: began, Error: "connection reset"}}, list)
		require.NoError(t, s.NoteNoticeChannel(ctx, "monitor", store.NoticeSent, ""))
		list, err = s.NoticeChannels(ctx)
		require.NoError(t, err)
		assert.Zero(t, list[0].Failing)
		addNotice(ctx, t, s, "a@one.test", "suspended")
		planAll(ctx, t, s)
		list, err = s.NoticeChannels(ctx)
		require.NoError(t, err)
		assert.True(t, list[0].Awaited)
		send, err := s.ClaimNoticeSend(ctx, "monitor", time.Minute)
		require.NoError(t, err)
		require.NoError(t, s.SettleNoticeSend(ctx, send, store.NoticeFailed, "connection refused"))
		began = c.now()
		require.NoError(t, s.NoteNoticeChannel(ctx, "monitor", store.NoticeSent, "a@one.test is refused"))
		c.pass(time.Minute)
		require.NoError(t, s.NoteNoticeChannel(ctx, "monitor", store.NoticeSent, "a@one.test is refused"))
		list, err = s.NoticeChannels(ctx)
		require.NoError(t, err)
		assert.Equal(t, []store.NoticeChannel{{Channel: "monitor", Tried: c.now(), Worked: c.now(), Failing: began, Error: "a@one.test is refused"}}, list)
	})
}

func TestBounceThatIsReportedTwiceIsCountedOnce(t *testing.T) {
	withClock(t, func(ctx context.Context, t *testing.T, s *store.Store, c *clock) {
		feed := store.BounceFeed{Host: "mx1", LastLine: noon.Add(-time.Second), LagBytes: 7, Lag: 3 * time.Second}
		list := []store.Bounce{
			{ID: "one", At: noon, QueueHost: "mx1", QueueID: "AAAAA1", DSN: "5.1.1", RcptHash: 1<<63 + 1},
			{ID: "two", At: noon, QueueHost: "mx1", QueueID: "AAAAA2", DSN: "5.1.1"},
		}
		require.NoError(t, s.ReportBounces(ctx, feed, list))
		require.NoError(t, s.ReportBounces(ctx, store.BounceFeed{Host: "mx1", Gaps: 1}, list))
		feeds, err := s.BounceFeeds(ctx)
		require.NoError(t, err)
		assert.Equal(t, []store.BounceFeed{{Host: "mx1", Seen: noon, LastLine: noon.Add(-time.Second), Gaps: 1}}, feeds)

		claimed, err := s.ClaimBounces(ctx, 10, time.Minute)
		require.NoError(t, err)
		require.Len(t, claimed, 2)
		assert.Contains(t, []uint64{claimed[0].RcptHash, claimed[1].RcptHash}, uint64(1<<63+1))
		again, err := s.ClaimBounces(ctx, 10, time.Minute)
		require.NoError(t, err)
		assert.Empty(t, again)
		require.NoError(t, s.SettleBounce(ctx, "one", true))
		require.NoError(t, s.PostponeBounce(ctx, "two", noon.Add(time.Second)))
		require.NoError(t, s.ReportBounces(ctx, feed, list))
		c.pass(2 * time.Second)
		claimed, err = s.ClaimBounces(ctx, 10, time.Minute)
		require.NoError(t, err)
		require.Len(t, claimed, 1)
		assert.Equal(t, "two", claimed[0].ID)
		waiting, err := s.WaitingBounces(ctx)
		require.NoError(t, err)
		assert.Equal(t, int64(1), waiting)

		c.pass(time.Hour)
		n, err := s.PurgeBounces(ctx, c.now(), 10)
		require.NoError(t, err)
		assert.Equal(t, int64(2), n, "the one that was counted, and the feed")
	})
}

func TestHostsThatSendAreKnownByTheirDecisions(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		old, refused, fresh := decision("t1", "a@one.test", noon.Add(-time.Hour)), decision("t1", "a@one.test", noon), decision("t1", "a@one.test", noon)
		old.QueueHost, refused.QueueHost, fresh.QueueHost = "mx0", "mx2", "mx1"
		refused.Messages = 0
		require.NoError(t, s.InsertOutboundDecisions(t.Context(), []store.OutboundDecision{old, refused, fresh, decision("t2", "b", noon)}))
		hosts, err := s.SendingHosts(t.Context(), noon.Add(-time.Minute))
		require.NoError(t, err)
		assert.Equal(t, []string{"mx1"}, hosts)
	})
}

func TestKeyMayHaveTheRoleOfAPostfixHost(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		for i, role := range []string{"super_admin", "postfix"} {
			require.NoError(t, s.CreateAPIKey(t.Context(), store.APIKey{
				ID: store.NewAPIKeyID(), Name: "n", Role: role, Prefix: "p", Hash: fmt.Sprint(i), Created: noon,
			}))
		}
		require.Error(t, s.CreateAPIKey(t.Context(), store.APIKey{ID: store.NewAPIKeyID(), Name: "n", Role: "other", Prefix: "p", Hash: "x", Created: noon}))
	})
}

package store_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestDecisionsArePagedAndComeBackWhole(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		var list []store.OutboundDecision
		for i := range 250 { // several at the same microsecond, in three batches
			list = append(list, decision("t1", fmt.Sprintf("u%d@one.test", i%2), noon.Add(time.Duration(i/3)*time.Second)))
		}
		spam := int64(-1500)
		list[7].SpamMilli = &spam
		list[9].Action, list[9].Reply = "refuse_rate", "450 4.7.1 Sending rate limited, please try again later."
		list[13].Would, list[13].WouldLevel, list[13].Mode, list[13].Reason = "refuse_suspended", "hard_limit", "shadow", "suspended"
		list[11].MailFrom, list[11].QueueID, list[11].Explanation = "\x00\xff"+strings.Repeat("x", 9000), "\x00", strings.Repeat("{", 20<<10)
		require.NoError(t, s.InsertOutboundDecisions(ctx, list))
		require.NoError(t, s.InsertOutboundDecisions(ctx, list), "a batch may be sent again")

		var found []store.OutboundDecision
		f := store.DecisionFilter{Limit: 40}
		for {
			page, err := s.OutboundDecisions(ctx, store.System, f)
			require.NoError(t, err)
			found = append(found, page...)
			if len(page) < f.Limit {
				break
			}
			f.Before = page[len(page)-1].LogKey
		}
		require.Len(t, found, len(list))
		byID := map[string]store.OutboundDecision{}
		for i, d := range found {
			byID[d.ID] = d
			assert.True(t, i == 0 || !d.At.After(found[i-1].At))
		}
		assert.Len(t, byID, len(list))
		assert.Equal(t, list[7], byID[list[7].ID])
		assert.Equal(t, list[8], byID[list[8].ID])
		assert.Empty(t, byID[list[11].ID].Explanation, "half a JSON text is none")
		assert.Len(t, byID[list[11].ID].MailFrom, 1280)

		limited, err := s.OutboundDecisions(ctx, store.System, store.DecisionFilter{Limited: true, Limit: 9})
		require.NoError(t, err)
		require.Len(t, limited, 2)
		assert.Equal(t, list[9].Reply, limited[1].Reply)
		some, err := s.OutboundDecisions(ctx, store.System, store.DecisionFilter{
			Account: "u0@one.test", From: noon.Add(time.Second), To: noon.Add(2 * time.Second), Limit: 9,
		})
		require.NoError(t, err)
		assert.Len(t, some, 1)

		replay, err := s.ReplayDecisions(ctx, store.System, store.LogKey{}, noon.Add(time.Hour), 100)
		require.NoError(t, err)
		require.Len(t, replay, 100)
		rest, err := s.ReplayDecisions(ctx, store.System, replay[99].LogKey, noon.Add(time.Hour), 1000)
		require.NoError(t, err)
		assert.Len(t, rest, 150)
		assert.Equal(t, []byte{0, 1, 255}, rest[0].Event)

		a, err := s.OutboundAccount(ctx, store.System, "u1@one.test")
		require.NoError(t, err)
		assert.Equal(t, noon.Add(83*time.Second), a.Sent)
		assert.Equal(t, store.LevelNormal, a.Level)
		assert.Zero(t, a.Revision)
	})
}

func TestABounceFindsWhoSentTheMessage(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		first, again, refused, elsewhere := decision("t1", "a@x.test", noon), decision("t1", "b@x.test", noon.Add(48*time.Hour)),
			decision("t1", "c@x.test", noon.Add(49*time.Hour)), decision("t1", "d@x.test", noon.Add(time.Hour))
		refused.Messages, refused.Action = 0, "refuse_suspended"
		elsewhere.QueueHost = "mx2"
		require.NoError(t, s.InsertOutboundDecisions(ctx, []store.OutboundDecision{first, again, refused, elsewhere}))
		for _, row := range []struct {
			host     string
			from, to time.Time
			want     string
		}{
			{"mx1", noon.Add(-time.Hour), noon.Add(24 * time.Hour), "a@x.test"},
			{"mx1", noon.Add(-time.Hour), noon.Add(72 * time.Hour), "b@x.test"},
			{"mx1", noon.Add(time.Hour), noon.Add(2 * time.Hour), ""},
			{"mx2", noon.Add(-time.Hour), noon.Add(72 * time.Hour), "d@x.test"},
			{"mx3", noon.Add(-time.Hour), noon.Add(72 * time.Hour), ""},
		} {
			found, err := s.OutboundSender(ctx, row.host, "4XyZ", row.from, row.to)
			if row.want == "" {
				assert.ErrorIs(t, err, store.ErrNotFound)
				continue
			}
			require.NoError(t, err)
			assert.Equal(t, row.want, found.Account)
		}
	})
}

func TestDaysAndColumnsAreSums(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		var list []store.OutboundDecision
		for i := range 5 {
			list = append(list, decision("t1", "bob@one.test", noon.Add(time.Duration(i)*4*time.Minute)))
		}
		list[1].ScoreMicro = 700_000
		list[2].Messages, list[2].Recipients, list[2].NewRecipients, list[2].Refused, list[2].Action = 0, 0, 0, 2, "refuse_rate"
		list[3].Bounced, list[3].Action = 4, "refuse_suspended"
		list = append(list, decision("t2", "bob@one.test", noon), decision("t1", "bob@one.test", noon.Add(13*time.Hour)))
		require.NoError(t, s.InsertOutboundDecisions(ctx, list))
		for range 2 {
			require.NoError(t, s.RollUpOutbound(ctx, noon))
		}
		days, err := s.OutboundDays(ctx, store.Scope{Tenant: "t1"}, "bob@one.test", noon, noon.Add(24*time.Hour))
		require.NoError(t, err)
		assert.Equal(t, []store.OutboundSum{{
			Tenant: "t1", Account: "bob@one.test", At: time.Date(2026, 4, 1, 0, 0, 0, 0, time.UTC), Messages: 4, Recipients: 12,
			NewRecipients: 8, Refused: 2, Bounced: 4, Limited: 1, Stopped: 1, ScoreMicro: 700_000,
		}}, days)
		columns, err := s.OutboundSeries(ctx, store.Scope{Tenant: "t1"}, "bob@one.test", noon, noon.Add(time.Hour), 5*time.Minute)
		require.NoError(t, err)
		require.Len(t, columns, 4)
		assert.Equal(t, noon.Add(5*time.Minute), columns[1].At)
		assert.Equal(t, int64(2), columns[1].Refused)
		assert.Equal(t, int64(6), columns[0].Recipients)
	})
	assert.Equal(t, int64(-1), store.Day(time.Unix(-1, 0)))
	assert.Equal(t, int64(0), store.Day(time.Unix(86_399, 0)))
}

func TestMessagesAreGroupedByTextAndByPlace(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		var list []store.OutboundDecision
		for i := range 9 {
			d := decision("t1", "bob@one.test", noon.Add(time.Duration(i)*time.Minute))
			d.Fingerprint = []uint64{1<<63 + 7, 1<<63 + 7, 5}[i%3]
			d.Client = []string{"192.0.2.7", "2001:db8::1"}[i/6]
			list = append(list, d)
		}
		list[8].Kind, list[8].Fingerprint, list[8].Messages = "rcpt", 0, 0
		list = append(list, decision("t2", "bob@one.test", noon))
		require.NoError(t, s.InsertOutboundDecisions(ctx, list))
		one := store.Scope{Tenant: "t1"}
		groups, err := s.OutboundGroups(ctx, one, "bob@one.test", noon, noon.Add(time.Hour), 9)
		require.NoError(t, err)
		assert.Equal(t, []store.OutboundGroup{
			{Fingerprint: 1<<63 + 7, Count: 6, Recipients: 18, NewRecipients: 12, First: noon, Last: noon.Add(7 * time.Minute)},
			{Fingerprint: 5, Count: 2, Recipients: 6, NewRecipients: 4, First: noon.Add(2 * time.Minute), Last: noon.Add(5 * time.Minute)},
		}, groups)
		text := uint64(1<<63 + 7)
		found, err := s.OutboundDecisions(ctx, one, store.DecisionFilter{Account: "bob@one.test", Text: &text, Limit: 9})
		require.NoError(t, err)
		assert.Len(t, found, 6)
		places, err := s.OutboundPlaces(ctx, one, "bob@one.test", noon, noon.Add(time.Hour), 9)
		require.NoError(t, err)
		assert.Equal(t, []store.OutboundPlace{
			{Client: "192.0.2.7", First: noon, Last: noon.Add(5 * time.Minute), Messages: 6},
			{Client: "2001:db8::1", First: noon.Add(6 * time.Minute), Last: noon.Add(8 * time.Minute), Messages: 2},
		}, places)
	})
}

package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
)

// BlastExplanation is what the engine says of the last message of a Blast, as it stores it.
const BlastExplanation = `{"v":1,"at_us":1775044800000000,"on":"end","policy":"0123456789ab","queue_host":"mx1.one.test","queue_id":"4XyZ15",
"mode":"enforce","action":"refuse_suspended","reason":"suspended","before":"normal","after":"hard_limit","score":870000,
"factors":[{"name":"rate","value":950000,"weight":400000,"share":380000},{"name":"content","value":775000,"weight":400000,"share":310000},
{"name":"history","value":900000,"weight":200000,"share":180000}],
"evidence":[{"name":"volume","factor":"rate","value":950000,"raw":412,"usual":7,"limit":80,"unit":"recipients","window_s":3600},
{"name":"campaign","factor":"content","value":600000,"raw":398,"limit":30,"unit":"recipients","window_s":3600,"fingerprint":"8000000000000007"},
{"name":"invalid","factor":"content","value":400000,"raw":148000,"limit":75000,"unit":"share","window_s":3600},
{"name":"place","factor":"history","value":900000,"raw":2,"unit":"places","window_s":21600}],
"corroborators":["invalid","place"],"unknown":["bounces"],"degraded":["bounces"],"trust":"new",
"messages":{"h":12,"d":13},"recipients":{"h":412,"d":420},"new":{"h":390,"d":391}}`

// SuspendedReply is what Postfix's client sees of a stop.
const SuspendedReply = "550 5.7.1 Sending from this account is temporarily suspended. Please contact your administrator."

// Blast makes the traces of an account that was taken over: mail of its own two hours before, twelve messages of two texts
// in the last quarter of an hour before at, one refused at its end, and the stop. It gives the decision behind the stop.
func Blast(t testing.TB, s *store.Store, tenant store.TenantID, account string, at time.Time) store.LogKey {
	t.Helper()
	spam := int64(7200)
	message := func(at time.Time, n int, text uint64, client string) store.OutboundDecision {
		return store.OutboundDecision{
			LogKey: store.LogKey{At: at, ID: store.NewLogID()}, Tenant: tenant, Account: account, Kind: "end",
			QueueHost: "mx1.one.test", QueueID: fmt.Sprintf("4XyZ%02d", n), Client: client, MailFrom: account, Messages: 1, Recipients: 33,
			NewRecipients: 30, SizeBytes: 2048, SpamMilli: &spam, Fingerprint: text, Action: "allow", LevelBefore: "normal",
			LevelAfter: "normal", Would: "allow", WouldLevel: "normal", ScoreMicro: int64(n) * 50_000, Mode: "enforce", PolicyHash: "0123456789ab",
		}
	}
	list := []store.OutboundDecision{message(at.Add(-2*time.Hour), 1, 5, "192.0.2.7")}
	for i := range 12 {
		text := uint64(1<<63 + 7)
		if i%4 == 3 {
			text = 9
		}
		list = append(list, message(at.Add(time.Duration(i-15)*time.Minute), i+2, text, "203.0.113.9"))
	}
	last := message(at, 15, 1<<63+7, "203.0.113.9")
	last.Messages, last.Recipients, last.NewRecipients, last.Action, last.Reason = 0, 0, 0, "refuse_suspended", "suspended"
	last.LevelAfter, last.Would, last.WouldLevel, last.ScoreMicro = "hard_limit", "refuse_suspended", "hard_limit", 870_000
	last.Reply, last.Explanation = SuspendedReply, BlastExplanation
	require.NoError(t, s.InsertOutboundDecisions(t.Context(), append(list, last)))
	a, err := s.OutboundAccount(t.Context(), store.Scope{Tenant: tenant}, account)
	require.NoError(t, err)
	c := a.Change("auto_suspend")
	c.Level, c.Decision, c.ActorKind = store.LevelHardLimit, last.LogKey, "system"
	_, err = s.ChangeOutboundAccount(t.Context(), c)
	require.NoError(t, err)
	return last.LogKey
}

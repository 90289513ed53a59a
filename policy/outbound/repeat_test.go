package outbound_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// logOf gives the rows of an account, newest first, after it has checked that replay has every event once and agrees with each.
func logOf(t testing.TB, db *store.Store, account string, o policy.Options) []store.OutboundDecision {
	t.Helper()
	rows, err := db.OutboundDecisions(t.Context(), store.System, store.DecisionFilter{Account: account, Limit: 5000})
	require.NoError(t, err)
	l := policy.Log{Account: policy.Account(account), Tenant: string(store.SystemTenant)}
	for i := range rows {
		records, err := policy.ParseRecords(rows[i].Event)
		require.NoError(t, err)
		require.NotEmpty(t, records, "%+v", rows[i])
		l.Records = append(l.Records, records...)
	}
	p, err := policy.Compile(o, nil)
	require.NoError(t, err)
	steps := 0
	for st := range l.Replay(p, nil) {
		steps++
		require.Zero(t, st.Gap, "before %d", st.Record.Seq)
		require.True(t, st.Same, "%+v is now %+v", st.Record, st.Decision)
	}
	require.Len(t, l.Records, steps, "none is there twice")
	return rows
}

// ofKind gives those rows of a kind that refuse, or allow.
func ofKind(rows []store.OutboundDecision, kind string, action policy.Action) (list []store.OutboundDecision) {
	for _, row := range rows {
		if row.Kind == kind && row.Action == string(action) {
			list = append(list, row)
		}
	}
	return list
}

func TestAStoppedAccountThatGoesOnTryingMakesFewRows(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		n := start(t, setup{options: enforce, db: db})
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		e := envelope("tanaka@one.test", "192.0.2.7")
		_, refused := n.blast(e, 60)
		require.NotNil(t, refused)
		before := n.metric("mairust_outbound_decisions_total")
		for range 1000 {
			require.NotNil(t, n.send(e, "x", 0, "a@x.test").mail)
		}
		n.stop()
		require.InDelta(t, before+1000, n.metric("mairust_outbound_decisions_total"), 0)
		rows := logOf(t, db, "tanaka@one.test", enforce)
		require.LessOrEqual(t, len(ofKind(rows, "mail", policy.RefuseSuspended)), 10)
	})
}

func TestWhoBeginsMessagesAndEndsThemWithoutOneMakesFewRows(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		n := start(t, setup{options: enforce, db: db})
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		e := envelope("tanaka@one.test", "192.0.2.7")
		for i := range 1000 {
			tx, reply := n.Mail(t.Context(), e)
			require.Nil(t, reply)
			if i%2 == 0 {
				require.Nil(t, tx.Recipient(t.Context(), address("a@x.test")))
				tx.Refused(t.Context(), address("nobody@x.test"), "5.1.1")
			}
			tx.Release()
		}
		n.stop()
		require.InDelta(t, 1000, n.metric("mairust_outbound_decisions_total"), 0)
		rows := logOf(t, db, "tanaka@one.test", enforce)
		require.LessOrEqual(t, len(rows), 40)
		refused := int64(0)
		for i := range rows {
			require.Equal(t, "release", rows[i].Kind)
			require.Equal(t, "192.0.2.7", rows[i].Client)
			refused += rows[i].Refused
		}
		require.EqualValues(t, 500, refused, "none is forgotten with a row that was not written")
	})
}

func TestWhoGoesOnAgainstALimitMakesFewRows(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		limited := policy.Options{Mode: policy.Enforce, Limits: policy.LimitOptions{UserPerHour: 3}}
		n := start(t, setup{options: limited, db: db})
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		e := envelope("tanaka@one.test", "192.0.2.7")
		require.Equal(t, 2, n.send(e, "x", 0, "a@x.test", "b@x.test").left())
		for range 10 { // what goes on after a refusal has the events that follow
			require.NotNil(t, n.send(e, "x", 0, "a@x.test", "b@x.test").rcpt)
		}
		for range 1000 {
			require.Equal(t, "450 4.7.1 Sending rate limited, please try again later.", n.send(e, "x", 0, "a@x.test").rcpt.String())
		}
		n.stop()
		require.InDelta(t, 2+10+9+2*1000, n.metric("mairust_outbound_decisions_total"), 0)
		rows := logOf(t, db, "tanaka@one.test", limited)
		require.LessOrEqual(t, len(rows), 40)
		refusals := ofKind(rows, "rcpt", policy.RefuseRate)
		require.GreaterOrEqual(t, len(refusals), 2, "the first at once, and those that it stands for")
		for _, row := range refusals {
			require.Equal(t, string(policy.ReasonUserHour), row.Reason)
			require.NotEmpty(t, row.Explanation)
			require.NotEmpty(t, row.Reply)
		}
		require.Contains(t, n.log.String(), "count=1 ")
		require.NotContains(t, n.log.String(), "count=1000")
	})
}

// TestWhoseMessagesAreRefusedAtTheirEndMakesFewRows has a limit of which the filter's silence leaves half: only the end of a message
// tells that.
func TestWhoseMessagesAreRefusedAtTheirEndMakesFewRows(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		limit := (&store.OutboundAccount{Tenant: store.SystemTenant, Account: "tanaka@one.test"}).Change("limit")
		limit.Level, limit.CapPerHour, limit.ActorKind = store.LevelSoftLimit, 6, "user"
		_, err := db.ChangeOutboundAccount(t.Context(), limit)
		require.NoError(t, err)
		n := start(t, setup{options: enforce, db: db, filtered: true})
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		e := envelope("tanaka@one.test", "192.0.2.7")
		end := func() *mail.Reply {
			tx, reply := n.Mail(t.Context(), e)
			require.Nil(t, reply)
			require.Nil(t, tx.Recipient(t.Context(), address("a@x.test")))
			m := &mail.Message{Envelope: e, SizeBytes: 7, Summary: &mail.Summary{}}
			m.QueueID = nextQueueID()
			reply, _ = tx.End(t.Context(), m, mail.Verdict{})
			return reply
		}
		for range 3 {
			require.Nil(t, end())
		}
		for range 500 {
			require.NotNil(t, end())
		}
		n.stop()
		rows := logOf(t, db, "tanaka@one.test", enforce)
		require.Len(t, ofKind(rows, "end", policy.Allow), 3)
		refusals := ofKind(rows, "end", policy.RefuseRate)
		require.LessOrEqual(t, len(refusals), 20)
		for _, row := range refusals {
			require.NotEmpty(t, row.Explanation)
			require.NotEmpty(t, row.QueueID)
		}
	})
}

func TestTriesOfAnAccountThatIsForgottenAreForgottenToo(t *testing.T) {
	storetest.Run(t, func(t *testing.T, db *store.Store) {
		limited := policy.Options{Mode: policy.Enforce, Limits: policy.LimitOptions{UserPerHour: 1}}
		n := start(t, setup{options: limited, db: db})
		eventually(t, "the node is ready", func() bool { return n.Check(t.Context()) == nil })
		e := envelope("tanaka@one.test", "192.0.2.7")
		require.Equal(t, 1, n.send(e, "x", 0, "a@x.test").left())
		for range 5 {
			n.send(e, "x", 0)
		}
		rows := func() []store.OutboundDecision {
			list, err := db.OutboundDecisions(t.Context(), store.System, store.DecisionFilter{Account: "tanaka@one.test", Limit: 100})
			require.NoError(t, err)
			return list
		}
		eventually(t, "the first release is there", func() bool { return len(ofKind(rows(), "release", policy.Allow)) == 1 })
		_, err := db.ForgetOutbound(t.Context(), store.SystemTenant, "tanaka@one.test")
		require.NoError(t, err)
		eventually(t, "its count is forgotten", func() bool { return n.send(e, "x", 0, "a@x.test").left() == 1 })
		n.stop()
		require.Zero(t, len(ofKind(rows(), "release", policy.Allow)))
	})
}

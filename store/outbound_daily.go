package store

import (
	"context"
	"slices"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// OutboundSum is what an account did in a time.
type OutboundSum struct {
	Tenant  TenantID
	Account string
	// At is when the time began.
	At time.Time
	// The counts are the sums of those of OutboundDecision.
	Messages, Recipients, NewRecipients, Refused, Bounced int64
	// Limited counts the decisions that slowed or held mail, Stopped those that refused it because of a suspension.
	Limited, Stopped int64
	// ScoreMicro is the highest score in millionths.
	ScoreMicro int64
}

const sumDecisions = `CAST(SUM(messages) AS BIGINT), CAST(SUM(recipients) AS BIGINT), CAST(SUM(new_recipients) AS BIGINT),
	CAST(SUM(refused) AS BIGINT), CAST(SUM(bounced) AS BIGINT),
	CAST(SUM(CASE WHEN action IN ('refuse_rate', 'hold') THEN 1 ELSE 0 END) AS BIGINT),
	CAST(SUM(CASE WHEN action = 'refuse_suspended' THEN 1 ELSE 0 END) AS BIGINT), MAX(score_micro)`

func (m *OutboundSum) dest() []any {
	return []any{&m.Messages, &m.Recipients, &m.NewRecipients, &m.Refused, &m.Bounced, &m.Limited, &m.Stopped, &m.ScoreMicro}
}

// OutboundSeries sums the decisions of an account in scope by steps of time from a time on, for a plot; steps without
// any are left out. step is at least a second.
func (s *Store) OutboundSeries(ctx context.Context, sc Scope, account string, from, to time.Time, step time.Duration) ([]OutboundSum, error) {
	const query = `SELECT (at_us - $5) / $7, ` + sumDecisions + ` FROM outbound_decisions WHERE ` + accountInScope + `
		AND account = $4 AND at_us >= $5 AND at_us < $6 GROUP BY 1 ORDER BY 1`
	step = max(step, time.Second)
	var list []OutboundSum
	args := append(sc.args(), cleanKey(account), micros(from), micros(to), step.Microseconds())
	err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
		m := OutboundSum{Account: account}
		var n int64
		err := scan(append([]any{&n}, m.dest()...)...)
		m.At = from.Add(time.Duration(n) * step).UTC()
		list = append(list, m)
		return err
	})
	return list, err
}

// OutboundDays lists the daily sums of an account in scope, oldest first, of the UTC days from one time to another, both
// included. RollUpOutbound makes them.
func (s *Store) OutboundDays(ctx context.Context, sc Scope, account string, from, to time.Time) ([]OutboundSum, error) {
	const query = `SELECT tenant_id, account, day, messages, recipients, new_recipients, refused, bounced, limited, stopped, score_micro
		FROM outbound_daily WHERE ` + accountInScope + ` AND account = $4 AND day >= $5 AND day <= $6 ORDER BY day, tenant_id`
	var list []OutboundSum
	err := s.each(ctx, query, append(sc.args(), cleanKey(account), Day(from), Day(to)), func(scan sqldb.Scan) error {
		var m OutboundSum
		var day int64
		err := scan(append([]any{&m.Tenant, &m.Account, &day}, m.dest()...)...)
		m.At = fromMicros(day * dayMicros)
		list = append(list, m)
		return err
	})
	return list, err
}

// OldestDecision is when the oldest decision that is kept was made; zero for none.
func (s *Store) OldestDecision(ctx context.Context) (time.Time, error) {
	var at *int64
	err := s.get(ctx, `SELECT MIN(at_us) FROM outbound_decisions`, nil, &at)
	return fromNull(at), err
}

var putOutboundDaily = sqldb.Insert("outbound_daily",
	sqldb.Text("tenant_id"), sqldb.Text("account"), sqldb.Integer("day"), sqldb.Integer("messages"), sqldb.Integer("recipients"),
	sqldb.Integer("new_recipients"), sqldb.Integer("refused"), sqldb.Integer("bounced"), sqldb.Integer("limited"),
	sqldb.Integer("stopped"), sqldb.Integer("score_micro"),
).OnConflict(`ON CONFLICT (tenant_id, account, day) DO UPDATE SET messages = excluded.messages, recipients = excluded.recipients,
	new_recipients = excluded.new_recipients, refused = excluded.refused, bounced = excluded.bounced, limited = excluded.limited,
	stopped = excluded.stopped, score_micro = excluded.score_micro`)

// RollUpOutbound makes the daily sums of the UTC day of a time from its decisions, replacing those that are there. It may
// be repeated while the decisions of the day are kept, and must not be after that.
func (s *Store) RollUpOutbound(ctx context.Context, day time.Time) error {
	const query = `SELECT tenant_id, account, ` + sumDecisions + ` FROM outbound_decisions WHERE at_us >= $1 AND at_us < $2
		AND (tenant_id, account) > ($3, $4) GROUP BY tenant_id, account ORDER BY tenant_id, account LIMIT $5`
	n := Day(day)
	var after OutboundKey
	for {
		var rows []any
		count := 0
		args := []any{n * dayMicros, (n + 1) * dayMicros, string(after.Tenant), after.Account, rollUpPage}
		err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
			var m OutboundSum
			err := scan(append([]any{&m.Tenant, &m.Account}, m.dest()...)...)
			rows = append(rows, string(m.Tenant), m.Account, n, m.Messages, m.Recipients, m.NewRecipients, m.Refused, m.Bounced,
				m.Limited, m.Stopped, m.ScoreMicro)
			after = OutboundKey{m.Tenant, m.Account}
			count++
			return err
		})
		if err != nil {
			return err
		}
		if err := s.putDaily(ctx, rows); err != nil || count < rollUpPage {
			return err
		}
	}
}

// rollUpPage is how many accounts are summed with one query: each query reads the whole day.
const rollUpPage = 20_000

func (s *Store) putDaily(ctx context.Context, rows []any) error {
	const width = 11
	for piece := range slices.Chunk(rows, outboundBatch*width) {
		err := s.write(ctx, func(_ context.Context, tx *sqldb.Tx) error {
			tx.QueueMany(putOutboundDaily, piece)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

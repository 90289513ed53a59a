package store

import (
	"context"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// OutboundRetention says from when on outbound data is kept. A zero time keeps everything of its kind.
type OutboundRetention struct {
	// Decisions is for the log of decisions and for the states of days; Daily for the daily sums; History for changes.
	Decisions, Daily, History time.Time
	// Accounts is for accounts that are like others and sent nothing since.
	Accounts time.Time
	// Changes is for what other processes must learn; a day is plenty.
	Changes time.Time
}

// PurgeOutbound removes what is older than it is kept, in short transactions of a hundred rows, at most limit rows of
// each kind, and returns how many. Fewer than limit means that nothing old is left.
func (s *Store) PurgeOutbound(ctx context.Context, r OutboundRetention, limit int) (int64, error) {
	total := int64(0)
	for _, p := range []struct {
		before time.Time
		query  string
		day    bool
	}{
		{r.Decisions, purgeDecisions, false}, {r.Decisions, purgeStates, true}, {r.Daily, purgeDaily, true},
		{r.History, purgeHistory, false}, {r.Accounts, purgeAccounts, false}, {r.Changes, purgeChanges, false},
	} {
		if p.before.IsZero() {
			continue
		}
		before := micros(p.before)
		if p.day {
			before = Day(p.before)
		}
		n, err := s.purgeAll(ctx, p.query, limit, before)
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// The statements of PurgeOutbound: $1 is how many rows at most, $2 the time or day before which they go.
const (
	purgeDecisions = `DELETE FROM outbound_decisions WHERE (at_us, id) IN (
		SELECT d.at_us, d.id FROM outbound_decisions d WHERE d.at_us < $2 ORDER BY d.at_us, d.id LIMIT $1)`
	purgeStates = `DELETE FROM outbound_states WHERE (day, tenant_id, kind, name) IN (
		SELECT d.day, d.tenant_id, d.kind, d.name FROM outbound_states d WHERE d.day > 0 AND d.day < $2 LIMIT $1)`
	purgeDaily = `DELETE FROM outbound_daily WHERE (tenant_id, account, day) IN (
		SELECT d.tenant_id, d.account, d.day FROM outbound_daily d WHERE d.day < $2 LIMIT $1)`
	purgeHistory = `DELETE FROM outbound_history WHERE (at_us, id) IN (
		SELECT d.at_us, d.id FROM outbound_history d WHERE d.at_us < $2 ORDER BY d.at_us, d.id LIMIT $1)`
	purgeAccounts = `DELETE FROM outbound_accounts WHERE (tenant_id, account) IN (
		SELECT d.tenant_id, d.account FROM outbound_accounts d WHERE ` + likeOthers + ` AND COALESCE(d.sent_us, 0) < $2
		AND COALESCE(d.changed_us, 0) < $2 LIMIT $1)`
	// The last one stays: by it a Follower knows that it has missed none.
	purgeChanges = `DELETE FROM changes WHERE seq IN (SELECT d.seq FROM changes d WHERE d.at_us < $2 AND d.seq < (SELECT MAX(seq) FROM changes) ORDER BY d.seq LIMIT $1)`

	likeOthers = `level = 'normal' AND mode = ''`
)

// purgeAll repeats a bounded DELETE until limit rows are gone or none is left.
func (s *Store) purgeAll(ctx context.Context, query string, limit int, args ...any) (int64, error) {
	total := int64(0)
	for total < int64(limit) {
		step := min(int64(limit)-total, outboundBatch)
		var n int64
		err := s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) (err error) {
			n, err = tx.Exec(ctx, query, append([]any{step}, args...)...)
			return err
		})
		if err != nil {
			return total, err
		}
		total += n
		if n < step {
			return total, nil
		}
	}
	return total, nil
}

// ForgetOutbound removes all that is kept of the sending of one account of a tenant, and tells other processes to forget
// it too; the number of rows is returned. A stop, limit or mode of the account stays, without the words that were
// given for it. It may be repeated after an error.
func (s *Store) ForgetOutbound(ctx context.Context, tenant TenantID, account string) (int64, error) {
	account = cleanKey(account)
	total := int64(0)
	for _, query := range []string{
		`DELETE FROM outbound_decisions WHERE (at_us, id) IN (
			SELECT d.at_us, d.id FROM outbound_decisions d WHERE d.tenant_id = $2 AND d.account = $3 LIMIT $1)`,
		`DELETE FROM outbound_states WHERE (day, tenant_id, kind, name) IN (
			SELECT d.day, d.tenant_id, d.kind, d.name FROM outbound_states d
			WHERE d.tenant_id = $2 AND d.kind = 'account' AND d.name = $3 LIMIT $1)`,
		`DELETE FROM outbound_daily WHERE (tenant_id, account, day) IN (
			SELECT d.tenant_id, d.account, d.day FROM outbound_daily d WHERE d.tenant_id = $2 AND d.account = $3 LIMIT $1)`,
		`DELETE FROM outbound_history WHERE (at_us, id) IN (
			SELECT d.at_us, d.id FROM outbound_history d WHERE d.tenant_id = $2 AND d.noun = 'account' AND d.name = $3 LIMIT $1)`,
		`DELETE FROM outbound_accounts WHERE (tenant_id, account) IN (
			SELECT d.tenant_id, d.account FROM outbound_accounts d WHERE d.tenant_id = $2 AND d.account = $3 AND ` + likeOthers + ` LIMIT $1)`,
	} {
		n, err := s.purgeAll(ctx, query, 1<<30, string(tenant), account)
		total += n
		if err != nil {
			return total, err
		}
	}
	const blank = `UPDATE outbound_accounts SET reason = '', ticket = '', decision_at_us = NULL, decision_id = '', sent_us = NULL
		WHERE tenant_id = $1 AND account = $2`
	return total, s.write(ctx, func(_ context.Context, tx *sqldb.Tx) error {
		tx.Queue(blank, string(tenant), account)
		s.noteChanged(tx, tenant, ForgottenAccount, account)
		return nil
	})
}

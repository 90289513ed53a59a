package store

import (
	"context"
	"errors"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// Notice is something that administrators are to be told about an account or a domain.
type Notice struct {
	LogKey
	Tenant TenantID
	// Account is the account, or "@domain".
	Account string
	// Kind is a word of package policy/notify; Facts is its JSON.
	Kind, Facts string
	// Merged counts the earlier notices about the account that this one stands for too, because they came too close
	// together to be sent.
	Merged int64
}

// NoticeSend is the sending of a notice on one channel.
type NoticeSend struct {
	Notice
	// Channel is mail, webhook or monitor.
	Channel string
	// State is waiting, sent or failed (given up).
	State string
	// Attempts that were made so far; Error is of the last one, empty when there is none. One that was sent has it when it did not
	// reach all.
	Attempts int64
	Error    string
	// Next is when the next attempt is due, Settled when the last one was; zero for none.
	Next, Settled time.Time
	// Planned is when it was given to the channels; of one that was claimed.
	Planned time.Time
}

// NoticeChannel is how a channel does.
type NoticeChannel struct {
	Channel string
	// Tried and Worked are when it was last tried and last worked; Failing is since when it does not, or not for all; zero for never.
	Tried, Worked, Failing time.Time
	// Error of the last attempt; empty when that worked for all.
	Error string
	// Awaited says that a sending waits for it.
	Awaited bool
}

// What became of a sending, as NoticeSend.State has it.
const (
	NoticeSent   = "sent"
	NoticeFailed = "failed"
)

// NoticeOfMode is the kind of notices about modes.
const NoticeOfMode = "mode_changed"

const (
	// longestNoticeWait is more than any sending waits for its next attempt, noticeSkew more than clocks of nodes differ.
	longestNoticeWait = 6 * time.Hour
	noticeSkew        = 10 * time.Minute

	maxFacts       = 8 << 10
	maxNoticeError = 500
)

// AddNotice stores a notice that waits to be planned. It is sent by whoever runs the notifier, on whichever node.
func (s *Store) AddNotice(ctx context.Context, n Notice) error {
	return s.write(ctx, func(_ context.Context, tx *sqldb.Tx) error {
		n.queue(tx, s.now())
		return nil
	})
}

func (n *Notice) queue(tx *sqldb.Tx, now time.Time) {
	const query = `INSERT INTO notices (at_us, id, tenant_id, account, kind, facts, state, merged, next_us)
		VALUES ($1, $2, $3, $4, $5, $6, 'waiting', 0, $7)`
	facts := n.Facts
	if len(facts) > maxFacts {
		facts = "{}"
	}
	tx.Queue(query, micros(now), newID(), string(n.Tenant), cleanKey(n.Account), mail.Clean(n.Kind, maxWord), mail.Clean(facts, 0), micros(now))
}

const noticeColumns = `n.at_us, n.id, n.tenant_id, n.account, n.kind, n.facts, n.merged`

func (n *Notice) dest(at *int64) []any {
	return []any{at, &n.ID, &n.Tenant, &n.Account, &n.Kind, &n.Facts, &n.Merged}
}

// DueNotices lists notices that wait to be planned, oldest first. One that was stored, or held back by limits, by a clock that was ahead does not
// wait until it is that time: no limit is for longer than a day.
func (s *Store) DueNotices(ctx context.Context, limit int) ([]Notice, error) {
	const query = `SELECT ` + noticeColumns + ` FROM notices n WHERE n.next_us <= $1 OR n.next_us >= n.at_us AND n.at_us > $2 OR n.next_us > $3
		ORDER BY n.next_us, n.at_us, n.id LIMIT $4`
	var list []Notice
	now := s.now()
	args := []any{micros(now), micros(now.Add(noticeSkew)), micros(now.Add(24*time.Hour + noticeSkew)), limit}
	err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
		var n Notice
		var at int64
		err := scan(n.dest(&at)...)
		n.At = fromMicros(at)
		list = append(list, n)
		return err
	})
	return list, err
}

// NoticeLimits bound the notices about one account.
type NoticeLimits struct {
	// Every is the least time between two, PerDay how many there are within 24 hours.
	Every  time.Duration
	PerDay int
}

// PlanNotice gives a waiting notice to the channels, if the limits of its account allow it now; else it waits until they
// do. Older notices about the account that wait too are merged into it; it is merged itself when a newer one waits, as
// that says what is true now. A mode says nothing of a level, nor a level of a mode: of these two, each is merged with its like. planned is whether it was given to the channels.
func (s *Store) PlanNotice(ctx context.Context, n Notice, channels []string, l NoticeLimits) (planned bool, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		planned = false
		merged, isLast, err := mergeNotices(ctx, tx, n)
		if err != nil || !isLast {
			return err
		}
		next, err := nextNotice(ctx, tx, n, l, s.now())
		if err != nil {
			return err
		}
		if next.After(s.now()) {
			tx.Queue(`UPDATE notices SET next_us = $1, merged = merged + $2 WHERE at_us = $3 AND id = $4`, micros(next), merged, micros(n.At), n.ID)
			return nil
		}
		planned = true
		// The time of planning is what the limits count from.
		tx.Queue(`UPDATE notices SET state = 'planned', next_us = NULL, merged = merged + $1, planned_us = $2 WHERE at_us = $3 AND id = $4`,
			merged, micros(s.now()), micros(n.At), n.ID)
		for _, channel := range channels {
			tx.Queue(`INSERT INTO notice_sends (notice_at_us, notice_id, channel, tenant_id, state, attempts, next_us, error)
				VALUES ($1, $2, $3, $4, 'waiting', 0, $5, '')`, micros(n.At), n.ID, channel, string(n.Tenant), micros(s.now()))
		}
		return nil
	})
	return planned, err
}

// mergeNotices merges what waits about the account into the newest notice. merged counts what n took in; isLast is false
// when n itself was merged, or is not waiting any more.
func mergeNotices(ctx context.Context, tx *sqldb.Tx, n Notice) (merged int64, isLast bool, err error) {
	query := `SELECT at_us, id, merged FROM notices WHERE tenant_id = $1 AND account = $2 AND state = 'waiting'
		AND (kind = '` + NoticeOfMode + `') = ($3 = '` + NoticeOfMode + `') ORDER BY at_us, id` + tx.ForUpdate()
	type waiting struct {
		at, merged int64
		id         string
	}
	var list []waiting
	err = tx.Each(ctx, query, []any{string(n.Tenant), n.Account, n.Kind}, func(scan sqldb.Scan) error {
		var w waiting
		err := scan(&w.at, &w.id, &w.merged)
		list = append(list, w)
		return err
	})
	if err != nil || len(list) == 0 {
		return 0, false, err
	}
	last := list[len(list)-1]
	for _, w := range list[:len(list)-1] {
		merged += 1 + w.merged
		tx.Queue(`UPDATE notices SET state = 'merged', next_us = NULL WHERE at_us = $1 AND id = $2`, w.at, w.id)
	}
	if last.id == n.ID {
		return merged, true, nil
	}
	tx.Queue(`UPDATE notices SET merged = merged + $1 WHERE at_us = $2 AND id = $3`, merged, last.at, last.id)
	return 0, false, nil
}

// nextNotice is when the limits allow another notice about the account, which may have passed. What was planned by a clock that was
// ahead does not count.
func nextNotice(ctx context.Context, tx *sqldb.Tx, n Notice, l NoticeLimits, now time.Time) (time.Time, error) {
	const query = `SELECT planned_us FROM notices WHERE tenant_id = $1 AND account = $2 AND planned_us > $3 AND planned_us <= $5 ORDER BY planned_us DESC LIMIT $4`
	var planned []time.Time
	args := []any{string(n.Tenant), n.Account, micros(now.Add(-24 * time.Hour)), l.PerDay, micros(now.Add(noticeSkew))}
	err := tx.Each(ctx, query, args, func(scan sqldb.Scan) error {
		var us int64
		err := scan(&us)
		planned = append(planned, fromMicros(us))
		return err
	})
	if err != nil || len(planned) == 0 {
		return time.Time{}, err
	}
	next := planned[0].Add(l.Every)
	if len(planned) == l.PerDay {
		if day := planned[len(planned)-1].Add(24 * time.Hour); day.After(next) {
			next = day
		}
	}
	return next, nil
}

// ClaimNoticeSend gives the sending on a channel that is due longest, and lets nobody else have it for a while: until then
// the caller settles or postpones it, to a time within six hours. One that waits for longer does so by a clock that was ahead, and is
// due. ErrNotFound when none is.
func (s *Store) ClaimNoticeSend(ctx context.Context, channel string, hold time.Duration) (*NoticeSend, error) {
	const claim = `UPDATE notice_sends SET next_us = $1, attempts = attempts + 1
		WHERE (next_us <= $2 OR next_us > $4) AND (notice_at_us, notice_id, channel) IN (
			SELECT s.notice_at_us, s.notice_id, s.channel FROM notice_sends s WHERE s.channel = $3 AND (s.next_us <= $2 OR s.next_us > $4)
			ORDER BY s.next_us, s.notice_at_us, s.notice_id LIMIT 1)
		RETURNING notice_at_us, notice_id, attempts, error`
	const read = `SELECT ` + noticeColumns + `, n.planned_us FROM notices n WHERE n.at_us = $1 AND n.id = $2`
	const look = `SELECT 1 FROM notice_sends s WHERE s.channel = $1 AND (s.next_us <= $2 OR s.next_us > $3) LIMIT 1`
	now := s.now()
	ahead := micros(now.Add(longestNoticeWait))
	var one int
	if err := s.get(ctx, look, []any{channel, micros(now), ahead}, &one); err != nil {
		return nil, err // mostly none, and then nobody's writing is held
	}
	var found *NoticeSend
	err := s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		found = nil
		var at, planned int64
		err := tx.Each(ctx, claim, []any{micros(now.Add(hold)), micros(now), channel, ahead}, func(scan sqldb.Scan) error {
			found = &NoticeSend{Channel: channel, State: "waiting"}
			return scan(&at, &found.ID, &found.Attempts, &found.Error)
		})
		if err != nil || found == nil {
			return err
		}
		err = tx.Get(ctx, read, []any{at, found.ID}, append(found.dest(&at), &planned)...)
		found.At, found.Planned = fromMicros(at), fromMicros(planned)
		return err
	})
	if err == nil && found == nil {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return found, nil
}

// SettleNoticeSend ends a sending: state is NoticeSent or NoticeFailed. A text says why the last attempt failed, or whom it did not reach. One that
// somebody else has claimed since is his.
func (s *Store) SettleNoticeSend(ctx context.Context, n *NoticeSend, state, text string) error {
	const query = `UPDATE notice_sends SET state = $1, error = $2, next_us = NULL, settled_us = $3
		WHERE notice_at_us = $4 AND notice_id = $5 AND channel = $6 AND state = 'waiting' AND attempts = $7`
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, query, state, mail.Clean(text, maxNoticeError), micros(s.now()), micros(n.At), n.ID, n.Channel, n.Attempts)
		return err
	})
}

// PostponeNoticeSend lets a sending be claimed again at a time, unless somebody else has claimed it since.
func (s *Store) PostponeNoticeSend(ctx context.Context, n *NoticeSend, next time.Time, text string) error {
	const query = `UPDATE notice_sends SET error = $1, next_us = $2
		WHERE notice_at_us = $3 AND notice_id = $4 AND channel = $5 AND state = 'waiting' AND attempts = $6`
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, query, mail.Clean(text, maxNoticeError), micros(next), micros(n.At), n.ID, n.Channel, n.Attempts)
		return err
	})
}

// GiveUpNoticeSends ends as failed what has waited on any channel since before a time, at most limit: also on one that nobody sends on
// any more. The text is the error of those that have none. gaveUp counts them by channel.
func (s *Store) GiveUpNoticeSends(ctx context.Context, before time.Time, text string, limit int) (gaveUp map[string]int, err error) {
	const query = `UPDATE notice_sends SET state = '` + NoticeFailed + `', next_us = NULL, settled_us = $1, error = CASE WHEN error = '' THEN $2 ELSE error END
		WHERE next_us IS NOT NULL AND (notice_at_us, notice_id, channel) IN (
			SELECT s.notice_at_us, s.notice_id, s.channel FROM notice_sends s JOIN notices n ON n.at_us = s.notice_at_us AND n.id = s.notice_id
			WHERE s.next_us IS NOT NULL AND n.planned_us < $3 LIMIT $4)
		RETURNING channel`
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		gaveUp = map[string]int{}
		args := []any{micros(s.now()), mail.Clean(text, maxNoticeError), micros(before), limit}
		return tx.Each(ctx, query, args, func(scan sqldb.Scan) error {
			var channel string
			err := scan(&channel)
			gaveUp[channel]++
			return err
		})
	})
	return gaveUp, err
}

// NoteNoticeChannel records how an attempt on a channel went: state is NoticeSent or NoticeFailed. A text says why it failed, or whom it
// did not reach: then it worked, and fails all the same.
func (s *Store) NoteNoticeChannel(ctx context.Context, channel, state, text string) error {
	const query = `INSERT INTO notice_channels (channel, tried_us, worked_us, failing_us, error) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (channel) DO UPDATE SET tried_us = excluded.tried_us, error = excluded.error,
		worked_us = COALESCE(excluded.worked_us, notice_channels.worked_us),
		failing_us = CASE WHEN excluded.failing_us IS NULL THEN NULL ELSE COALESCE(notice_channels.failing_us, excluded.failing_us) END`
	now := micros(s.now())
	var worked, failing *int64
	if state == NoticeSent {
		worked = &now
	}
	if text != "" || state == NoticeFailed {
		failing = &now
	}
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, query, channel, now, worked, failing, mail.Clean(text, maxNoticeError))
		return err
	})
}

// NoticeChannels lists the channels that were tried, by name.
func (s *Store) NoticeChannels(ctx context.Context) ([]NoticeChannel, error) {
	const query = `SELECT c.channel, c.tried_us, c.worked_us, c.failing_us, c.error,
		CASE WHEN EXISTS (SELECT 1 FROM notice_sends s WHERE s.channel = c.channel AND s.next_us IS NOT NULL) THEN 1 ELSE 0 END
		FROM notice_channels c ORDER BY c.channel`
	var list []NoticeChannel
	err := s.each(ctx, query, nil, func(scan sqldb.Scan) error {
		var c NoticeChannel
		var tried, awaited int64
		var worked, failing *int64
		err := scan(&c.Channel, &tried, &worked, &failing, &c.Error, &awaited)
		c.Awaited = awaited != 0
		c.Tried, c.Worked, c.Failing = fromMicros(tried), fromNull(worked), fromNull(failing)
		list = append(list, c)
		return err
	})
	return list, err
}

// NoticeSends lists sendings in scope, those of the newest notices first: at most limit of notices older than before. A scope
// with a user sees none.
func (s *Store) NoticeSends(ctx context.Context, sc Scope, before LogKey, limit int) ([]NoticeSend, error) {
	const query = `SELECT ` + noticeColumns + `, s.channel, s.state, s.attempts, s.next_us, s.settled_us, s.error
		FROM notice_sends s JOIN notices n ON n.at_us = s.notice_at_us AND n.id = s.notice_id
		WHERE ($1 = 1 OR s.tenant_id = $2) AND $3 = '' AND (s.notice_at_us, s.notice_id) < ($4, $5)
		ORDER BY s.notice_at_us DESC, s.notice_id DESC, s.channel LIMIT $6`
	var list []NoticeSend
	args := append(append(sc.args(), before.args()...), limit)
	err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
		var n NoticeSend
		var at int64
		var next, settled *int64
		err := scan(append(n.dest(&at), &n.Channel, &n.State, &n.Attempts, &next, &settled, &n.Error)...)
		n.At, n.Next, n.Settled = fromMicros(at), fromNull(next), fromNull(settled)
		list = append(list, n)
		return err
	})
	return list, err
}

// WaitingNotices counts the notices that wait to be planned, and the sendings that wait for an attempt.
func (s *Store) WaitingNotices(ctx context.Context) (notices, sends int64, err error) {
	err = errors.Join(
		s.get(ctx, `SELECT COUNT(*) FROM notices WHERE next_us IS NOT NULL`, nil, &notices),
		s.get(ctx, `SELECT COUNT(*) FROM notice_sends WHERE next_us IS NOT NULL`, nil, &sends))
	return notices, sends, err
}

// PurgeNotices removes notices from before a time whose sendings are all settled, at most limit.
func (s *Store) PurgeNotices(ctx context.Context, before time.Time, limit int) (int64, error) {
	const query = `DELETE FROM notices WHERE (at_us, id) IN (SELECT n.at_us, n.id FROM notices n WHERE n.at_us < $2 AND n.next_us IS NULL
		AND NOT EXISTS (SELECT 1 FROM notice_sends s WHERE s.notice_at_us = n.at_us AND s.notice_id = n.id AND s.next_us IS NOT NULL)
		ORDER BY n.at_us, n.id LIMIT $1)`
	return s.purgeAll(ctx, query, limit, micros(before))
}

// ForgetNotices removes the notices about one account of a tenant.
func (s *Store) ForgetNotices(ctx context.Context, tenant TenantID, account string) (int64, error) {
	const query = `DELETE FROM notices WHERE (at_us, id) IN (SELECT n.at_us, n.id FROM notices n WHERE n.tenant_id = $2 AND n.account = $3 LIMIT $1)`
	return s.purgeAll(ctx, query, 1<<30, string(tenant), cleanKey(account))
}

package store

import (
	"context"
	"errors"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// Bounce is a recipient that a Postfix host gave up because there is no such address.
type Bounce struct {
	// ID is the same for the same bounce, however often it is reported.
	ID string
	// At is when, by the host's log; Reported when we learned of it.
	At, Reported time.Time
	// QueueHost and QueueID name the message, DSN is the enhanced status code.
	QueueHost, QueueID, DSN string
	// RcptHash is the keyed hash of the recipient, as the outbound engine has it.
	RcptHash uint64
}

// BounceFeed is what a Postfix host told last of the feed of its bounces.
type BounceFeed struct {
	// Host is the myhostname of Postfix.
	Host string
	// Seen is when it was heard of; set by the store. LastLine is the time of the newest line that was read, zero for none.
	Seen, LastLine time.Time
	// LagBytes of the log wait to be read, since Lag.
	LagBytes int64
	Lag      time.Duration
	// Gaps counts how often lines were gone before they could be read.
	Gaps int64
}

var putBounces = sqldb.Insert("bounces",
	sqldb.Text("id"), sqldb.Integer("reported_us"), sqldb.Integer("at_us"), sqldb.Text("queue_host"), sqldb.Text("queue_id"),
	sqldb.Text("dsn"), sqldb.Integer("rcpt_hash"), sqldb.Text("state"), sqldb.Integer("next_us"),
).OnConflict(`ON CONFLICT (id) DO NOTHING`)

// ReportBounces stores what a feed tells: how it is, and bounces, which wait to be counted. One that was reported before
// is left as it is.
func (s *Store) ReportBounces(ctx context.Context, f BounceFeed, list []Bounce) error {
	const feed = `INSERT INTO bounce_feeds (host, seen_us, line_us, lag_bytes, lag_ms, gaps) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (host) DO UPDATE SET seen_us = excluded.seen_us, line_us = COALESCE(excluded.line_us, bounce_feeds.line_us),
		lag_bytes = excluded.lag_bytes, lag_ms = excluded.lag_ms, gaps = excluded.gaps`
	now := micros(s.now())
	var rows []any
	for _, b := range list {
		rows = append(rows, mail.Clean(b.ID, maxWord), now, micros(b.At), mail.Clean(b.QueueHost, maxWord),
			mail.Clean(b.QueueID, maxWord), mail.Clean(b.DSN, maxWord), int64(b.RcptHash), "waiting", now)
	}
	return s.write(ctx, func(_ context.Context, tx *sqldb.Tx) error {
		tx.Queue(feed, mail.Clean(f.Host, maxWord), now, microsOrNull(f.LastLine), f.LagBytes, f.Lag.Milliseconds(), f.Gaps)
		tx.QueueMany(putBounces, rows)
		return nil
	})
}

// ClaimBounces gives at most limit bounces that are due to be counted, oldest first, and lets nobody else have them for a
// while: until then the caller settles or postpones each.
func (s *Store) ClaimBounces(ctx context.Context, limit int, hold time.Duration) ([]Bounce, error) {
	const query = `UPDATE bounces SET next_us = $1 WHERE next_us <= $2 AND id IN (
			SELECT b.id FROM bounces b WHERE b.next_us <= $2 ORDER BY b.next_us, b.id LIMIT $3)
		RETURNING id, at_us, reported_us, queue_host, queue_id, dsn, rcpt_hash`
	const look = `SELECT 1 FROM bounces b WHERE b.next_us <= $1 LIMIT 1`
	now := s.now()
	var list []Bounce
	var one int
	if err := s.get(ctx, look, []any{micros(now)}, &one); errors.Is(err, ErrNotFound) {
		return nil, nil // mostly, and then nobody's writing is held
	}
	err := s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		list = nil
		return tx.Each(ctx, query, []any{micros(now.Add(hold)), micros(now), limit}, func(scan sqldb.Scan) error {
			var b Bounce
			var at, reported, hash int64
			err := scan(&b.ID, &at, &reported, &b.QueueHost, &b.QueueID, &b.DSN, &hash)
			b.At, b.Reported, b.RcptHash = fromMicros(at), fromMicros(reported), uint64(hash)
			list = append(list, b)
			return err
		})
	})
	return list, err
}

// SettleBounce ends the waiting of a bounce: it was counted, or nobody knows its message.
func (s *Store) SettleBounce(ctx context.Context, id string, counted bool) error {
	state := "unknown"
	if counted {
		state = "counted"
	}
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE bounces SET state = $1, next_us = NULL WHERE id = $2`, state, id)
		return err
	})
}

// PostponeBounce lets a bounce be claimed again at a time.
func (s *Store) PostponeBounce(ctx context.Context, id string, next time.Time) error {
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE bounces SET next_us = $1 WHERE id = $2 AND next_us IS NOT NULL`, micros(next), id)
		return err
	})
}

// WaitingBounces counts those that are not settled.
func (s *Store) WaitingBounces(ctx context.Context) (n int64, err error) {
	err = s.get(ctx, `SELECT COUNT(*) FROM bounces WHERE next_us IS NOT NULL`, nil, &n)
	return n, err
}

// PurgeBounces removes bounces that were settled and reported before a time, and feeds that were not heard of since; at
// most limit of each.
func (s *Store) PurgeBounces(ctx context.Context, before time.Time, limit int) (int64, error) {
	total := int64(0)
	for _, query := range []string{
		`DELETE FROM bounces WHERE id IN (SELECT b.id FROM bounces b WHERE b.reported_us < $2 AND b.next_us IS NULL LIMIT $1)`,
		`DELETE FROM bounce_feeds WHERE host IN (SELECT f.host FROM bounce_feeds f WHERE f.seen_us < $2 LIMIT $1)`,
	} {
		n, err := s.purgeAll(ctx, query, limit, micros(before))
		total += n
		if err != nil {
			return total, err
		}
	}
	return total, nil
}

// BounceFeeds lists the feeds by host.
func (s *Store) BounceFeeds(ctx context.Context) ([]BounceFeed, error) {
	const query = `SELECT host, seen_us, line_us, lag_bytes, lag_ms, gaps FROM bounce_feeds ORDER BY host`
	var list []BounceFeed
	err := s.each(ctx, query, nil, func(scan sqldb.Scan) error {
		var f BounceFeed
		var seen, ms int64
		var line *int64
		err := scan(&f.Host, &seen, &line, &f.LagBytes, &ms, &f.Gaps)
		f.Seen, f.LastLine, f.Lag = fromMicros(seen), fromNull(line), time.Duration(ms)*time.Millisecond
		list = append(list, f)
		return err
	})
	return list, err
}

// SendingHosts lists the Postfix hosts that accounts have sent mail through since a time, by name. It reads all decisions
// since then.
func (s *Store) SendingHosts(ctx context.Context, since time.Time) ([]string, error) {
	const query = `SELECT DISTINCT queue_host FROM outbound_decisions WHERE at_us >= $1 AND messages > 0 ORDER BY queue_host LIMIT $2`
	var hosts []string
	err := s.each(ctx, query, []any{micros(since), maxHosts}, func(scan sqldb.Scan) error {
		var host string
		err := scan(&host)
		hosts = append(hosts, host)
		return err
	})
	return hosts, err
}

// maxHosts bounds how many Postfix hosts are told apart.
const maxHosts = 200

package store

import (
	"context"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// OutboundGroup is messages of one account with the same text.
type OutboundGroup struct {
	// Fingerprint is 0 for texts that are unknown.
	Fingerprint uint64
	// Count is of messages, let through or not.
	Count, Recipients, NewRecipients int64
	First, Last                      time.Time
}

// OutboundGroups groups the messages that an account in scope sent or tried to send, from one time to another (excluded),
// by their text: at most limit groups, largest first.
func (s *Store) OutboundGroups(ctx context.Context, sc Scope, account string, from, to time.Time, limit int) ([]OutboundGroup, error) {
	const query = `SELECT fingerprint, COUNT(*), CAST(SUM(recipients) AS BIGINT), CAST(SUM(new_recipients) AS BIGINT), MIN(at_us), MAX(at_us)
		FROM outbound_decisions WHERE ` + accountInScope + ` AND account = $4 AND at_us >= $5 AND at_us < $6 AND kind = 'end'
		GROUP BY fingerprint ORDER BY COUNT(*) DESC, MIN(at_us), fingerprint LIMIT $7`
	var list []OutboundGroup
	args := append(sc.args(), cleanKey(account), micros(from), micros(to), limit)
	err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
		var g OutboundGroup
		var fingerprint, first, last int64
		err := scan(&fingerprint, &g.Count, &g.Recipients, &g.NewRecipients, &first, &last)
		g.Fingerprint, g.First, g.Last = uint64(fingerprint), fromMicros(first), fromMicros(last)
		list = append(list, g)
		return err
	})
	return list, err
}

// OutboundPlace is a client address that an account sent from.
type OutboundPlace struct {
	Client      string
	First, Last time.Time
	Messages    int64
}

// OutboundPlaces lists where an account in scope sent from, from one time to another (excluded): at most limit places,
// first used first.
func (s *Store) OutboundPlaces(ctx context.Context, sc Scope, account string, from, to time.Time, limit int) ([]OutboundPlace, error) {
	const query = `SELECT client, MIN(at_us), MAX(at_us), CAST(SUM(CASE WHEN kind = 'end' THEN 1 ELSE 0 END) AS BIGINT)
		FROM outbound_decisions WHERE ` + accountInScope + ` AND account = $4 AND at_us >= $5 AND at_us < $6 AND client <> ''
		GROUP BY client ORDER BY MIN(at_us), client LIMIT $7`
	var list []OutboundPlace
	args := append(sc.args(), cleanKey(account), micros(from), micros(to), limit)
	err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
		var p OutboundPlace
		var first, last int64
		err := scan(&p.Client, &first, &last, &p.Messages)
		p.First, p.Last = fromMicros(first), fromMicros(last)
		list = append(list, p)
		return err
	})
	return list, err
}

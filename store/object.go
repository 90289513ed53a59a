package store

import (
	"context"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// ObjectState is what the index says of a message's object.
type ObjectState struct {
	ID      MessageID
	Tenant  TenantID
	Mailbox MailboxID
	Key     string
	// SizeBytes and Digest (SHA-256, hex) are those of the whole object.
	SizeBytes int64
	Digest    string
	// Damaged is when the object was found to be missing or another than it was; zero when it was not.
	Damaged time.Time
}

const objectStateColumns = `m.id, m.tenant_id, m.mailbox_id, m.object_key, m.size_bytes, m.digest, m.damaged_us`

func scanObjectState(scan sqldb.Scan) (ObjectState, error) {
	var o ObjectState
	var damaged *int64
	err := scan(&o.ID, &o.Tenant, &o.Mailbox, &o.Key, &o.SizeBytes, &o.Digest, &damaged)
	o.Damaged = fromNull(damaged)
	return o, err
}

// ObjectStates finds messages by their ids, deleted ones too. Those that are not there are left out.
func (s *Store) ObjectStates(ctx context.Context, ids []MessageID) (map[MessageID]ObjectState, error) {
	found := make(map[MessageID]ObjectState, len(ids))
	values := make([]any, 0, len(ids))
	for _, id := range ids {
		values = append(values, string(id))
	}
	err := chunks(values, 1, func(piece []any, n int) error {
		query := `SELECT ` + objectStateColumns + ` FROM messages m WHERE m.id IN (` + placeholders(1, n) + `)`
		return s.each(ctx, query, piece, func(scan sqldb.Scan) error {
			o, err := scanObjectState(scan)
			found[o.ID] = o
			return err
		})
	})
	return found, err
}

// ObjectStatesAfter lists messages by id, deleted ones too: at most limit of those after the given one.
func (s *Store) ObjectStatesAfter(ctx context.Context, after MessageID, limit int) ([]ObjectState, error) {
	return s.objectStates(ctx, `m.id > $1 ORDER BY m.id LIMIT $2`, string(after), limit)
}

// DeliveredAs lists the message of a mailbox that has the delivery id: one or none.
func (s *Store) DeliveredAs(ctx context.Context, mailbox MailboxID, deliveryID string) ([]ObjectState, error) {
	return s.objectStates(ctx, `m.delivery_id = $1 AND m.mailbox_id = $2`, deliveryID, string(mailbox))
}

func (s *Store) objectStates(ctx context.Context, where string, args ...any) ([]ObjectState, error) {
	var list []ObjectState
	err := s.each(ctx, `SELECT `+objectStateColumns+` FROM messages m WHERE `+where, args, func(scan sqldb.Scan) error {
		o, err := scanObjectState(scan)
		list = append(list, o)
		return err
	})
	return list, err
}

// CountDamaged is the number of messages that are marked as damaged.
func (s *Store) CountDamaged(ctx context.Context) (int64, error) {
	var n int64
	err := s.get(ctx, `SELECT COUNT(*) FROM messages WHERE damaged_us IS NOT NULL`, nil, &n)
	return n, err
}

// MarkDamaged marks a message whose object is missing or another than it was. One that is marked stays as it is.
// first is true when it was not marked before.
func (s *Store) MarkDamaged(ctx context.Context, id MessageID) (first bool, err error) {
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		n, err := tx.Exec(ctx, `UPDATE messages SET damaged_us = $1 WHERE id = $2 AND damaged_us IS NULL`, micros(s.now()), string(id))
		first = n == 1
		return err
	})
	return first, err
}

// ClearDamaged takes the mark away.
func (s *Store) ClearDamaged(ctx context.Context, id MessageID) error {
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE messages SET damaged_us = NULL WHERE id = $1`, string(id))
		return err
	})
}

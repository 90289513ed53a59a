package store

import (
	"context"
	"fmt"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// AttachmentCopy is a part of a message that is kept decoded, as an object of its own.
type AttachmentCopy struct {
	Message MessageID
	// Part is the id of the part in the message.
	Part   string
	Tenant TenantID
	// SizeBytes and Digest (SHA-256, hex) are those of the decoded bytes.
	SizeBytes int64
	Digest    string
	// Pieces are the digests of its pieces, if it is long.
	Pieces  string
	Created time.Time
}

// AttachmentKey is where the decoded copy of a part is kept, on every backend.
func AttachmentKey(t TenantID, m MailboxID, id MessageID, part string) string {
	return fmt.Sprintf("%s/%s/%s/attachments/%s", t, m, id, part)
}

// AttachmentCopy finds the copy of a part of a tenant's message. ErrNotFound.
func (s *Store) AttachmentCopy(ctx context.Context, tenant TenantID, id MessageID, part string) (*AttachmentCopy, error) {
	const query = `SELECT size_bytes, digest, pieces, created_us FROM attachments WHERE message_id = $1 AND part = $2 AND tenant_id = $3`
	c := AttachmentCopy{Message: id, Part: part, Tenant: tenant}
	var created int64
	if err := s.get(ctx, query, []any{string(id), part, string(tenant)}, &c.SizeBytes, &c.Digest, &c.Pieces, &created); err != nil {
		return nil, err
	}
	c.Created = fromMicros(created)
	return &c, nil
}

// AddAttachmentCopy notes a copy whose object is stored. ErrNotFound when the tenant has no such message any more.
func (s *Store) AddAttachmentCopy(ctx context.Context, c AttachmentCopy) error {
	const query = `INSERT INTO attachments (message_id, part, tenant_id, size_bytes, digest, pieces, created_us)
		SELECT m.id, CAST($2 AS TEXT), m.tenant_id, CAST($4 AS BIGINT), CAST($5 AS TEXT), CAST($6 AS TEXT), CAST($7 AS BIGINT)
		FROM messages m WHERE m.id = $1 AND m.tenant_id = $3
		ON CONFLICT (message_id, part) DO UPDATE SET size_bytes = excluded.size_bytes, digest = excluded.digest, pieces = excluded.pieces`
	return s.changeOne(ctx, query, string(c.Message), c.Part, string(c.Tenant), c.SizeBytes, c.Digest, c.Pieces, micros(s.now()))
}

// DropAttachmentCopy forgets a copy. One that is not there is no error.
func (s *Store) DropAttachmentCopy(ctx context.Context, tenant TenantID, id MessageID, part string) error {
	const query = `DELETE FROM attachments WHERE message_id = $1 AND part = $2 AND tenant_id = $3`
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		_, err := tx.Exec(ctx, query, string(id), part, string(tenant))
		return err
	})
}

// AttachmentCopies lists the keys of the copies of messages, found by the messages' ids.
func (s *Store) AttachmentCopies(ctx context.Context, ids []MessageID) (map[string]bool, error) {
	keys := map[string]bool{}
	values := make([]any, 0, len(ids))
	for _, id := range ids {
		values = append(values, string(id))
	}
	err := chunks(values, 1, func(piece []any, n int) error {
		query := `SELECT m.tenant_id, m.mailbox_id, m.id, a.part FROM attachments a JOIN messages m ON m.id = a.message_id
			WHERE a.message_id IN (` + placeholders(1, n) + `)`
		return s.each(ctx, query, piece, func(scan sqldb.Scan) error {
			var t TenantID
			var m MailboxID
			var id MessageID
			var part string
			err := scan(&t, &m, &id, &part)
			keys[AttachmentKey(t, m, id, part)] = true
			return err
		})
	})
	return keys, err
}

package store

import (
	"context"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// AuditEntry is one act of a person or of a program in a person's name.
type AuditEntry struct {
	// At and ID are set by the store.
	At time.Time
	ID string
	// Tenant is whose data was touched; empty for the installation.
	Tenant TenantID
	// ActorKind is user, api_key, socket or system; Actor names it.
	ActorKind, Actor string
	// Action is noun.verb, Target names what it was done to.
	Action, Target string
	// Reason is what the actor gave, may be empty.
	Reason string
	// Before and After are JSON, empty where there is nothing to say. Never secrets.
	Before, After string
	RequestID     string
}

// maxAuditText bounds Before and After, in bytes.
const maxAuditText = 16 << 10

// Audit appends an entry to the audit log.
func (s *Store) Audit(ctx context.Context, e AuditEntry) error {
	return s.write(ctx, func(_ context.Context, tx *sqldb.Tx) error {
		e.queue(tx, s.now())
		return nil
	})
}

func (e *AuditEntry) queue(tx *sqldb.Tx, now time.Time) {
	const query = `INSERT INTO audit_log (at_us, id, tenant_id, actor_kind, actor, action, target, reason, before, after, request_id)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)`
	tx.Queue(query, micros(now), newID(), textOrNull(string(e.Tenant)),
		mail.Clean(e.ActorKind, maxWord), mail.Clean(e.Actor, maxAddress), mail.Clean(e.Action, maxWord),
		mail.Clean(e.Target, maxAddress), mail.Clean(e.Reason, maxSubject),
		mail.Clean(e.Before, maxAuditText), mail.Clean(e.After, maxAuditText), mail.Clean(e.RequestID, maxWord))
}

// AuditLog lists entries in scope, newest first, older than before (zero: from the newest), at most limit.
func (s *Store) AuditLog(ctx context.Context, sc Scope, before time.Time, limit int) ([]AuditEntry, error) {
	const query = `SELECT at_us, id, COALESCE(tenant_id, ''), actor_kind, actor, action, target, reason, before, after, request_id
		FROM audit_log WHERE ($1 = 1 OR tenant_id = $2) AND at_us < $3 ORDER BY at_us DESC, id DESC LIMIT $4`
	if before.IsZero() {
		before = s.now().Add(time.Hour)
	}
	var list []AuditEntry
	err := s.each(ctx, query, []any{boolInt(sc.All), string(sc.Tenant), micros(before), limit}, func(scan sqldb.Scan) error {
		var e AuditEntry
		var at int64
		err := scan(&at, &e.ID, &e.Tenant, &e.ActorKind, &e.Actor, &e.Action, &e.Target, &e.Reason, &e.Before, &e.After, &e.RequestID)
		e.At = fromMicros(at)
		list = append(list, e)
		return err
	})
	return list, err
}

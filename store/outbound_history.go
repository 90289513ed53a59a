package store

import (
	"context"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// OutboundEvent is one line of the history: a change of level, mode, domain stop or profile.
type OutboundEvent struct {
	LogKey
	Tenant TenantID
	// Noun is account, domain, profile or tenant; Name is which.
	Noun, Name string
	// Act is as in OutboundChange; set and delete for a profile; profile_join, profile_rate and profile_leave
	// for an account of one.
	Act string
	// Detail is the rate of a profile; for an account the profile.
	Detail string
	// The levels are empty for what has none; Mode is the mode of its own after the act.
	LevelBefore, LevelAfter, Mode    string
	Reason, Ticket, ActorKind, Actor string
	Until                            time.Time
	CapPerHour                       int64
	Decision                         LogKey
}

func (e *OutboundEvent) queue(tx *sqldb.Tx) {
	const query = `INSERT INTO outbound_history (at_us, id, tenant_id, noun, name, act, level_before, level_after, mode, reason, ticket,
		actor_kind, actor, until_us, cap_per_hour, decision_at_us, decision_id, detail)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)`
	tx.Queue(query, micros(e.At), e.ID, string(e.Tenant), e.Noun, e.Name, e.Act, e.LevelBefore, e.LevelAfter, e.Mode, e.Reason, e.Ticket,
		e.ActorKind, e.Actor, microsOrNull(e.Until), e.CapPerHour, microsOrNull(e.Decision.At), e.Decision.ID, e.Detail)
}

// OutboundHistory lists what happened to one account, domain, profile or tenant in scope, newest first: at most limit of
// what is older than before. A scope with a user sees only that user's own account.
func (s *Store) OutboundHistory(ctx context.Context, sc Scope, noun, name string, before LogKey, limit int) ([]OutboundEvent, error) {
	const query = selectHistory + `($1 = 1 OR tenant_id = $2) AND ($3 = '' OR noun = 'account' AND name = (
			SELECT u.login_fold FROM users u WHERE u.id = $3 AND u.tenant_id = $2))
		AND noun = $4 AND name = $5 AND (at_us, id) < ($6, $7) ORDER BY at_us DESC, id DESC LIMIT $8`
	args := append(sc.args(), mail.Clean(noun, maxWord), cleanKey(name))
	return s.outboundEvents(ctx, query, append(append(args, before.args()...), limit))
}

// OutboundTenantHistory lists what happened to a tenant in scope as a whole, newest first: its modes, domains and profiles. At
// most limit of what is older than before. A scope with a user sees none.
func (s *Store) OutboundTenantHistory(ctx context.Context, sc Scope, tenant TenantID, before LogKey, limit int) ([]OutboundEvent, error) {
	const query = selectHistory + `($1 = 1 OR tenant_id = $2) AND $3 = '' AND noun <> 'account' AND tenant_id = $4
		AND (at_us, id) < ($5, $6) ORDER BY at_us DESC, id DESC LIMIT $7`
	return s.outboundEvents(ctx, query, append(append(append(sc.args(), string(tenant)), before.args()...), limit))
}

const selectHistory = `SELECT at_us, id, tenant_id, noun, name, act, level_before, level_after, mode, reason, ticket, actor_kind, actor,
	until_us, cap_per_hour, decision_at_us, decision_id, detail FROM outbound_history WHERE `

func (s *Store) outboundEvents(ctx context.Context, query string, args []any) ([]OutboundEvent, error) {
	var list []OutboundEvent
	err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
		var e OutboundEvent
		var at int64
		var until, decision *int64
		err := scan(&at, &e.ID, &e.Tenant, &e.Noun, &e.Name, &e.Act, &e.LevelBefore, &e.LevelAfter, &e.Mode, &e.Reason, &e.Ticket,
			&e.ActorKind, &e.Actor, &until, &e.CapPerHour, &decision, &e.Decision.ID, &e.Detail)
		e.At, e.Until, e.Decision.At = fromMicros(at), fromNull(until), fromNull(decision)
		list = append(list, e)
		return err
	})
	return list, err
}

package store

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// OutboundDecision is one decision of the engine and what it was about. Only facts of the envelope, never content.
type OutboundDecision struct {
	LogKey
	Tenant  TenantID
	Account string
	// Kind is what was decided on, as in the engine's explanation: mail, rcpt, refused, end, bounce, …; "end" is the end of
	// a message, which counts where messages are counted.
	Kind string
	// QueueHost and QueueID are Postfix's; the id is empty before the end of the headers.
	QueueHost, QueueID string
	// Client is the address of the sender's connection.
	Client   string
	MailFrom string
	// Messages is 1 for a message that was let through and 0 for all else; Recipients and NewRecipients count those of
	// such a message, so that sums over rows count each once. Refused and Bounced count recipients with 5.1.x.
	Messages, Recipients, NewRecipients, Refused, Bounced int64
	SizeBytes                                             int64
	// SpamMilli is rspamd's score in thousandths, nil when it is unknown.
	SpamMilli *int64
	// Fingerprint is that of the body, 0 when it is unknown.
	Fingerprint uint64
	// Action is what the sender met: allow, refuse_rate, refuse_suspended or hold, with the engine's Reason.
	Action, Reason          string
	LevelBefore, LevelAfter string
	// Would and WouldLevel are what action and level would have been in mode enforce.
	Would, WouldLevel string
	// ScoreMicro is the score in millionths.
	ScoreMicro       int64
	Mode, PolicyHash string
	// Reply is what the client was told; empty when it was let on.
	Reply string
	// Event is the engine's event, for replay: at most 16 KiB. Explanation is the engine's, as JSON: at most 16 KiB. A longer
	// one is left out.
	Event       []byte
	Explanation string
}

const outboundDecisionColumns = `at_us, id, tenant_id, account, kind, queue_host, queue_id, client, mail_from, messages, recipients,
	new_recipients, refused, bounced, size_bytes, spam_milli, fingerprint, action, reason, level_before, level_after, would,
	would_level, score_micro, mode, policy_hash, reply, event, explanation`

var putOutboundDecisions = sqldb.Insert("outbound_decisions",
	sqldb.Integer("at_us"), sqldb.Text("id"), sqldb.Text("tenant_id"), sqldb.Text("account"), sqldb.Text("kind"),
	sqldb.Text("queue_host"), sqldb.Text("queue_id"), sqldb.Text("client"), sqldb.Text("mail_from"), sqldb.Integer("messages"),
	sqldb.Integer("recipients"), sqldb.Integer("new_recipients"), sqldb.Integer("refused"), sqldb.Integer("bounced"),
	sqldb.Integer("size_bytes"), sqldb.Integer("spam_milli"), sqldb.Integer("fingerprint"), sqldb.Text("action"),
	sqldb.Text("reason"), sqldb.Text("level_before"), sqldb.Text("level_after"), sqldb.Text("would"), sqldb.Text("would_level"),
	sqldb.Integer("score_micro"), sqldb.Text("mode"), sqldb.Text("policy_hash"),
	sqldb.Text("reply"), sqldb.Bytes("event"), sqldb.Text("explanation"),
).OnConflict(`ON CONFLICT (at_us, id) DO NOTHING`)

var putOutboundSenders = sqldb.Insert("outbound_accounts",
	sqldb.Text("tenant_id"), sqldb.Text("account"), sqldb.Integer("sent_us"),
).OnConflict(`ON CONFLICT (tenant_id, account) DO UPDATE SET sent_us = excluded.sent_us
	WHERE outbound_accounts.sent_us IS NULL OR outbound_accounts.sent_us < excluded.sent_us`)

// InsertOutboundDecisions stores decisions, in several short transactions, and notes their accounts. A decision without
// time or id gets one; one that is stored already is left, so that a batch may be sent again after an error.
func (s *Store) InsertOutboundDecisions(ctx context.Context, list []OutboundDecision) error {
	for piece := range slices.Chunk(list, outboundBatch) {
		var rows []any
		for i := range piece {
			if piece[i].At.IsZero() {
				piece[i].At = s.now()
			}
			if piece[i].ID == "" {
				piece[i].ID = newID()
			}
			rows = append(rows, piece[i].values()...)
		}
		senders := sendersOf(piece)
		err := s.write(ctx, func(_ context.Context, tx *sqldb.Tx) error {
			tx.QueueMany(putOutboundSenders, senders)
			tx.QueueMany(putOutboundDecisions, rows)
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// sendersOf gives the rows of the accounts, each once with its latest time, in one order for all nodes.
func sendersOf(list []OutboundDecision) []any {
	latest := map[OutboundKey]int64{}
	for i := range list {
		key := OutboundKey{list[i].Tenant, cleanKey(list[i].Account)}
		latest[key] = max(latest[key], micros(list[i].At))
	}
	keys := make([]OutboundKey, 0, len(latest))
	for key := range latest {
		keys = append(keys, key)
	}
	slices.SortFunc(keys, func(a, b OutboundKey) int {
		if c := strings.Compare(string(a.Tenant), string(b.Tenant)); c != 0 {
			return c
		}
		return strings.Compare(a.Account, b.Account)
	})
	var rows []any
	for _, key := range keys {
		rows = append(rows, string(key.Tenant), key.Account, latest[key])
	}
	return rows
}

func (d *OutboundDecision) values() []any {
	word := func(s string) string { return mail.Clean(s, maxWord) }
	event, explanation := d.Event, mail.Clean(d.Explanation, 0)
	if event == nil || len(event) > maxEvent {
		event = []byte{}
	}
	if len(explanation) > maxExplanation {
		explanation = ""
	}
	return []any{
		micros(d.At), word(d.ID), string(d.Tenant), cleanKey(d.Account), word(d.Kind), word(d.QueueHost), word(d.QueueID), word(d.Client),
		mail.Clean(d.MailFrom, maxAddress), d.Messages, d.Recipients, d.NewRecipients, d.Refused, d.Bounced, d.SizeBytes, d.SpamMilli,
		int64(d.Fingerprint), word(d.Action), word(d.Reason),
		word(d.LevelBefore), word(d.LevelAfter), word(d.Would), word(d.WouldLevel), d.ScoreMicro, word(d.Mode), word(d.PolicyHash),
		mail.Clean(d.Reply, maxReply), event, explanation,
	}
}

func scanOutboundDecision(scan sqldb.Scan) (OutboundDecision, error) {
	var d OutboundDecision
	var at, fingerprint int64
	err := scan(&at, &d.ID, &d.Tenant, &d.Account, &d.Kind, &d.QueueHost, &d.QueueID, &d.Client, &d.MailFrom, &d.Messages, &d.Recipients,
		&d.NewRecipients, &d.Refused, &d.Bounced, &d.SizeBytes, &d.SpamMilli, &fingerprint, &d.Action, &d.Reason, &d.LevelBefore, &d.LevelAfter,
		&d.Would, &d.WouldLevel, &d.ScoreMicro, &d.Mode, &d.PolicyHash, &d.Reply, &d.Event, &d.Explanation)
	d.At, d.Fingerprint = fromMicros(at), uint64(fingerprint)
	return d, err
}

func (s *Store) outboundDecisions(ctx context.Context, query string, args ...any) ([]OutboundDecision, error) {
	var list []OutboundDecision
	err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
		d, err := scanOutboundDecision(scan)
		list = append(list, d)
		return err
	})
	return list, err
}

// DecisionFilter chooses decisions.
type DecisionFilter struct {
	// Account, when not empty, is whose they are; Text needs one.
	Account string
	// Limited chooses those that did not let mail through or changed the level, or would have in mode enforce.
	Limited bool
	// Text, when not nil, chooses messages (kind "end") with this fingerprint.
	Text *uint64
	// From and To bound the time, To excluded; zero is no bound.
	From, To time.Time
	// Before is the last one of the page before: newest come first.
	Before LogKey
	Limit  int
}

// OutboundDecisions lists decisions in scope, newest first.
func (s *Store) OutboundDecisions(ctx context.Context, sc Scope, f DecisionFilter) ([]OutboundDecision, error) {
	const query = `SELECT ` + outboundDecisionColumns + ` FROM outbound_decisions WHERE ` + accountInScope + `
		AND (at_us, id) < ($4, $5) AND at_us >= $6 AND at_us < $7
		AND ($8 = 0 OR action <> 'allow' OR level_before <> level_after OR would NOT IN ('', 'allow') OR would_level NOT IN ('', level_before))`
	from, to := int64(-1)<<62, int64(1)<<62
	if !f.From.IsZero() {
		from = micros(f.From)
	}
	if !f.To.IsZero() {
		to = micros(f.To)
	}
	args := append(append(sc.args(), f.Before.args()...), from, to, boolInt(f.Limited), f.Limit)
	const order = ` ORDER BY at_us DESC, id DESC LIMIT $9`
	switch {
	case f.Account == "":
		return s.outboundDecisions(ctx, query+order, args...)
	case f.Text == nil:
		return s.outboundDecisions(ctx, query+` AND account = $10`+order, append(args, cleanKey(f.Account))...)
	default:
		return s.outboundDecisions(ctx, query+` AND account = $10 AND kind = 'end' AND fingerprint = $11`+order,
			append(args, cleanKey(f.Account), int64(*f.Text))...)
	}
}

// OutboundDecision reads one decision in scope by its key. ErrNotFound.
func (s *Store) OutboundDecision(ctx context.Context, sc Scope, key LogKey) (*OutboundDecision, error) {
	const query = `SELECT ` + outboundDecisionColumns + ` FROM outbound_decisions WHERE ` + accountInScope + ` AND at_us = $4 AND id = $5`
	list, err := s.outboundDecisions(ctx, query, append(sc.args(), micros(key.At), mail.Clean(key.ID, maxWord))...)
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// ReplayDecisions lists decisions of all accounts of a scope with their events, oldest first: at most limit of those
// after the given key and before a time. The zero key is before the first.
func (s *Store) ReplayDecisions(ctx context.Context, sc Scope, after LogKey, until time.Time, limit int) ([]OutboundDecision, error) {
	const query = `SELECT ` + outboundDecisionColumns + ` FROM outbound_decisions WHERE ` + accountInScope + `
		AND (at_us, id) > ($4, $5) AND at_us < $6 ORDER BY at_us, id LIMIT $7`
	at := int64(-1) << 62
	if !after.IsZero() {
		at = micros(after.At)
	}
	return s.outboundDecisions(ctx, query, append(sc.args(), at, mail.Clean(after.ID, maxWord), micros(until), limit)...)
}

// OutboundSender finds who sent a message, by Postfix's name of itself and queue id: the last one let through in a
// time, since short queue ids come again. ErrNotFound, also while the decision has not been written yet.
func (s *Store) OutboundSender(ctx context.Context, host, queueID string, from, to time.Time) (*OutboundDecision, error) {
	const query = `SELECT ` + outboundDecisionColumns + ` FROM outbound_decisions WHERE queue_host = $1 AND queue_id = $2
		AND at_us >= $3 AND at_us < $4 AND messages > 0 ORDER BY at_us DESC, id DESC LIMIT 1`
	list, err := s.outboundDecisions(ctx, query, mail.Clean(host, maxWord), mail.Clean(queueID, maxWord), micros(from), micros(to))
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

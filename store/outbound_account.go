package store

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// OutboundAccount is a sender as the outbound engine sees it, and what was last decided about it as a whole.
type OutboundAccount struct {
	Tenant  TenantID
	Account string
	// Level is one of the Level constants. Mode is off, shadow, enforce, or empty for the tenant's.
	Level, Mode string
	// Act is what brought it there: the Act of the last OutboundChange but ActMode; empty when there was none. Reason, Ticket,
	// ActorKind, Actor and Decision are that change's too.
	Act string
	// Since is the time of the level, Until when it ends by itself; zero for none.
	Since, Until time.Time
	// Reason and Ticket are what a person gave; ActorKind and Actor who it was, as in the audit log, but for the kind operator of
	// who acts on all tenants.
	Reason, Ticket, ActorKind, Actor string
	// CapPerHour is how many recipients an hour a soft limit allows; 0 is as configured.
	CapPerHour int64
	// Decision is the decision that brought it there, zero when a person did.
	Decision LogKey
	// Revision rises with every change, also of an account whose row went away in between: it is about the time of the change
	// in microseconds. 0 when there was none. LevelRevision is what it was after the last change but ActMode.
	Revision, LevelRevision int64
	// Changed is the time of the last change of any kind, Sent that of the last decision; zero for none.
	Changed, Sent time.Time
}

const outboundAccountColumns = `tenant_id, account, level, mode, act, since_us, until_us, reason, ticket, actor_kind, actor,
	cap_per_hour, decision_at_us, decision_id, revision, level_revision, changed_us, sent_us`

func scanOutboundAccount(scan sqldb.Scan) (OutboundAccount, error) {
	var a OutboundAccount
	var since, until, decision, changed, sent *int64
	err := scan(&a.Tenant, &a.Account, &a.Level, &a.Mode, &a.Act, &since, &until, &a.Reason, &a.Ticket, &a.ActorKind, &a.Actor,
		&a.CapPerHour, &decision, &a.Decision.ID, &a.Revision, &a.LevelRevision, &changed, &sent)
	a.Since, a.Until = fromNull(since), fromNull(until)
	a.Decision.At, a.Changed, a.Sent = fromNull(decision), fromNull(changed), fromNull(sent)
	return a, err
}

func (s *Store) outboundAccounts(ctx context.Context, query string, args ...any) ([]OutboundAccount, error) {
	var list []OutboundAccount
	err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
		a, err := scanOutboundAccount(scan)
		list = append(list, a)
		return err
	})
	return list, err
}

// OutboundAccount reads an account in scope by its lower-case name. Where several tenants have had it, the one that
// changed or sent last. ErrNotFound, also for one that never sent and was never changed.
func (s *Store) OutboundAccount(ctx context.Context, sc Scope, account string) (*OutboundAccount, error) {
	const query = `SELECT ` + outboundAccountColumns + ` FROM outbound_accounts WHERE ` + accountInScope + ` AND account = $4
		ORDER BY CASE WHEN COALESCE(changed_us, 0) > COALESCE(sent_us, 0) THEN changed_us ELSE COALESCE(sent_us, 0) END DESC, tenant_id LIMIT 1`
	list, err := s.outboundAccounts(ctx, query, append(sc.args(), cleanKey(account))...)
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// OutboundFilter chooses accounts.
type OutboundFilter struct {
	// Level, when not empty, is the level they have; Limited chooses all but LevelNormal.
	Level   string
	Limited bool
	// Prefix is what the account begins with.
	Prefix string
	// After is the last one of the page before.
	After OutboundKey
	Limit int
}

// OutboundAccounts lists the accounts in scope that the filter chooses, by tenant and name.
func (s *Store) OutboundAccounts(ctx context.Context, sc Scope, f OutboundFilter) ([]OutboundAccount, error) {
	query := `SELECT ` + outboundAccountColumns + ` FROM outbound_accounts WHERE ` + accountInScope + `
		AND ($4 = '' OR level = $4) AND (tenant_id, account) > ($5, $6) AND tenant_id <= $10 AND account >= $7 AND ($8 = '' OR account < $8)`
	if f.Limited || f.Level == LevelSoftLimit || f.Level == LevelHardLimit {
		query += ` AND revision > 0 AND level <> 'normal'` // the former as in the index
	}
	from, to := prefixRange(f.Prefix)
	last := maxText
	if !sc.All { // so that the rows of others are not even looked at
		last = string(sc.Tenant)
		if f.After.Tenant < sc.Tenant {
			f.After = OutboundKey{Tenant: sc.Tenant}
		}
	}
	return s.outboundAccounts(ctx, query+` ORDER BY tenant_id, account LIMIT $9`, append(sc.args(),
		mail.Clean(f.Level, maxWord), string(f.After.Tenant), cleanKey(f.After.Account), from, to, f.Limit, last)...)
}

// maxText sorts behind all other texts.
const maxText = "\U0010FFFF"

// prefixRange are the bounds of all texts with a prefix, in the order of their bytes; the upper one is empty for none.
func prefixRange(prefix string) (from, to string) {
	prefix = strings.ToLower(cleanKey(prefix))
	if prefix == "" {
		return "", ""
	}
	return prefix, prefix + maxText
}

// SuspensionFilter chooses accounts that are stopped.
type SuspensionFilter struct {
	// Limited adds those under a soft limit.
	Limited bool
	// BeforeSince and Before name the last one of the page before; zero is the newest end.
	BeforeSince time.Time
	Before      OutboundKey
	Limit       int
}

// Suspensions lists the accounts in scope that are stopped, those stopped last first.
func (s *Store) Suspensions(ctx context.Context, sc Scope, f SuspensionFilter) ([]OutboundAccount, error) {
	const query = `SELECT ` + outboundAccountColumns + ` FROM outbound_accounts WHERE ` + accountInScope + `
		AND revision > 0 AND (level = 'hard_limit' OR $4 = 1 AND level = 'soft_limit')
		AND (since_us, tenant_id, account) < ($5, $6, $7) ORDER BY since_us DESC, tenant_id DESC, account DESC LIMIT $8`
	since := int64(1) << 62
	if !f.BeforeSince.IsZero() {
		since = micros(f.BeforeSince)
	}
	return s.outboundAccounts(ctx, query, append(sc.args(), boolInt(f.Limited), since, string(f.Before.Tenant), cleanKey(f.Before.Account), f.Limit)...)
}

// SpecialAccounts lists, for the snapshot of a process that decides, all accounts that were ever changed: also those that
// are like others again, since such a process must learn of it. At most limit of those after the given one, by tenant and name.
func (s *Store) SpecialAccounts(ctx context.Context, after OutboundKey, limit int) ([]OutboundAccount, error) {
	const query = `SELECT ` + outboundAccountColumns + ` FROM outbound_accounts
		WHERE revision > 0 AND (tenant_id, account) > ($1, $2)
		ORDER BY tenant_id, account LIMIT $3`
	return s.outboundAccounts(ctx, query, string(after.Tenant), cleanKey(after.Account), limit)
}

// DueAccounts lists accounts whose level ends by itself at or before now, oldest first. Who finds one changes it with
// ChangeOutboundAccount and its revision: then only one of several nodes does.
func (s *Store) DueAccounts(ctx context.Context, now time.Time, limit int) ([]OutboundAccount, error) {
	const query = `SELECT ` + outboundAccountColumns + ` FROM outbound_accounts
		WHERE until_us IS NOT NULL AND until_us <= $1 AND level <> 'normal' ORDER BY until_us, tenant_id, account LIMIT $2`
	return s.outboundAccounts(ctx, query, micros(now), limit)
}

// ActMode is the Act of a change that is of nothing but the mode: what else is known of the account stays.
const ActMode = "mode"

// OutboundChange is what an account becomes. All fields are as in OutboundAccount.
type OutboundChange struct {
	Tenant  TenantID
	Account string
	// Revision is that of the account as it was read; 0 when it was not found.
	Revision int64
	// Act is a word for what happens: suspend, release, extend, limit, ActMode for people; auto_suspend, auto_limit,
	// auto_reenable, recover for the engine.
	Act                              string
	Level, Mode                      string
	Until                            time.Time
	Reason, Ticket, ActorKind, Actor string
	CapPerHour                       int64
	Decision                         LogKey
}

// Change prepares a change that keeps level, mode and cap as they are.
func (a *OutboundAccount) Change(act string) OutboundChange {
	return OutboundChange{
		Tenant: a.Tenant, Account: a.Account, Revision: a.Revision, Act: act, Level: a.Level, Mode: a.Mode, Until: a.Until,
		CapPerHour: a.CapPerHour,
	}
}

// ChangeOutboundAccount changes an account, writes its history and tells other processes, all or nothing, and returns
// what it is now. ErrConflict when the revision is another one by now.
func (s *Store) ChangeOutboundAccount(ctx context.Context, c OutboundChange) (*OutboundAccount, error) {
	return s.ActOnOutboundAccount(ctx, c, func(_, _ OutboundAccount) (Beside, error) { return Beside{}, nil })
}

// ActOnOutboundAccount is ChangeOutboundAccount with what is to be written in the same transaction. beside sees the account
// before and after, may be called again, and its error ends the act.
func (s *Store) ActOnOutboundAccount(ctx context.Context, c OutboundChange, beside func(was, is OutboundAccount) (Beside, error)) (*OutboundAccount, error) {
	c.clean()
	var made OutboundAccount
	err := s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		was, err := lockOutboundAccount(ctx, tx, c.Tenant, c.Account)
		if err != nil {
			return err
		}
		if was.Revision != c.Revision {
			return ErrConflict
		}
		now := s.now()
		made = c.applied(was, now)
		if err := putOutboundAccount(ctx, tx, made, was.Revision); err != nil {
			return err
		}
		h := OutboundEvent{
			LogKey: LogKey{At: now, ID: newID()}, Tenant: c.Tenant, Noun: "account", Name: c.Account, Act: c.Act,
			LevelBefore: was.Level, LevelAfter: c.Level, Mode: c.Mode, Reason: c.Reason, Ticket: c.Ticket, ActorKind: c.ActorKind,
			Actor: c.Actor, Until: c.Until, CapPerHour: c.CapPerHour, Decision: c.Decision,
		}
		h.queue(tx)
		s.noteChanged(tx, c.Tenant, ChangedAccount, c.Account)
		more, err := beside(was, made)
		more.queue(tx, now)
		return err
	})
	if errors.Is(err, sqldb.ErrConflict) { // two nodes made the row at once
		err = ErrConflict
	}
	if err != nil {
		return nil, err
	}
	return &made, nil
}

func (c *OutboundChange) clean() {
	c.Account = cleanKey(c.Account)
	c.Act, c.Actor, c.ActorKind = mail.Clean(c.Act, maxWord), cleanKey(c.Actor), mail.Clean(c.ActorKind, maxWord)
	c.Reason, c.Ticket = mail.Clean(c.Reason, maxReason), mail.Clean(c.Ticket, maxWord)
	c.Decision.ID = mail.Clean(c.Decision.ID, maxWord)
	if c.Level == "" {
		c.Level = LevelNormal
	}
}

// applied is the account after the change.
func (c *OutboundChange) applied(was OutboundAccount, now time.Time) OutboundAccount {
	if c.Act == ActMode {
		was.Mode, was.Revision, was.Changed = c.Mode, max(was.Revision+1, micros(now)), fromMicros(micros(now))
		return was
	}
	a := OutboundAccount{
		Tenant: c.Tenant, Account: c.Account, Level: c.Level, Mode: c.Mode, Act: c.Act, Since: was.Since, Until: c.Until,
		Reason: c.Reason, Ticket: c.Ticket, ActorKind: c.ActorKind, Actor: c.Actor,
		CapPerHour: c.CapPerHour, Decision: c.Decision,
		Revision: max(was.Revision+1, micros(now)), Changed: fromMicros(micros(now)), Sent: was.Sent,
	}
	a.LevelRevision = a.Revision
	if was.Level != c.Level || was.Since.IsZero() {
		a.Since = a.Changed
	}
	return a
}

// lockOutboundAccount reads an account that is to be changed; one that does not exist is normal and of revision 0.
func lockOutboundAccount(ctx context.Context, tx *sqldb.Tx, tenant TenantID, account string) (OutboundAccount, error) {
	query := `SELECT ` + outboundAccountColumns + ` FROM outbound_accounts WHERE tenant_id = $1 AND account = $2` + tx.ForUpdate()
	a := OutboundAccount{Tenant: tenant, Account: account, Level: LevelNormal}
	err := tx.Each(ctx, query, []any{string(tenant), account}, func(scan sqldb.Scan) (err error) {
		a, err = scanOutboundAccount(scan)
		return err
	})
	return a, err
}

// putOutboundAccount writes an account whose revision is still the one that was read.
func putOutboundAccount(ctx context.Context, tx *sqldb.Tx, a OutboundAccount, was int64) error {
	const query = `INSERT INTO outbound_accounts (` + outboundAccountColumns + `)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18)
		ON CONFLICT (tenant_id, account) DO UPDATE SET level = excluded.level, mode = excluded.mode, act = excluded.act,
		since_us = excluded.since_us, until_us = excluded.until_us, reason = excluded.reason, ticket = excluded.ticket,
		actor_kind = excluded.actor_kind, actor = excluded.actor, cap_per_hour = excluded.cap_per_hour,
		decision_at_us = excluded.decision_at_us,
		decision_id = excluded.decision_id, revision = excluded.revision, level_revision = excluded.level_revision,
		changed_us = excluded.changed_us
		WHERE outbound_accounts.revision = $19`
	n, err := tx.Exec(ctx, query, string(a.Tenant), a.Account, a.Level, a.Mode, a.Act, microsOrNull(a.Since), microsOrNull(a.Until),
		a.Reason, a.Ticket, a.ActorKind, a.Actor, a.CapPerHour, microsOrNull(a.Decision.At),
		a.Decision.ID, a.Revision, a.LevelRevision, microsOrNull(a.Changed), microsOrNull(a.Sent), was)
	if err == nil && n == 0 {
		err = ErrConflict
	}
	return err
}

package admin

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/store"
)

// Suspend stops the sending of an account by hand, or makes an automatic stop one by hand. auth.ErrForbidden,
// store.ErrNotFound, store.ErrConflict when the account is another one than was seen, or a *Refused for bad input and for what an
// operator has stopped; so do all acts.
func (o *Outbound) Suspend(ctx context.Context, p auth.Principal, account string, w wire.OutboundSuspend) (wire.OutboundAccount, error) {
	until, err := o.until(w.Hours)
	if err != nil {
		return wire.OutboundAccount{}, err
	}
	return o.act(ctx, p, account, "suspend", w.OutboundAct, func(_ *store.OutboundAccount, c *store.OutboundChange) error {
		c.Level, c.Until, c.CapPerHour = store.LevelHardLimit, until, 0
		return nil
	})
}

// defaultProbationHours is how long a soft limit stays after a release.
const defaultProbationHours = 24

// Release ends a stop or a limit. The account is then under a soft limit for a probation, 24 hours unless told otherwise.
func (o *Outbound) Release(ctx context.Context, p auth.Principal, account string, w wire.OutboundRelease) (wire.OutboundAccount, error) {
	hours := defaultProbationHours
	if w.ProbationHours != nil {
		hours = *w.ProbationHours
	}
	until, err := o.until(hours)
	if err == nil && hours == 0 && w.CapPerHour > 0 {
		err = refuse("cap_alone")
	}
	if err != nil {
		return wire.OutboundAccount{}, err
	}
	return o.act(ctx, p, account, "release", w.OutboundAct, func(a *store.OutboundAccount, c *store.OutboundChange) error {
		if a.Level == store.LevelNormal {
			return refuse(notLimited, a.Account)
		}
		c.Level, c.Until, c.CapPerHour = store.LevelNormal, time.Time{}, 0
		if hours > 0 {
			c.Level, c.Until, c.CapPerHour = store.LevelSoftLimit, until, w.CapPerHour
		}
		return nil
	})
}

// Extend changes when a stop or a limit ends by itself.
func (o *Outbound) Extend(ctx context.Context, p auth.Principal, account string, w wire.OutboundExtend) (wire.OutboundAccount, error) {
	until, err := o.until(w.Hours)
	if err != nil {
		return wire.OutboundAccount{}, err
	}
	return o.act(ctx, p, account, "extend", w.OutboundAct, func(a *store.OutboundAccount, c *store.OutboundChange) error {
		if a.Level == store.LevelNormal {
			return refuse(notLimited, a.Account)
		}
		c.Until, c.Decision = until, a.Decision
		return nil
	})
}

// Limit puts an account under a soft limit by hand.
func (o *Outbound) Limit(ctx context.Context, p auth.Principal, account string, w wire.OutboundLimitAct) (wire.OutboundAccount, error) {
	until, err := o.until(w.Hours)
	if err != nil {
		return wire.OutboundAccount{}, err
	}
	return o.act(ctx, p, account, "limit", w.OutboundAct, func(_ *store.OutboundAccount, c *store.OutboundChange) error {
		c.Level, c.Until, c.CapPerHour = store.LevelSoftLimit, until, w.CapPerHour
		return nil
	})
}

// SetMode gives an account a mode of its own, or takes it away. It needs auth.ManageOutbound; the mode off is for operators only.
func (o *Outbound) SetMode(ctx context.Context, p auth.Principal, account string, w wire.OutboundMode) (wire.OutboundAccount, error) {
	mode, err := ownMode(w.Mode)
	if err != nil {
		return wire.OutboundAccount{}, err
	}
	if !p.Can(auth.ManageOutbound) {
		return wire.OutboundAccount{}, auth.ErrForbidden
	}
	return o.act(ctx, p, account, store.ActMode, w.OutboundAct, func(a *store.OutboundAccount, c *store.OutboundChange) error {
		c.Mode = mode
		_, becomes, err := o.modesAround(ctx, a, mode)
		if err != nil {
			return err
		}
		return mayBecome(p, becomes)
	})
}

func ownMode(text string) (string, error) {
	switch text {
	case "off", "shadow", "enforce":
		return text, nil
	case "default":
		return "", nil
	}
	return "", refuse("mode_word")
}

// mayBecome is *Refused where somebody who does not see all tenants makes the mode off: what operators stop would go out.
func mayBecome(p auth.Principal, mode policy.Mode) error {
	if mode == policy.Off && !p.Scope().All {
		return refuse("mode_off")
	}
	return nil
}

// operatorKind is the actor kind of who sees all tenants, in the rows of accounts and domains.
const operatorKind = "operator"

func actorKind(p auth.Principal) string {
	if p.Scope().All {
		return operatorKind
	}
	return string(p.Kind)
}

// mayUndo tells whether a stop that an actor of this kind made is the principal's to change.
func mayUndo(p auth.Principal, kind string) bool { return p.Scope().All || kind != operatorKind }

// actTries is how often an act is decided again because the account changed meanwhile.
const actTries = 3

// act authorises, and changes, audits and notifies in one transaction. change sees the account as it is and says what it becomes.
func (o *Outbound) act(ctx context.Context, p auth.Principal, account, verb string, w wire.OutboundAct,
	change func(*store.OutboundAccount, *store.OutboundChange) error,
) (wire.OutboundAccount, error) {
	if !p.Can(auth.StopOutbound) {
		return wire.OutboundAccount{}, auth.ErrForbidden
	}
	if err := checkReason(w.Reason); err != nil {
		return wire.OutboundAccount{}, err
	}
	for try := 1; ; try++ {
		is, err := o.tryAct(ctx, p, account, verb, w, change)
		if errors.Is(err, store.ErrConflict) && w.Revision == 0 && try < actTries {
			continue
		}
		if err != nil {
			return wire.OutboundAccount{}, err
		}
		return accountWire(p, *is), nil
	}
}

// tellAct tells administrators of a change of level or mode; nothing for other acts.
func tellAct(verb string, was, is store.OutboundAccount, c *store.OutboundChange) notify.Notice {
	kinds := map[string]notify.Kind{
		"suspend": notify.SuspendedByHand, "limit": notify.LimitedByHand, "release": notify.Released, store.ActMode: notify.ModeChanged,
	}
	action := policy.Allow
	if is.Level == store.LevelHardLimit {
		action = policy.RefuseSuspended
	}
	return notify.Notice{Tenant: is.Tenant, Account: is.Account, Kind: kinds[verb], Facts: notify.Facts{
		Action: string(action), LevelBefore: was.Level, LevelAfter: is.Level, Reason: c.Reason, By: c.Actor, Until: is.Until,
	}}
}

func (o *Outbound) tryAct(ctx context.Context, p auth.Principal, account, verb string, w wire.OutboundAct,
	change func(*store.OutboundAccount, *store.OutboundChange) error,
) (is *store.OutboundAccount, err error) {
	was, err := o.find(ctx, p, account)
	if err != nil {
		return nil, err
	}
	if w.Revision != 0 && w.Revision != was.Revision {
		return nil, store.ErrConflict
	}
	if was.Level == store.LevelHardLimit && !mayUndo(p, was.ActorKind) {
		return nil, refuse(operatorStopped, was.Account)
	}
	c := was.Change(verb)
	c.Reason, c.Ticket = strings.TrimSpace(w.Reason), strings.TrimSpace(w.Ticket)
	c.ActorKind, c.Actor = actorKind(p), p.Actor()
	if err := change(was, &c); err != nil {
		return nil, err
	}
	before, after, err := o.modesAround(ctx, was, c.Mode)
	if err != nil {
		return nil, err
	}
	return o.store.ActOnOutboundAccount(ctx, c, func(was, is store.OutboundAccount) (store.Beside, error) {
		notice := tellAct(verb, was, is, &c)
		if verb == store.ActMode {
			notice.Facts.ModeBefore, notice.Facts.Mode = string(before), string(after)
		}
		return traces(ctx, p, store.AuditEntry{
			Tenant: is.Tenant, Action: "outbound_account." + verb, Target: is.Account, Reason: c.Reason,
		}, accountWire(p, was), accountWire(p, is), notice)
	})
}

// modesAround are the modes that hold for an account now and with another mode of its own.
func (o *Outbound) modesAround(ctx context.Context, a *store.OutboundAccount, own string) (before, after policy.Mode, err error) {
	if before, err = o.effectiveMode(ctx, a); err != nil {
		return "", "", err
	}
	b := *a
	b.Mode = own
	after, err = o.effectiveMode(ctx, &b)
	return before, after, err
}

// Forget deletes what is kept of an account's sending. It needs auth.ManageOutbound. A stop or limit stays.
func (o *Outbound) Forget(ctx context.Context, p auth.Principal, account, reason string) (wire.OutboundForgotten, error) {
	if !p.Can(auth.ManageOutbound) {
		return wire.OutboundForgotten{}, auth.ErrForbidden
	}
	if err := checkReason(reason); err != nil {
		return wire.OutboundForgotten{}, err
	}
	a, err := o.find(ctx, p, account)
	if err != nil {
		return wire.OutboundForgotten{}, err
	}
	n, err := o.store.ForgetOutbound(ctx, a.Tenant, a.Account)
	if err != nil {
		return wire.OutboundForgotten{}, err
	}
	notices, err := o.store.ForgetNotices(ctx, a.Tenant, a.Account)
	if err != nil {
		return wire.OutboundForgotten{}, err
	}
	done := wire.OutboundForgotten{Rows: n + notices}
	entry, err := auditEntry(ctx, p, store.AuditEntry{
		Tenant: a.Tenant, Action: "outbound_account.forget", Target: a.Account, Reason: reason,
	}, nil, done)
	if err != nil {
		return done, err
	}
	return done, o.store.Audit(ctx, entry)
}

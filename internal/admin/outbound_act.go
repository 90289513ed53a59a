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
		err = refuse("a cap needs a probation: give its hours too")
	}
	if err != nil {
		return wire.OutboundAccount{}, err
	}
	return o.act(ctx, p, account, "release", w.OutboundAct, func(a *store.OutboundAccount, c *store.OutboundChange) error {
		if a.Level == store.LevelNormal {
			return refuse("%s is neither stopped nor limited", a.Account)
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
			return refuse("%s is neither stopped nor limited", a.Account)
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
		becomes, err := o.effectiveMode(ctx, &store.OutboundAccount{Tenant: a.Tenant, Account: a.Account, Mode: mode})
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
	return "", refuse("a mode is off, shadow, enforce or default")
}

// mayBecome is *Refused where somebody who does not see all tenants makes the mode off: what operators stop would go out.
func mayBecome(p auth.Principal, mode policy.Mode) error {
	if mode == policy.Off && !p.Scope().All {
		return refuse("only operators of the installation can set the mode off: shadow judges without refusing")
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

// act authorises, changes, audits and notifies. change sees the account as it is and says what it becomes.
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
		was, is, err := o.tryAct(ctx, p, account, verb, w, change)
		if errors.Is(err, store.ErrConflict) && w.Revision == 0 && try < actTries {
			continue
		}
		if err != nil {
			return wire.OutboundAccount{}, err
		}
		after := accountWire(p, *is)
		err = o.auditOutbound(ctx, p, store.AuditEntry{
			Tenant: is.Tenant, Action: "outbound_account." + verb, Target: is.Account, Reason: w.Reason,
		}, accountWire(p, *was), after)
		if err != nil {
			return after, err
		}
		return after, o.notifyAct(ctx, verb, was, is)
	}
}

// notifyAct tells administrators of a change of level.
func (o *Outbound) notifyAct(ctx context.Context, verb string, was, is *store.OutboundAccount) error {
	kinds := map[string]notify.Kind{"suspend": notify.SuspendedByHand, "limit": notify.LimitedByHand, "release": notify.Released}
	kind, told := kinds[verb]
	if !told {
		return nil
	}
	action := policy.Allow
	if is.Level == store.LevelHardLimit {
		action = policy.RefuseSuspended
	}
	return notify.Enqueue(ctx, o.store, notify.Notice{Tenant: is.Tenant, Account: is.Account, Kind: kind, Facts: notify.Facts{
		Action: string(action), LevelBefore: was.Level, LevelAfter: is.Level, Reason: is.Reason, By: is.Actor, Until: is.Until,
	}})
}

func (o *Outbound) tryAct(ctx context.Context, p auth.Principal, account, verb string, w wire.OutboundAct,
	change func(*store.OutboundAccount, *store.OutboundChange) error,
) (was, is *store.OutboundAccount, err error) {
	was, err = o.find(ctx, p, account)
	if err != nil {
		return nil, nil, err
	}
	if w.Revision != 0 && w.Revision != was.Revision {
		return nil, nil, store.ErrConflict
	}
	if was.Level == store.LevelHardLimit && !mayUndo(p, was.ActorKind) {
		return nil, nil, refuse("%s was stopped by an operator of the installation: only they can change that", was.Account)
	}
	c := was.Change(verb)
	c.Reason, c.Ticket = strings.TrimSpace(w.Reason), strings.TrimSpace(w.Ticket)
	c.ActorKind, c.Actor = actorKind(p), p.Actor()
	if err := change(was, &c); err != nil {
		return nil, nil, err
	}
	is, err = o.store.ChangeOutboundAccount(ctx, c)
	return was, is, err
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
	return done, o.auditOutbound(ctx, p, store.AuditEntry{
		Tenant: a.Tenant, Action: "outbound_account.forget", Target: a.Account, Reason: reason,
	}, nil, done)
}

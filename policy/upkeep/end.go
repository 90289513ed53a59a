package upkeep

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/store"
)

// actor is who ends what ends by itself, as in the history.
const (
	actorKind = "engine"
	actor     = "upkeep"
	page      = 100
)

// EndDue ends what has come to its time: a stopped account may send again under a soft limit, a limited one is normal, and
// a stopped domain is released. Administrators are told.
func (u *Upkeep) EndDue(ctx context.Context) error {
	return errors.Join(u.endAccounts(ctx), u.endDomains(ctx))
}

func (u *Upkeep) endAccounts(ctx context.Context) error {
	for {
		due, err := u.store.DueAccounts(ctx, u.now(), page)
		if err != nil {
			return fmt.Errorf("accounts whose time is over: %w", err)
		}
		for i := range due {
			if err := u.endAccount(ctx, &due[i]); err != nil {
				return fmt.Errorf("end the %s of %s: %w", due[i].Level, due[i].Account, err)
			}
		}
		if len(due) < page {
			return nil
		}
	}
}

// endAccount does nothing when somebody has changed the account meanwhile.
func (u *Upkeep) endAccount(ctx context.Context, a *store.OutboundAccount) error {
	c, kind, what := a.Change("recover"), notify.Normal, "limit"
	c.Level = store.LevelNormal
	if a.Level == store.LevelHardLimit {
		c, kind, what = a.Change("auto_reenable"), notify.Reenabled, "stop"
		c.Level = store.LevelSoftLimit
	}
	c.Until, c.CapPerHour = time.Time{}, 0
	c.Reason, c.ActorKind, c.Actor = "its time was over", actorKind, actor
	made, err := u.store.ActOnOutboundAccount(ctx, c, func(was, is store.OutboundAccount) (store.Beside, error) {
		return beside(notify.Notice{Tenant: is.Tenant, Account: is.Account, Kind: kind, Facts: notify.Facts{
			LevelBefore: was.Level, LevelAfter: is.Level, Action: "allow",
		}})
	})
	if errors.Is(err, store.ErrConflict) {
		return nil
	}
	if err != nil {
		return err
	}
	u.ended.WithLabelValues(what).Inc()
	u.log.Info("time of a level is over", "account", made.Account, "tenant_id", string(made.Tenant), "from", a.Level, "to", made.Level)
	return nil
}

// beside is a notice for the transaction of what it tells.
func beside(n notify.Notice) (store.Beside, error) {
	row, err := n.Row()
	return store.Beside{Notice: &row}, err
}

func (u *Upkeep) endDomains(ctx context.Context) error {
	for after := ""; ; {
		list, err := u.store.StoppedDomains(ctx, store.System, after, page)
		if err != nil {
			return fmt.Errorf("domains whose time is over: %w", err)
		}
		for _, d := range list {
			if d.Until.IsZero() || d.Until.After(u.now()) {
				continue
			}
			if err := u.endDomain(ctx, d); err != nil {
				return fmt.Errorf("end the stop of %s: %w", d.Domain, err)
			}
		}
		if len(list) < page {
			return nil
		}
		after = list[len(list)-1].Domain
	}
}

// endDomain does nothing when somebody has released the domain meanwhile, or stopped it for longer.
func (u *Upkeep) endDomain(ctx context.Context, d store.DomainStop) error {
	d.Reason, d.Ticket, d.ActorKind, d.Actor = "its time was over", "", actorKind, actor
	err := u.store.ReleaseDomain(ctx, d, func(was *store.DomainStop) (store.Beside, error) {
		if !was.Until.Equal(d.Until) {
			return store.Beside{}, store.ErrConflict
		}
		return beside(notify.Notice{Tenant: d.Tenant, Account: "@" + d.Domain, Kind: notify.DomainReleased, Facts: notify.Facts{
			LevelBefore: store.LevelHardLimit, LevelAfter: store.LevelNormal, Action: "allow",
		}})
	})
	if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrConflict) {
		return nil
	}
	if err != nil {
		return err
	}
	u.ended.WithLabelValues("domain").Inc()
	u.log.Info("time of a domain's stop is over", "domain", d.Domain, "tenant_id", string(d.Tenant))
	return nil
}

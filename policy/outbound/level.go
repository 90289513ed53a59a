package outbound

import (
	"context"
	"errors"
	"time"

	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/store"
)

// What the engine does to an account's row, as store.OutboundChange.Act has it.
const (
	actSuspend  = "auto_suspend"
	actLimit    = "auto_limit"
	actReenable = "auto_reenable"
	actRecover  = "recover"
)

// actorEngine is the kind of actor of a change that nobody made.
const actorEngine = "engine"

// levelChange is a level that the engine has given an account, to be written to the database.
type levelChange struct {
	sender   sender
	level    policy.Level
	act      string
	until    time.Time
	decision store.LogKey
	// revision is the LevelRevision of the row, the one that was known when it was decided.
	revision int64
	// again says that the stop was decided earlier, and may have been ended since.
	again  bool
	reason string
	notice notify.Notice
}

// follow does what follows from a decision: a change of level is written to the database, by one node only, and told.
func (g *Gate) follow(s sender, o *outcome, row store.OutboundDecision) {
	d := &o.decision
	notice := o.notice(s, row)
	if d.Before == d.After {
		if g.notify != nil && o.isTold(s) {
			g.notify(notice)
		}
		if d.Action == policy.RefuseSuspended && d.Reason == policy.ReasonSuspended {
			g.heal(s, o, row, notice)
		}
		return
	}
	g.writer.setLevel(g.changeOf(s, o, d.Before, row, notice))
}

// isTold tells whether administrators hear of a decision that changes no level: a stop that lacks evidence, and in shadow what would have
// been a stop or a limit. The state of the account has that level then, and says so once.
func (o *outcome) isTold(s sender) bool {
	switch o.decision.Notice {
	case policy.NoticeSuspended, policy.NoticeSoftLimit:
		return o.mode(s) == policy.Shadow
	case policy.NoticeUncorroborated:
		return o.mode(s) != policy.Off
	}
	return false
}

// actions are what senders meet at a level.
var actions = map[policy.Level]policy.Action{policy.HardLimit: policy.RefuseSuspended, policy.SoftLimit: policy.RefuseRate}

// notice is what administrators are to be told of a decision, if anything.
func (o *outcome) notice(s sender, row store.OutboundDecision) notify.Notice {
	d := &o.decision
	facts := notify.Facts{
		Shadow: d.After == policy.Normal && d.Notice != policy.NoticeNormal, Action: string(actions[d.After]), LevelAfter: string(d.After),
		ScoreMicro: d.Score, DecisionID: row.ID,
	}
	if d.Explanation != nil {
		facts.Counts.RecipientsHour = d.Explanation.Recipients.Hour
	}
	return notify.Notice{Tenant: s.tenant, Account: string(s.account), Kind: notify.Kind(d.Notice), Facts: facts}
}

func (g *Gate) changeOf(s sender, o *outcome, before policy.Level, row store.OutboundDecision, notice notify.Notice) levelChange {
	c := levelChange{
		sender: s, level: o.decision.After, revision: o.revision, decision: row.LogKey, reason: "decided by the engine", notice: notice,
	}
	switch c.level {
	case policy.HardLimit:
		c.act = actSuspend
		if h := g.reenableAfter(); h > 0 {
			c.until = row.At.Add(h)
		}
	case policy.SoftLimit:
		c.act = actLimit
		if before == policy.HardLimit {
			c.act = actReenable
		}
	default:
		c.act = actRecover
	}
	return c
}

func (g *Gate) reenableAfter() time.Duration {
	g.settings.Lock()
	defer g.settings.Unlock()
	return time.Duration(g.options.AutoReenableAfterHours) * time.Hour
}

// heal writes a stop to the database that is not there: whoever decided it came to no end.
func (g *Gate) heal(s sender, o *outcome, row store.OutboundDecision, notice notify.Notice) {
	if r, ok := g.standing.Load().row(s); ok && policy.Level(r.Level) == policy.HardLimit {
		return
	}
	notice.Kind = notify.Suspended
	c := g.changeOf(s, o, policy.Normal, row, notice)
	c.again = true
	g.writer.setLevel(c)
}

// outdated tells whether a row that the decision did not know of counts more: what a person did, a stricter level that
// another node gave, or any level when this one only writes again what it had decided before. The next event of the account
// learns of it.
func (c *levelChange) outdated(row *store.OutboundAccount) bool {
	return row.LevelRevision > c.revision && (row.ActorKind != actorEngine || c.again || rank(policy.Level(row.Level)) > rank(c.level))
}

// of is the change of an account's row.
func (c levelChange) of(row *store.OutboundAccount) store.OutboundChange {
	change := row.Change(c.act)
	change.Level, change.Until, change.Decision, change.Reason = string(c.level), c.until, c.decision, c.reason
	change.ActorKind, change.Actor, change.CapPerHour = actorEngine, "outbound", 0
	return change
}

// writeLevel puts a level into the database by compare and set, so that of several nodes one changes it.
func (g *Gate) writeLevel(ctx context.Context, db *store.Store, c levelChange) error {
	for range 3 {
		row, err := db.OutboundAccount(ctx, store.Scope{Tenant: c.sender.tenant}, string(c.sender.account))
		if errors.Is(err, store.ErrNotFound) {
			row, err = &store.OutboundAccount{Tenant: c.sender.tenant, Account: string(c.sender.account), Level: store.LevelNormal}, nil
		}
		if err != nil {
			return err
		}
		over := row.Level == string(c.level) && ranOut(row, g.now().Add(-g.policy.Load().CleanTime()))
		if row.Level == string(c.level) && !over || c.outdated(row) {
			return nil
		}
		change := c.of(row)
		if over { // a limit begins anew, and is told, only from normal
			change = levelChange{level: policy.Normal, act: actRecover, reason: "no breach was known of for its clean hours"}.of(row)
		}
		made, err := db.ActOnOutboundAccount(ctx, change, func(_, _ store.OutboundAccount) (store.Beside, error) {
			if over {
				return store.Beside{}, nil
			}
			return g.beside(c.notice)
		})
		if over && err == nil || errors.Is(err, store.ErrConflict) {
			continue
		}
		if err != nil {
			return err
		}
		g.learn(c.sender, made)
		g.metrics.levels.WithLabelValues(c.act).Inc()
		g.log.Warn("level of an account changed", "account", made.Account, "tenant_id", string(made.Tenant), "act", c.act, "level", made.Level,
			"decision", c.decision.ID)
		return nil
	}
	return nil // others keep changing it: what they decide holds
}

// beside is the notice for the transaction of the level that it tells; none where nobody is told.
func (g *Gate) beside(n notify.Notice) (store.Beside, error) {
	if g.notify == nil || n.Kind == "" {
		return store.Beside{}, nil
	}
	row, err := n.Row()
	return store.Beside{Notice: &row}, err
}

// learn notes what this node has just written, so that it is not taken for the act of another.
func (g *Gate) learn(s sender, row *store.OutboundAccount) {
	if e := g.states.holdKnown(s.account); e != nil {
		if st, err := policy.ParseState(e.state); err == nil && policy.Level(row.Level) == st.Level() && row.LevelRevision > e.revision {
			e.revision = row.LevelRevision
			e.journalled, e.stored = false, false
		}
		g.states.release(e)
	}
}

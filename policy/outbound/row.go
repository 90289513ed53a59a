package outbound

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// row is what is kept of a decision for people and for replay.
func (g *Gate) row(s sender, kind string, o *outcome) store.OutboundDecision {
	d := &o.decision
	row := store.OutboundDecision{
		LogKey: store.LogKey{At: g.now(), ID: store.NewLogID()}, Tenant: s.tenant, Account: string(s.account), Kind: kind,
		Action: string(d.Action), Reason: string(d.Reason), LevelBefore: string(d.Before), LevelAfter: string(d.After),
		Would: string(d.Would), WouldLevel: string(d.WouldLevel), ScoreMicro: d.Score, PolicyHash: o.policy.Hash(), Mode: string(o.mode(s)),
	}
	if d.Explanation != nil {
		// It holds numbers and words only, which can be encoded.
		raw, _ := json.Marshal(d.Explanation)
		row.Explanation = string(raw)
	}
	return row
}

// mode is the one that was in force.
func (o *outcome) mode(s sender) policy.Mode {
	if o.event.Mode != "" {
		return o.event.Mode
	}
	return o.policy.Mode(string(s.tenant), s.account)
}

// keep logs and counts a decision, gives its row to the writer, and has a change of level made in the database.
func (g *Gate) keep(s sender, o *outcome, row store.OutboundDecision) {
	d := &o.decision
	g.metrics.decisions.WithLabelValues(row.Kind, row.Action).Add(float64(max(o.count, 1)))
	if d.Would != d.Action {
		g.metrics.shadowed.WithLabelValues(row.Kind, row.Would).Inc()
	}
	level := slog.LevelInfo
	if row.Kind == kindRelease || row.Kind == kindBounce {
		level = slog.LevelDebug
	}
	if d.Before != d.After || row.Reply != "" {
		level = slog.LevelWarn
	}
	g.log.Log(context.Background(), level, "outbound decision",
		"kind", row.Kind, "account", row.Account, "tenant_id", string(row.Tenant), "client", row.Client, "country", o.event.Place.Country, "queue_id", row.QueueID,
		"action", row.Action, "would", row.Would, "reason", row.Reason, "mode", row.Mode, "level", row.LevelAfter,
		"level_before", row.LevelBefore, "score_micro", row.ScoreMicro, "rcpt_count", row.Recipients, "new_rcpt_count", row.NewRecipients,
		"refused_count", row.Refused, "size_bytes", row.SizeBytes, "alone", o.alone, "decision", row.ID, "count", max(o.count, 1))
	g.writer.add(row)
	g.follow(s, o, row)
}

// writeActs keeps rows of what people, or other nodes, did and the state of the account has learned of with this event.
func (g *Gate) writeActs(s sender, o *outcome) {
	for i := range o.acts {
		act := &o.acts[i]
		kind := "level"
		switch act.event.Kind {
		case policy.KindStop:
			kind = "stop"
		case policy.KindReenable:
			kind = "reenable"
		}
		row := g.row(s, kind, act)
		row.Event = act.record(nil)
		g.metrics.decisions.WithLabelValues(kind, row.Action).Inc()
		g.writer.add(row)
	}
}

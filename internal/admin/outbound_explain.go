package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// ExplainWish says what is to be explained, and to whom.
type ExplainWish struct {
	// Decision is the id of a decision; empty is the one that brought the account to where it is, else the latest that
	// did not let mail through, else the latest.
	Decision string
	// Language of the text is "ja", and English for anything else; Location is for its times, nil is UTC.
	Language string
	Location *time.Location
}

// Bounds of an explanation.
const (
	explainBefore   = 3 * time.Hour // of the series
	explainAfter    = time.Hour
	evidenceBefore  = time.Hour
	evidenceAfter   = time.Minute // a message that was under way ends a little later
	maxGroups       = 10
	maxEvidence     = 20
	maxPlaces       = 20
	maxHistoryLooks = 50
)

// Explain says why an account was stopped, or why one decision was as it was. It needs auth.ExplainOutbound. What is known
// of a stop or limit is told even when the decision behind it is kept no more. store.ErrNotFound, also when nothing was ever
// decided about an account that is let through.
func (o *Outbound) Explain(ctx context.Context, p auth.Principal, account string, w ExplainWish) (wire.OutboundExplanation, error) {
	if !p.Can(auth.ExplainOutbound) {
		return wire.OutboundExplanation{}, auth.ErrForbidden
	}
	a, err := o.find(ctx, p, account)
	if err != nil {
		return wire.OutboundExplanation{}, err
	}
	d, err := o.toExplain(ctx, a, w.Decision)
	if err != nil {
		return wire.OutboundExplanation{}, err
	}
	x := o.newExplanation(p, a)
	at := a.Since
	if d != nil {
		at = d.At
		shown := decisionWire(*d)
		x.Decision, x.Reply, x.Score = &shown, d.Reply, shown.Score
		if err := readExplanation(&x, d.Explanation); err != nil {
			return x, fmt.Errorf("explanation of decision %s: %w", shown.ID, err)
		}
	}
	if x.Reply == "" && a.Level == store.LevelHardLimit {
		x.Reply = policy.TextSuspended
	}
	if err := o.addEvidence(ctx, a, at, &x); err != nil {
		return x, err
	}
	tell(&x, w.Language, w.Location)
	return x, nil
}

// toExplain finds the decision to explain; nil when a person brought the account to where it is, or the decision is
// kept no more: later ones do not tell why it is there.
func (o *Outbound) toExplain(ctx context.Context, a *store.OutboundAccount, id string) (*store.OutboundDecision, error) {
	sc := store.Scope{Tenant: a.Tenant}
	if id != "" {
		key, err := ParseLogID(id)
		if err != nil {
			return nil, err
		}
		d, err := o.store.OutboundDecision(ctx, sc, key)
		if err == nil && d.Account != a.Account {
			err = store.ErrNotFound
		}
		return d, err
	}
	key, byHand, err := o.cause(ctx, a)
	if err != nil || byHand {
		return nil, err
	}
	if !key.IsZero() {
		d, err := o.store.OutboundDecision(ctx, sc, key)
		if errors.Is(err, store.ErrNotFound) {
			return nil, nil //nolint:nilnil // kept no more
		}
		return d, err
	}
	if a.Level != store.LevelNormal {
		return nil, nil //nolint:nilnil // all that was kept of its sending was deleted
	}
	for _, limited := range []bool{true, false} {
		list, err := o.store.OutboundDecisions(ctx, sc, store.DecisionFilter{Account: a.Account, Limited: limited, Limit: 1})
		if err != nil {
			return nil, err
		}
		if len(list) > 0 {
			return &list[0], nil
		}
	}
	return nil, store.ErrNotFound
}

// cause finds what last stopped or limited an account: a decision, or a person.
func (o *Outbound) cause(ctx context.Context, a *store.OutboundAccount) (decision store.LogKey, byHand bool, err error) {
	if !a.Decision.IsZero() {
		return a.Decision, false, nil
	}
	events, err := o.store.OutboundHistory(ctx, store.Scope{Tenant: a.Tenant}, "account", a.Account, store.LogKey{}, maxHistoryLooks)
	for _, e := range events {
		switch {
		case !e.Decision.IsZero():
			return e.Decision, false, err
		case e.Act == "suspend" || e.Act == "limit":
			return store.LogKey{}, true, err
		}
	}
	return store.LogKey{}, false, err
}

// newExplanation is an explanation that says nothing yet.
func (o *Outbound) newExplanation(p auth.Principal, a *store.OutboundAccount) wire.OutboundExplanation {
	x := wire.OutboundExplanation{
		Account: accountWire(p, *a), Factors: []wire.OutboundFactor{}, Evidence: []wire.OutboundEvidence{}, Corroborators: []string{},
		Unknown: []string{}, Degraded: []string{}, Groups: []wire.OutboundGroup{}, Places: []wire.OutboundPlace{},
		Series: wire.OutboundSeries{Columns: []wire.OutboundColumn{}},
	}
	if o.engine != nil {
		options, _ := o.engine.InForce()
		thresholds := options.WithDefaults().Thresholds
		x.SoftAt, x.HardAt = thresholds.Soft, thresholds.Hard
	}
	return x
}

// readExplanation fills in what the engine said; nothing for an empty text.
func readExplanation(x *wire.OutboundExplanation, text string) error {
	if text == "" {
		return nil
	}
	var said policy.Explanation
	if err := json.Unmarshal([]byte(text), &said); err != nil {
		return err
	}
	fillExplanation(x, &said)
	return nil
}

func fillExplanation(x *wire.OutboundExplanation, said *policy.Explanation) {
	x.Score, x.ColdStart, x.Trust, x.Profile, x.Policy = fraction(said.Score), said.ColdStart, said.Trust, said.Profile, said.Policy
	x.Country = said.Country
	x.Corroborators = append(x.Corroborators, said.Corroborators...)
	x.Unknown = append(x.Unknown, said.Unknown...)
	x.Degraded = append(x.Degraded, said.Degraded...)
	if l := said.Limit; l != nil {
		x.Limit = &wire.OutboundLimit{Reason: string(l.Reason), Count: l.Count, Max: l.Max}
	}
	x.Hour = wire.OutboundWindow{Messages: said.Messages.Hour, Recipients: said.Recipients.Hour, NewRecipients: said.New.Hour}
	x.Day = wire.OutboundWindow{Messages: said.Messages.Day, Recipients: said.Recipients.Day, NewRecipients: said.New.Day}
	sums, shares := map[string]int64{}, map[string]int64{}
	for _, e := range said.Evidence {
		sums[e.Factor] += e.Value
	}
	for _, f := range said.Factors {
		shares[f.Name] = f.Share
		x.Factors = append(x.Factors, wire.OutboundFactor{
			Name: f.Name, Value: fraction(f.Value), Weight: fraction(f.Weight), Share: fraction(f.Share),
		})
	}
	for _, e := range said.Evidence {
		w := wire.OutboundEvidence{
			Name: e.Name, Factor: e.Factor, Value: fraction(e.Value), Raw: measured(e.Raw, e.Unit), Usual: measured(e.Usual, e.Unit),
			Limit: measured(e.Limit, e.Unit), Unit: e.Unit, WindowSeconds: e.WindowSeconds, Fingerprint: padded(e.Fingerprint),
			Kind: e.Kind, Countries: e.Countries,
		}
		if sum := sums[e.Factor]; sum > 0 {
			w.Share = fraction(shares[e.Factor]) * float64(e.Value) / float64(sum)
		}
		x.Evidence = append(x.Evidence, w)
	}
}

// measured is a number of the engine in its unit.
func measured(n int64, unit string) float64 {
	if unit == "score" || unit == "share" {
		return fraction(n)
	}
	return float64(n)
}

// addEvidence adds what the account did around a time.
func (o *Outbound) addEvidence(ctx context.Context, a *store.OutboundAccount, at time.Time, x *wire.OutboundExplanation) error {
	if at.IsZero() {
		at = o.now()
	}
	sc, from, to := store.Scope{Tenant: a.Tenant}, at.Add(-explainBefore), at.Add(explainAfter)
	if now := o.now(); to.After(now) {
		to = now
	}
	var err error
	if x.Series, err = o.series(ctx, a, from, to, seriesStep); err != nil {
		return err
	}
	places, err := o.store.OutboundPlaces(ctx, sc, a.Account, from, to, maxPlaces)
	if err != nil {
		return err
	}
	for _, place := range places {
		x.Places = append(x.Places, wire.OutboundPlace{Client: place.Client, First: place.First, Last: place.Last, Messages: place.Messages})
	}
	return o.addGroups(ctx, sc, a.Account, at, x)
}

func (o *Outbound) addGroups(ctx context.Context, sc store.Scope, account string, at time.Time, x *wire.OutboundExplanation) error {
	from, to := at.Add(-evidenceBefore), at.Add(evidenceAfter)
	groups, err := o.store.OutboundGroups(ctx, sc, account, from, to, maxGroups)
	if err != nil {
		return err
	}
	room := maxEvidence
	for _, g := range groups {
		w := wire.OutboundGroup{
			Fingerprint: fingerprintText(g.Fingerprint), Count: g.Count, Recipients: g.Recipients, NewRecipients: g.NewRecipients,
			First: g.First, Last: g.Last, Messages: []wire.OutboundDecision{},
		}
		if take := min((room+1)/2, 10); take > 0 { // the largest group shows most
			list, err := o.store.OutboundDecisions(ctx, sc, store.DecisionFilter{Account: account, Text: &g.Fingerprint, From: from, To: to, Limit: take})
			if err != nil {
				return err
			}
			for _, d := range list {
				w.Messages = append(w.Messages, decisionWire(d))
			}
			room -= len(list)
		}
		x.Groups = append(x.Groups, w)
	}
	return nil
}

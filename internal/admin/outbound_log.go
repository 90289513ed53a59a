package admin

import (
	"context"
	"errors"
	"fmt"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// InForce gives the options with their defaults; false with the defaults alone when the engine is unknown.
func (o *Outbound) InForce() (policy.Options, bool) {
	if o.engine == nil {
		return policy.Options{}.WithDefaults(), false
	}
	options, _ := o.engine.InForce()
	return options.WithDefaults(), true
}

// DecisionLog lists the decisions about all accounts in scope, newest first; the filter's account is not looked at. It
// needs auth.ExplainOutbound.
func (o *Outbound) DecisionLog(ctx context.Context, p auth.Principal, f store.DecisionFilter) ([]wire.OutboundDecision, error) {
	if !p.Can(auth.ExplainOutbound) {
		return nil, auth.ErrForbidden
	}
	f.Account = ""
	rows, err := o.store.OutboundDecisions(ctx, p.Scope(), f)
	list := make([]wire.OutboundDecision, 0, len(rows))
	for _, d := range rows {
		list = append(list, decisionWire(d))
	}
	return list, err
}

// Gist is the sentence of Explain alone, for lists; where nothing is kept to be explained it says so. It needs
// auth.ExplainOutbound. store.ErrNotFound when there is no such account, or no such decision.
func (o *Outbound) Gist(ctx context.Context, p auth.Principal, account string, w ExplainWish) (string, error) {
	if !p.Can(auth.ExplainOutbound) {
		return "", auth.ErrForbidden
	}
	a, err := o.find(ctx, p, account)
	if err != nil {
		return "", err
	}
	d, err := o.toExplain(ctx, a, w.Decision)
	if err != nil && (w.Decision != "" || !errors.Is(err, store.ErrNotFound)) {
		return "", err
	}
	x := o.newExplanation(p, a)
	if d != nil {
		shown := decisionWire(*d)
		x.Decision = &shown
		if err := readExplanation(&x, d.Explanation); err != nil {
			return "", fmt.Errorf("explanation of decision %s: %w", shown.ID, err)
		}
	}
	tell(&x, w.Language, w.Location)
	return x.Sentence, nil
}

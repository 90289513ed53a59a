package ui

import (
	"fmt"
	"net/http"
	"time"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// whyView is what the page "why was this account stopped?" shows.
type whyView struct {
	Tenant              *tenantView
	Account, AccountURL string
	State               stateView
	// Stop tells that the page is about the last stop, else about one decision; ByHand that a person did it; Released
	// that the account may send again.
	Stop, ByHand, Released bool
	// Shadow is the mode when the decision did not take effect.
	Shadow string
	// Decided tells whether there is a decision. Without one Sentence says what is known of the stop.
	Decided, Profiled        bool
	Sentence                 string
	Score, ScoreText, StopAt string
	StopX                    int64
	Shares                   []share
	Factors                  []factorRow
	Plot                     *plot
	Evidence                 []evidenceGroup
	EvidenceText             string
	Unknowns, Checks         []string
	Reply                    string
	Facts                    decisionFacts
	Acts                     *actsView
}

// decisionFacts are the circumstances of a decision.
type decisionFacts struct {
	At time.Time
	// Would is the level after it in mode enforce, empty when that is After.
	Would                                        string
	Before, After, Mode, Client, MailFrom, Queue string
	Action, PolicyHash, Country                  string
}

// showWhy explains why an account was stopped, or one decision.
func (s *Server) showWhy(p *page) error { return s.why(p, http.StatusOK) }

// why shows the page, with what went wrong with an act.
func (s *Server) why(p *page, status int) error {
	decision := p.r.URL.Query().Get("decision")
	x, err := s.d.Outbound.Explain(p.ctx(), p.Who, p.r.PathValue("account"), admin.ExplainWish{
		Decision: decision, Language: p.Lang, Location: p.zone,
	})
	if err != nil {
		return err
	}
	a, err := s.d.Outbound.Account(p.ctx(), p.Who, x.Account.Account)
	if err != nil {
		return err
	}
	tenant, err := p.tenant(a.TenantID)
	if err != nil {
		return err
	}
	v := &whyView{
		Account: plain(a.Account), AccountURL: accountURL(a.Account), Tenant: tenant,
		State: p.newState(a.OutboundAccount, a.DomainStop), Acts: p.newActs(a.OutboundAccount), Checks: checks,
		Unknowns: unknowns(&x), Reply: x.Reply,
	}
	stopped := a.Level == store.LevelHardLimit
	v.Stop = decision == "" && (stopped || x.Decision == nil || x.Decision.LevelAfter == store.LevelHardLimit)
	v.ByHand, v.Released = v.Stop && x.Decision == nil && !x.Account.Automatic, v.Stop && !stopped
	if !v.ByHand { // what a person said is told beside the state
		v.Sentence = plain(x.Sentence)
	}
	if x.Decision != nil {
		v.explain(p, &x)
	}
	history, err := s.d.Outbound.History(p.ctx(), p.Who, a.Account, store.LogKey{}, historyLength)
	if err != nil {
		return err
	}
	v.Plot = p.newPlot(x.Series)
	v.Plot.addEvents(history)
	v.Plot.addPlaces(x.Places)
	v.Plot.Usual = usualHour(&x)
	if x.Profile == "" {
		v.Plot.Limit = int64(s.limits().UserPerHour)
	}
	v.evidence(p, &x)
	p.Title = p.T("outbound.why_decision")
	if v.Stop {
		p.Title = p.T("outbound.why_title")
	}
	return p.show(status, "why", v)
}

func (v *whyView) explain(p *page, x *wire.OutboundExplanation) {
	d := x.Decision
	v.Decided = true
	v.Facts = decisionFacts{
		At: d.At, Before: knownLevel(d.LevelBefore), After: knownLevel(d.LevelAfter), Mode: knownMode(d.Mode), Client: plain(d.Client),
		MailFrom: plain(d.MailFrom), Queue: plain(d.QueueID), Action: knownAction(d.Action), PolicyHash: plain(x.Policy),
		Country: p.country(x.Country),
	}
	if v.Facts.Mode == "" {
		v.Facts.Mode = string(policy.Enforce)
	}
	if d.Would != "" || d.WouldLevel != "" {
		v.Shadow = string(policy.Shadow)
	}
	if d.WouldLevel != "" {
		v.Facts.Would = knownLevel(d.WouldLevel)
	}
	v.Shares, v.Factors = shares(x), p.factorRows(x)
	v.Score, v.StopAt, v.StopX = scoreText(x.Score), scoreText(x.HardAt), permille(x.HardAt)
	v.ScoreText = p.T("outbound.score.text", "score", v.Score, "stop", v.StopAt)
}

// usualHour is the account's own peak of an hour; 0 when it is not known.
func usualHour(x *wire.OutboundExplanation) int64 {
	for _, e := range x.Evidence {
		if e.Name == "volume" && e.WindowSeconds == 3600 {
			return int64(e.Usual)
		}
	}
	return 0
}

// evidenceGroup are the messages of one text.
type evidenceGroup struct {
	Fingerprint          string
	Messages, Recipients int64
	Rows                 []evidenceRow
}

// evidenceRow is one message: facts of its envelope, never what it says.
type evidenceRow struct {
	At                                       time.Time
	URL, MailFrom, Spam, Size, Client, Queue string
	Country                                  string
	Recipients, New, Refused                 int64
}

// evidence lists the messages before the decision, the largest group of one text first.
func (v *whyView) evidence(p *page, x *wire.OutboundExplanation) {
	var shown, total int64
	for _, g := range x.Groups {
		group := evidenceGroup{Fingerprint: fmt.Sprintf("%.8s", plain(g.Fingerprint)), Messages: g.Count, Recipients: g.Recipients}
		for _, d := range g.Messages {
			group.Rows = append(group.Rows, p.evidenceRow(d))
			shown++
		}
		total += g.Count
		if len(group.Rows) > 0 {
			v.Evidence = append(v.Evidence, group)
		}
	}
	v.EvidenceText = p.T("outbound.evidence.shown", "n", p.Num(shown), "total", p.Num(total))
}

func (p *page) evidenceRow(d wire.OutboundDecision) evidenceRow {
	r := evidenceRow{
		At: d.At, URL: decisionURL(d.Account, d.ID), MailFrom: plain(d.MailFrom), Size: p.Size(d.SizeBytes), Client: plain(d.Client), Country: p.country(d.Country),
		Queue: plain(d.QueueID), Recipients: d.Recipients, New: d.NewRecipients, Refused: d.Refused + d.Bounced,
	}
	if d.SpamScore != nil {
		r.Spam = fmt.Sprintf("%.1f", *d.SpamScore)
	}
	return r
}

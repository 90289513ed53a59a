package ui

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// decisionsView is what the list of decisions of one account shows.
type decisionsView struct {
	Account string
	Limited bool
	Rows    []decisionRow
	Next    string
}

// decisionRow is one decision in a list.
type decisionRow struct {
	At                              time.Time
	URL, Account, AccountURL        string
	Action, Score, Client, MailFrom string
	Country, Queue                  string
	Recipients                      int64
	// Shadow is set when the action did not take effect.
	Shadow bool
}

// showDecisions lists the decisions about an account that is asked for, or about all.
func (s *Server) showDecisions(p *page) error {
	query := p.r.URL.Query()
	v := decisionsView{Account: mail.Clean(strings.ToLower(strings.TrimSpace(query.Get("account"))), maxAccount), Limited: query.Get("limited") == "1"}
	before, err := admin.ParseLogID(query.Get("before"))
	if err != nil {
		return err
	}
	read := s.d.Outbound.Decisions
	if v.Account == "" {
		read = s.d.Outbound.DecisionLog
	}
	list, err := read(p.ctx(), p.Who, store.DecisionFilter{Account: v.Account, Limited: v.Limited, Before: before, Limit: perPage + 1})
	if err != nil && !errors.Is(err, store.ErrNotFound) && p.refusal(err) == "" {
		return err
	}
	if len(list) > perPage {
		list = list[:perPage]
		next := url.Values{"account": {v.Account}, "before": {list[perPage-1].ID}}
		if v.Limited {
			next.Set("limited", "1")
		}
		v.Next = pathWith("/outbound/decisions", next)
	}
	v.Rows = p.decisionRows(list, "all")
	p.Title = p.T("outbound.decisions")
	return p.show(http.StatusOK, "decisions", v)
}

// decisionRows prepares decisions for a list; whose is empty when all are of one account.
func (p *page) decisionRows(list []wire.OutboundDecision, whose string) (rows []decisionRow) {
	for _, d := range list {
		row := decisionRow{
			At: d.At, URL: decisionURL(d.Account, d.ID), Action: knownAction(d.Action), Score: scoreText(d.Score),
			Client: plain(d.Client), Country: p.country(d.Country), MailFrom: plain(d.MailFrom), Queue: plain(d.QueueID), Recipients: d.Recipients,
		}
		if d.Would != "" {
			row.Action, row.Shadow = knownAction(d.Would), true
		}
		if whose != "" {
			row.Account, row.AccountURL = plain(d.Account), accountURL(d.Account)
		}
		rows = append(rows, row)
	}
	return rows
}

package ui

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// maxAccount is how long the name of an account is at most, in bytes.
const maxAccount = 320

// accountsView is what the list of accounts shows.
type accountsView struct {
	Query, Level string
	Levels       []string
	Searched     bool
	Rows         []accountRow
	Next         string
}

// accountRow is an account in a list.
type accountRow struct {
	Tenant                                *tenantView
	Account, URL, Level, Mode, Act, Score string
	Cause, Lasting                        string
	By                                    actor
	Sent, Changed, Since, Until           time.Time
}

// levels are those that can be chosen, the worst first.
var levels = []string{store.LevelHardLimit, store.LevelSoftLimit, store.LevelNormal}

// showAccounts lists those who send, all or those that are looked for.
func (s *Server) showAccounts(p *page) error {
	query := p.r.URL.Query()
	v := accountsView{Query: mail.Clean(strings.TrimSpace(query.Get("q")), maxAccount), Levels: levels}
	if level := query.Get("level"); level != "" {
		v.Level = knownLevel(level)
	}
	v.Searched = v.Query != "" || v.Level != ""
	list, err := s.d.Outbound.Accounts(p.ctx(), p.Who, store.OutboundFilter{
		Prefix: strings.ToLower(v.Query), Level: v.Level, Limit: perPage + 1,
		After: store.OutboundKey{Tenant: store.TenantID(query.Get("tenant")), Account: query.Get("after")},
	})
	if err != nil {
		return err
	}
	if len(list) > perPage {
		list = list[:perPage]
		last := list[perPage-1]
		v.Next = pathWith("/outbound/accounts", url.Values{
			"q": {v.Query}, "level": {v.Level}, "tenant": {last.TenantID}, "after": {last.Account},
		})
	}
	tenant, err := p.tenants(tenantsOf(list)...)
	if err != nil {
		return err
	}
	for _, a := range list {
		row, err := s.accountRow(p, a)
		if err != nil {
			return err
		}
		row.Tenant = tenant(a.TenantID)
		v.Rows = append(v.Rows, row)
	}
	p.Title = p.T("outbound.accounts")
	return p.show(http.StatusOK, "accounts", v)
}

// tenantsOf are the tenants of accounts.
func tenantsOf(list []wire.OutboundAccount) (ids []string) {
	for _, a := range list {
		ids = append(ids, a.TenantID)
	}
	return ids
}

func (s *Server) accountRow(p *page, a wire.OutboundAccount) (accountRow, error) {
	row := accountRow{
		Account: plain(a.Account), URL: accountURL(a.Account), Level: knownLevel(a.Level),
		Mode: knownMode(a.Mode), Act: knownAct(a.Act), By: actor{Automatic: a.Automatic, Name: plain(a.By)}, Cause: plain(a.Reason),
		Sent: timeAt(a.SentAt), Changed: timeAt(a.ChangedAt), Since: timeAt(a.Since), Until: timeAt(a.Until),
	}
	if !row.Since.IsZero() {
		row.Lasting = p.Lasting(s.d.Now().Sub(row.Since))
	}
	last, err := s.d.Outbound.Decisions(p.ctx(), p.Who, store.DecisionFilter{Account: a.Account, Limit: 1})
	if len(last) > 0 {
		row.Score = scoreText(last[0].Score)
	}
	if errors.Is(err, store.ErrNotFound) { // it went meanwhile
		err = nil
	}
	return row, err
}

// accountView is what the page of an account shows.
type accountView struct {
	Tenant                             *tenantView
	Account, Why, Profile, Score, Mode string
	// OwnMode tells that the mode is its own; SetMode is nil for those who may not change it.
	OwnMode bool
	SetMode *modeForm
	// Known tells whether it has ever sent.
	Known        bool
	State        stateView
	Acts         *actsView
	Sent         time.Time
	Counts       []countRow
	Plot         *plot
	History      []historyRow
	Decisions    []decisionRow
	AllDecisions string
}

// countRow is what was sent in a rolling window, and how much of the limit that is; Limit 0 is none.
type countRow struct {
	Window                            string
	Recipients, Messages, Limit, High int64
	Percent                           string
}

// Bounds on the lists of an account's page.
const (
	historyLength   = 50
	decisionsLength = 10
)

func (s *Server) showAccount(p *page) error { return s.account(p, http.StatusOK) }

// account shows the page, with what went wrong with an act.
func (s *Server) account(p *page, status int) error {
	a, err := s.d.Outbound.Account(p.ctx(), p.Who, p.r.PathValue("account"))
	if err != nil {
		return err
	}
	v := accountView{
		Account: plain(a.Account), OwnMode: a.Mode != "", SetMode: p.accountMode(a), Known: a.SentAt != nil, State: p.newState(a.OutboundAccount, a.DomainStop),
		Acts: p.newActs(a.OutboundAccount), Sent: timeAt(a.SentAt), Profile: plain(a.Profile), Mode: knownMode(a.EffectiveMode),
		AllDecisions: pathWith("/outbound/decisions", url.Values{"account": {a.Account}}),
	}
	if v.Tenant, err = p.tenant(a.TenantID); err != nil {
		return err
	}
	if a.Level == store.LevelHardLimit || a.DecisionID != "" {
		v.Why = accountURL(a.Account) + "/why"
	}
	history, err := s.d.Outbound.History(p.ctx(), p.Who, a.Account, store.LogKey{}, historyLength)
	if err != nil {
		return err
	}
	v.History = p.historyRows(a.Account, history)
	decisions, err := s.d.Outbound.Decisions(p.ctx(), p.Who, store.DecisionFilter{Account: a.Account, Limit: decisionsLength})
	if err != nil {
		return err
	}
	v.Decisions = p.decisionRows(decisions, "")
	if len(decisions) > 0 {
		v.Score = scoreText(decisions[0].Score)
	}
	if v.Known {
		v.Counts = s.countRows(p, a)
		if v.Plot, err = s.dayPlot(p, a, history); err != nil {
			return err
		}
	}
	p.Title = v.Account
	return p.show(status, "account", v)
}

// countRows set what was sent against the limits.
func (s *Server) countRows(p *page, a wire.OutboundAccountDetail) (rows []countRow) {
	limits := s.limits()
	for _, w := range []struct {
		name  string
		sent  wire.OutboundCounts
		limit int
	}{{"hour", a.Hour, limits.UserPerHour}, {"day", a.Day, limits.UserPerDay}} {
		row := countRow{Window: w.name, Recipients: w.sent.Recipients, Messages: w.sent.Messages}
		if a.Profile == "" && w.limit > 0 { // a bulk sender has a rate of its own
			row.Limit, row.High = int64(w.limit), int64(w.limit)*8/10
			row.Percent = percent(float64(row.Recipients) / float64(row.Limit))
		}
		rows = append(rows, row)
	}
	return rows
}

// dayPlot draws the last 24 hours.
func (s *Server) dayPlot(p *page, a wire.OutboundAccountDetail, history []wire.OutboundEvent) (*plot, error) {
	series, err := s.d.Outbound.Series(p.ctx(), p.Who, a.Account, time.Time{}, time.Time{}, 0)
	if err != nil {
		return nil, err
	}
	v := p.newPlot(series)
	v.addEvents(history)
	if a.Profile == "" {
		v.Limit = int64(s.limits().UserPerHour)
	}
	return v, nil
}

// historyRow is one change of an account.
type historyRow struct {
	At, Until                       time.Time
	Act, Level, Reason, Ticket, Why string
	// Noun and Name are what it happened to, in a history of more than one account; Detail is what is told beside the act.
	Noun, Name, Detail string
	By                 actor
	Cap                int64
}

func (p *page) historyRows(account string, history []wire.OutboundEvent) (rows []historyRow) {
	for _, e := range history {
		row := historyRow{
			Detail: p.eventDetail(e), At: e.At, Until: timeAt(e.Until), Act: knownAct(e.Act), Reason: plain(e.Reason), Ticket: plain(e.Ticket),
			By: actor{Automatic: e.Automatic, Name: plain(e.By)}, Cap: e.CapPerHour,
		}
		if e.LevelAfter != "" && !slices.Contains([]string{"suspend", "auto_suspend", "limit", "auto_limit", "recover", "mode"}, e.Act) { // they say it
			row.Level = knownLevel(e.LevelAfter)
		}
		if e.DecisionID != "" {
			row.Why = decisionURL(account, e.DecisionID)
		}
		rows = append(rows, row)
	}
	return rows
}

// eventDetail is the mode, rate or profile that an act is about; empty for none.
func (p *page) eventDetail(e wire.OutboundEvent) string {
	if e.Act == store.ActMode {
		return p.modeWord(e.Mode)
	}
	return plain(e.Detail)
}

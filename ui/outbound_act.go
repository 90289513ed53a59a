package ui

import (
	"errors"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// outboundForm is what the forms about senders have in common.
type outboundForm struct {
	wire.OutboundAct
	hours, cap int
}

// maxTicket is how long the name of a ticket is at most, in bytes.
const maxTicket = 100

// readOutboundForm reads the form. warn says what is wrong with it; empty for nothing.
func (p *page) readOutboundForm() (f outboundForm, warn string, err error) {
	if err := p.parseForm(); err != nil {
		return f, "", err
	}
	form := p.r.PostForm
	f.Reason, f.Ticket = cleanReason(form.Get("reason")), mail.Clean(strings.TrimSpace(form.Get("ticket")), maxTicket)
	if len([]rune(f.Reason)) < minReason {
		return f, p.T("outbound.reason.short"), nil
	}
	if ticked := tickedChecks(form["checked"]); ticked != "" {
		f.Reason += " (" + ticked + ")"
	}
	f.Revision, _ = strconv.ParseInt(form.Get("revision"), 10, 64) // 0 for none
	for name, field := range map[string]*int{"hours": &f.hours, "cap": &f.cap} {
		n, ok := wholeNumber(form.Get(name))
		if !ok {
			return f, p.T("outbound.number.wrong"), nil
		}
		*field = n
	}
	return f, "", nil
}

// wholeNumber reads a number of 0 and up; nothing is 0.
func wholeNumber(text string) (int, bool) {
	if text = strings.TrimSpace(text); text == "" {
		return 0, true
	}
	n, err := strconv.Atoi(text)
	return n, err == nil && n >= 0
}

// formFields are those that all forms about senders share; ID sets them apart on a page.
type formFields struct{ ID, Reason, Ticket string }

// Fields are filled in with what was typed, when a form comes back.
func (p *page) Fields(id string) formFields {
	form := p.r.PostForm // empty before a form was read
	return formFields{ID: id, Reason: cleanReason(form.Get("reason")), Ticket: mail.Clean(form.Get("ticket"), maxTicket)}
}

// tickedChecks tells which of the checks were ticked, in words that stay in the history.
func tickedChecks(list []string) string {
	var known []string
	for _, check := range checks {
		if slices.Contains(list, check) {
			known = append(known, check)
		}
	}
	if len(known) == 0 {
		return ""
	}
	return "checked: " + strings.Join(known, ", ")
}

// actFault says what was wrong with an act, for the page it came from; empty for an error that gets a page of its own.
func (p *page) actFault(err error) (status int, warn string) {
	switch sentence := p.refusal(err); {
	case sentence != "":
		return http.StatusUnprocessableEntity, p.T("outbound.refused_act", "sentence", sentence)
	case errors.Is(err, store.ErrConflict):
		return http.StatusConflict, p.T("outbound.conflict")
	default:
		return 0, ""
	}
}

// actOnAccount does what a button of an account's page says, and leads back to it.
func (s *Server) actOnAccount(p *page) error {
	p.Nav = "outbound"
	f, warn, err := p.readOutboundForm()
	status := http.StatusUnprocessableEntity
	account, verb := p.r.PathValue("account"), p.r.PathValue("act")
	var done string
	if err == nil && warn == "" {
		done, err = s.perform(p, account, verb, f)
		if s, w := p.actFault(err); w != "" {
			status, warn, err = s, w, nil
		}
	}
	if err != nil {
		return err
	}
	if warn != "" {
		p.Warn = warn
		return s.account(p, status)
	}
	return p.redirect(accountURL(account) + "?done=" + done)
}

// perform does one act, and says which note tells of it.
func (s *Server) perform(p *page, account, verb string, f outboundForm) (done string, err error) {
	switch verb {
	case "suspend":
		done = "out_suspended"
		_, err = s.d.Outbound.Suspend(p.ctx(), p.Who, account, wire.OutboundSuspend{OutboundAct: f.OutboundAct, Hours: f.hours})
	case "release":
		done = "out_released"
		_, err = s.d.Outbound.Release(p.ctx(), p.Who, account, wire.OutboundRelease{
			OutboundAct: f.OutboundAct, ProbationHours: &f.hours, CapPerHour: int64(f.cap),
		})
	case "extend":
		done = "out_extended"
		_, err = s.d.Outbound.Extend(p.ctx(), p.Who, account, wire.OutboundExtend{OutboundAct: f.OutboundAct, Hours: f.hours})
	case "limit":
		done = "out_limited"
		_, err = s.d.Outbound.Limit(p.ctx(), p.Who, account, wire.OutboundLimitAct{
			OutboundAct: f.OutboundAct, Hours: f.hours, CapPerHour: int64(f.cap),
		})
	default:
		return "", problemNotFound
	}
	return done, err
}

// suspendNamed stops an account that the form names.
func (s *Server) suspendNamed(p *page) error {
	f, warn, err := p.readOutboundForm()
	if err != nil {
		return err
	}
	account := strings.ToLower(strings.TrimSpace(p.r.PostForm.Get("account")))
	status := http.StatusUnprocessableEntity
	if warn == "" {
		_, err = s.perform(p, account, "suspend", f)
		if s, w := p.actFault(err); w != "" {
			status, warn, err = s, w, nil
		} else if errors.Is(err, store.ErrNotFound) {
			warn, err = p.T("outbound.accounts.nobody", "account", mail.Clean(account, 100)), nil
		}
	}
	if err != nil {
		return err
	}
	if warn != "" {
		p.Warn = warn
		return s.suspensions(p, status)
	}
	return p.redirect(accountURL(account) + "?done=out_suspended")
}

// suspendDomain stops a whole domain, releaseDomain ends that.
func (s *Server) suspendDomain(p *page) error {
	return s.actOnDomain(p, "out_domain_suspended", func(f outboundForm) error {
		_, err := s.d.Outbound.SuspendDomain(p.ctx(), p.Who, strings.TrimSpace(p.r.PostForm.Get("domain")), wire.OutboundDomainSuspend{
			OutboundDomainAct: wire.OutboundDomainAct{Reason: f.Reason, Ticket: f.Ticket}, Hours: f.hours,
		})
		return err
	})
}

func (s *Server) releaseDomain(p *page) error {
	return s.actOnDomain(p, "out_domain_released", func(f outboundForm) error {
		return s.d.Outbound.ReleaseDomain(p.ctx(), p.Who, p.r.PathValue("domain"), wire.OutboundDomainAct{Reason: f.Reason, Ticket: f.Ticket})
	})
}

func (s *Server) actOnDomain(p *page, done string, act func(f outboundForm) error) error {
	f, warn, err := p.readOutboundForm()
	status := http.StatusUnprocessableEntity
	if err == nil && warn == "" {
		err = act(f)
		if s, w := p.actFault(err); w != "" {
			status, warn, err = s, w, nil
		} else if errors.Is(err, store.ErrNotFound) {
			warn, err = p.T("outbound.domain.unknown"), nil
		}
	}
	if err != nil {
		return err
	}
	if warn != "" {
		p.Warn = warn
		return s.suspensions(p, status)
	}
	return p.redirect("/outbound/suspensions?done=" + done)
}

package ui

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

// linkView is what the page behind a login link shows.
type linkView struct {
	Token string
	// Used is set when the link is no longer any good.
	Used        bool
	MinPassword int
}

// showLink asks for a confirmation: programs that follow each link in a mail must not use it up.
func (s *Server) showLink(p *page) error {
	return p.askLink(http.StatusOK, p.r.URL.Query().Get("token"))
}

func (p *page) askLink(status int, token string) error {
	p.Title = p.T("link.title")
	return p.show(status, "link", linkView{Token: token, MinPassword: auth.MinPassword})
}

// loginByLink uses up the link. Whoever has forgotten the password gives a new one with it.
func (s *Server) loginByLink(p *page) error {
	if err := p.parseForm(); err != nil {
		return err
	}
	form := p.r.PostForm
	wanted := form.Get("new")
	switch {
	case wanted != form.Get("again"):
		p.Warn = p.T("settings.password.differs")
		return p.askLink(http.StatusUnprocessableEntity, form.Get("token"))
	case wanted != "":
		return s.passwordByLink(p, wanted)
	}
	token, session, who, err := s.d.Auth.LoginByLink(p.ctx(), form.Get("token"), clientAddr(p.r))
	if err != nil {
		return p.refuseLink(err)
	}
	factsOf(p.ctx()).principal = who
	s.enter(p, token, session)
	return p.redirect("/")
}

// passwordByLink sets a new password without the old one. All other sessions of the person end, and app passwords go.
func (s *Server) passwordByLink(p *page, wanted string) error {
	who, appPasswords, err := s.d.Auth.SetPasswordByLink(p.ctx(), p.r.PostForm.Get("token"), wanted, clientAddr(p.r))
	if err != nil {
		return p.refuseLink(err)
	}
	factsOf(p.ctx()).principal = who
	if err := s.auditPassword(p, who, appPasswords); err != nil {
		return err
	}
	token, session, err := s.d.Auth.OpenSession(p.ctx(), who, clientAddr(p.r))
	if err != nil {
		return err
	}
	s.enter(p, token, session)
	return p.redirect(pathWith("/", passwordDone(appPasswords)))
}

// auditPassword writes down that a password was set and how many app passwords went with it, even if the client has
// left meanwhile.
func (s *Server) auditPassword(p *page, who auth.Principal, appPasswords int) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx()), answerTime)
	defer cancel()
	after, err := json.Marshal(struct {
		Deleted int `json:"app_passwords_deleted"`
	}{appPasswords})
	if err != nil {
		return err
	}
	return s.auditOf(ctx, who, store.AuditEntry{Action: "user.password", Target: string(who.User), After: string(after)})
}

// passwordDone is what tells the next page that a password was set, and how many app passwords went with it.
func passwordDone(appPasswords int) url.Values {
	if appPasswords == 0 {
		return url.Values{"done": {"password"}}
	}
	return url.Values{"done": {"password_reset"}, "n": {strconv.Itoa(appPasswords)}}
}

// refuseLink says why a link was not used. Where it still can be, the form is there again.
func (p *page) refuseLink(err error) error {
	var throttled *auth.ThrottledError
	switch {
	case errors.Is(err, auth.ErrCredentials):
		p.Title = p.T("link.title")
		return p.show(http.StatusGone, "link", linkView{Used: true})
	case errors.Is(err, auth.ErrPassword):
		p.Warn = p.T("settings.password.unusable")
		return p.askLink(http.StatusUnprocessableEntity, p.r.PostForm.Get("token"))
	case errors.Is(err, auth.ErrBusy), errors.As(err, &throttled):
		status, warn := p.loginFault(err)
		p.Warn = warn
		return p.askLink(status, p.r.PostForm.Get("token"))
	default:
		return err
	}
}

package ui

import (
	"context"
	"errors"
	"net/http"

	"github.com/mairust/mairust/internal/auth"
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

// passwordByLink sets a new password without the old one. All other sessions of the person end.
func (s *Server) passwordByLink(p *page, wanted string) error {
	who, err := s.d.Auth.SetPasswordByLink(p.ctx(), p.r.PostForm.Get("token"), wanted, clientAddr(p.r))
	if err != nil {
		return p.refuseLink(err)
	}
	factsOf(p.ctx()).principal = who
	if err := s.auditDone(p, who, "user.password", string(who.User)); err != nil {
		return err
	}
	token, session, err := s.d.Auth.OpenSession(p.ctx(), who, clientAddr(p.r))
	if err != nil {
		return err
	}
	s.enter(p, token, session)
	return p.redirect("/?done=password")
}

// auditDone writes down what has been done, even if the client has left meanwhile.
func (s *Server) auditDone(p *page, who auth.Principal, action, target string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(p.ctx()), answerTime)
	defer cancel()
	return s.auditOf(ctx, who, action, target)
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

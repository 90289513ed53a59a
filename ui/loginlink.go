package ui

import (
	"errors"
	"net/http"

	"github.com/mairust/mairust/internal/auth"
)

// linkView is what the page behind a login link shows.
type linkView struct {
	Token string
	// Used is set when the link is no longer any good.
	Used bool
}

// showLink asks for a confirmation: programs that follow each link in a mail must not use it up.
func (s *Server) showLink(p *page) error {
	p.Title = p.T("link.title")
	return p.show(http.StatusOK, "link", linkView{Token: p.r.URL.Query().Get("token")})
}

func (s *Server) loginByLink(p *page) error {
	if err := p.parseForm(); err != nil {
		return err
	}
	token, session, who, err := s.d.Auth.LoginByLink(p.ctx(), p.r.PostForm.Get("token"), clientAddr(p.r))
	if errors.Is(err, auth.ErrCredentials) {
		p.Title = p.T("link.title")
		return p.show(http.StatusGone, "link", linkView{Used: true})
	}
	if err != nil {
		return err
	}
	factsOf(p.ctx()).principal = who
	s.enter(p, token, session)
	return p.redirect("/")
}

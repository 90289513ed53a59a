package ui

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// settingsView is what the settings show.
type settingsView struct {
	AppPasswords []store.AppPassword
	// NewName and NewSecret are of an app password that was made just now; it is shown this once.
	NewName, NewSecret string
	Zone               string
	Zones              []string
	MinPassword        int
}

// zones are offered to choose from; any other name of the tz database can be had by its cookie only.
var zones = []string{
	"UTC", "Asia/Tokyo", "Asia/Seoul", "Asia/Shanghai", "Asia/Taipei", "Asia/Singapore", "Asia/Kolkata", "Australia/Sydney",
	"Europe/London", "Europe/Berlin", "Europe/Paris", "America/New_York", "America/Chicago", "America/Los_Angeles", "America/Sao_Paulo",
}

func (s *Server) showSettings(p *page) error { return s.settings(p, http.StatusOK, settingsView{}) }

// settings shows the page, with what has just been made or what went wrong.
func (s *Server) settings(p *page, status int, v settingsView) error {
	list, err := s.d.Store.AppPasswords(p.ctx(), p.Who.User)
	if err != nil {
		return err
	}
	v.AppPasswords, v.Zones, v.Zone, v.MinPassword = list, zones, p.zoneName, auth.MinPassword
	p.Nav, p.Title = "settings", p.T("settings.title")
	if err := s.beside(p); err != nil {
		return err
	}
	return p.show(status, "settings", v)
}

// changePassword needs the old one. All other sessions of the person end; this browser gets a new one.
func (s *Server) changePassword(p *page) error {
	if err := p.parseForm(); err != nil {
		return err
	}
	form := p.r.PostForm
	old, wanted := form.Get("old"), form.Get("new")
	if wanted != form.Get("again") {
		p.Warn = p.T("settings.password.differs")
		return s.settings(p, http.StatusUnprocessableEntity, settingsView{})
	}
	hash, err := s.newHash(p, old, wanted)
	if status, warn := p.loginFault(err); warn != "" {
		if errors.Is(err, auth.ErrCredentials) {
			status, warn = http.StatusUnprocessableEntity, p.T("settings.password.wrong")
		}
		p.Warn = warn
		return s.settings(p, status, settingsView{})
	}
	if errors.Is(err, auth.ErrPassword) {
		p.Warn = p.T("settings.password.unusable")
		return s.settings(p, http.StatusUnprocessableEntity, settingsView{})
	}
	if err != nil {
		return err
	}
	if err := s.d.Store.SetPassword(p.ctx(), p.Who.User, hash); err != nil {
		return err
	}
	if err := s.auditSelf(p, "user.password", string(p.Who.User)); err != nil {
		return err
	}
	token, session, _, err := s.d.Auth.Login(p.ctx(), p.Who.Login, wanted, clientAddr(p.r))
	if err != nil {
		return err
	}
	cookie := s.cookie.With(token, session.Expires)
	http.SetCookie(p.w, &cookie)
	return p.redirect("/settings?done=password")
}

// newHash checks the old password, and that the new one can be used. The session that the check opens ends with
// all the others.
func (s *Server) newHash(p *page, old, wanted string) (string, error) {
	if _, _, _, err := s.d.Auth.Login(p.ctx(), p.Who.Login, old, clientAddr(p.r)); err != nil {
		return "", err
	}
	return auth.HashPassword(wanted)
}

func (s *Server) auditSelf(p *page, action, target string) error {
	return s.auditOf(p.ctx(), p.Who, action, target)
}

func (s *Server) auditOf(ctx context.Context, who auth.Principal, action, target string) error {
	return s.d.Store.Audit(ctx, store.AuditEntry{
		Tenant: who.Tenant, Actor: who.Login, ActorKind: string(who.Kind), Action: action, Target: target,
		RequestID: auth.RequestID(ctx),
	})
}

// maxAppPasswords is how many one person has.
const maxAppPasswords = 50

// createAppPassword makes an app password and shows it. The answer is a page and no redirect: the secret is kept
// nowhere that a redirect could find it.
func (s *Server) createAppPassword(p *page) error {
	if err := p.parseForm(); err != nil {
		return err
	}
	name := mail.Clean(strings.Join(strings.Fields(p.r.PostForm.Get("name")), " "), 100)
	if name == "" {
		p.Warn = p.T("settings.app.unnamed")
		return s.settings(p, http.StatusUnprocessableEntity, settingsView{})
	}
	list, err := s.d.Store.AppPasswords(p.ctx(), p.Who.User)
	if err != nil {
		return err
	}
	if len(list) >= maxAppPasswords {
		p.Warn = p.T("settings.app.many")
		return s.settings(p, http.StatusUnprocessableEntity, settingsView{})
	}
	fresh := auth.NewAppPassword()
	made, err := s.d.Store.CreateAppPassword(p.ctx(), store.AppPassword{
		Tenant: p.Who.Tenant, User: p.Who.User, Name: name, Hash: fresh.Hash, Created: s.d.Now(),
	})
	if err != nil {
		return err
	}
	if err := s.auditSelf(p, "app_password.create", made.ID); err != nil {
		return err
	}
	return s.settings(p, http.StatusCreated, settingsView{NewName: name, NewSecret: fresh.Secret})
}

func (s *Server) deleteAppPassword(p *page) error {
	id := p.r.PathValue("id")
	if err := s.d.Store.DeleteAppPassword(p.ctx(), p.Who.User, id); err != nil {
		return err
	}
	if err := s.auditSelf(p, "app_password.delete", id); err != nil {
		return err
	}
	return p.redirect("/settings?done=app_password_deleted")
}

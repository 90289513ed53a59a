package ui

import (
	"context"
	"errors"
	"net/http"
	"net/url"
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
	// KeepApps is set when a new password was to leave the app passwords, and could not be taken.
	KeepApps    bool
	Zone        string
	Zones       []string
	MinPassword int
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

// changePassword needs the old one. All other sessions of the person end; this browser gets a new one. App passwords go too,
// when the form says so.
func (s *Server) changePassword(p *page) error {
	if err := p.parseForm(); err != nil {
		return err
	}
	form := p.r.PostForm
	old, wanted, all := form.Get("old"), form.Get("new"), form.Get("app_passwords") == "delete"
	again := settingsView{KeepApps: !all}
	if wanted != form.Get("again") {
		p.Warn = p.T("settings.password.differs")
		return s.settings(p, http.StatusUnprocessableEntity, again)
	}
	hash, err := s.newHash(p, old, wanted)
	if status, warn := p.loginFault(err); warn != "" {
		if errors.Is(err, auth.ErrCredentials) {
			status, warn = http.StatusUnprocessableEntity, p.T("settings.password.wrong")
		}
		p.Warn = warn
		return s.settings(p, status, again)
	}
	if errors.Is(err, auth.ErrPassword) {
		p.Warn = p.T("settings.password.unusable")
		return s.settings(p, http.StatusUnprocessableEntity, again)
	}
	if err != nil {
		return err
	}
	done, err := s.setPassword(p, hash, all)
	if err != nil {
		return err
	}
	token, session, _, err := s.d.Auth.Login(p.ctx(), p.Who.Login, wanted, clientAddr(p.r))
	if err != nil {
		return err
	}
	cookie := s.cookie.With(token, session.Expires)
	http.SetCookie(p.w, &cookie)
	return p.redirect(pathWith("/settings", done))
}

// setPassword sets the password of whoever is signed in, and notes it; all says that app passwords go too. It gives what
// tells the next page.
func (s *Server) setPassword(p *page, hash string, all bool) (url.Values, error) {
	if all {
		n, err := s.d.Store.ResetPassword(p.ctx(), p.Who.User, hash)
		if err != nil {
			return nil, err
		}
		return passwordDone(n), s.auditPassword(p, p.Who, n)
	}
	kept, err := s.d.Store.AppPasswords(p.ctx(), p.Who.User)
	if err != nil {
		return nil, err
	}
	if err := s.d.Store.SetPassword(p.ctx(), p.Who.User, hash); err != nil {
		return nil, err
	}
	done := passwordDone(0)
	if len(kept) > 0 {
		done.Set("done", "password_kept")
	}
	return done, s.auditPassword(p, p.Who, 0)
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
	return s.auditOf(p.ctx(), p.Who, store.AuditEntry{Action: action, Target: target})
}

// auditOf notes what somebody did to what is their own.
func (s *Server) auditOf(ctx context.Context, who auth.Principal, e store.AuditEntry) error {
	e.Tenant, e.Actor, e.ActorKind, e.RequestID = who.Tenant, who.Login, string(who.Kind), auth.RequestID(ctx)
	return s.d.Store.Audit(ctx, e)
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

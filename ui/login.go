package ui

import (
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

// loginView is what the sign-in page shows.
type loginView struct{ Login, Next string }

// signedIn lets pass who is signed in; others are led to the sign-in page, and from there back.
func (s *Server) signedIn(h handler) handler {
	return func(p *page) error {
		err := s.identify(p)
		if errors.Is(err, auth.ErrCredentials) {
			next := "/"
			if p.r.Method == http.MethodGet {
				next = p.r.URL.RequestURI()
			}
			return s.toLogin(p, next)
		}
		if err != nil {
			return err
		}
		return h(p)
	}
}

// toLogin leads to the sign-in page. A script that asked for a part of a page is told to load the whole.
func (s *Server) toLogin(p *page, next string) error {
	to := "/login?" + url.Values{"next": {next}}.Encode()
	if p.r.Header.Get("HX-Request") == "true" {
		p.w.Header().Set("HX-Redirect", "/login")
		p.w.WriteHeader(http.StatusUnauthorized)
		return nil
	}
	return p.redirect(to)
}

func (s *Server) showLogin(p *page) error {
	next := localPath(p.r.URL.Query().Get("next"), "/")
	if s.identify(p) == nil {
		return p.redirect(next)
	}
	if p.r.URL.Query().Get("done") == "out" {
		p.Note = p.T("done.out")
	}
	p.Title = p.T("login.title")
	return p.show(http.StatusOK, "login", loginView{Next: next})
}

func (s *Server) login(p *page) error {
	if err := p.parseForm(); err != nil {
		return err
	}
	form := p.r.PostForm
	next := localPath(form.Get("next"), "/")
	login := strings.TrimSpace(form.Get("login"))
	token, session, who, err := s.d.Auth.Login(p.ctx(), login, form.Get("password"), clientAddr(p.r))
	if status, warn := p.loginFault(err); warn != "" {
		p.Title, p.Warn = p.T("login.title"), warn
		return p.show(status, "login", loginView{Login: mail.Clean(login, 320), Next: next})
	}
	if err != nil {
		return err
	}
	factsOf(p.ctx()).principal = who
	s.enter(p, token, session)
	return p.redirect(next)
}

// loginFault says why a login was refused; empty for no fault, and for those that get a page of their own.
func (p *page) loginFault(err error) (status int, warn string) {
	var throttled *auth.ThrottledError
	switch {
	case errors.Is(err, auth.ErrCredentials):
		return http.StatusUnauthorized, p.T("login.wrong")
	case errors.As(err, &throttled):
		seconds := max(1, int(math.Ceil(throttled.After.Seconds())))
		p.w.Header().Set("Retry-After", strconv.Itoa(seconds))
		return http.StatusTooManyRequests, p.T("login.throttled", "n", seconds)
	case errors.Is(err, auth.ErrBusy):
		p.w.Header().Set("Retry-After", "5")
		return http.StatusServiceUnavailable, p.T("login.busy")
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrFull):
		p.w.Header().Set("Retry-After", "5")
		return http.StatusServiceUnavailable, p.T("login.unavailable")
	default:
		return 0, ""
	}
}

// enter gives the browser its session. What the person before gave as a reason is not theirs.
func (s *Server) enter(p *page, token string, session store.Session) {
	cookie := s.cookie.With(token, session.Expires)
	http.SetCookie(p.w, &cookie)
	http.SetCookie(p.w, s.noReason())
}

func (s *Server) logout(p *page) error {
	if token := s.cookie.Token(p.r.Cookies()); token != "" {
		if err := s.d.Auth.Logout(p.ctx(), token); err != nil {
			return err
		}
	}
	cookie := s.cookie.Gone()
	http.SetCookie(p.w, &cookie)
	http.SetCookie(p.w, s.noReason())
	return p.redirect("/login?done=out")
}

// parseForm reads the form, which is bounded. Its time is that of the server.
func (p *page) parseForm() error {
	err := p.r.ParseForm()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return problemTimeout
	}
	if err != nil {
		return fmt.Errorf("%w: %w", problemBadRequest, err)
	}
	return nil
}

// localPath is to when it is a path of this server, else instead: a form must not send people elsewhere.
func localPath(to, instead string) string {
	u, err := url.Parse(to)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || !strings.HasPrefix(to, "/") ||
		strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") || strings.HasPrefix(u.Path, "//") {
		return instead
	}
	return to
}

func parseCount(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		return 0
	}
	return n
}

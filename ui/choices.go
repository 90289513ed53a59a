package ui

import (
	"errors"
	"net/http"
	"net/url"
	"time"
	_ "time/tzdata" // zones on hosts that have none

	"github.com/mairust/mairust/internal/auth"
)

// choicesCookie keeps what a browser was told to look like, for people who are not signed in and for the time
// zone, which belongs to the device rather than to the person.
const choicesCookie = "mairust-look"

// choices are what people choose for themselves. Empty means that nothing was chosen.
type choices struct{ language, theme, zone string }

func readChoices(r *http.Request) choices {
	cookie, err := r.Cookie(choicesCookie)
	if err != nil || len(cookie.Value) > 200 {
		return choices{}
	}
	values, err := url.ParseQuery(cookie.Value)
	if err != nil {
		return choices{}
	}
	return choices{values.Get("l"), values.Get("t"), values.Get("z")}.valid()
}

// valid leaves out what cannot be.
func (c choices) valid() choices {
	if !knownLanguage(c.language) {
		c.language = ""
	}
	if c.theme != "light" && c.theme != "dark" {
		c.theme = ""
	}
	if _, err := time.LoadLocation(c.zone); err != nil || c.zone == "Local" {
		c.zone = ""
	}
	return c
}

// remember is the cookie that keeps the choices for a year.
func (s *Server) remember(c choices) *http.Cookie {
	value := url.Values{"l": {c.language}, "t": {c.theme}, "z": {c.zone}}.Encode()
	return &http.Cookie{ //nolint:gosec // holds no secret; not Secure only over plain http on loopback
		Name: choicesCookie, Value: value, Path: "/", MaxAge: 365 * 24 * 3600,
		Secure: s.public.Scheme == "https", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	}
}

// choose makes the page look as was chosen. Without a choice the language is the browser's, the theme the
// system's, and the zone Japan's for Japanese and else UTC.
func (p *page) choose(c choices) {
	p.Lang, p.Theme, p.zoneName = c.language, c.theme, c.zone
	if p.Lang == "" {
		p.Lang = p.s.words.accepted(p.r)
	}
	zone := c.zone
	if zone == "" {
		zone = map[string]string{"ja": "Asia/Tokyo"}[p.Lang]
	}
	location, err := time.LoadLocation(zone)
	if err != nil {
		location = time.UTC
	}
	p.zone = location
}

// setPreferences notes the language, theme or zone that a form names, and leads back.
func (s *Server) setPreferences(p *page) error {
	if err := p.parseForm(); err != nil {
		return err
	}
	c := readChoices(p.r)
	if err := s.identify(p); err != nil && !errors.Is(err, auth.ErrCredentials) { // nobody needs to be signed in
		return err
	}
	if p.user != nil {
		c.language, c.theme = p.user.Language, p.user.Theme
	}
	for name, field := range map[string]*string{"language": &c.language, "theme": &c.theme, "zone": &c.zone} {
		if p.r.PostForm.Has(name) {
			*field = p.r.PostForm.Get(name)
		}
	}
	c = c.valid()
	if p.user != nil {
		if err := s.d.Store.SetPreferences(p.ctx(), p.user.ID, c.language, c.theme); err != nil {
			return err
		}
	}
	http.SetCookie(p.w, s.remember(c))
	return p.redirect(localPath(p.r.PostForm.Get("return"), "/"))
}

// identify notes who is signed in, and shows the page as they like it. It tells whether somebody is.
func (s *Server) identify(p *page) error {
	token := s.cookie.Token(p.r.Cookies())
	if token == "" {
		return auth.ErrCredentials
	}
	who, err := s.d.Auth.Authenticate(p.ctx(), token)
	if err != nil {
		return err
	}
	if who.Kind != auth.KindUser { // an API key is no person
		return auth.ErrCredentials
	}
	u, err := s.d.Store.User(p.ctx(), who.User)
	if err != nil {
		return err
	}
	p.Who, p.user = who, u
	factsOf(p.ctx()).principal = who
	c := readChoices(p.r)
	if knownLanguage(u.Language) {
		c.language = u.Language
	}
	if u.Theme != "" {
		c.theme = u.Theme
	}
	p.choose(c)
	p.Note = p.doneNote()
	return p.s.noteStopped(p)
}

package ui

import (
	"bytes"
	"context"
	"embed"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
	"time"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

//go:embed templates/*.html
var templateFiles embed.FS

// page is one request and its answer. Templates see its exported fields and methods.
type page struct {
	s *Server
	w http.ResponseWriter
	r *http.Request
	// client ends when the client leaves, and not before. The context of r has the time of a page.
	client context.Context //nolint:containedctx // a page is one request

	// Lang is the language of the page, Theme "light", "dark" or "" for the system's.
	Lang, Theme string
	zone        *time.Location
	zoneName    string

	// Title comes before the product's name; Nav names the part of the UI that is shown.
	Title, Nav string
	// Who is signed in; the zero Principal when nobody is.
	Who  auth.Principal
	user *store.User
	// Rail is the mailbox whose folders are listed beside the page, nil for none.
	Rail *rail
	// Note tells what has just been done, empty for nothing; Warn what went wrong.
	Note, Warn string
	// Stopped is set when the person's own account may not send.
	Stopped *stoppedView
	// View is what the page itself is about.
	View any
}

func (s *Server) newPage(w http.ResponseWriter, r *http.Request) *page {
	p := &page{s: s, w: w, r: r, client: r.Context()}
	p.choose(readChoices(r))
	p.Note = p.doneNote()
	return p
}

func (p *page) ctx() context.Context { return p.r.Context() }

// T says a key of the catalogue in the page's language; see catalogues.say.
func (p *page) T(key string, pairs ...any) string { return p.s.words.say(p.Lang, key, pairs...) }

// Asset is the address of a file that pages load.
func (p *page) Asset(name string) string { return p.s.assets.address[name] }

// Here is the address of the page, for forms that lead back to it.
func (p *page) Here() string {
	if p.r.Method == http.MethodGet {
		return p.r.URL.RequestURI()
	}
	return "/"
}

// Language is what the person has chosen; empty for the browser's.
func (p *page) Language() string {
	if p.user == nil {
		return ""
	}
	return p.user.Language
}

// SignedIn tells whether somebody is.
func (p *page) SignedIn() bool { return p.Who.User != "" }

// SeesOthers tells whether the role reads mailboxes of others.
func (p *page) SeesOthers() bool { return p.Who.Role != auth.User && p.SignedIn() }

// isFragment tells whether a script asks for the reading pane alone.
func (p *page) isFragment() bool {
	return p.r.Header.Get("HX-Request") == "true" && strings.HasSuffix(p.r.Header.Get("HX-Target"), "#reading")
}

// with is the page with another thing to show; for templates that show parts.
func (p *page) with(view any) *page {
	c := *p
	c.View = view
	return &c
}

// With is with, for templates.
func (p *page) With(view any) *page { return p.with(view) }

// show answers with a template around which the frame of all pages stands.
func (p *page) show(status int, name string, view any) error {
	p.View = view
	return p.render(status, name, "frame")
}

// showPart answers with one part of a template, without the frame.
func (p *page) showPart(name, part string, view any) error {
	p.View = view
	return p.render(http.StatusOK, name, part)
}

// render fills in a template wholly before a byte is sent, so that an error can still be told.
func (p *page) render(status int, name, part string) error {
	t, ok := p.s.templates[name]
	if !ok {
		return fmt.Errorf("no template %s", name)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, part, p); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	h := p.w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", p.Lang)
	h.Add("Vary", "Accept-Language, Cookie, HX-Request, HX-Target")
	p.w.WriteHeader(status)
	// An error here is the client's, who has left.
	_, _ = p.w.Write(b.Bytes())
	return nil
}

// redirect sends the browser on by a GET, after a POST (RFC 9110, 15.4.4). to is a path of this server.
func (p *page) redirect(to string) error {
	http.Redirect(p.w, p.r, to, http.StatusSeeOther) //nolint:gosec // what comes from a form went through localPath
	return nil
}

// loadTemplates parses each page together with the frame and the shared parts.
func (s *Server) loadTemplates() error {
	s.templates = map[string]*template.Template{}
	names, err := fs.Glob(templateFiles, "templates/*.html")
	if err != nil {
		return err
	}
	for _, name := range names {
		base := strings.TrimSuffix(path.Base(name), ".html")
		t := template.New(base).Funcs(template.FuncMap{"icon": icon})
		if _, err := t.ParseFS(templateFiles, "templates/frame.html", "templates/parts.html", "templates/plot.html", "templates/outbound.html", name); err != nil {
			return fmt.Errorf("load templates: %w", err)
		}
		s.templates[base] = t
	}
	return nil
}

// doneNote says what a POST before this page has done. The words are from a closed list: the query is a
// stranger's.
func (p *page) doneNote() string {
	query := p.r.URL.Query()
	switch done := query.Get("done"); done {
	case "flag", "unflag", "read", "unread", "tag", "untag", "move", "delete", "undelete", "password_reset":
		n := parseCount(query.Get("n"))
		return p.T("done."+done, "n", n)
	case "none", "password", "password_kept", "app_password_deleted", "preferences",
		"out_suspended", "out_released", "out_extended", "out_limited", "out_domain_suspended", "out_domain_released",
		"out_mode", "out_profile_added", "out_profile_changed", "out_profile_deleted":
		return p.T("done." + done)
	default:
		return ""
	}
}

// Package ui is the Web UI: pages made on the server with html/template, in Japanese and English. Scripts only
// make them quicker; each page works without.
//
// A GET changes nothing. What changes is a POST that http.CrossOriginProtection has let through, and is answered
// by a redirect. What comes from mail is hostile: it meets html/template's escaping, or package ui/safe in a frame
// of its own.
package ui

import (
	"context"
	"errors"
	"fmt"
	"html/template"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/internal/alert"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/attachment"
	"github.com/mairust/mairust/store/blob"
)

// Options of a Server; the zero value is usable.
type Options struct {
	// PublicURL is the address under which browsers see the server, as in the section http of the configuration.
	PublicURL string
}

// Deps are what a Server works with. Store, Objects, Auth and Keyring are required.
type Deps struct {
	Store   Store
	Objects blob.Bucket
	// Attachments opens parts of messages; nil decodes them from the messages.
	Attachments Attachments
	Auth        *auth.Authenticator
	// Keyring proves the reasons for reading mail of others, which browsers keep.
	Keyring *keyring.Ring
	// Log may be nil.
	Log *slog.Logger
	// Registerer takes the metrics; nil means none are kept.
	Registerer prometheus.Registerer
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Watch tells administrators how the installation is; nil when nobody watches.
	Watch Watch
	// Outbound shows and changes who may send; nil when there is no outbound engine.
	Outbound Outbound
	// Suspect is told what a message could not be read for, and does not wait; nil tells nobody.
	Suspect func(id store.MessageID, err error)
}

// Attachments opens parts of messages, decoded; *attachment.Opener is one.
type Attachments interface {
	Open(ctx context.Context, m *store.Message, p mail.Part, offset, n int64) (io.ReadCloser, error)
}

// Watch knows how the parts of the installation are; *alert.Watcher is one.
type Watch interface {
	// States answers at once, from the last look.
	States() []alert.State
}

// Store is what the UI needs of package store.
type Store interface {
	Mail
	People
	Banner
}

// Banner tells whether somebody is stopped.
type Banner interface {
	OutboundAccount(ctx context.Context, scope store.Scope, account string) (*store.OutboundAccount, error)
	DomainStop(ctx context.Context, tenant store.TenantID, domain string) (*store.DomainStop, error)
}

// Mail reads and changes mail.
type Mail interface {
	Mailboxes(ctx context.Context, scope store.Scope, after string, limit int) ([]store.Mailbox, error)
	MailboxByAddress(ctx context.Context, scope store.Scope, addressOrID string) (*store.Mailbox, error)
	OwnsMailbox(ctx context.Context, user store.UserID, mailbox store.MailboxID) (bool, error)
	Messages(ctx context.Context, scope store.Scope, f store.MessageFilter) ([]store.Message, error)
	Message(ctx context.Context, scope store.Scope, id store.MessageID) (*store.Message, error)
	ChangeMessages(ctx context.Context, scope store.Scope, ids []store.MessageID, c store.Change) (int, error)
	MoveMessages(ctx context.Context, scope store.Scope, ids []store.MessageID, folder string) (int, error)
	DeleteMessages(ctx context.Context, scope store.Scope, ids []store.MessageID) (int, error)
	UndeleteMessages(ctx context.Context, scope store.Scope, ids []store.MessageID) (int, error)
}

// People keeps what belongs to the person who is signed in, and what was done.
type People interface {
	User(ctx context.Context, id store.UserID) (*store.User, error)
	SetPreferences(ctx context.Context, user store.UserID, language, theme string) error
	SetPassword(ctx context.Context, id store.UserID, hash string) error
	ResetPassword(ctx context.Context, id store.UserID, hash string) (appPasswords int, err error)
	CreateAppPassword(ctx context.Context, p store.AppPassword) (store.AppPassword, error)
	AppPasswords(ctx context.Context, user store.UserID) ([]store.AppPassword, error)
	DeleteAppPassword(ctx context.Context, user store.UserID, id string) error
	Audit(ctx context.Context, e store.AuditEntry) error
	AuditLog(ctx context.Context, scope store.Scope, before time.Time, limit int) ([]store.AuditEntry, error)
}

// Server is the Web UI.
type Server struct {
	d         Deps
	public    *url.URL
	cookie    auth.SessionCookie
	origins   *http.CrossOriginProtection
	words     *catalogues
	assets    *assets
	templates map[string]*template.Template
	metrics   *metrics
	reads     *readLog
	// objects gives no byte of a message that is not as it was stored.
	objects *blob.Verifier
	handler http.Handler
}

// New makes a Server. It listens nowhere: the caller serves its Handler.
func New(o Options, d Deps) (*Server, error) {
	if d.Store == nil || d.Objects == nil || d.Auth == nil || d.Keyring == nil {
		return nil, errors.New("ui: Store, Objects, Auth and Keyring are required")
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Suspect == nil {
		d.Suspect = func(store.MessageID, error) {}
	}
	if d.Attachments == nil {
		d.Attachments = attachment.New(attachment.Options{Objects: d.Objects})
	}
	public, err := auth.ParsePublicURL(o.PublicURL)
	if err != nil {
		return nil, err
	}
	s := &Server{
		d: d, public: public, cookie: auth.NewSessionCookie(public), origins: http.NewCrossOriginProtection(),
		reads: newReadLog(d.Now), objects: blob.NewVerifier(d.Objects),
	}
	if err := s.origins.AddTrustedOrigin(public.Scheme + "://" + public.Host); err != nil {
		return nil, fmt.Errorf("http.public_url: %w", err)
	}
	for _, load := range []func() error{s.loadWords, s.loadAssets, s.loadTemplates, s.loadMetrics} {
		if err := load(); err != nil {
			return nil, err
		}
	}
	s.handler = s.wrap(s.protectOrigins(s.routes()))
	return s, nil
}

// Handler serves every page, from the root.
func (s *Server) Handler() http.Handler { return s.handler }

// linkPath is where login links lead.
const linkPath = "/login/link"

// LoginLink is the address that logs in whoever opens it and confirms; token is of auth.NewLinkToken.
func LoginLink(public *url.URL, token string) string {
	return public.JoinPath(linkPath).String() + "?" + url.Values{"token": {token}}.Encode()
}

// routes lists every page.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	open := func(pattern string, h handler) { mux.Handle(pattern, s.handle(h)) }
	signedIn := func(pattern string, h handler) { mux.Handle(pattern, s.handle(s.signedIn(h))) }

	mux.HandleFunc("GET /assets/", s.asset)
	open("GET /login", s.showLogin)
	open("POST /login", s.login)
	open("POST /logout", s.logout)
	open("GET "+linkPath, s.showLink)
	open("POST "+linkPath, s.loginByLink)
	open("POST /preferences", s.setPreferences)
	open("GET /help", s.showHelp)

	signedIn("GET /{$}", s.home)
	signedIn("GET /mail", s.home)
	signedIn("GET /mailboxes", s.showMailboxes)
	signedIn("GET /mail/{mailbox}", s.showMailbox)
	signedIn("POST /mail/{mailbox}/reason", s.giveReason)
	signedIn("POST /mail/{mailbox}/act", s.act)
	signedIn("GET /message/{id}", s.showMessage)
	signedIn("GET /message/{id}/body", s.showBody)
	signedIn("GET /message/{id}/raw", s.download)
	signedIn("GET /message/{id}/part/{part}", s.attachment)
	signedIn("GET /access", s.showAccess)
	signedIn("GET /system", s.showSystem)
	signedIn("GET /sending", s.showSending)
	signedIn("GET /settings", s.showSettings)
	signedIn("POST /settings/password", s.changePassword)
	signedIn("POST /settings/app-passwords", s.createAppPassword)
	signedIn("POST /settings/app-passwords/{id}/delete", s.deleteAppPassword)

	s.outboundRoutes(mux)
	mux.Handle("/", s.handle(func(p *page) error { return p.unrouted(mux) }))
	return mux
}

// outboundRoutes lists the pages about who may send.
func (s *Server) outboundRoutes(mux *http.ServeMux) {
	for pattern, h := range map[string]handler{
		"GET /outbound":                                s.showOutbound,
		"GET /outbound/accounts":                       s.showAccounts,
		"GET /outbound/accounts/{account}":             s.showAccount,
		"GET /outbound/accounts/{account}/why":         s.showWhy,
		"POST /outbound/accounts/{account}/{act}":      s.actOnAccount,
		"GET /outbound/suspensions":                    s.showSuspensions,
		"POST /outbound/suspensions":                   s.suspendNamed,
		"POST /outbound/domains":                       s.suspendDomain,
		"POST /outbound/domains/{domain}/release":      s.releaseDomain,
		"GET /outbound/decisions":                      s.showDecisions,
		"POST /outbound/accounts/{account}/mode":       s.setAccountMode,
		"GET /outbound/profiles":                       s.showProfiles,
		"GET /outbound/new-profile":                    s.newProfile,
		"POST /outbound/new-profile":                   s.addProfile,
		"GET /outbound/profiles/{tenant}/{id}":         s.showProfile,
		"POST /outbound/profiles/{tenant}/{id}":        s.changeProfile,
		"POST /outbound/profiles/{tenant}/{id}/delete": s.deleteProfile,
		"GET /outbound/policy":                         s.showPolicy,
		"POST /outbound/modes":                         s.setTenantMode,
	} {
		mux.Handle(pattern, s.handle(s.seesOutbound(h)))
	}
}

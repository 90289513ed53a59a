// Package api is the REST API, below /api/v1: JSON, OpenAPI 3.1 made from this code, errors as RFC 9457.
//
// Handlers are functions with typed input and output; the router is known to router.go alone. Who may call
// what stands beside each operation, and a caller's scope goes into every query: what belongs to another
// tenant is answered exactly like what does not exist.
package api

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/internal/listen"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/attachment"
	"github.com/mairust/mairust/store/blob"
)

// Options are the section `http` of the configuration.
type Options struct {
	Listeners []listen.Options `yaml:"listeners"`
	// MaxConnections at once on one listener; default 1000. One more is answered 503.
	MaxConnections int `yaml:"max_connections"`
	// MaxPerClient at once from one address; default 200: a whole office may sit behind it.
	MaxPerClient int `yaml:"max_per_client"`
	// PublicURL is the address under which browsers see the server; default "http://127.0.0.1:8080". It
	// decides about cookies: plain http is for loopback only.
	PublicURL string `yaml:"public_url,omitempty"`
}

// Limits are what Options say about the connections of a listener.
func (o Options) Limits() listen.Limits {
	return listen.Limits{
		MaxConnections: o.MaxConnections, MaxPerClient: o.MaxPerClient, Idle: 5 * time.Minute,
		Refusal: "HTTP/1.1 503 Service Unavailable\r\nRetry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
	}
}

// Deps are what a Server works with. All but Admin, Attachments, Bounces, Suspect, Log, Registerer, Now, BodyTime and Version are required.
type Deps struct {
	Store   Store
	Objects blob.Bucket
	// Attachments opens parts of messages; nil decodes them from the messages.
	Attachments Attachments
	Auth        *auth.Authenticator
	// Keyring signs cursors.
	Keyring *keyring.Ring
	Admin   Admin
	// Outbound is what people do about sending.
	Outbound *admin.Outbound
	// Bounces takes reports of Postfix hosts; without it they are told to come again.
	Bounces Bounces
	// Suspect is told what a message could not be read for, and does not wait; nil tells nobody.
	Suspect func(id store.MessageID, err error)
	// Log may be nil.
	Log *slog.Logger
	// Registerer takes the metrics; nil means none are kept.
	Registerer prometheus.Registerer
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// BodyTime is how long a client may take to send the body of a request, beside a second for each 64 KiB; default 20 seconds.
	BodyTime time.Duration
	// Version is shown in the OpenAPI document.
	Version string
}

// Store is what the API reads of package store.
type Store interface {
	Mailboxes(ctx context.Context, scope store.Scope, after string, limit int) ([]store.Mailbox, error)
	MailboxByAddress(ctx context.Context, scope store.Scope, addressOrID string) (*store.Mailbox, error)
	Messages(ctx context.Context, scope store.Scope, f store.MessageFilter) ([]store.Message, error)
	Message(ctx context.Context, scope store.Scope, id store.MessageID) (*store.Message, error)
	OwnsMailbox(ctx context.Context, user store.UserID, mailbox store.MailboxID) (bool, error)
	APIKeys(ctx context.Context, scope store.Scope, after store.APIKeyID, limit int) ([]store.APIKey, error)
	Audit(ctx context.Context, e store.AuditEntry) error
}

// Attachments opens parts of messages, decoded; *attachment.Opener is one.
type Attachments interface {
	Open(ctx context.Context, m *store.Message, p mail.Part, offset, n int64) (io.ReadCloser, error)
}

// Admin is what people change through the API; every act authorises and audits itself. The asker is told of
// auth.ErrForbidden, store.ErrNotFound and store.ErrExists, and of errors with a method In(language string) string.
type Admin interface {
	Setup(ctx context.Context, p auth.Principal, s wire.Setup) (wire.SetupResult, error)
	CreateAPIKey(ctx context.Context, p auth.Principal, k wire.NewAPIKey) (wire.APIKeyCreated, error)
	RevokeAPIKey(ctx context.Context, p auth.Principal, id store.APIKeyID) error
	CreateLoginLink(ctx context.Context, p auth.Principal, l wire.NewLoginLink) (wire.LoginLinkCreated, error)
	SetMailboxQuota(ctx context.Context, p auth.Principal, addressOrID string, w wire.Quota) (*store.Mailbox, error)
	Aliases(ctx context.Context, p auth.Principal, after string, limit int) ([]wire.Alias, error)
	Alias(ctx context.Context, p auth.Principal, address string) (wire.Alias, error)
	SetAlias(ctx context.Context, p auth.Principal, address string, w wire.AliasTarget) (wire.Alias, error)
	RemoveAlias(ctx context.Context, p auth.Principal, address string) error
	Tenants(ctx context.Context, p auth.Principal, after string, limit int) ([]wire.Tenant, error)
	Tenant(ctx context.Context, p auth.Principal, name string) (wire.Tenant, error)
	SetTenantQuota(ctx context.Context, p auth.Principal, name string, w wire.Quota) (wire.Tenant, error)
	SuspendTenant(ctx context.Context, p auth.Principal, name string, w wire.TenantAct) (wire.Tenant, error)
	ResumeTenant(ctx context.Context, p auth.Principal, name string, w wire.TenantAct) (wire.Tenant, error)
}

// Server is the API. It has two faces: Handler for the network, AdminHandler for the admin socket.
type Server struct {
	d       Deps
	public  *url.URL
	cookie  auth.SessionCookie
	origins *http.CrossOriginProtection
	metrics *metrics
	looks   *lookLog
	// objects gives no byte of a message that is not as it was stored.
	objects     *blob.Verifier
	attachments Attachments
	handler     http.Handler
	admin       http.Handler
}

// New makes a Server. It listens nowhere: the caller serves its handlers.
func New(o Options, d Deps) (*Server, error) {
	if d.Store == nil || d.Objects == nil || d.Auth == nil || d.Keyring == nil || d.Admin == nil || d.Outbound == nil {
		return nil, errors.New("api: Store, Objects, Auth, Keyring, Admin and Outbound are required")
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	d.BodyTime = cmp.Or(d.BodyTime, bodyReadTime)
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
	m, err := newMetrics(d.Registerer)
	if err != nil {
		return nil, err
	}
	s := &Server{
		d: d, public: public, cookie: auth.NewSessionCookie(public), origins: http.NewCrossOriginProtection(), metrics: m,
		looks: newLookLog(), objects: blob.NewVerifier(d.Objects), attachments: d.Attachments,
	}
	if err := s.origins.AddTrustedOrigin(public.Scheme + "://" + public.Host); err != nil {
		return nil, fmt.Errorf("http.public_url: %w", err)
	}
	network, err := s.newRouter(s.registerAPI)
	if err != nil {
		return nil, err
	}
	socket, err := s.newRouter(s.registerAPI, s.registerSetup)
	if err != nil {
		return nil, err
	}
	s.handler = s.wrap(s.protectOrigins(network))
	s.admin = asSocket(s.wrap(socket))
	return s, nil
}

// Handler serves the network.
func (s *Server) Handler() http.Handler { return s.handler }

// AdminHandler serves the admin socket: the same API and /admin/v1, where everyone is a super admin. Who may
// connect is for the caller to check; the uid of the peer, if known, is given with WithPeer.
func (s *Server) AdminHandler() http.Handler { return s.admin }

// HTTPServer gives h the bounds that strangers need: time for the header, its size, time for the body, idle connections.
// Answers have their own deadlines.
func (s *Server) HTTPServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler:           s.inTime(h),
		BaseContext:       func(net.Listener) context.Context { return store.Patient(context.Background()) },
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    16 << 10,
		ErrorLog:          slog.NewLogLogger(s.d.Log.Handler(), slog.LevelDebug),
	}
}

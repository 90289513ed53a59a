package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"regexp"
	"runtime/debug"
	"strings"
	"time"

	"github.com/google/uuid"
	"golang.org/x/text/language"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
)

// writePatience is how long a client may take to accept the next part of an answer.
const writePatience = time.Minute

var requestIDs = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// facts are what is learned of a request on its way, for the log and the metrics.
type facts struct {
	route     string
	language  string
	head      bool
	client    netip.Addr
	principal auth.Principal
}

type factsKey struct{}

func factsOf(ctx context.Context) *facts {
	f, _ := ctx.Value(factsKey{}).(*facts)
	return f
}

func languageOf(ctx context.Context) string {
	if f := factsOf(ctx); f != nil {
		return f.language
	}
	return "en"
}

func clientOf(ctx context.Context) netip.Addr {
	if f := factsOf(ctx); f != nil {
		return f.client
	}
	return netip.Addr{}
}

// wrap is around everything: request id, security headers, log, metrics, panics.
func (s *Server) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		own := uuid.Must(uuid.NewV7()).String()
		id := requestID(r, own)
		if asker(r.Context()).Kind == auth.KindSocket {
			own = id // root and the service user are believed
		}
		f := &facts{route: "unmatched", language: pickLanguage(r), head: r.Method == http.MethodHead, client: clientAddr(r)}
		ctx := auth.WithAuditID(auth.WithRequestID(context.WithValue(r.Context(), factsKey{}, f), id), own)
		s.securityHeaders(w.Header())
		w.Header().Set("X-Request-Id", id)
		rec := &recorder{ResponseWriter: w}
		s.metrics.inFlight.Inc()
		defer func() {
			s.metrics.inFlight.Dec()
			aborted := s.recovered(ctx, rec, r, recover())
			s.observe(ctx, rec, r, f, time.Since(started))
			if aborted {
				panic(http.ErrAbortHandler) // net/http closes the connection and logs nothing
			}
		}()
		next.ServeHTTP(rec, routed(r.WithContext(ctx)))
	})
}

// routed makes HEAD find the route of GET (RFC 9110, 9.3.2). net/http leaves the body away by itself.
func routed(r *http.Request) *http.Request {
	if r.Method == http.MethodHead {
		r.Method = http.MethodGet // r is our copy
	}
	return r
}

// recovered answers after a panic. It tells whether the connection must be cut, because an answer has begun.
func (s *Server) recovered(ctx context.Context, w *recorder, r *http.Request, panicked any) bool {
	if panicked == nil {
		return false
	}
	if err, ok := panicked.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return true
	}
	s.metrics.panics.Inc()
	s.d.Log.ErrorContext(ctx, "panic", "request_id", auth.RequestID(ctx), "err", panicked, "stack", string(debug.Stack()))
	if w.status != 0 {
		return true
	}
	p := newProblem(codeInternal)
	p.Detail, p.RequestID = codeInternal.text(languageOf(ctx)), auth.RequestID(ctx)
	s.writeProblem(w, r, p)
	return false
}

// observe logs and counts. The query is left out: it may hold what nobody should read in a log.
func (s *Server) observe(ctx context.Context, w *recorder, r *http.Request, f *facts, took time.Duration) {
	status := w.status
	if status == 0 {
		status = http.StatusOK
	}
	method := r.Method
	s.metrics.requests.WithLabelValues(f.route, methodLabel(method), statusClass(status)).Inc()
	s.metrics.seconds.WithLabelValues(f.route).Observe(took.Seconds())
	s.d.Log.LogAttrs(ctx, slog.LevelInfo, "request",
		slog.String("request_id", auth.RequestID(ctx)), slog.String("audit_id", auth.AuditID(ctx)), slog.String("method", mail.Clean(method, 16)),
		slog.String("path", mail.Clean(r.URL.Path, 256)), slog.Int("status", status), slog.Int64("bytes", w.bytes),
		slog.Duration("took", took), slog.String("client", clientText(f.client)),
		slog.String("actor_kind", string(f.principal.Kind)), slog.String("actor", f.principal.ID),
		slog.String("tenant_id", string(f.principal.Tenant)))
}

// securityHeaders suit answers that are data: nothing in them may run, be framed, sniffed or cached.
func (s *Server) securityHeaders(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if s.public.Scheme == "https" {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// protectOrigins refuses requests that change something and come from another site's page. Requests with
// an Authorization header pass: no browser adds one by itself.
func (s *Server) protectOrigins(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			if err := s.origins.Check(r); err != nil {
				s.writeProblem(w, r, s.localize(r.Context(), newProblem(codeCrossOrigin), err))
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

type peerKey struct{}

// WithPeer notes the uid of the peer of the admin socket, for the audit log; for http.Server.ConnContext.
func WithPeer(ctx context.Context, uid string) context.Context {
	return context.WithValue(ctx, peerKey{}, uid)
}

// asSocket makes everyone the principal of the admin socket.
func asSocket(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		uid, _ := r.Context().Value(peerKey{}).(string)
		ctx := context.WithValue(r.Context(), principalKey{}, auth.Socket(uid))
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

// requestID is the caller's own when it is harmless, else ours.
func requestID(r *http.Request, ours string) string {
	if id := r.Header.Get("X-Request-Id"); requestIDs.MatchString(id) {
		return id
	}
	return ours
}

// pickLanguage gives "ja" or "en" after Accept-Language (RFC 9110, 12.5.4).
func pickLanguage(r *http.Request) string {
	header := r.Header.Get("Accept-Language")
	if len(header) > 200 || !strings.Contains(strings.ToLower(header), "ja") {
		return "en"
	}
	_, at := language.MatchStrings(languages, header)
	if at == 1 {
		return "ja"
	}
	return "en"
}

var languages = language.NewMatcher([]language.Tag{language.English, language.Japanese})

// clientAddr is the peer of the connection; not valid on a unix socket.
func clientAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// clientText names the client in the log.
func clientText(a netip.Addr) string {
	if !a.IsValid() {
		return "socket"
	}
	return a.String()
}

// extendWrite gives the client another while to accept what is written; a client that stopped reading
// would else hold the connection for ever.
func extendWrite(w http.ResponseWriter) {
	// Not every writer has deadlines; those of tests have none.
	_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(writePatience))
}

// recorder notes status and length of an answer.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader notes the final status and gives the client its time to take the answer.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK {
		r.status = status
		extendWrite(r.ResponseWriter)
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write counts.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

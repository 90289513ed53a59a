package ui

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"time"

	"github.com/google/uuid"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
)

// Bounds on a request. Only downloads last longer than answerTime, as long as the client takes a piece within writePatience.
const (
	answerTime    = 20 * time.Second
	writePatience = time.Minute
	maxForm       = 256 << 10
)

// pagePolicy holds for every page. What is shown of a message has a stricter one.
const pagePolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; frame-src 'self'; frame-ancestors 'none'; base-uri 'none'"

// facts are what is learned of a request on its way, for the log and the metrics.
type facts struct {
	route     string
	principal auth.Principal
}

type factsKey struct{}

func factsOf(ctx context.Context) *facts {
	if f, ok := ctx.Value(factsKey{}).(*facts); ok {
		return f
	}
	return &facts{}
}

// wrap is around everything: request id, security headers, log, metrics, panics.
func (s *Server) wrap(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		started := time.Now()
		f := &facts{route: "unmatched"}
		id := uuid.Must(uuid.NewV7()).String()
		ctx := auth.WithRequestID(context.WithValue(r.Context(), factsKey{}, f), id)
		s.securityHeaders(w.Header())
		w.Header().Set("X-Request-Id", id)
		rec := &recorder{ResponseWriter: w}
		r = r.WithContext(ctx)
		defer func() {
			aborted := s.recovered(rec, r, recover())
			s.observe(rec, r, f, time.Since(started))
			if aborted {
				panic(http.ErrAbortHandler) // net/http closes the connection and logs nothing
			}
		}()
		r.Body = http.MaxBytesReader(rec, r.Body, maxForm)
		next.ServeHTTP(rec, r)
	})
}

// recovered answers after a panic. It tells whether the connection must be cut, because an answer has begun.
func (s *Server) recovered(w *recorder, r *http.Request, panicked any) bool {
	if panicked == nil {
		return false
	}
	if err, ok := panicked.(error); ok && errors.Is(err, http.ErrAbortHandler) {
		return true
	}
	s.metrics.panics.Inc()
	s.d.Log.ErrorContext(r.Context(), "panic", "request_id", auth.RequestID(r.Context()), "err", panicked, "stack", string(debug.Stack()))
	if w.status != 0 {
		return true
	}
	s.fail(s.newPage(w, r), problemInternal)
	return false
}

// observe logs and counts. The query is left out: it may hold what nobody should read in a log.
func (s *Server) observe(w *recorder, r *http.Request, f *facts, took time.Duration) {
	status := w.status
	if status == 0 {
		status = http.StatusOK
	}
	s.metrics.requests.WithLabelValues(f.route, methodLabel(r.Method), statusClass(status)).Inc()
	s.metrics.seconds.WithLabelValues(f.route).Observe(took.Seconds())
	s.d.Log.LogAttrs(r.Context(), slog.LevelInfo, "request",
		slog.String("request_id", auth.RequestID(r.Context())), slog.String("method", mail.Clean(r.Method, 16)),
		slog.String("path", mail.Clean(r.URL.Path, 256)), slog.Int("status", status), slog.Int64("bytes", w.bytes),
		slog.Duration("took", took), slog.String("client", clientAddr(r).String()),
		slog.String("actor_kind", string(f.principal.Kind)), slog.String("actor", f.principal.ID),
		slog.String("tenant_id", string(f.principal.Tenant)))
}

func (s *Server) securityHeaders(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", pagePolicy)
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if s.public.Scheme == "https" {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// protectOrigins refuses requests that change something and come from another site's page.
func (s *Server) protectOrigins(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.origins.Check(r); err != nil {
			s.fail(s.newPage(w, r), problemCrossOrigin)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// handler makes one page. What it returns as an error is told on a page of its own.
type handler func(p *page) error

// handle gives a handler its page, its time, and an answer to its errors.
func (s *Server) handle(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Pattern != "/" {
			factsOf(r.Context()).route = r.Pattern
		}
		ctx, cancel := context.WithTimeout(r.Context(), answerTime)
		defer cancel()
		p := s.newPage(w, r.WithContext(ctx))
		p.client = r.Context()
		if err := h(p); err != nil {
			s.fail(p, err)
		}
	})
}

// clientAddr is the peer of the connection; not valid on a unix socket.
func clientAddr(r *http.Request) netip.Addr {
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

// recorder notes status and length of an answer, and gives the client its time to take it.
type recorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// WriteHeader notes the final status.
func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= http.StatusOK {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

// Write counts.
func (r *recorder) Write(b []byte) (int, error) {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	// Not every writer has deadlines; those of tests have none.
	_ = http.NewResponseController(r.ResponseWriter).SetWriteDeadline(time.Now().Add(writePatience))
	n, err := r.ResponseWriter.Write(b)
	r.bytes += int64(n)
	return n, err
}

// Unwrap lets http.ResponseController reach the connection.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

package api

import (
	"context"
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"reflect"
	"strconv"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/admin"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

const problemType = "application/problem+json"

// retryAfter is what a client is told when the database or the object store is away.
const retryAfter = 5 * time.Second

// refusal is an error of Admin whose reason the asker may know, such as a malformed address.
type refusal interface {
	error
	// In is one sentence for the asker, in "en" or "ja".
	In(language string) string
}

// problem is an error on its way to a client.
type problem struct {
	wire.Problem
	// Things are what a setup made before it failed, as in a wire.SetupResult: a random password is shown this once.
	Things []wire.Made `json:"things,omitempty"`
	header http.Header
}

func newProblem(c code) *problem {
	return &problem{Problem: wire.Problem{
		Type: "about:blank", Title: http.StatusText(c.status()), Status: c.status(), Code: string(c),
	}}
}

// invalid is about one part of a request, such as query.limit.
func invalid(location, message string) *problem {
	p := newProblem(codeValidation)
	p.Errors = []wire.Fault{{Location: location, Message: message}}
	return p
}

func (p *problem) after(d time.Duration) *problem {
	p.header = http.Header{"Retry-After": {strconv.Itoa(max(1, int(math.Ceil(d.Seconds()))))}}
	return p
}

// Error, GetStatus, GetHeaders and ContentType are what huma asks of an error.
func (p *problem) Error() string             { return p.Code }
func (p *problem) GetStatus() int            { return p.Status }
func (p *problem) GetHeaders() http.Header   { return p.header }
func (p *problem) ContentType(string) string { return problemType }

// problemOf turns any error into what the client may know of it, and logs what it may not.
func (s *Server) problemOf(ctx context.Context, err error) *problem {
	p := s.localize(ctx, classify(err), err)
	var u *unfinished
	if errors.As(err, &u) {
		p.Things = u.things
	}
	return p
}

// classify maps errors to problems. What is not known is the server's fault.
func classify(err error) *problem {
	var p *problem
	var refused refusal
	var throttled *auth.ThrottledError
	switch {
	case errors.As(err, &p):
		return p
	case errors.Is(err, context.Canceled): // the database calls this unavailable too
		return newProblem(codeCanceled)
	case errors.As(err, &refused):
		return newProblem(codeRefused)
	case errors.As(err, &throttled):
		return newProblem(codeThrottled).after(throttled.After)
	case errors.Is(err, auth.ErrCredentials):
		return newProblem(codeWrongCredentials)
	case errors.Is(err, auth.ErrPassword):
		p = newProblem(codeRefused)
		p.Detail = auth.ErrPassword.Error()
		return p
	case errors.Is(err, auth.ErrForbidden):
		return newProblem(codeForbidden)
	case errors.Is(err, auth.ErrBusy):
		return newProblem(codeUnavailable).after(retryAfter)
	case errors.Is(err, store.ErrNotFound):
		return newProblem(codeNotFound)
	case errors.Is(err, store.ErrConflict):
		return newProblem(codeConflict)
	case errors.Is(err, admin.ErrNoEngine):
		return newProblem(codeNoEngine)
	case errors.Is(err, store.ErrExists):
		return newProblem(codeExists)
	case errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrFull), errors.Is(err, context.DeadlineExceeded):
		return newProblem(codeUnavailable).after(retryAfter)
	default:
		return newProblem(codeInternal)
	}
}

// localize fills in the text and the request id, and logs what is the server's fault.
func (s *Server) localize(ctx context.Context, p *problem, cause error) *problem {
	var refused refusal
	switch {
	case p.Detail != "":
	case errors.As(cause, &refused):
		p.Detail = refused.In(languageOf(ctx))
	default:
		p.Detail = code(p.Code).text(languageOf(ctx))
	}
	p.RequestID = auth.RequestID(ctx)
	if p.Status >= http.StatusInternalServerError {
		s.d.Log.ErrorContext(ctx, "request failed", "request_id", p.RequestID, "code", p.Code, "err", cause)
	}
	return p
}

// transformError replaces huma's own errors (validation, body too large, …) by problems. It drops the
// values that huma echoes: one may be a password.
func (s *Server) transformError(c huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := newProblem(codeOfStatus(m.Status))
	p.Status, p.Title = m.Status, http.StatusText(m.Status)
	if m.Status < http.StatusInternalServerError {
		for _, e := range m.Errors {
			p.Errors = append(p.Errors, wire.Fault{Location: e.Location, Message: e.Message})
		}
	}
	return s.localize(c.Context(), p, m), nil
}

// refuse answers from a middleware of huma.
func (s *Server) refuse(c huma.Context, err error) {
	p := s.problemOf(c.Context(), err)
	for k, v := range p.header {
		c.SetHeader(k, v[0])
	}
	if p.Status == http.StatusUnauthorized {
		c.SetHeader("WWW-Authenticate", `Bearer realm="mairust"`)
	}
	c.SetHeader("Content-Type", problemType)
	c.SetStatus(p.Status)
	if err := json.NewEncoder(c.BodyWriter()).Encode(p); err != nil {
		s.d.Log.DebugContext(c.Context(), "problem not sent", "err", err)
	}
}

// writeProblem answers outside of huma.
func (s *Server) writeProblem(w http.ResponseWriter, r *http.Request, p *problem) {
	for k, v := range p.header {
		w.Header()[k] = v
	}
	w.Header().Set("Content-Type", problemType)
	w.WriteHeader(p.Status)
	if r.Method == http.MethodHead {
		return
	}
	if err := json.NewEncoder(w).Encode(p); err != nil {
		s.d.Log.DebugContext(r.Context(), "problem not sent", "err", err)
	}
}

// bodyProblem is what is said when an object cannot be read: never a 404, the message exists.
func bodyProblem() *problem { return newProblem(codeBodyUnavailable).after(retryAfter) }

// bodyErrorKind tells an object that is not there from a store that is away; for logs and metrics.
func bodyErrorKind(err error) string {
	switch {
	case errors.Is(err, blob.ErrDamaged):
		return "corrupt"
	case errors.Is(err, blob.ErrNotFound):
		return "missing"
	case errors.Is(err, blob.ErrNoKey):
		return "no_key"
	default:
		return "unavailable"
	}
}

func typeOf[T any]() reflect.Type { return reflect.TypeFor[T]() }

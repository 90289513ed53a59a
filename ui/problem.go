package ui

import (
	"context"
	"errors"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

// problem is an error as people are told it: the catalogue has a title and an advice for each word.
type problem struct {
	status int
	word   string
	after  time.Duration
}

// Error gives the word.
func (p *problem) Error() string { return p.word }

// The problems.
var (
	problemNotFound    = &problem{status: http.StatusNotFound, word: "not_found"}
	problemForbidden   = &problem{status: http.StatusForbidden, word: "forbidden"}
	problemCrossOrigin = &problem{status: http.StatusForbidden, word: "cross_origin"}
	problemMethod      = &problem{status: http.StatusMethodNotAllowed, word: "method"}
	problemBadRequest  = &problem{status: http.StatusBadRequest, word: "bad_request"}
	problemTimeout     = &problem{status: http.StatusRequestTimeout, word: "timeout"}
	problemUnavailable = &problem{status: http.StatusServiceUnavailable, word: "unavailable", after: 5 * time.Second}
	problemBody        = &problem{status: http.StatusServiceUnavailable, word: "body", after: 5 * time.Second}
	problemInternal    = &problem{status: http.StatusInternalServerError, word: "internal"}
)

// classify maps errors to what people may know of them. What is not known is the server's fault.
func classify(err error) *problem {
	var p *problem
	var throttled *auth.ThrottledError
	switch {
	case errors.As(err, &p):
		return p
	case errors.As(err, &throttled):
		return &problem{status: http.StatusTooManyRequests, word: "throttled", after: throttled.After}
	case errors.Is(err, auth.ErrForbidden):
		return problemForbidden
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrNoFolder):
		return problemNotFound
	case errors.Is(err, auth.ErrBusy), errors.Is(err, store.ErrUnavailable), errors.Is(err, store.ErrFull),
		errors.Is(err, context.DeadlineExceeded):
		return problemUnavailable
	default:
		return problemInternal
	}
}

// problemView is what the template of problems shows.
type problemView struct {
	Status                   int
	Heading, Advice, Request string
}

// fail answers with a page that says what happened and what to do.
func (s *Server) fail(p *page, err error) {
	if errors.Is(err, context.Canceled) {
		return // the client has left
	}
	found := classify(err)
	if found.status >= http.StatusInternalServerError {
		s.d.Log.ErrorContext(p.ctx(), "request failed", "request_id", auth.RequestID(p.ctx()), "code", found.word, "err", err)
	}
	if found.after > 0 {
		p.w.Header().Set("Retry-After", strconv.Itoa(max(1, int(math.Ceil(found.after.Seconds())))))
	}
	p.Title = p.T("problem." + found.word + ".title")
	view := problemView{
		Status: found.status, Heading: p.Title, Advice: p.T("problem." + found.word + ".advice"), Request: auth.RequestID(p.ctx()),
	}
	show := "frame"
	if p.isFragment() {
		show = "problem-box"
	}
	p.View = view
	if err := p.render(found.status, "problem", show); err != nil {
		s.d.Log.ErrorContext(p.ctx(), "problem not shown", "request_id", auth.RequestID(p.ctx()), "err", err)
	}
}

// unrouted answers what no page is for: a method that a page does not have, or an address without one.
// Whoever is signed in is told so within the frame that they know.
func (p *page) unrouted(mux *http.ServeMux) error {
	if err := p.s.identify(p); err != nil && !errors.Is(err, auth.ErrCredentials) {
		return err
	}
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost} {
		probe := p.r.Clone(p.ctx())
		probe.Method = method
		if _, pattern := mux.Handler(probe); pattern != "/" && pattern != "" {
			allowed = append(allowed, method)
		}
	}
	if len(allowed) == 0 {
		return problemNotFound
	}
	p.w.Header().Set("Allow", strings.Join(allowed, ", "))
	return problemMethod
}

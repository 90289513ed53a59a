package milter

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mairust/mairust/internal/mail"
)

// source is a Source with its name and its words read.
type source struct {
	Source
	name    string
	onError mail.Action
}

// errPanic is the error of a check that panicked.
var errPanic = errors.New("the check panicked")

func newSources(list []Source) ([]source, error) {
	var sources []source
	for _, s := range list {
		src := source{Source: s, name: s.Check.Name()}
		switch s.OnError {
		case "", "allow":
			src.onError = mail.Allow
		case "tempfail":
			src.onError = mail.Tempfail
		case "reject":
			src.onError = mail.Reject
		default:
			return nil, fmt.Errorf("milter: on_error of %s: %q: use allow, tempfail or reject", src.name, s.OnError)
		}
		sources = append(sources, src)
	}
	return sources, nil
}

// judge asks all sources and merges what they say. It takes no longer than the server's timeout.
func (s *Server) judge(m *mail.Message) mail.Verdict {
	if len(s.sources) == 0 {
		return mail.Verdict{}
	}
	ctx, cancel := s.deadline()
	defer cancel()

	verdicts := make([]mail.Verdict, len(s.sources))
	for i, src := range s.sources {
		if !src.First {
			continue
		}
		verdicts[i] = s.ask(ctx, src, m)
		if verdicts[i].Action == mail.Reject {
			return mail.Merge(verdicts...) // nothing takes precedence over it
		}
	}
	var wg sync.WaitGroup
	for i, src := range s.sources {
		if !src.First {
			wg.Go(func() { verdicts[i] = s.ask(ctx, src, m) })
		}
	}
	wg.Wait()
	return mail.Merge(verdicts...)
}

// ask gives the verdict of one source, or its on_error. It does not wait for a check that ignores
// the end of its context.
func (s *Server) ask(ctx context.Context, src source, m *mail.Message) mail.Verdict {
	type answer struct {
		verdict mail.Verdict
		err     error
	}
	start := time.Now()
	done := make(chan answer, 1)
	s.wg.Go(func() {
		var a answer
		defer func() { done <- a }()
		defer func() {
			if v := recover(); v != nil {
				s.metrics.panics.Inc()
				s.log.Error("panic in a check", "source", src.name, "queue_id", m.QueueID, "panic", fmt.Sprint(v), "stack", string(debug.Stack()))
				a = answer{err: errPanic}
			}
		}()
		a.verdict, a.err = src.Check.Check(ctx, m)
	})
	var a answer
	select {
	case a = <-done:
	case <-ctx.Done():
		a.err = ctx.Err()
	}
	took := time.Since(start)
	s.metrics.checkSeconds.WithLabelValues(src.name).Observe(took.Seconds())
	if a.err == nil {
		return a.verdict
	}
	s.metrics.checkErrors.WithLabelValues(src.name, reason(a.err)).Inc()
	s.log.Warn("check gave no verdict", "source", src.name, "queue_id", m.QueueID, "err", a.err, "on_error", src.onError.String(), "took", took)
	return onErrorVerdict(src, a.err)
}

// onErrorVerdict is what on_error makes of a check that failed. Mail that it lets through is tagged, because
// nobody has looked at it.
func onErrorVerdict(src source, err error) mail.Verdict {
	v := mail.Verdict{Action: src.onError, Reasons: []string{src.name + ": " + reason(err)}}
	if v.Action == mail.Allow {
		v.Action, v.Tags = mail.Tag, []string{tagUnscanned}
	}
	return v
}

func reason(err error) string {
	switch {
	case errors.Is(err, errPanic):
		return "panic"
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return "timeout"
	}
	return "error"
}

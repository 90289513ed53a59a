package alert

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"
)

// checkTimeout is how long a check may take.
const checkTimeout = 5 * time.Second

// watched is a part with what is known of it.
type watched struct {
	Part

	// looking is held during a look, so that those who ask at once share it. It guards the two below.
	looking sync.Mutex
	looked  time.Time
	// pending is a check that has not come back, such as one that waits for a disk that is gone.
	pending chan error

	mu  sync.Mutex // guards the rest
	err string
	// failing is when the part began to fail, zero when it has worked for long enough since; working is since
	// when it works without a break.
	failing, working time.Time
	active           bool
	cause            string
	// told is when the log was last told that the part fails.
	told time.Time
}

func (p *watched) snapshot() State {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := State{Part: p.Name, Essential: p.Essential, Err: p.err, Active: p.active, shared: p.Shared}
	if p.active {
		s.Since, s.Cause = p.failing, p.cause
	}
	return s
}

// look asks the part, unless that was done within maxAge.
func (w *Watcher) look(ctx context.Context, p *watched, maxAge time.Duration) {
	p.looking.Lock()
	defer p.looking.Unlock()
	if !p.looked.IsZero() && time.Since(p.looked) < maxAge {
		return
	}
	answered, err := p.ask(ctx)
	if !answered {
		return
	}
	p.looked = time.Now()
	w.note(p, err, p.looked)
}

var errNoAnswer = fmt.Errorf("no answer within %s", checkTimeout)

// ask runs the check, and does not wait for one that hangs. Only one is ever under way. Nothing is known when the
// asker leaves before the answer.
func (p *watched) ask(ctx context.Context) (answered bool, err error) {
	if p.pending == nil {
		p.pending = p.begin(ctx)
	}
	timer := time.NewTimer(checkTimeout + time.Second)
	defer timer.Stop()
	select {
	case err := <-p.pending:
		p.pending = nil
		if errors.Is(err, context.DeadlineExceeded) {
			err = errNoAnswer
		}
		return true, err
	case <-timer.C:
		return true, errNoAnswer
	case <-ctx.Done():
		return false, nil
	}
}

// settle waits for a check that is under way.
func (p *watched) settle() {
	p.looking.Lock()
	defer p.looking.Unlock()
	if p.pending == nil {
		return
	}
	timer := time.NewTimer(checkTimeout + time.Second)
	defer timer.Stop()
	select {
	case <-p.pending: //nolint:errcheck // nobody asks any more
		p.pending = nil
	case <-timer.C: // it hangs where nothing can end it
	}
}

// begin starts the check. It is not cut short when the asker leaves: others get the same answer.
func (p *watched) begin(ctx context.Context) chan error {
	done := make(chan error, 1)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), checkTimeout)
	go func() {
		defer cancel()
		defer func() {
			if r := recover(); r != nil {
				done <- fmt.Errorf("panic in the check: %v\n%s", r, debug.Stack())
			}
		}()
		done <- p.Check(ctx)
	}()
	return done
}

// note takes the result of a look.
func (w *Watcher) note(p *watched, err error, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		w.noteFailure(p, err, now)
		return
	}
	p.err = ""
	if p.working.IsZero() {
		p.working = now
	}
	if now.Sub(p.working) < w.options.ReturnedAfter && !p.failing.IsZero() {
		return
	}
	if p.active {
		w.log.Info("part works again", "part", p.Name, "failed_for", p.working.Sub(p.failing).Round(time.Second).String())
		w.metrics.change(p.Name, false)
	}
	p.active, p.failing, p.cause = false, time.Time{}, ""
}

func (w *Watcher) noteFailure(p *watched, err error, now time.Time) {
	p.err, p.working = err.Error(), time.Time{}
	if p.failing.IsZero() {
		p.failing = now
	}
	patience := max(p.Patience, time.Nanosecond)
	switch {
	case p.active:
		if now.Sub(p.told) >= w.options.RemindEvery {
			p.told = now
			w.log.Warn("part still fails", "part", p.Name, "since", p.failing, "err", p.err)
		}
	case now.Sub(p.failing) >= patience:
		p.active, p.told = true, now
		w.metrics.change(p.Name, true)
		if p.Essential {
			w.log.Error("part fails", "part", p.Name, "since", p.failing, "err", p.err)
		} else {
			w.log.Warn("part fails", "part", p.Name, "since", p.failing, "err", p.err)
		}
	}
	p.cause = p.err
}

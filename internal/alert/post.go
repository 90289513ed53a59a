package alert

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/mairust/mairust/internal/mailer"
)

// Sink takes notices to people. Send is bounded in time by ctx and by itself; several run at once, of one part one. mailer.ErrUnsure
// says that people may have got the notice.
type Sink interface {
	Send(ctx context.Context, n Notice) error
}

// Notice says that an alert has begun or has ended.
type Notice struct {
	// ID is the same when it is tried again; it may stand in a Message-ID. A random one when empty.
	ID   string
	Part string
	// Failing is false when the part works again.
	Failing bool
	// Since is when the part began to fail, zero when Failing is false. At is now.
	Since, At time.Time
	// Text is the error, for operators.
	Text string
}

// Bounds on what is sent: for one part, in all within 24 hours, and between two attempts when sending fails.
const (
	partEvery  = 10 * time.Minute
	partDaily  = 8
	dailyLimit = 24
	// essentialDaily of these are for essential parts alone: others, however many, leave them.
	essentialDaily = 8
	retryFirst     = time.Minute
	retryLast      = 10 * time.Minute
	// unsureLast is the most between two attempts when it is not known whether people got the first; the least is partEvery. So those
	// that a day has are spread over it.
	unsureLast = 6 * time.Hour
)

// post tells the sink of changes. What happens while the limits hold it back is not queued: when they allow, the
// state of that moment is told, if it differs from what was told last.
type post struct {
	sink    Sink
	log     *slog.Logger
	metrics *metrics
	turns   turns

	mu sync.Mutex // guards the rest
	// sent are the last day's notices: with those that are being sent, and those that may have been.
	sent []*sent
}

// sent is a notice that was sent.
type sent struct {
	at        time.Time
	part      string
	essential bool
}

// letters is what was written about one part.
type letters struct {
	// failing is the last state that was told, at the time last; unsure, that people may have been told another one since.
	failing, unsure bool
	last            time.Time
	// id is of the notice that is to be told, of its state and of its time.
	id     string
	idOf   bool
	idTime time.Time
	// next is when a notice that could not be sent is tried again, after pause.
	next  time.Time
	pause time.Duration
	// full says that a daily limit holds the part back, and was logged.
	full bool
	// turn is there while no other process is to write about the part.
	turn *turn
}

// deliver sends a notice when the state differs from what was told last.
func (p *post) deliver(ctx context.Context, l *letters, s State) {
	now := time.Now()
	if s.Active == l.failing && !l.unsure {
		l.leave(now)
		return
	}
	if now.Before(l.next) || !l.last.IsZero() && now.Sub(l.last) < partEvery || !p.mayTell(l, s) {
		return
	}
	place := p.take(l, s, now)
	if place == nil {
		l.giveTurn()
		return
	}
	if l.id == "" || l.idOf != s.Active || !l.idTime.Equal(s.Since) {
		l.id, l.idOf, l.idTime = "alert-"+rand.Text(), s.Active, s.Since
	}
	p.send(ctx, l, place, Notice{ID: l.id, Part: s.Part, Failing: s.Active, Since: s.Since, At: now, Text: s.Cause})
}

func (p *post) send(ctx context.Context, l *letters, place *sent, n Notice) {
	err := p.sink.Send(ctx, n)
	if err == nil {
		p.metrics.mails.WithLabelValues("sent").Inc()
		*l = letters{failing: n.Failing, last: n.At, turn: l.turn}
		return
	}
	p.metrics.mails.WithLabelValues("failed").Inc()
	if errors.Is(err, mailer.ErrUnsure) {
		l.unsure, l.last = true, time.Now()
		l.pause = min(max(2*l.pause, partEvery), unsureLast)
	} else {
		p.giveBack(place)
		l.pause = min(max(2*l.pause, retryFirst), retryLast)
	}
	l.next = time.Now().Add(l.pause)
	p.log.Warn("notice to administrators not sent", "part", n.Part, "retry_in", l.pause.String(), "err", err)
}

// giveBack leaves the place of a notice that was not sent to others.
func (p *post) giveBack(place *sent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent = slices.DeleteFunc(p.sent, func(s *sent) bool { return s == place })
}

// take gives a part its place among those that may be sent within a day; nil when there is none.
func (p *post) take(l *letters, s State, now time.Time) *sent {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isFull(l, s, now) {
		return nil
	}
	place := &sent{now, s.Part, s.Essential}
	p.sent = append(p.sent, place)
	return place
}

// isFull says whether as many were sent within a day as may be, for a part.
func (p *post) isFull(l *letters, s State, now time.Time) bool {
	for len(p.sent) > 0 && now.Sub(p.sent[0].at) >= 24*time.Hour {
		p.sent = p.sent[1:]
	}
	ofPart, ofOthers := 0, 0
	for _, n := range p.sent {
		if n.part == s.Part {
			ofPart++
		}
		if !n.essential {
			ofOthers++
		}
	}
	most := partDaily
	if !s.Active {
		most-- // the last word of a day is never that all is well: the next failure could not be told
	}
	full := ofPart >= most || len(p.sent) >= dailyLimit || !s.Essential && ofOthers >= dailyLimit-essentialDaily
	if full && !l.full {
		p.metrics.mails.WithLabelValues("held_back").Inc()
		p.log.Warn("no more notices to administrators for now", "part", s.Part, "sent", ofPart, "sent_in_all", len(p.sent))
	}
	l.full = full
	return full
}

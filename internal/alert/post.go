package alert

import (
	"context"
	"log/slog"
	"time"
)

// Sink takes notices to people. Send is bounded in time by ctx and by itself.
type Sink interface {
	Send(ctx context.Context, n Notice) error
}

// Notice says that an alert has begun or has ended.
type Notice struct {
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
)

// post tells the sink of changes. What happens while the limits hold it back is not queued: when they allow, the
// state of that moment is told, if it differs from what was told last.
type post struct {
	sink    Sink
	log     *slog.Logger
	metrics *metrics
	letters map[string]*letters
	// sent are the last day's notices.
	sent []sent
}

// sent is a notice that was sent.
type sent struct {
	at        time.Time
	part      string
	essential bool
}

// letters is what was written about one part.
type letters struct {
	// failing is the last state that was told, at the time last.
	failing bool
	last    time.Time
	// next is when a notice that could not be sent is tried again, after pause.
	next  time.Time
	pause time.Duration
	// full says that a daily limit holds the part back, and was logged.
	full bool
}

// deliver sends a notice for each part whose state differs from what was told last.
func (p *post) deliver(ctx context.Context, states []State) {
	for _, s := range states {
		l := p.letters[s.Part]
		if l == nil {
			l = &letters{}
			p.letters[s.Part] = l
		}
		now := time.Now()
		if s.Active == l.failing || now.Before(l.next) || !l.last.IsZero() && now.Sub(l.last) < partEvery {
			continue
		}
		if p.isFull(l, s, now) {
			continue
		}
		p.send(ctx, l, s, Notice{Part: s.Part, Failing: s.Active, Since: s.Since, At: now, Text: s.Cause})
	}
}

func (p *post) send(ctx context.Context, l *letters, s State, n Notice) {
	if err := p.sink.Send(ctx, n); err != nil {
		p.metrics.mails.WithLabelValues("failed").Inc()
		l.pause = min(max(2*l.pause, retryFirst), retryLast)
		l.next = time.Now().Add(l.pause)
		p.log.Warn("notice to administrators not sent", "part", n.Part, "retry_in", l.pause.String(), "err", err)
		return
	}
	p.metrics.mails.WithLabelValues("sent").Inc()
	p.sent = append(p.sent, sent{n.At, n.Part, s.Essential})
	*l = letters{failing: n.Failing, last: n.At}
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

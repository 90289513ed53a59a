package notify

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/mairust/mairust/internal/mailer"
	"github.com/mairust/mairust/store"
)

const (
	leaseName    = "notices"
	measureEvery = 15 * time.Second
	// look is how often those who send look for something to do.
	look = 3 * time.Second
	// hold is how long a sending may take, with all that is around it; then somebody else may try it. A mail may take longer.
	hold     = 2 * time.Minute
	mailHold = mailer.SendTakes + hold
	// saveTimeout bounds the noting of what became of an attempt, which is done when everything is to end, too.
	saveTimeout = 5 * time.Second
	// giveUpAfter is the age at which a notice that cannot be sent is given up.
	giveUpAfter = 24 * time.Hour
	// giveUpEvery is how often those are looked for whose turn does not come: their channel is not configured any more, or rests too long.
	giveUpEvery  = 10 * time.Minute
	giveUpAtOnce = 500
	// restFirst and restLast bound the rest of a channel after a failure.
	restFirst = 30 * time.Second
	restLast  = 10 * time.Minute
	// unsureFirst and unsureLast bound the time until a notice is tried again that may have been sent: it doubles with each attempt.
	unsureFirst = 10 * time.Minute
	unsureLast  = 4 * time.Hour
	planAtOnce  = 100
)

// limits of the notices about one account.
var limits = store.NoticeLimits{Every: 10 * time.Minute, PerDay: 24}

// Run plans and sends while this process is the only one that does, until ctx ends. Nothing is lost when it ends at any
// point; what was being sent then may be sent again.
func (n *Notifier) Run(ctx context.Context) { n.store.WhileLeader(ctx, leaseName, n.work) }

// work plans and sends until ctx ends.
func (n *Notifier) work(ctx context.Context) {
	var group sync.WaitGroup
	group.Go(func() { n.planOnAndOn(ctx) })
	group.Go(func() {
		for ; ctx.Err() == nil; sleep(ctx, measureEvery) {
			n.measure(ctx)
		}
	})
	group.Go(func() {
		// What waits when the work begins is tried before, however long nobody worked.
		for sleep(ctx, giveUpEvery); ctx.Err() == nil; sleep(ctx, giveUpEvery) {
			n.giveUp(ctx)
		}
	})
	for _, c := range n.channels {
		group.Go(func() { n.sendOnAndOn(ctx, c) })
	}
	if n.monitor != nil {
		group.Go(func() { n.beat(ctx) })
	}
	group.Wait()
}

func (n *Notifier) planOnAndOn(ctx context.Context) {
	for failing := false; ctx.Err() == nil; sleep(ctx, look) {
		err := n.plan(ctx)
		if (err != nil) != failing && ctx.Err() == nil {
			failing = err != nil
			n.log.Log(ctx, levelOf(err), "planning of notices", "err", err)
		}
	}
}

// plan gives to the channels what the limits allow. Without channels, what waits is planned all the same: nobody is to
// get a week's notices when a channel is configured.
func (n *Notifier) plan(ctx context.Context) error {
	due, err := n.store.DueNotices(ctx, planAtOnce)
	if err != nil {
		return err
	}
	for _, notice := range due {
		planned, err := n.store.PlanNotice(ctx, notice, n.names(), limits)
		if err != nil {
			return err
		}
		if planned {
			n.metrics.planned.WithLabelValues(kindLabel(notice.Kind)).Inc()
		} else {
			n.metrics.heldBack.Inc()
		}
	}
	return nil
}

// giveUp ends what was planned so long ago that nobody is to get it any more.
func (n *Notifier) giveUp(ctx context.Context) {
	for sum := giveUpAtOnce; sum == giveUpAtOnce && ctx.Err() == nil; {
		gaveUp, err := n.store.GiveUpNoticeSends(ctx, time.Now().Add(-giveUpAfter), "it was not sent in time", giveUpAtOnce)
		if err != nil {
			n.log.Debug("old notices not given up", "err", err)
			return
		}
		sum = 0
		for channel, count := range gaveUp {
			sum += count
			n.metrics.sends.WithLabelValues(channel, "given_up").Add(float64(count))
			n.log.Error("notices given up: they were not sent in time", "channel", channel, "configured", n.has(channel), "count", count)
		}
	}
}

func (n *Notifier) measure(ctx context.Context) {
	notices, sends, err := n.store.WaitingNotices(ctx)
	if err == nil {
		n.metrics.waiting.WithLabelValues("notices").Set(float64(notices))
		n.metrics.waiting.WithLabelValues("sends").Set(float64(sends))
	}
}

// channel is one way to tell people.
type channel struct {
	name   string
	sender sender
	// hold is how long a sending may take.
	hold time.Duration
	// rest is how long the channel rests after its last failure; 0 when it works.
	rest time.Duration
	// unsaved notes what became of the last attempt; nil when that is done.
	unsaved func(ctx context.Context) error
}

// sender sends one notice. missed names whom it did not reach though it reached others: it is not sent again for them. Neither
// text ever holds a secret of the configuration.
type sender interface {
	send(ctx context.Context, m message) (missed string, err error)
}

func (n *Notifier) sendOnAndOn(ctx context.Context, c *channel) {
	for ctx.Err() == nil {
		if !n.save(ctx, c) {
			sleep(ctx, look)
			continue
		}
		s, err := n.store.ClaimNoticeSend(ctx, c.name, c.hold)
		if err != nil {
			if !errors.Is(err, store.ErrNotFound) && ctx.Err() == nil {
				n.log.Debug("notices not read", "channel", c.name, "err", err)
			}
			sleep(ctx, look)
			continue
		}
		n.pace.wait(ctx)
		missed, err := "", ctx.Err()
		if err == nil {
			missed, err = c.sender.send(ctx, messageOf(s.Notice))
		}
		n.settle(ctx, c, s, missed, err)
		if c.rest > 0 {
			sleep(ctx, c.rest)
		}
	}
}

// settle notes what became of an attempt, also when ctx has ended.
func (n *Notifier) settle(ctx context.Context, c *channel, s *store.NoticeSend, missed string, err error) {
	unsure := errors.Is(err, mailer.ErrUnsure)
	if err != nil && ctx.Err() != nil && !unsure {
		// Nobody got it, and nothing failed: it is for who sends next.
		now := time.Now()
		c.unsaved = func(ctx context.Context) error { return n.store.PostponeNoticeSend(ctx, s, now, s.Error) }
		n.save(ctx, c)
		return
	}
	if !unsure || ctx.Err() == nil { // a server that was not waited for is not at fault
		n.noteChannel(ctx, c, missed, err)
	}
	switch {
	case err == nil:
		n.metrics.sends.WithLabelValues(c.name, "sent").Inc()
		if missed != "" {
			n.log.Error("notice not sent to all", "channel", c.name, "account", s.Account, "kind", s.Kind, "err", missed)
		}
		c.unsaved = func(ctx context.Context) error { return n.store.SettleNoticeSend(ctx, s, store.NoticeSent, missed) }
	case time.Since(s.Planned) > giveUpAfter:
		n.metrics.sends.WithLabelValues(c.name, "given_up").Inc()
		n.log.Error("notice given up", "channel", c.name, "account", s.Account, "kind", s.Kind, "attempts", s.Attempts, "err", err)
		c.unsaved = func(ctx context.Context) error {
			return n.store.SettleNoticeSend(ctx, s, store.NoticeFailed, err.Error())
		}
	default:
		n.metrics.sends.WithLabelValues(c.name, "failed").Inc()
		wait := c.rest
		if unsure {
			wait = max(wait, unsureWait(s.Attempts))
		}
		n.log.Warn("notice not sent", "channel", c.name, "account", s.Account, "kind", s.Kind, "retry_in", wait.String(), "err", err)
		next := time.Now().Add(wait)
		c.unsaved = func(ctx context.Context) error { return n.store.PostponeNoticeSend(ctx, s, next, err.Error()) }
	}
	if !n.save(ctx, c) {
		n.log.Warn("state of a notice not saved yet: it may be sent again", "channel", c.name)
	}
}

// unsureWait is how long a notice that may have been sent waits after so many attempts.
func unsureWait(attempts int64) time.Duration {
	wait := unsureFirst
	for ; attempts > 1 && wait < unsureLast; attempts-- {
		wait *= 2
	}
	return min(wait, unsureLast)
}

// save notes what became of the last attempt, if that is not done. It is not ended by ctx: who goes on would send again what was sent.
func (n *Notifier) save(ctx context.Context, c *channel) (done bool) {
	if c.unsaved == nil {
		return true
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	if err := c.unsaved(ctx); err != nil {
		n.log.Debug("state of a notice not saved", "channel", c.name, "err", err)
		return false
	}
	c.unsaved = nil
	return true
}

// noteChannel notes whether a channel works, for metrics and health.
func (n *Notifier) noteChannel(ctx context.Context, c *channel, missed string, err error) {
	state, text, up := store.NoticeSent, missed, 1.0
	if err == nil {
		c.rest = 0
		n.metrics.worked.WithLabelValues(c.name).Set(float64(time.Now().Unix()))
	} else {
		state, text, up = store.NoticeFailed, err.Error(), 0
		c.rest = min(max(2*c.rest, restFirst), restLast)
	}
	n.metrics.up.WithLabelValues(c.name).Set(up)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), saveTimeout)
	defer cancel()
	if err := n.store.NoteNoticeChannel(ctx, c.name, state, text); err != nil {
		n.log.Debug("state of a channel not saved", "channel", c.name, "err", err)
	}
}

// beat tells the monitor now and then that this installation lives; so a monitor that is down is seen by us as well.
func (n *Notifier) beat(ctx context.Context) {
	every := n.monitor.options.Heartbeat
	if every <= 0 {
		return
	}
	c := &channel{name: "monitor", sender: n.monitor}
	for ctx.Err() == nil {
		n.pace.wait(ctx)
		if ctx.Err() != nil {
			return
		}
		missed, err := c.sender.send(ctx, message{Notice: store.Notice{Kind: string(heartbeatKind), LogKey: store.LogKey{At: time.Now()}}})
		if ctx.Err() == nil {
			n.noteChannel(ctx, c, missed, err)
			if err != nil {
				n.metrics.sends.WithLabelValues("monitor", "failed").Inc()
				n.log.Warn("monitor does not answer", "err", err)
			}
		}
		sleep(ctx, every)
	}
}

// pace lets one thing a second go out, whoever sends it.
type pace struct {
	mu sync.Mutex
	// next is when the next may go.
	next time.Time
}

// leastGap is what has to pass between two.
const leastGap = time.Second

// wait returns when the next may go, or ctx has ended. The first waits too: another node may have sent just now.
func (p *pace) wait(ctx context.Context) {
	p.mu.Lock()
	now := time.Now()
	if p.next.IsZero() {
		p.next = now.Add(leastGap)
	}
	mine := p.next
	if mine.Before(now) {
		mine = now
	}
	p.next = mine.Add(leastGap)
	p.mu.Unlock()
	sleep(ctx, mine.Sub(now))
}

// sleep waits, or until ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

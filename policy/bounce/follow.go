package bounce

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// FollowerDeps are what a Follower works with. Sink and PositionPath are required.
type FollowerDeps struct {
	Sink Sink
	// PositionPath is the file that says up to where the log has been dealt with.
	PositionPath string
	// FromStart begins at the beginning of the log when there is no position yet, instead of at its end.
	FromStart bool
	// Log may be nil.
	Log *slog.Logger
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Every is how often a file is looked at, Retry how long the first pause is after a report that failed; defaults
	// are 1 second each.
	Every, Retry time.Duration
}

const (
	// heartbeat is how often a feed says that it is alive.
	heartbeat = 30 * time.Second
	// saveEvery is how often the position is written when nothing has bounced.
	saveEvery = 5 * time.Second
	// retryLast is the longest pause between two attempts.
	retryLast = time.Minute
	// What a fault keeps from being done, as the log has it.
	notRead     = "mail log not read"
	notReported = "bounces not reported"
	notTaken    = "bounces refused"
	notSaved    = "position in the mail log not saved"
	// lagAllowed is how far behind the end of the log a feed may be without being a fault.
	lagAllowed = 5 * time.Minute
)

// Follower reads a log and tells a Sink. Run or Once is called once; the other methods at any time.
type Follower struct {
	options Options
	deps    FollowerDeps
	source  source
	metrics *feedMetrics
	// saved and reported are when that was last done.
	saved, reported time.Time
	// untold says that what was read last has not been taken by the Sink: the position must stay before it.
	untold bool

	mu sync.Mutex // guards the rest
	// faults are what is wrong, by what it keeps from being done.
	faults   map[string]string
	lastLine time.Time
	gaps     int64
}

// NewFollower makes a Follower. Options must name a log and a Host. A log that cannot be read is no error here: Check tells
// of it, and it is tried again.
func NewFollower(o Options, d FollowerDeps) (*Follower, error) {
	o = o.WithDefaults()
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("follow the log: %w", err)
	}
	if !o.Enabled() || o.Host == "" || d.Sink == nil || d.PositionPath == "" {
		return nil, errors.New("follow the log: a log, Host, Sink and PositionPath are required")
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Every <= 0 {
		d.Every = pollEvery
	}
	if d.Retry <= 0 {
		d.Retry = time.Second
	}
	pos, err := loadPosition(d.PositionPath)
	if err != nil {
		return nil, err
	}
	f := &Follower{options: o, deps: d, faults: map[string]string{}, source: openSource(o, d, pos)}
	f.metrics = newFeedMetrics(d.Registerer, f.lag)
	return f, nil
}

func openSource(o Options, d FollowerDeps, pos position) source {
	if o.Journal {
		if pos.Path != "" {
			pos = position{} // it was a file's
		}
		return &journal{
			program: o.Journalctl, logHost: o.LogHost, log: d.Log, now: d.Now, every: d.Every, fromStart: d.FromStart, pos: pos,
		}
	}
	return openLogFile(&logFile{
		path: o.File, logHost: o.LogHost, log: d.Log, now: d.Now, every: d.Every,
		parser: Parser{Location: time.Local, Now: d.Now},
	}, pos, d.FromStart)
}

// Run follows the log until ctx ends.
func (f *Follower) Run(ctx context.Context) {
	defer f.close()
	f.save(true) // where the log is followed from, so that nothing after this is missed
	retry := f.deps.Retry
	for ctx.Err() == nil {
		b, err := f.source.next(ctx)
		f.note(b, err)
		if !f.tell(ctx, b, false) {
			return
		}
		if err != nil {
			pause(ctx, jitter(retry))
			retry = min(2*retry, retryLast)
			continue
		}
		retry = f.deps.Retry
	}
}

// Once reads up to the end of the log, tells the Sink, and ends. The error says why it did not come so far.
func (f *Follower) Once(ctx context.Context) error {
	defer f.close()
	if j, ok := f.source.(*journal); ok {
		j.once = true
	}
	for {
		b, err := f.source.next(ctx)
		f.note(b, err)
		if !f.tell(ctx, b, b.atEnd) {
			return errors.Join(f.fault(), ctx.Err())
		}
		if err != nil {
			return err
		}
		if b.atEnd {
			return nil
		}
	}
}

func (f *Follower) close() {
	f.save(true)
	_ = f.source.close()
}

// note counts what was read, and logs an error of the log once.
func (f *Follower) note(b batch, err error) {
	f.metrics.count(b)
	f.mu.Lock()
	if !b.lastLine.IsZero() {
		f.lastLine = b.lastLine
	}
	f.gaps += int64(b.gaps)
	f.mu.Unlock()
	f.setFault(notRead, err)
}

// setFault logs when a fault begins or another one takes its place, and when it ends.
func (f *Follower) setFault(what string, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	f.mu.Lock()
	was := f.faults[what]
	f.faults[what] = text
	f.mu.Unlock()
	switch {
	case text == was:
	case err != nil:
		f.deps.Log.Warn(what, "err", err)
	default:
		f.deps.Log.Info("fault of the bounce feed is over", "was", what)
	}
}

// tell reports a batch until it is taken, and then notes that it was. Without bounces it only says now and then that
// the feed is alive. It returns false when ctx ended before.
func (f *Follower) tell(ctx context.Context, b batch, now bool) bool {
	if len(b.bounces) == 0 {
		if now || f.deps.Now().Sub(f.reported) >= heartbeat {
			f.report(ctx, nil)
		}
		f.save(false)
		return ctx.Err() == nil
	}
	f.untold = true
	for retry := f.deps.Retry; !f.report(ctx, b.bounces); retry = min(2*retry, retryLast) {
		pause(ctx, jitter(retry))
		if ctx.Err() != nil {
			return false // the position stays before the batch
		}
	}
	f.untold = false
	f.save(true)
	return ctx.Err() == nil
}

// report returns whether it need not be tried again.
func (f *Follower) report(ctx context.Context, bounces []Bounce) bool {
	bytes, seconds := f.lag()
	f.mu.Lock()
	r := Report{
		Host: f.options.Host, Bounces: bounces, LastLine: f.lastLine, LagBytes: bytes, LagSeconds: seconds, Gaps: f.gaps,
	}
	f.mu.Unlock()
	err := f.deps.Sink.Report(ctx, r)
	f.reported = f.deps.Now()
	switch {
	case err == nil:
		f.metrics.reports.WithLabelValues("taken").Inc()
		f.setFault(notReported, nil)
		f.setFault(notTaken, nil)
		return true
	case errors.Is(err, ErrRefused):
		f.metrics.reports.WithLabelValues("refused").Inc()
		f.metrics.unread.WithLabelValues("refused").Add(float64(len(bounces)))
		f.setFault(notTaken, err)
		return true
	}
	f.metrics.reports.WithLabelValues("failed").Inc()
	if ctx.Err() == nil {
		f.setFault(notReported, err)
	}
	return false
}

// save writes the position, at most now and then unless it must.
func (f *Follower) save(must bool) {
	now := f.deps.Now()
	if f.untold || !must && now.Sub(f.saved) < saveEvery {
		return
	}
	f.saved = now
	f.setFault(notSaved, f.source.position().save(f.deps.PositionPath))
}

func (f *Follower) lag() (bytes int64, seconds float64) {
	bytes, since := f.source.lag()
	if !since.IsZero() {
		seconds = max(0, f.deps.Now().Sub(since).Seconds())
	}
	return bytes, seconds
}

// Check says what is wrong with the feed, for those who watch over the installation.
func (f *Follower) Check(context.Context) error {
	if err := f.fault(); err != nil {
		return err
	}
	if bytes, seconds := f.lag(); seconds > lagAllowed.Seconds() {
		return fmt.Errorf("the mail log is read %d bytes and %.0f seconds late", bytes, seconds)
	}
	return nil
}

func (f *Follower) fault() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, what := range []string{notRead, notReported, notTaken, notSaved} {
		if text := f.faults[what]; text != "" {
			return fmt.Errorf("%s: %s", what, text)
		}
	}
	return nil
}

// jitter spreads the attempts of many hosts.
func jitter(d time.Duration) time.Duration {
	return d/2 + rand.N(d) //nolint:gosec // no secret
}

// Package alert watches what the daemon depends on, and tells administrators once when a part fails and once when
// it works again, however many messages or requests the failure meets.
//
// Alerts are states, one for each part: a part that fails has an alert until it has worked for a while, so that one
// that comes and goes has a single alert. They are logged when they begin and end, stand in metrics and in what
// States gives, and go to a Sink. None of that needs the database.
package alert

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Options are the section `alert` of the configuration. Zero values mean the defaults.
type Options struct {
	// CheckEvery is how often each part is looked at; default 10 seconds.
	CheckEvery time.Duration `yaml:"check_every"`
	// ReturnedAfter is how long a part must work without a break before its alert ends; default 1 minute.
	ReturnedAfter time.Duration `yaml:"returned_after"`
	// RemindEvery repeats the log line of an alert that goes on; default 6 hours.
	RemindEvery time.Duration `yaml:"remind_every"`
	// DiskFreePercent and DiskFreeBytes are the free space below which a disk is reported; defaults 5 and 1 GiB.
	DiskFreePercent int   `yaml:"disk_free_percent"`
	DiskFreeBytes   int64 `yaml:"disk_free_bytes"`
}

// WithDefaults is o with the defaults filled in.
func (o Options) WithDefaults() Options {
	setDefault(&o.CheckEvery, 10*time.Second)
	setDefault(&o.ReturnedAfter, time.Minute)
	setDefault(&o.RemindEvery, 6*time.Hour)
	setDefault(&o.DiskFreePercent, 5)
	setDefault(&o.DiskFreeBytes, 1<<30)
	return o
}

func setDefault[T int | int64 | time.Duration](field *T, value T) {
	if *field <= 0 {
		*field = value
	}
}

// Part is one thing that is watched.
type Part struct {
	// Name is a lower-case word of a closed list; it is a label of metrics.
	Name string
	// Check returns nil when the part works. Its error is for operators: it may name hosts and paths, never
	// secrets or what is in a message. A check that does not come back in time counts as failed.
	Check func(ctx context.Context) error
	// Essential says that the process cannot do its work without the part.
	Essential bool
	// Shared is what the part watches, where other processes of the host may watch the same: of those that do, one writes about it. Empty: nobody does.
	Shared string
	// Patience is how long the part must fail before that is an alert; 0 means at the second failed look.
	Patience time.Duration
}

// State is what is known of a part.
type State struct {
	Part      string
	Essential bool
	// Err is what the last look found, empty when the part works.
	Err string
	// Active says that there is an alert, Since since when the part fails; Cause is the last error of the alert,
	// which remains while the part has yet to prove that it works again.
	Active bool
	Since  time.Time
	Cause  string

	shared string
}

// Deps are what a Watcher works with. All may be left out.
type Deps struct {
	Log        *slog.Logger
	Registerer prometheus.Registerer
	// Sink takes notices; nil means that nobody is written to.
	Sink Sink
	// TurnDir is a directory that the processes of a host share, in which they agree who writes about parts that are Shared. Empty means
	// that there is only one.
	TurnDir string
}

// Watcher watches parts. Its methods may be called from many goroutines, Run once.
type Watcher struct {
	options Options
	log     *slog.Logger
	metrics *metrics
	parts   []*watched
	post    *post
}

// New makes a Watcher. Nothing is looked at before Run or Look.
func New(o Options, d Deps, parts ...Part) *Watcher {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	w := &Watcher{options: o.WithDefaults(), log: d.Log, metrics: newMetrics(d.Registerer)}
	w.post = &post{sink: d.Sink, log: d.Log, metrics: w.metrics, turns: turns{dir: d.TurnDir, log: d.Log}}
	for _, p := range parts {
		w.parts = append(w.parts, &watched{Part: p})
		w.metrics.active.WithLabelValues(p.Name).Set(0)
	}
	return w
}

// Run watches until ctx is done.
func (w *Watcher) Run(ctx context.Context) {
	var group sync.WaitGroup
	group.Go(func() {
		w.every(ctx, func() { w.Look(ctx, 0) })
	})
	// Apart from the watching, which a slow mail server must not hold, and from each other.
	if w.post.sink != nil {
		for _, p := range w.parts {
			var l letters
			group.Go(func() {
				w.every(ctx, func() { w.post.deliver(ctx, &l, p.snapshot()) })
				l.turn.end()
			})
		}
	}
	group.Wait()
}

// Close waits for checks under way, at most as long as one may take. It comes after the last Look and the end of Run,
// and before what the checks use is closed.
func (w *Watcher) Close() {
	var group sync.WaitGroup
	for _, p := range w.parts {
		group.Go(p.settle)
	}
	group.Wait()
}

func (w *Watcher) every(ctx context.Context, do func()) {
	ticker := time.NewTicker(w.options.CheckEvery)
	defer ticker.Stop()
	for {
		do()
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// Look looks at every part whose last look is older than maxAge, and gives the states. It takes as long as a check
// may take.
func (w *Watcher) Look(ctx context.Context, maxAge time.Duration) []State {
	var group sync.WaitGroup
	for _, p := range w.parts {
		group.Go(func() { w.look(ctx, p, maxAge) })
	}
	group.Wait()
	return w.States()
}

// States gives what is known, in the order of the parts, without looking.
func (w *Watcher) States() []State {
	states := make([]State, len(w.parts))
	for i, p := range w.parts {
		states[i] = p.snapshot()
	}
	return states
}

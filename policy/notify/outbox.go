package notify

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// outboxSize is how many notices wait in memory while the database is away.
	outboxSize  = 1000
	outboxRetry = 2 * time.Second
)

// Outbox enqueues for those who cannot wait, such as the engine while a client waits for its reply. Put may be called from
// many goroutines.
type Outbox struct {
	queue Queue
	log   *slog.Logger
	wake  chan struct{}

	mu   sync.Mutex
	list []Notice
	lost int
}

// NewOutbox makes an Outbox; Run must run beside.
func NewOutbox(q Queue, log *slog.Logger) *Outbox {
	return &Outbox{queue: q, log: log, wake: make(chan struct{}, 1)}
}

// Put takes a notice and returns at once. Of more than a thousand that wait the oldest is lost, which is logged.
func (o *Outbox) Put(n Notice) {
	o.mu.Lock()
	if len(o.list) == outboxSize {
		o.list = o.list[1:]
		o.lost++
	}
	o.list = append(o.list, n)
	o.mu.Unlock()
	o.wakeUp()
}

// Run enqueues what was put until ctx ends, and then once more what is left.
func (o *Outbox) Run(ctx context.Context) {
	for ctx.Err() == nil {
		select {
		case <-o.wake:
			if !o.flush(ctx) {
				sleep(ctx, outboxRetry)
				o.wakeUp()
			}
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer cancel()
	if !o.flush(last) {
		o.log.Warn("notices lost: the database did not take them before the end")
	}
}

func (o *Outbox) wakeUp() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

// flush is false when something is left.
func (o *Outbox) flush(ctx context.Context) bool {
	for {
		o.mu.Lock()
		if o.lost > 0 {
			o.log.Warn("notices lost: too many waited for the database", "lost", o.lost)
			o.lost = 0
		}
		if len(o.list) == 0 {
			o.mu.Unlock()
			return true
		}
		n := o.list[0]
		o.mu.Unlock()
		if err := Enqueue(ctx, o.queue, n); err != nil {
			o.log.Debug("notice waits for the database", "err", err)
			return false
		}
		o.mu.Lock()
		// Put may have removed it meanwhile.
		if len(o.list) > 0 && o.list[0] == n {
			o.list = o.list[1:]
		}
		o.mu.Unlock()
	}
}

package store

import (
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// Bounds of an outage's memory and talk.
const (
	// outageFresh is how long the failure of a delivery counts as the database's state.
	outageFresh = 30 * time.Second
	// outageTold is how far apart the log lines about failing batches are.
	outageTold = time.Minute
)

// outage remembers whether deliveries can be committed, so that a database which answers small questions and refuses
// mail is known for what it is, and logs that without a line for each batch.
type outage struct {
	log *slog.Logger

	mu     sync.Mutex
	err    error     // of the last batch; nil when it was committed
	at     time.Time // of err
	told   time.Time
	silent int // batches that failed since then and were not logged
}

// failed notes that a batch of deliveries could not be committed.
func (o *outage) failed(deliveries int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if (errors.Is(err, ErrUnavailable) || errors.Is(err, ErrFull)) && !errors.Is(err, sqldb.ErrRowLocked) {
		o.err, o.at = err, now
	}
	if !o.told.IsZero() && now.Sub(o.told) < outageTold {
		o.silent++
		return
	}
	o.log.Warn("batch of deliveries failed, trying one by one", "deliveries", deliveries, "batches_before", o.silent, "err", err)
	o.told, o.silent = now, 0
}

// over notes that a delivery was committed.
func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err = nil
}

// last is the error of the last batch, nil when that was committed or is long ago.
func (o *outage) last() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil || time.Since(o.at) > outageFresh {
		return nil
	}
	return fmt.Errorf("deliveries fail: %w", o.err)
}

package store

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
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
	// outageOpen is how many messages in a row may leave their objects, since nobody knows how their commit ended, before others
	// are refused at once.
	outageOpen = 10
	// outageTurn is how far apart those are that are let through then, outageLasts how long after the last that failed. A commit that
	// hangs is given up after half of it.
	outageTurn  = time.Second
	outageLasts = 2 * time.Minute
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
	open   int // messages with an unknown outcome since the last success
	turn   time.Time
}

// failed notes that a batch of deliveries could not be committed.
func (o *outage) failed(deliveries int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if !isOfMessages(err) {
		o.err, o.at = err, now
	}
	if !o.told.IsZero() && now.Sub(o.told) < outageTold {
		o.silent++
		return
	}
	o.log.Warn("batch of deliveries failed, trying one by one", "deliveries", deliveries, "batches_before", o.silent, "err", err)
	o.told, o.silent = now, 0
}

// isOfMessages says whether a batch has failed for what is in it, or for their objects, while the database does what it should.
func isOfMessages(err error) bool {
	of := []error{sqldb.ErrLockTimeout, sqldb.ErrConflict, errNoObject, errPanic}
	return isRefused(err) || slices.ContainsFunc(of, func(e error) bool { return errors.Is(err, e) })
}

// over notes that a delivery was committed.
func (o *outage) over() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err, o.open = nil, 0
}

// leftOpen notes a message whose object stays.
func (o *outage) leftOpen() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.open++
}

// stuck notes that nothing of a batch could be committed, since all of it was locked.
func (o *outage) stuck(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.err, o.at = fmt.Errorf("all that was tried: %w", err), time.Now()
}

// goesOn notes that an outage has not ended, unless somebody's delivery has ended it.
func (o *outage) goesOn(err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err != nil {
		o.err, o.at = err, time.Now()
	}
}

// refuses gives the error with which a delivery need not be begun; nil where it may be, or when it is its turn to try.
func (o *outage) refuses() (err error, isTurn bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if o.err == nil || o.open < outageOpen || now.Sub(o.at) > outageLasts {
		return nil, false
	}
	if now.Sub(o.turn) < outageTurn {
		return fmt.Errorf("deliveries fail: %w", o.err), false
	}
	o.turn = now
	return nil, true
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

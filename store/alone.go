package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// A delivery that is alone has nobody to share its flushes with, and waits for two, one after the other: that of its object
// and that of the commit. What PostgreSQL has to do before the commit is done meanwhile.

// crowdTime is for how long after two deliveries at once there is no alone: under load flushes are shared, which costs less.
const crowdTime = 100 * time.Millisecond

// slowTime is for how long there is no alone after an object that was late: the next ones may be too, and each would hold its locks.
const slowTime = time.Second

// defaultPutPatience is how long a transaction is held open for an object. Others wait that long for the tenant, at most.
const defaultPutPatience = 20 * time.Millisecond

var (
	errPutFailed = errors.New("object could not be stored")
	errPutLate   = errors.New("object takes long to be stored")
)

// DeliverWhile puts the object of a copy, with put, and then delivers the copy, or does both at once where that is faster: the
// row is committed only when put has returned nil. An error of put is returned as it is; then there is no row. Otherwise it is
// as Deliver.
func (s *Store) DeliverWhile(ctx context.Context, c Copy, put func() error) (Result, error) {
	defer s.delivering.Add(-1)
	if s.delivering.Add(1) > 1 || s.commits.Busy() {
		s.shareFor(crowdTime)
	}
	if time.Since(s.started) < time.Duration(s.shareUntil.Load()) || !s.isKnown(c) {
		if err := put(); err != nil {
			return Result{}, err
		}
		return s.Deliver(ctx, []Copy{c})[0], nil
	}
	return s.deliverAlone(ctx, c, put)
}

// shareFor lets no delivery be alone for a while.
func (s *Store) shareFor(d time.Duration) {
	until := int64(time.Since(s.started) + d)
	for old := s.shareUntil.Load(); old < until && !s.shareUntil.CompareAndSwap(old, until); {
		old = s.shareUntil.Load()
	}
}

// isKnown says whether a copy can be stored directly, as far as can be seen without the database.
func (s *Store) isKnown(c Copy) bool {
	if s.db.Backend() != sqldb.Postgres {
		return false
	}
	_, known := s.folderIDs.get(folderKey{c.Target.Mailbox, c.Folder})
	return known
}

func (s *Store) deliverAlone(ctx context.Context, c Copy, put func() error) (Result, error) {
	began := time.Now()
	object, row := &putting{over: make(chan struct{})}, make(chan loneRow, 1)
	go func() { row <- s.commitAlone(c, object) }()
	object.err = put()
	close(object.over) // not when put panics: nothing is to be committed then
	done := <-row
	if object.err != nil {
		return Result{}, object.err
	}
	return s.settleAlone(ctx, c, done, began), nil
}

// settleAlone is the result of a copy whose object is stored.
func (s *Store) settleAlone(ctx context.Context, c Copy, done loneRow, began time.Time) Result {
	switch {
	case errors.Is(done.err, errInDoubt):
		s.doubt([]row{{Copy: &c}})
		s.metrics.lone.WithLabelValues(resultInDoubt).Inc()
		return s.Deliver(ctx, []Copy{c})[0]
	case errors.Is(done.err, errPutLate):
		s.shareFor(slowTime)
		s.metrics.lone.WithLabelValues(resultLate).Inc()
		return s.Deliver(ctx, []Copy{c})[0]
	case done.err != nil:
		s.commitSingly([]*deliveryJob{done.job}, done.err)
		return done.job.results[0]
	}
	s.metrics.commitSeconds.Observe(time.Since(began).Seconds())
	s.metrics.batchSize.Observe(1)
	s.metrics.direct.WithLabelValues(resultStored).Inc()
	s.metrics.lone.WithLabelValues(resultStored).Inc()
	s.outage.over()
	return Result{ID: c.ID}
}

// loneRow is what became of the row of a copy.
type loneRow struct {
	job *deliveryJob
	err error
}

// commitAlone stores the row of c and commits it when the object is there. Meanwhile nobody waits for it but who needs the
// rows that it has locked.
func (s *Store) commitAlone(c Copy, object *putting) (done loneRow) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("panic in a delivery", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			done.err = errInDoubt
			if done.job != nil { // the row may be committed
				done.err = fmt.Errorf("panic: %v", p)
			}
		}
	}()
	copies := []Copy{c}
	summaries, err := s.encodeSummaries(copies)
	if err == nil {
		done.job, err = s.newJob(copies, summaries)
	}
	if err != nil {
		return loneRow{err: errInDoubt} // Deliver will say it
	}
	d := s.newDirectBatch(rowsOf([]*deliveryJob{done.job}))
	if d == nil {
		return loneRow{err: errInDoubt}
	}
	done.err = s.write(context.Background(), func(ctx context.Context, tx *sqldb.Tx) error {
		if err := d.store(ctx, tx); err != nil {
			return err
		}
		return object.wait(s.putPatience)
	})
	return done
}

// putting is an object that is being stored.
type putting struct {
	// over is closed when err is known.
	over chan struct{}
	err  error
}

// wait returns nil when the object is stored.
func (p *putting) wait(atMost time.Duration) error {
	patience := time.NewTimer(atMost)
	defer patience.Stop()
	select {
	case <-p.over:
		if p.err != nil {
			return errPutFailed
		}
		return nil
	case <-patience.C:
		return errPutLate
	}
}

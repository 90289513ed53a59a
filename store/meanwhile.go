package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// A message waits for two flushes, that of its object and that of the commit. What the database has to do before the commit is
// done while objects are stored: a batch writes its rows, waits for the objects of all its copies, and commits. That is so on
// PostgreSQL; see putsFirst.

// slowTime is for how long objects are stored before their rows are begun, after a batch that waited in vain: the next ones may
// be as slow, and each batch would be written twice.
const slowTime = time.Second

// defaultPutPatience is how long an attempt at a batch waits for objects. Others wait as long for what it has locked.
const defaultPutPatience = 20 * time.Millisecond

// errNoObject says that an object of a batch failed, or was not stored in time. Nothing of the batch was committed.
var errNoObject = errors.New("object is not stored")

// DeliverWhile puts the object of a copy, with put, and delivers the copy meanwhile: the row is committed only when put has
// returned nil. An error of put is returned as it is; then there is no row. Otherwise it is as Deliver.
func (s *Store) DeliverWhile(ctx context.Context, c Copy, put func() error) (Result, error) {
	copies := []Copy{c}
	if s.putsFirst(c) {
		if err := put(); err != nil {
			return Result{}, err
		}
		return s.Deliver(ctx, copies)[0], nil
	}
	job, err := s.jobWithObject(copies)
	if err != nil {
		return Result{Err: err}, nil //nolint:nilerr // the error of put is that of the object
	}
	decided := make(chan struct{})
	go func() {
		defer close(decided)
		s.decide(job)
	}()
	job.object.err = put()
	close(job.object.over) // not when put panics: nothing is to be committed then
	<-decided              // also when put failed: jobs must not pile up while the database hangs
	switch result := job.results[0]; {
	case job.object.err != nil:
		return Result{}, job.object.err
	case errors.Is(result.Err, errNoObject):
		return s.Deliver(ctx, copies)[0], nil // it is now
	default:
		return result, nil
	}
}

// decide commits a job with others. Here nobody else would recover from a panic.
func (s *Store) decide(job *deliveryJob) {
	defer func() {
		if p := recover(); p != nil {
			s.log.Error("panic in a delivery", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			job.fail(fmt.Errorf("panic: %v", p)) // it may be committed
		}
	}()
	s.commits.Do(job)
}

func (s *Store) jobWithObject(copies []Copy) (*deliveryJob, error) {
	summaries, err := s.encodeSummaries(copies)
	if err != nil {
		return nil, err
	}
	job, err := s.newJob(copies, summaries)
	if err != nil {
		return nil, err
	}
	_, job.cost = fitting(copies, summaries)
	job.object = &putting{over: make(chan struct{})}
	return job, nil
}

// putsFirst says whether the object of a copy is stored before its row is begun. On SQLite always: whoever writes there keeps all
// others from it, and has nothing to wait for but flushes. On PostgreSQL for the first message in a folder, which takes long to
// decide, and whose object may need a key of the tenant that the batch would have locked.
func (s *Store) putsFirst(c Copy) bool {
	if s.db.Backend() != sqldb.Postgres || time.Since(s.started) < time.Duration(s.putFirstUntil.Load()) {
		return true
	}
	_, known := s.folderIDs.get(folderKey{c.Target.Mailbox, c.Folder})
	return !known
}

// putFirst has objects stored before their rows are begun, for a while.
func (s *Store) putFirst(d time.Duration) {
	until := int64(time.Since(s.started) + d)
	for old := s.putFirstUntil.Load(); old < until && !s.putFirstUntil.CompareAndSwap(old, until); {
		old = s.putFirstUntil.Load()
	}
}

// putting is an object that is being stored.
type putting struct {
	// over is closed when err is known.
	over chan struct{}
	err  error
}

// awaitObjects waits until the objects of all jobs are stored or one has failed, no longer than patience, and gives the jobs
// whose objects are stored. When there are others, their results are an errNoObject, and so is the error.
func awaitObjects(jobs []*deliveryJob, patience time.Duration) (stored []*deliveryJob, err error) {
	waitForObjects(jobs, patience)
	for _, j := range jobs {
		if j.object == nil || j.object.isOver() && j.object.err == nil {
			stored = append(stored, j)
			continue
		}
		j.fail(errNoObject)
		err = errNoObject
	}
	return stored, err
}

func waitForObjects(jobs []*deliveryJob, patience time.Duration) {
	var late <-chan time.Time
	for _, j := range jobs {
		if j.object == nil {
			continue
		}
		if !j.object.isOver() {
			if late == nil {
				timer := time.NewTimer(patience)
				defer timer.Stop()
				late = timer.C
			}
			select {
			case <-j.object.over:
			case <-late:
				return // the others had as long
			}
		}
		if j.object.err != nil {
			return
		}
	}
}

func (p *putting) isOver() bool {
	select {
	case <-p.over:
		return true
	default:
		return false
	}
}

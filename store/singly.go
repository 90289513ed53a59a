package store

import (
	"errors"
	"fmt"

	"github.com/mairust/mairust/store/sqldb"
)

// commitSingly decides the copies of jobs of which a first attempt has failed, each for itself, but for those whose objects are not
// stored. When a COMMIT was sent, all are.
func (s *Store) commitSingly(jobs []*deliveryJob, first error) {
	s.metrics.retries.Inc()
	s.outage.failed(len(jobs), first)
	jobs, _ = awaitObjects(jobs, s.putPatience)
	singles := singly(jobs)
	var locked lockedCopies
	stored := false
	for i, job := range singles {
		target := job.copies[0].Target
		if locked.has(target) {
			s.refuse(job, notStored(first, locked.err))
			continue
		}
		err := s.commitJobs([]*deliveryJob{job}, secondTry)
		if isRefused(err) {
			err = s.commitBare(job, err)
		}
		if err == nil {
			stored = true
			s.outage.over()
			continue
		}
		s.refuse(job, notStored(first, err))
		switch {
		case errors.Is(err, sqldb.ErrLockTimeout):
			locked.add(target, err)
		case errors.Is(err, ErrUnavailable):
			// The database is away: the others would wait for it one after the other, for hours.
			for _, rest := range singles[i+1:] {
				s.refuse(rest, notStored(first, first))
			}
			return
		}
	}
	if locked.n > 0 {
		s.noteLocked()
		if !stored && locked.n > 1 && len(jobs) > 1 {
			s.outage.stuck(locked.err)
		}
	}
}

// singly gives a job for each copy of jobs.
func singly(jobs []*deliveryJob) []*deliveryJob {
	var all []*deliveryJob
	for _, job := range jobs {
		all = append(all, job.singles()...)
	}
	return all
}

// refuse fails a job, whose objects stay when nobody knows whether there are rows for them.
func (s *Store) refuse(job *deliveryJob, err error) {
	job.fail(err)
	if !errors.Is(err, ErrNotStored) {
		s.outage.leftOpen()
	}
}

// notStored is the error of copies whose two attempts failed like this: an ErrNotStored when no COMMIT of either was sent.
func notStored(first, second error) error {
	err := fmt.Errorf("store message: %w", second)
	if beforeCommit(first) && beforeCommit(second) {
		return fmt.Errorf("%w: %w", ErrNotStored, err)
	}
	return err
}

// beforeCommit says whether an attempt is known to have failed before its COMMIT, for whatever reason.
func beforeCommit(err error) bool {
	return !errors.Is(err, sqldb.ErrCommitUnknown) && !errors.Is(err, errPanic)
}

package journal

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"
)

// checkpoints frees segments as they fill up or grow old, until ctx ends.
func (l *Log) checkpoints(ctx context.Context) {
	defer close(l.done)
	tick := time.NewTicker(max(l.o.MaxAge/5, time.Millisecond))
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.wake:
		case <-tick.C:
			l.sealOld()
		}
		failing := l.Check() != nil
		if !failing && !l.due() {
			continue
		}
		err := l.checkpoint()
		l.setFault(err)
		switch {
		case err != nil && !failing:
			l.o.Log.Error("journal: checkpoint failed, trying again until it works", "err", err)
		case err == nil && failing:
			l.o.Log.Info("journal: checkpoints work again")
		}
	}
}

func (l *Log) setFault(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fault = err
}

// Check is an error while checkpoints fail.
func (l *Log) Check() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fault != nil {
		return fmt.Errorf("journal checkpoint: %w", l.fault)
	}
	return nil
}

// due says whether sealed segments hold enough, or are many or old.
func (l *Log) due() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	names := 0
	for _, s := range l.sealed {
		names += len(s.keys)
	}
	n := len(l.sealed)
	return n > 0 && (names >= l.o.CheckpointNames || n >= l.o.MaxSegments/2 || l.o.Now().Sub(l.sealed[0].began) >= l.o.MaxAge)
}

// sealCurrent ends the current segment's taking of records. l.mu is held.
func (l *Log) sealCurrent() {
	if l.current == nil {
		return
	}
	l.sealed = append(l.sealed, l.current)
	l.current = nil
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// sealOld seals the current segment when its first entry is old enough. While somebody writes to it, the next
// tick will do: under load segments fill up. Who begins to write after we have looked finds it sealed, because l.mu is held.
func (l *Log) sealOld() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.current != nil && !l.queue.Busy() && l.o.Now().Sub(l.current.began) >= l.o.MaxAge {
		l.sealCurrent()
	}
}

func (l *Log) seal() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sealCurrent()
}

// checkpoint makes the objects of all sealed segments durable in their files, and frees the segments.
func (l *Log) checkpoint() error {
	l.mu.Lock()
	for !l.allPlaced() {
		l.ended.Wait()
	}
	sealed := l.sealed[:len(l.sealed):len(l.sealed)]
	l.mu.Unlock()
	if len(sealed) == 0 {
		return nil
	}
	began := time.Now()
	if err := l.syncObjects(sealed); err != nil {
		l.metrics.failedCheckpoints.Inc()
		return err
	}
	l.metrics.checkpointSeconds.Observe(time.Since(began).Seconds())
	for _, s := range sealed {
		if err := l.free(s); err != nil {
			l.metrics.failedCheckpoints.Inc()
			return err
		}
	}
	return nil
}

// allPlaced says whether no put of a sealed segment is on its way to its names. l.mu is held.
func (l *Log) allPlaced() bool {
	for _, s := range l.sealed {
		if s.pending > 0 {
			return false
		}
	}
	return true
}

// syncObjects flushes the files. The kernel tells of an error of writing some file back only once, not of which file, and may
// have dropped bytes that memory still shows. So from then on every segment there was is in doubt: a flush that
// works says nothing of its objects, until they have been written anew from it.
func (l *Log) syncObjects(sealed []*segment) error {
	if !l.inDoubt(sealed) {
		err := l.o.Sync()
		if err == nil {
			return nil
		}
		l.doubt()
		l.o.Log.Error("journal: flushing objects failed, writing them again", "err", err)
	}
	var records []record
	for _, s := range sealed {
		b, err := s.read()
		if err != nil {
			return err
		}
		records = append(records, l.liveOf(s, parseSegment(b))...)
	}
	if err := errors.Join(l.apply(records, nil), l.removeReleased(records)); err != nil {
		return err
	}
	if err := l.o.Sync(); err != nil {
		l.doubt()
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range sealed {
		s.doubtful = false
	}
	return nil
}

// liveOf leaves out the keys of objects that were deleted meanwhile, whichever segment says so.
func (l *Log) liveOf(s *segment, records []record) []record {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, r := range records {
		if r.kind == kindPut {
			records[i].keys = slices.DeleteFunc(r.keys, func(key string) bool { return l.live[key] != s })
		}
	}
	return records
}

// removeReleased removes again what was placed anew and was deleted in that moment.
func (l *Log) removeReleased(records []record) error {
	for _, r := range records {
		for _, key := range r.keys {
			l.mu.Lock()
			_, live := l.live[key]
			l.mu.Unlock()
			if live || r.kind != kindPut {
				continue
			}
			if err := l.o.Remove(key); err != nil {
				return err
			}
		}
	}
	return nil
}

func (l *Log) inDoubt(segments []*segment) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.ContainsFunc(segments, func(s *segment) bool { return s.doubtful })
}

// doubt notes that a flush has failed: of the objects of all segments, and of those whose files were written before it and that are
// on their way to a segment.
func (l *Log) doubt() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.failedSyncs++
	for _, s := range l.sealed {
		s.doubtful = true
	}
	if l.current != nil {
		l.current.doubtful = true
	}
}

// FailedSyncs is how often flushing objects has failed: to be asked before the file of an object is written, for Put.
func (l *Log) FailedSyncs() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.failedSyncs
}

// free retires the oldest sealed segment, and only then forgets its keys: from now on an object that is
// removed needs no record of it.
func (l *Log) free(s *segment) error {
	keys := s.keys
	if err := s.retire(); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		if l.live[k] == s {
			delete(l.live, k)
		}
	}
	maps.DeleteFunc(l.deleted, func(_ string, in *segment) bool { return in == s })
	l.sealed = l.sealed[1:]
	l.idle = append(l.idle, s)
	select {
	case l.freed <- struct{}{}:
	default:
	}
	return nil
}

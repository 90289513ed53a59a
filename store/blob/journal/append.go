package journal

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Bounds of one flush.
const (
	maxBatchEntries = 256
	maxBatchBytes   = 4 << 20
)

// busyPatience is how long an append waits for a free segment; tests replace it.
var busyPatience = 2 * time.Second

// errNotWritten is the error of an entry until it is known to be on the disk.
var errNotWritten = errors.New("journal: entry was not written")

// entry is a record on its way to the disk.
type entry struct {
	record record
	head   []byte
	bytes  int64
	// failedSyncs is that of the log before the object's file was written.
	failedSyncs uint64
	// segment is where it was written.
	segment *segment
	err     error
}

// append returns when e is on the disk, together with what others append. Once queued, an entry does not heed ctx: its
// fate would be unknown.
func (l *Log) append(ctx context.Context, e *entry) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	e.head = e.record.head()
	if len(e.head) > headBytes+maxKeyBytes || len(e.record.body) > MaxBody {
		return fmt.Errorf("journal: entry of %d bytes is too large", len(e.head)+len(e.record.body))
	}
	e.bytes, e.err = padded(len(e.head)+len(e.record.body)), errNotWritten
	if l.isClosed() {
		return errClosed
	}
	l.queue.Do(e)
	return e.err
}

func (l *Log) isClosed() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.closed
}

// takeBatch is how many of the oldest entries are flushed together.
func takeBatch(waiting []*entry) int {
	n, bytes := 0, int64(0)
	for n < len(waiting) && n < maxBatchEntries && (n == 0 || bytes+waiting[n].bytes <= maxBatchBytes) {
		bytes += waiting[n].bytes
		n++
	}
	return n
}

// write writes and flushes a batch, and sets the error of each entry.
func (l *Log) write(batch []*entry) {
	bytes := int64(0)
	for _, e := range batch {
		bytes += e.bytes
	}
	s, err := l.room(bytes)
	if err == nil {
		began := time.Now()
		pieces := l.stampAll(batch, s)
		err = s.append(pieces, bytes)
		l.metrics.flushSeconds.Observe(time.Since(began).Seconds())
		l.metrics.batchEntries.Observe(float64(len(batch)))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if s != nil && err != nil {
		l.sealCurrent() // takes no more; what it acknowledged before stays good
	}
	for _, e := range batch {
		e.segment, e.err = s, err
		if err == nil && e.record.kind == kindDelete {
			for _, k := range e.record.keys {
				delete(l.live, k)
				l.deleted[k] = s
			}
		}
		if e.record.kind != kindPut || err != nil {
			continue
		}
		s.pending++
		s.doubtful = s.doubtful || e.failedSyncs != l.failedSyncs
		s.keys = append(s.keys, e.record.keys...)
		for _, k := range e.record.keys {
			l.live[k] = s
		}
	}
}

var zeros [blockBytes]byte

// stampAll gives the entries their numbers, and the pieces to be written.
func (l *Log) stampAll(batch []*entry, s *segment) [][]byte {
	pieces := make([][]byte, 0, 3*len(batch)+1)
	for _, e := range batch {
		l.seq++
		e.record.seq = l.seq
		stamp(e.head, s.use, l.seq)
		pieces = append(pieces, e.head, e.record.body, zeros[:e.bytes-int64(len(e.head)+len(e.record.body))])
	}
	return pieces
}

// room gives the current segment if it has room for n bytes, else the next one. Every error is an ErrNotTaken.
func (l *Log) room(n int64) (*segment, error) {
	if err := l.recoveredLately(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotTaken, err)
	}
	l.mu.Lock()
	if l.current != nil && l.current.fits(n) && !l.enough() && l.isOurs(l.current) {
		defer l.mu.Unlock()
		return l.current, nil
	}
	l.sealCurrent()
	l.mu.Unlock()
	s, err := l.nextSegment()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotTaken, err)
	}
	s.start(l.o.Now())
	l.mu.Lock()
	defer l.mu.Unlock()
	l.current = s
	return s, nil
}

// isOurs says whether a crash would find what is written to a segment now.
func (l *Log) isOurs(s *segment) bool {
	ours := s.isOurs()
	if !ours {
		l.o.Log.Error("journal: a segment in use was replaced or removed, as by a backup that is put back over it, and is given up", "segment", s.file.Name())
	}
	return ours
}

// enough says whether the current segment has enough for a checkpoint, none is under way or about to be, and another segment
// is at hand. l.mu is held.
func (l *Log) enough() bool {
	return len(l.sealed) == 0 && len(l.idle) > 0 && len(l.current.keys) >= l.o.CheckpointNames
}

var errAllSealed = errors.New("all segments wait for a checkpoint")

// nextSegment takes an idle segment, makes one, or waits until one is free.
func (l *Log) nextSegment() (*segment, error) {
	patience := time.NewTimer(busyPatience)
	defer patience.Stop()
	for {
		l.mu.Lock()
		if n := len(l.idle); n > 0 {
			s := l.idle[n-1]
			l.idle = l.idle[:n-1]
			l.mu.Unlock()
			if l.isOurs(s) {
				return s, nil
			}
			if err := s.file.Close(); err != nil {
				return nil, err
			}
			continue
		}
		full, failing := len(l.sealed) >= l.o.MaxSegments, l.fault != nil
		l.mu.Unlock()
		if !full {
			return l.createSegment()
		}
		if failing { // nobody knows when one will be free
			return nil, errAllSealed
		}
		select {
		case <-l.freed:
		case <-patience.C:
			return nil, errAllSealed
		}
	}
}

// createSegment makes a segment, under the lock of the directory: before it is locked itself, a process that
// recovers would take it for one without an owner.
func (l *Log) createSegment() (s *segment, err error) {
	dir, unlock, err := l.lockDir(0) // who waits for this has others behind him
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	return createSegment(dir, l.o.SegmentBytes)
}

// Package journal makes many small objects durable with one flush. Appends that come at the same time are written
// to a segment, a file whose space is reserved, and flushed together. The objects then get their files without a
// flush of their own; a checkpoint flushes all of them at once, every few seconds, and frees the segment. What a
// crash leaves in segments is put in place again when the next process recovers the log, before anyone reads.
//
// Several processes may have logs in one directory. Each owns its segments by locks, and whoever opens the log
// recovers those whose owners have died.
package journal

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/internal/batch"
)

// Options of a Log. Place, Remove and Sync are required.
type Options struct {
	// Place writes body under keys anew, whatever is there, durably after the next Sync. What is the same is written again
	// too: what can be read may never have reached the disk.
	Place func(keys []string, body []byte) error
	// Remove removes what is under key; nothing there is no error.
	Remove func(key string) error
	// Sync makes durable all that was done to objects by anyone before it was called.
	Sync func() error
	// SegmentBytes is the size of a segment; default 16 MiB. It must hold at least two entries of MaxBody.
	SegmentBytes int64
	// MaxSegments bounds how many there are of this process; default 8. When half of them are full there is a checkpoint;
	// when all wait for it, appends wait too.
	MaxSegments int
	// CheckpointNames is after how many objects there is one, if none is under way: while it writes them, whoever delivers has
	// less of the disk and the processors, and a little often is felt less than much at once. Default 256.
	CheckpointNames int
	// MaxAge is how long an entry waits for a checkpoint when there are not so many; default 5 s.
	MaxAge time.Duration
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log and Registerer may be nil.
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// ErrNotTaken says that there is no segment for an entry now: no space for one, or checkpoints fail or cannot keep
// up. Surely nothing was written; the caller may store the object in another way.
var ErrNotTaken = errors.New("journal takes no entries now")

// errClosed is what a closed log answers.
var errClosed = errors.New("journal is closed")

// Log is a journal. All methods may be called from many goroutines.
type Log struct {
	// dir is the path of the directory, for people. above is that which it is in, open, so that segments and objects are on one
	// disk whatever is mounted over the path, or unmounted, meanwhile.
	dir     string
	above   *os.Root
	o       Options
	metrics metrics
	// wake tells the checkpointer that there is work; freed tells who waits for a segment that one is free.
	wake, freed chan struct{}
	stop        context.CancelFunc
	done        chan struct{}

	// queue is of entries that wait to be written.
	queue batch.Queue[*entry]

	mu     sync.Mutex
	closed bool
	// current takes records; sealed ones, oldest first, wait for a checkpoint; idle ones are free.
	current *segment
	sealed  []*segment
	idle    []*segment
	// live maps the keys of all puts that count to their segments; nil for those on their way.
	live map[string]*segment
	// deleted maps the keys of deletions to the segments that tell them, as long as a crash would have them done again.
	deleted map[string]*segment
	// seq is that of the last record. It starts at the clock, so that records of one process after another are in order.
	// Only who writes a batch touches it.
	seq uint64
	// failedSyncs is how often flushing objects has failed.
	failedSyncs uint64
	// fault is what the last checkpoint failed with, nil when it worked.
	fault error
	// recovered is false while what others have left could not be put in place; triedAt is when that failed last.
	recovered bool
	triedAt   time.Time
	// left are the keys of what others have left, while not all of it is in place.
	left map[string]bool
	// recovering is held by who recovers, and guards placed: what of that is in place.
	recovering sync.Mutex
	placed     map[placed]bool
	// ended tells the checkpointer that a put has got its name.
	ended *sync.Cond
}

// Open opens the log in dir, which is made when missing, and recovers what processes that died have left: after
// it, everything that was ever appended is in place and durable. On a disk that is full or read-only, and for objects whose
// directories cannot be written, that may have to wait: see Recovered.
func Open(dir string, o Options) (*Log, error) {
	o.SegmentBytes = cmp.Or(o.SegmentBytes, 16<<20)
	o.MaxSegments = cmp.Or(o.MaxSegments, 8)
	o.CheckpointNames = cmp.Or(o.CheckpointNames, 256)
	o.MaxAge = cmp.Or(o.MaxAge, 5*time.Second)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	l := &Log{
		dir: dir, o: o, metrics: newMetrics(o.Registerer),
		wake: make(chan struct{}, 1), freed: make(chan struct{}, 1), done: make(chan struct{}),
		live: map[string]*segment{}, deleted: map[string]*segment{}, seq: uint64(o.Now().UnixNano()),
	}
	l.ended = sync.NewCond(&l.mu)
	l.queue.Take, l.queue.Work = takeBatch, l.write
	var err error
	if l.above, err = os.OpenRoot(filepath.Dir(dir)); err != nil {
		return nil, err
	}
	if err := l.recoverLeft(startPatience); err != nil && !mayPass(err) {
		return nil, errors.Join(err, l.above.Close())
	} else if err != nil {
		o.Log.Error("journal: objects that a crash has left unfinished cannot be put in place now", "err", err)
	}
	ctx, stop := context.WithCancel(context.Background())
	l.stop = stop
	go l.checkpoints(ctx)
	return l, nil
}

// Close makes a last checkpoint and gives the segments back. An error says that entries are left for the next
// process to recover; nothing is lost by it. No append may be under way.
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return nil
	}
	l.closed = true
	l.mu.Unlock()
	l.stop()
	<-l.done
	l.seal()
	err := l.checkpoint()
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range append(l.sealed, l.idle...) {
		err = errors.Join(err, s.file.Close())
	}
	l.sealed, l.idle = nil, nil
	return errors.Join(err, l.above.Close())
}

// Ticket is a put that is in the journal. Its caller says what became of it: Placed or Void.
type Ticket struct {
	log     *Log
	segment *segment
	seq     uint64
	keys    []string
}

// Put appends an object of at most MaxBody bytes for keys. When it returns nil, the object survives a power cut;
// the caller now puts it under its keys, which must be free. It is false when another put of one of them is on its way.
// failedSyncs is what FailedSyncs was before the object's file was written.
func (l *Log) Put(ctx context.Context, keys []string, body []byte, failedSyncs uint64) (*Ticket, bool, error) {
	if !l.reserve(keys) {
		return nil, false, nil
	}
	e := &entry{record: record{kind: kindPut, keys: keys, body: body}, failedSyncs: failedSyncs}
	if err := l.append(ctx, e); err != nil {
		l.release(keys)
		return nil, true, err
	}
	return &Ticket{log: l, segment: e.segment, seq: e.record.seq, keys: keys}, true, nil
}

// Placed says that the object is under its keys.
func (t *Ticket) Placed() { t.log.end(t.segment) }

// Void says that it is not, and shall not be after a crash either.
func (t *Ticket) Void(ctx context.Context) error {
	defer t.log.end(t.segment)
	defer t.log.release(t.keys)
	return t.log.append(ctx, &entry{record: record{kind: kindVoid, keys: t.keys, body: fmt.Append(nil, t.seq)}})
}

// Delete says that the object under key is to go: it will not come back after a crash. It is to be called before
// the object is removed.
func (l *Log) Delete(ctx context.Context, key string) error {
	l.mu.Lock()
	_, live := l.live[key]
	left := l.left[key]
	l.mu.Unlock()
	switch {
	case left:
		return fmt.Errorf("delete %s: %w", key, errNotYet)
	case !live:
		return nil
	}
	return l.append(ctx, &entry{record: record{kind: kindDelete, keys: []string{key}}})
}

// AwaitDeletion returns when a crash would not delete again what is under key: to be called before an object is put there that is not in the
// journal. That takes a checkpoint, some seconds, if the key was deleted a moment ago, and nothing else.
func (l *Log) AwaitDeletion(ctx context.Context, key string) error {
	for {
		l.mu.Lock()
		_, waits := l.deleted[key]
		closed, fault := l.closed, l.fault
		l.mu.Unlock()
		switch {
		case !waits:
			return nil
		case closed:
			return errClosed
		case fault != nil:
			return fmt.Errorf("%s was deleted, and the journal cannot forget that: %w", key, fault)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(deletionLook):
		}
	}
}

// deletionLook is how often AwaitDeletion looks.
const deletionLook = 50 * time.Millisecond

// reserve marks all keys as on their way, or none when one is already.
func (l *Log) reserve(keys []string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		if s, live := l.live[k]; live && s == nil {
			return false
		}
	}
	for _, k := range keys {
		l.live[k] = nil
	}
	return true
}

func (l *Log) release(keys []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, k := range keys {
		delete(l.live, k)
	}
}

func (l *Log) end(s *segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s.pending--
	if s.pending == 0 {
		l.ended.Broadcast()
	}
}

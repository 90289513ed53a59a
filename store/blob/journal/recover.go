package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lockName is the file whose lock keeps two processes from recovering, or making segments, at once.
const lockName = "lock"

// errPlace says that some objects could not be put in place; all others were.
var errPlace = errors.New("some objects cannot be put in place")

// mayPass says whether mail may go on without what could not be recovered: the disk is full or read-only, or some objects'
// directories cannot be written. What is left is known then: it can be told apart from what is stored and deleted meanwhile.
func mayPass(err error) bool {
	return errors.Is(err, errPlace) || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS)
}

// Recovered is nil when all that crashes have left is in place; else it tries again. While it gives an error, some
// objects may be missing or cut, and whoever looks for such must not draw conclusions.
func (l *Log) Recovered() error {
	l.mu.Lock()
	recovered := l.recovered
	l.mu.Unlock()
	if recovered {
		return nil
	}
	return l.recoverLeft(lookPatience)
}

// recoverAgain is how long deliveries go on without the journal before one of them tries again to recover what was left.
const recoverAgain = 5 * time.Second

// recoveredLately is Recovered for who cannot wait: all that is left would be written again for each delivery.
func (l *Log) recoveredLately() error {
	l.mu.Lock()
	recovered, waits := l.recovered, l.o.Now().Sub(l.triedAt).Abs() < recoverAgain
	l.mu.Unlock()
	switch {
	case recovered:
		return nil
	case waits:
		return errNotYet
	}
	return l.recoverLeft(0)
}

var errNotYet = errors.New("what a crash has left could not be put in place a moment ago")

// lookPatience is how long who looks for objects waits for another process that puts in place what a crash has left. Mail goes on without the
// journal.
const lookPatience = 5 * time.Second

// startPatience is how long a start waits for it; tests replace it.
var startPatience = time.Minute

// recoverLeft puts in place what segments without an owner hold, and takes them over.
func (l *Log) recoverLeft(patience time.Duration) error {
	err := l.recoverOrphans(patience)
	if err != nil {
		l.mu.Lock()
		l.triedAt = l.o.Now()
		l.mu.Unlock()
		return fmt.Errorf("recover journal %s: %w", l.dir, err)
	}
	return nil
}

func (l *Log) recoverOrphans(patience time.Duration) (err error) {
	if patience > 0 {
		l.recovering.Lock()
	} else if !l.recovering.TryLock() {
		return errNotYet
	}
	defer l.recovering.Unlock()
	dir, unlock, err := l.lockDir(patience)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	l.mu.Lock()
	recovered := l.recovered // by somebody else meanwhile
	l.mu.Unlock()
	if recovered {
		return nil
	}
	left, err := openLeft(dir)
	if err == nil {
		err = l.replay(left)
	}
	if err != nil {
		for _, s := range left {
			err = errors.Join(err, s.file.Close())
		}
		return err
	}
	return l.adopt(dir, left)
}

// errOtherRecovers says that another process has the lock, for as long as it recovers, or is stopped in the middle of it.
var errOtherRecovers = errors.New("another process holds the lock of the journal: it puts in place what a crash has left, or is stopped")

// lockDir makes the directory and takes its lock, for which it waits for so long at most.
func (l *Log) lockDir(patience time.Duration) (dir *os.Root, unlock func() error, err error) {
	if dir, err = l.openDir(); err != nil {
		return nil, nil, err
	}
	f, err := dir.OpenFile(lockName, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, errors.Join(err, dir.Close())
	}
	unlock = func() error { return errors.Join(f.Close(), dir.Close()) }
	if err := giveToOwner(dir, f); err != nil {
		return nil, nil, errors.Join(err, unlock())
	}
	deadline := time.Now().Add(patience)
	for err = lock(f); errors.Is(err, errOwned) && time.Now().Before(deadline); err = lock(f) {
		time.Sleep(lockLook)
	}
	switch {
	case errors.Is(err, errOwned):
		return nil, nil, errors.Join(errOtherRecovers, unlock())
	case err != nil:
		return nil, nil, errors.Join(err, unlock())
	}
	return dir, unlock, nil
}

// lockLook is how often the lock is asked for while it is waited for.
const lockLook = 20 * time.Millisecond

// openDir opens the directory, which it makes when it is missing, durably.
func (l *Log) openDir() (*os.Root, error) {
	name := filepath.Base(l.dir)
	err := l.above.Mkdir(name, 0o700)
	if err != nil && !errors.Is(err, os.ErrExist) {
		return nil, err
	}
	if err == nil {
		d, err := l.above.Open(name)
		if err == nil {
			err = errors.Join(giveToOwner(l.above, d), d.Close(), syncDir(l.above))
		}
		if err != nil {
			return nil, err
		}
	}
	return l.above.OpenRoot(name)
}

// openLeft opens all segments that nobody owns.
func openLeft(dir *os.Root) ([]*segment, error) {
	entries, err := fs.ReadDir(dir.FS(), ".")
	if err != nil {
		return nil, err
	}
	var left []*segment
	for _, e := range entries {
		if !strings.HasSuffix(e.Name(), segmentSuffix) {
			continue
		}
		s, err := openSegment(dir, e.Name())
		switch {
		case errors.Is(err, errOwned), errors.Is(err, os.ErrNotExist):
		case err != nil:
			return left, err
		default:
			left = append(left, s)
		}
	}
	return left, nil
}

// replay puts in place what the segments hold, and retires those that held something. The process before may have been told of an error
// of writing back, and nobody else is: so nothing that is there is trusted.
func (l *Log) replay(left []*segment) error {
	var records []record
	var used []*segment
	for _, s := range left {
		found, isUsed, err := l.recordsOf(s)
		if err != nil {
			return err
		}
		records = append(records, found...)
		if isUsed {
			used = append(used, s)
		}
	}
	if len(used) == 0 {
		return nil
	}
	if l.placed == nil {
		l.placed = map[placed]bool{}
		l.o.Log.Info("journal: putting in place what a crash has left", "segments", len(used), "records", len(records))
	}
	err := l.apply(records, l.placed)
	if err == nil {
		if err = l.o.Sync(); err != nil {
			l.placed = nil
		}
	}
	if err != nil {
		l.leave(records)
		return err
	}
	l.metrics.recovered.Add(float64(len(records)))
	for _, s := range used {
		if s.damaged {
			continue // kept as it is
		}
		if err := s.retire(); err != nil {
			return err
		}
	}
	return nil
}

// recordsOf reads what a segment holds, as far as it can be read. A segment of which something cannot be, or whose records nobody can tell from what
// was there before, is damaged.
func (l *Log) recordsOf(s *segment) (records []record, used bool, err error) {
	told := l.placed != nil // by a recovery that could not put all in place
	b, err := s.read()
	if err != nil {
		cause := err
		var unread int64
		if b, unread, err = s.readGood(); err != nil {
			return nil, false, err
		}
		s.damaged = unread > 0
		if unread > 0 && !told {
			l.o.Log.Error("journal: a part of a segment cannot be read; what it holds beside that is put in place",
				"segment", s.file.Name(), "unread_bytes", unread, "records", len(parseSegment(b)), "err", cause)
		}
	}
	use, damaged := parseHeader(b)
	s.damaged = s.damaged || damaged && use == 0
	if damaged && use != 0 && !told {
		l.o.Log.Error("journal: the header of a segment is damaged; what its first record belongs to is put in place", "segment", s.file.Name())
	}
	return parseSegment(b), use != 0, nil
}

// apply does what the records say, in the order in which they were made. It goes on past what cannot be put in place: errPlace. done, if not
// nil, are those that are not to be done again, and takes what is done.
func (l *Log) apply(records []record, done map[placed]bool) error {
	inOrder(records)
	gone, isVoid := deletedLater(records), voids(records)
	var failed []error
	for i, r := range records {
		if isVoid(r) {
			continue
		}
		keys := r.keys
		if r.kind == kindPut {
			keys = without(keys, gone, i)
		}
		for _, k := range keys {
			if done[placed{r.seq, k}] {
				continue
			}
			var err error
			switch r.kind {
			case kindPut:
				err = l.o.Place([]string{k}, r.body)
			case kindDelete:
				err = l.o.Remove(k)
			}
			switch {
			case err == nil && done != nil:
				done[placed{r.seq, k}] = true
			case err != nil && len(failed) < maxTold:
				failed = append(failed, err)
			}
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("%w: %w", errPlace, errors.Join(failed...))
	}
	return nil
}

// placed is what one record does to one key.
type placed struct {
	seq uint64
	key string
}

// voids tells the puts that did not come to their end, and what says so of them. A void names keys because two processes may have given the
// same seq.
func voids(records []record) func(record) bool {
	void := map[placed]bool{}
	for _, r := range records {
		seq, err := strconv.ParseUint(string(r.body), 10, 64)
		if r.kind != kindVoid || err != nil {
			continue
		}
		void[placed{seq, firstOf(r.keys)}] = true
	}
	return func(r record) bool {
		return r.kind == kindVoid || r.kind == kindPut && (void[placed{r.seq, ""}] || void[placed{r.seq, firstOf(r.keys)}])
	}
}

// firstOf is "" when there is none.
func firstOf(keys []string) string {
	if len(keys) == 0 {
		return ""
	}
	return keys[0]
}

// leave notes the keys of what is not all in place: what is deleted of them now would come back.
func (l *Log) leave(records []record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.left = map[string]bool{}
	for _, r := range records {
		for _, k := range r.keys {
			l.left[k] = true
		}
	}
}

// maxTold is how many objects that cannot be put in place are told.
const maxTold = 10

// deletedLater maps each key that was deleted to the place of its last deletion.
func deletedLater(records []record) map[string]int {
	gone := map[string]int{}
	for i, r := range records {
		if r.kind == kindDelete {
			for _, k := range r.keys {
				gone[k] = i
			}
		}
	}
	return gone
}

// without gives the keys that no record behind i deletes.
func without(keys []string, gone map[string]int, i int) []string {
	var kept []string
	for _, k := range keys {
		if at, deleted := gone[k]; !deleted || at < i {
			kept = append(kept, k)
		}
	}
	return kept
}

// damagedSuffix is what the name of a segment ends with that nobody reads any more. Without it, the next start reads it again.
const damagedSuffix = ".damaged"

// adopt takes over retired segments of the usual size, as many as are of use, and removes the others.
func (l *Log) adopt(dir *os.Root, left []*segment) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.recovered, l.placed, l.left = true, nil, nil
	var err error
	for _, s := range left {
		if name := filepath.Base(s.file.Name()); s.damaged {
			l.o.Log.Error("journal: a damaged segment is kept for somebody to look at; under its name before, the next start tries it again", "segment", name+damagedSuffix)
			err = errors.Join(err, dir.Rename(name, name+damagedSuffix), s.file.Close())
			continue
		}
		if s.size == l.o.SegmentBytes && len(l.idle) < l.o.MaxSegments {
			l.idle = append(l.idle, s)
			continue
		}
		err = errors.Join(err, dir.Remove(filepath.Base(s.file.Name())), s.file.Close())
	}
	return err
}

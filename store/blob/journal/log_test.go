package journal_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/store/blob/journal"
)

// objects is what the journal's owner keeps: volatile until synced.
type objects struct {
	mu      sync.Mutex
	there   map[string]string
	placed  []string
	syncs   int
	syncErr error
	placing error
	only    string // for this key, if not empty
	refused int
}

func (o *objects) place(keys []string, body []byte) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.placing != nil && (o.only == "" || slices.Contains(keys, o.only)) {
		o.refused++
		return o.placing
	}
	for _, k := range keys {
		o.there[k] = string(body)
		o.placed = append(o.placed, k)
	}
	return nil
}

func (o *objects) remove(key string) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.there, key)
	return nil
}

// sync fails once when told to.
func (o *objects) sync() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.syncs++
	err := o.syncErr
	o.syncErr = nil
	return err
}

func (o *objects) set(change func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	change()
}

// options are those of a small journal that makes no checkpoint by its age.
func (o *objects) options() journal.Options {
	return journal.Options{
		Place: o.place, Remove: o.remove, Sync: o.sync,
		SegmentBytes: 2 << 20, MaxSegments: 2, MaxAge: time.Hour,
	}
}

func newObjects() *objects { return &objects{there: map[string]string{}} }

func open(t *testing.T, dir string, o journal.Options) *journal.Log {
	t.Helper()
	l, err := journal.Open(dir, o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, l.Close()) })
	return l
}

func put(t *testing.T, l *journal.Log, body string, keys ...string) *journal.Ticket {
	t.Helper()
	ticket, free, err := l.Put(t.Context(), keys, []byte(body), l.FailedSyncs())
	require.NoError(t, err)
	require.True(t, free)
	return ticket
}

// crash gives a copy of the journal as a process leaves it that dies now.
func crash(t *testing.T, dir string) string {
	t.Helper()
	left := filepath.Join(t.TempDir(), "journal")
	require.NoError(t, os.CopyFS(left, os.DirFS(dir)))
	return left
}

func TestAnOwnedSegmentIsLeftAlone(t *testing.T) {
	dir, first := filepath.Join(t.TempDir(), "journal"), newObjects()
	put(t, open(t, dir, first.options()), "one", "a").Placed()
	second := newObjects()
	put(t, open(t, dir, second.options()), "two", "b").Placed()
	require.Empty(t, second.there)
	third := newObjects()
	open(t, crash(t, dir), third.options())
	require.Equal(t, map[string]string{"a": "one", "b": "two"}, third.there)
}

func TestDeletedAndVoidedObjectsDoNotComeBack(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "journal"), newObjects()
	l := open(t, dir, o.options())
	put(t, l, "one", "deleted", "kept").Placed()
	require.NoError(t, l.Delete(t.Context(), "deleted"))
	require.NoError(t, put(t, l, "two", "void").Void(t.Context()))
	put(t, l, "three", "again").Placed()
	require.NoError(t, l.Delete(t.Context(), "again"))
	put(t, l, "four", "again").Placed()

	after := newObjects()
	after.there["deleted"] = "one" // as when the crash came between the record and the removal
	after.there["void"] = "another's"
	open(t, crash(t, dir), after.options())
	require.Equal(t, map[string]string{"kept": "one", "void": "another's", "again": "four"}, after.there)
}

// Two processes whose clocks have met give the same numbers.
func TestAVoidIsOfItsOwnProcess(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "journal"), newObjects()
	options, now := o.options(), time.Now()
	options.Now = func() time.Time { return now }
	ours, theirs := open(t, dir, options), open(t, dir, options)
	put(t, theirs, "acknowledged", "theirs").Placed()
	require.NoError(t, put(t, ours, "refused", "ours").Void(t.Context()))

	after := newObjects()
	open(t, crash(t, dir), after.options())
	require.Equal(t, map[string]string{"theirs": "acknowledged"}, after.there)
}

func TestTwoPutsOfOneKeyAtOnceAreOne(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "journal"), newObjects().options())
	var mu sync.Mutex
	taken := 0
	var group sync.WaitGroup
	for range 20 {
		group.Go(func() {
			ticket, free, err := l.Put(t.Context(), []string{"a"}, []byte("x"), 0)
			if err != nil {
				t.Error(err)
			}
			if free {
				ticket.Placed()
				mu.Lock()
				defer mu.Unlock()
				taken++
			}
		})
	}
	group.Wait()
	require.NotZero(t, taken)
}

func TestManyPutsShareFlushesAndNoneIsLost(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "journal"), newObjects()
	options := o.options()
	options.MaxSegments = 64 // room for all of it, so that the copy below has all of it
	options.Sync = func() error { return errors.New("no checkpoint yet") }
	options.Place = func([]string, []byte) error { return errors.New("nor this way") }
	l, err := journal.Open(dir, options)
	require.NoError(t, err)
	var group sync.WaitGroup
	for w := range 16 {
		group.Go(func() {
			for i := range 100 {
				key := fmt.Sprintf("%d/%d", w, i)
				ticket, free, err := l.Put(context.Background(), []string{key}, []byte(strings.Repeat(key, (i*i)%5000)), 0)
				if err != nil || !free {
					t.Errorf("%s: %v", key, err)
					return
				}
				ticket.Placed()
			}
		})
	}
	group.Wait()
	after := newObjects()
	open(t, crash(t, dir), after.options())
	require.Len(t, after.there, 1600)
	for w := range 16 {
		for i := range 100 {
			key := fmt.Sprintf("%d/%d", w, i)
			require.Equal(t, strings.Repeat(key, (i*i)%5000), after.there[key])
		}
	}
	require.Error(t, l.Close(), "what no checkpoint has freed is left for the next")
}

func TestFullSegmentsAreFreedByCheckpoints(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "journal"), newObjects()
	l := open(t, dir, o.options())
	body := strings.Repeat("x", 500<<10)
	for i := range 40 { // ten times what the segments hold
		put(t, l, body, fmt.Sprint(i)).Placed()
	}
	segments, err := filepath.Glob(filepath.Join(dir, "*.seg"))
	require.NoError(t, err)
	require.LessOrEqual(t, len(segments), 3, "two, and one more while both wait")
	require.NoError(t, l.Close())
	after := newObjects()
	open(t, dir, after.options())
	require.Empty(t, after.there, "a clean end leaves nothing")
}

func TestManySmallObjectsAreMadeDurableBeforeTheirSegmentIsFull(t *testing.T) {
	o := newObjects()
	options := o.options()
	options.MaxSegments, options.CheckpointNames = 64, 5
	dir := filepath.Join(t.TempDir(), "journal")
	l := open(t, dir, options)
	left := func() []string {
		after := newObjects()
		open(t, crash(t, dir), after.options())
		return slices.Sorted(maps.Keys(after.there))
	}
	big := strings.Repeat("x", 256<<10)
	for i := range 8 { // more than a segment holds, so that there are two
		put(t, l, big, fmt.Sprint("big", i)).Placed()
	}
	require.Eventually(t, func() bool { return slices.Equal(left(), []string{"big7"}) }, 10*time.Second, 10*time.Millisecond)
	for i := range 4 {
		put(t, l, "x", fmt.Sprint(i)).Placed()
	}
	require.Len(t, left(), 5, "nobody has to wait for five")
	put(t, l, "x", "the sixth").Placed()
	require.Eventually(t, func() bool { return slices.Equal(left(), []string{"the sixth"}) }, 10*time.Second, 10*time.Millisecond)
}

func TestWhenFilesCannotBeFlushedObjectsAreWrittenAgain(t *testing.T) {
	o := newObjects()
	l := open(t, filepath.Join(t.TempDir(), "journal"), o.options())
	put(t, l, "one", "a").Placed()
	put(t, l, "two", "b").Placed()
	require.NoError(t, l.Delete(t.Context(), "b"))
	o.set(func() { o.syncErr = unix.EIO })
	require.NoError(t, l.Close())
	require.Equal(t, []string{"a"}, o.placed)
	require.Equal(t, 2, o.syncs)
}

// The kernel tells of an error of writing back only once: the flush after it works, whatever was lost.
func TestObjectsAreInDoubtUntilTheyWereWrittenAgain(t *testing.T) {
	o := newObjects()
	options := o.options()
	options.MaxAge = 5 * time.Millisecond
	l := open(t, filepath.Join(t.TempDir(), "journal"), options)
	o.set(func() { o.syncErr, o.placing = unix.EIO, unix.EIO })
	put(t, l, "one", "a").Placed()
	state := func() (refused, placed int) {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.refused, len(o.placed)
	}
	require.Eventually(t, func() bool { refused, _ := state(); return refused > 2 }, 10*time.Second, time.Millisecond)
	require.ErrorIs(t, l.Check(), unix.EIO)
	o.set(func() { o.placing = nil })
	require.Eventually(t, func() bool { _, placed := state(); return placed == 1 }, 10*time.Second, time.Millisecond)
	require.Eventually(t, func() bool { return l.Check() == nil }, 10*time.Second, time.Millisecond)
}

func TestWhatWasDeletedMeanwhileIsNotWrittenAgain(t *testing.T) {
	o := newObjects()
	options := o.options()
	options.MaxAge = 5 * time.Millisecond
	l := open(t, filepath.Join(t.TempDir(), "journal"), options)
	o.set(func() { o.syncErr, o.placing = unix.EIO, unix.EIO })
	put(t, l, "one", "a").Placed()
	require.Eventually(t, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.refused > 2
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, l.Delete(t.Context(), "a"), "noted in the next segment")
	o.set(func() { o.placing = nil })
	require.NoError(t, l.Close())
	require.Empty(t, o.placed)
}

func TestWhatIsDeletedWhileItIsWrittenAgainGoes(t *testing.T) {
	o := newObjects()
	options := o.options()
	options.MaxAge = 5 * time.Millisecond
	var l *journal.Log
	var once sync.Once
	ready := make(chan struct{})
	options.Place = func(keys []string, body []byte) error {
		once.Do(func() {
			<-ready
			assert.NoError(t, l.Delete(context.Background(), "a"))
			assert.NoError(t, o.remove("a"))
		})
		return o.place(keys, body)
	}
	l = open(t, filepath.Join(t.TempDir(), "journal"), options)
	o.set(func() { o.syncErr = unix.EIO; o.there["a"] = "one" })
	put(t, l, "one", "a").Placed()
	close(ready)
	require.Eventually(t, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		return o.syncs > 1
	}, 10*time.Second, time.Millisecond)
	require.NoError(t, l.Close())
	require.Equal(t, []string{"a"}, o.placed)
	require.Empty(t, o.there)
}

func TestAFailedFlushIsOfAllSegmentsThatThereAre(t *testing.T) {
	o := newObjects()
	l := open(t, filepath.Join(t.TempDir(), "journal"), o.options())
	before := l.FailedSyncs()
	o.set(func() { o.syncErr = unix.EIO })
	big := strings.Repeat("x", 256<<10)
	var keys []string
	for i := range 8 { // more than a segment holds: there is a checkpoint, and the last is in the next segment
		keys = append(keys, fmt.Sprint("big", i))
		put(t, l, big, keys[i]).Placed()
	}
	require.Eventually(t, func() bool { return l.FailedSyncs() == before+1 }, 10*time.Second, time.Millisecond)
	require.NoError(t, l.Close())
	slices.Sort(o.placed)
	require.Equal(t, keys, o.placed, "those of the sealed segment, and the one of the current")
}

func TestAFileFromBeforeAFailedFlushIsInDoubt(t *testing.T) {
	o := newObjects()
	options := o.options()
	options.MaxAge = 5 * time.Millisecond
	l := open(t, filepath.Join(t.TempDir(), "journal"), options)
	before := l.FailedSyncs()
	o.set(func() { o.syncErr = unix.EIO })
	put(t, l, "one", "a").Placed()
	placed := func(n int) func() bool {
		return func() bool {
			o.mu.Lock()
			defer o.mu.Unlock()
			return len(o.placed) == n
		}
	}
	require.Eventually(t, placed(1), 10*time.Second, time.Millisecond)
	put(t, l, "two", "b").Placed()
	late, _, err := l.Put(t.Context(), []string{"c"}, []byte("three"), before)
	require.NoError(t, err)
	late.Placed()
	require.NoError(t, l.Close())
	require.Contains(t, o.placed, "c")
}

func TestWhileNoCheckpointWorksTheJournalIsRefusedNotOverrun(t *testing.T) {
	dir, o := filepath.Join(t.TempDir(), "journal"), newObjects()
	options := o.options()
	options.Sync = func() error { return unix.EIO }
	options.Place = func([]string, []byte) error { return unix.EIO }
	l, err := journal.Open(dir, options)
	require.NoError(t, err)
	acknowledged := map[string]string{}
	body := strings.Repeat("x", 500<<10)
	for i := 0; ; i++ {
		ticket, _, err := l.Put(t.Context(), []string{fmt.Sprint(i)}, []byte(body), 0)
		if err != nil {
			require.ErrorIs(t, err, journal.ErrNotTaken)
			break
		}
		ticket.Placed()
		acknowledged[fmt.Sprint(i)] = body
	}
	require.NotEmpty(t, acknowledged)
	after := newObjects()
	open(t, crash(t, dir), after.options())
	require.Equal(t, acknowledged, after.there)
	require.Error(t, l.Close())
}

func TestEntriesThatAreTooLargeAreRefused(t *testing.T) {
	l := open(t, filepath.Join(t.TempDir(), "journal"), newObjects().options())
	_, _, err := l.Put(t.Context(), []string{"a"}, make([]byte, journal.MaxBody+1), 0)
	require.Error(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = l.Put(ctx, []string{"a"}, []byte("x"), 0)
	require.ErrorIs(t, err, context.Canceled)
	put(t, l, "x", "a").Placed()
}

// Nobody waits for a segment that is freed when checkpoints work again, whenever that is.
func TestWhileCheckpointsFailAFullJournalRefusesAtOnce(t *testing.T) {
	journal.SetBusyPatience(t, time.Hour)
	o := newObjects()
	options := o.options()
	options.CheckpointNames, options.MaxAge = 1, 50*time.Millisecond
	l := open(t, filepath.Join(t.TempDir(), "journal"), options)
	o.set(func() { o.syncErr, o.placing = unix.EIO, unix.EACCES })
	put(t, l, "one", "a").Placed()
	require.Eventually(t, func() bool { return l.Check() != nil }, time.Minute, time.Millisecond)
	body := make([]byte, journal.MaxBody)
	refused := 0
	for i := range 40 {
		ticket, free, err := l.Put(t.Context(), []string{fmt.Sprint(i)}, body, l.FailedSyncs())
		if errors.Is(err, journal.ErrNotTaken) {
			refused++
			continue
		}
		require.NoError(t, err)
		require.True(t, free)
		ticket.Placed()
	}
	require.Greater(t, refused, 20)
	o.set(func() { o.placing = nil })
	require.Eventually(t, func() bool { return l.Check() == nil }, time.Minute, time.Millisecond)
	put(t, l, "two", "b").Placed()
}

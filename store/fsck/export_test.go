package fsck

import (
	"context"
	"sync"
	"time"

	"github.com/mairust/mairust/store"
)

// DescribeChanged gives what describes the mailboxes and tenants that were changed since it was called last.
func (f *Fsck) DescribeChanged() func(context.Context) error { return f.followChanges().describe }

// IsDue says whether a sweep is to begin.
func (f *Fsck) IsDue(ctx context.Context) bool { return f.isDue(ctx) }

// On has the process go on with another store, the same one restored.
func (f *Fsck) On(s *store.Store) { f.store = s }

// Exclusively does work with the lease of a sweep.
func (f *Fsck) Exclusively(ctx context.Context, work func(context.Context) error) error {
	return f.exclusively(ctx, 0, work)
}

// WatchEvery has the epoch move on as often while there is work.
func WatchEvery(f *Fsck, d time.Duration) { f.watchEvery = d }

// MaxDocument bounds what is read and written of a description.
func MaxDocument(f *Fsck, bytes int64) { f.maxDocument = bytes }

// TellAll tells of each thing that is done, however soon after the last.
func TellAll(f *Fsck) { f.tellEvery = 0 }

// ErrStep is what an act ends with that StopAfter stopped.
var ErrStep = errStep

// StopAfter ends all work after the n-th step, as a crash would, and gives the steps that were taken. n 0 stops nothing.
func StopAfter(f *Fsck, n int) (steps func() []string) {
	var mu sync.Mutex
	var taken []string
	stopped := false
	f.step = func(name string) error {
		mu.Lock()
		defer mu.Unlock()
		if stopped {
			return errStep
		}
		taken = append(taken, name)
		if stopped = len(taken) == n; stopped {
			return errStep
		}
		return nil
	}
	return func() []string {
		mu.Lock()
		defer mu.Unlock()
		return taken
	}
}

// ExamineSuspect looks at one message at once.
func (f *Fsck) ExamineSuspect(ctx context.Context, id store.MessageID) error {
	return f.examineSuspect(ctx, id)
}

// TellUndescribed tells why mailboxes were not described.
func (f *Fsck) TellUndescribed(ctx context.Context, err error) { f.tellUndescribed(ctx, err) }

// KeptThen is how many objects are noted as kept by a sweep that has kept so many of those that it has settled, and failed to read others.
func KeptThen(kept, unread, orphans, settled, before int64) int64 {
	w := &sweep{settler: &settler{}, orphanCount: orphans, orphans: make([]object, settled)}
	w.Orphans = map[string]int64{string(failed): unread}
	w.kept.Store(kept)
	return w.keptThen(before)
}

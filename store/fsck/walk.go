package fsck

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// object is one of the object store, with what the index says of it.
type object struct {
	// Info has the size as it is stored.
	blob.Info
	place
	// row is nil when the index knows no message of this id; only messages have one.
	row *store.ObjectState
	// stale: a copy of an attachment that the index does not know, or whose message is gone. It can be made again.
	stale bool
	// young objects may be those of a delivery under way: they are not removed, whatever is known of them. They were modified after youngAfter.
	young      bool
	youngAfter time.Time
}

// isOrphan says that no row speaks of the object.
func (o object) isOrphan() bool {
	switch o.kind {
	case message:
		return o.row == nil || o.row.Key != o.Key
	default:
		return o.kind == stray
	}
}

// walkBatch is how many objects are in memory, and looked up in the index, together.
const walkBatch = 512

// walk gives all objects in batches. Messages are looked up in the index. What is younger than minAge is only counted, or
// given as such if youngToo. What could not be read is told in the end (isUnlisted): nothing is known of what is there.
func (f *Fsck) walk(ctx context.Context, minAge time.Duration, youngToo bool, visit func(batch []object) error) (young int64, err error) {
	latest := f.now().Add(-minAge)
	batch := make([]object, 0, walkBatch)
	flush := func() error {
		if err := f.lookUp(ctx, batch); err != nil {
			return err
		}
		slices.SortFunc(batch, func(a, b object) int { return cmp.Compare(a.Key, b.Key) })
		err := visit(batch)
		batch = batch[:0]
		return err
	}
	var unlisted error
	for info, err := range f.listStored(ctx, "") {
		if isUnlisted(err) {
			unlisted = fmt.Errorf("list objects: %w", err)
			break
		}
		if err != nil {
			return young, fmt.Errorf("list objects: %w", err)
		}
		isYoung := info.Modified.After(latest)
		if isYoung && !youngToo {
			young++
			continue
		}
		batch = append(batch, object{Info: info, place: placeOf(info.Key), young: isYoung, youngAfter: latest})
		if len(batch) == walkBatch {
			if err := flush(); err != nil {
				return young, err
			}
		}
	}
	if err := flush(); err != nil {
		return young, err
	}
	return young, unlisted
}

// listStored lists the objects below prefix, with their sizes as they are stored.
func (f *Fsck) listStored(ctx context.Context, prefix string) iter.Seq2[blob.Info, error] {
	if s, ok := f.objects.(blob.Stored); ok {
		return s.ListStored(ctx, prefix)
	}
	return f.objects.List(ctx, prefix)
}

// canHold says whether what is stored can be an object of size bytes.
func (f *Fsck) canHold(stored blob.Info, size int64) bool {
	if s, ok := f.objects.(blob.Stored); ok {
		return s.CanHold(stored, size)
	}
	return stored.SizeBytes == size
}

// lookUp sets the rows of a batch.
func (f *Fsck) lookUp(ctx context.Context, batch []object) error {
	var ids, copied []store.MessageID
	for _, o := range batch {
		switch o.kind {
		case message:
			ids = append(ids, o.message)
		case derived:
			copied = append(copied, o.message)
		}
	}
	rows, err := f.store.ObjectStates(ctx, ids)
	if err != nil {
		return fmt.Errorf("look up objects: %w", err)
	}
	copies, err := f.store.AttachmentCopies(ctx, slices.Compact(copied))
	if err != nil {
		return fmt.Errorf("look up copies of attachments: %w", err)
	}
	for i, o := range batch {
		batch[i].stale = o.kind == derived && !copies[o.Key]
		if row, found := rows[o.message]; found && o.kind == message {
			batch[i].row = &row
		}
	}
	return nil
}

// workers is how many objects are read or settled at once: deliveries to the index share transactions, and objects may be
// far away.
const workers = 16

// inParallel does all of list, as long as ctx lasts, and gives the first error that do returned, after which it takes no
// more.
func inParallel[T any](ctx context.Context, list []T, do func(ctx context.Context, item T) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	work := make(chan T, len(list))
	for _, item := range list {
		work <- item
	}
	close(work)
	var group sync.WaitGroup
	for range min(workers, len(list)) {
		group.Go(func() {
			for item := range work {
				if ctx.Err() != nil {
					return
				}
				if err := do(ctx, item); err != nil {
					cancel(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

package move

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"sync/atomic"

	"github.com/mairust/mairust/store/blob"
)

// Request is a copying.
type Request struct {
	// DryRun copies nothing.
	DryRun bool
	// VerifyAll compares also the bytes of what earlier runs have copied; else its size is enough.
	VerifyAll bool
	// IsReplaced says which keys are of objects that change: what the new store has of them is newer.
	IsReplaced func(key string) bool
	// IsKey says which of these are keys that objects are encrypted to: the two stores' are compared.
	IsKey func(key string) bool
	// IsMessage says which keys are of messages, which are not removed as other objects are: one that goes meanwhile is a problem.
	IsMessage func(key string) bool
	// Workers is how many objects are copied at once; default 8.
	Workers int
}

// Report is what a copying has done. It may be read while it runs.
type Report struct {
	// Total objects and bytes are what the old store holds; known once they were counted.
	Total, TotalBytes atomic.Int64
	// Copied were copied, and read again from the new store; of Present the new store had them already. In a dry run
	// Copied would be.
	Copied, CopiedBytes, Present atomic.Int64
	// Gone were removed while they were copied, messages excepted.
	Gone atomic.Int64

	mu       sync.Mutex
	problems []Problem
}

// Problem is an object that could not be taken over, or a directory that could not be read with what is in it.
type Problem struct {
	Key string
	Err error
}

// Problems are all that there were, most of them when there are very many.
func (r *Report) Problems() []Problem {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]Problem(nil), r.problems...)
}

// maxProblems bounds what a report keeps.
const maxProblems = 10_000

func (r *Report) problem(key string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.problems) < maxProblems {
		r.problems = append(r.problems, Problem{key, err})
	}
}

// unlisted reports each part of the old store that could not be read.
func (r *Report) unlisted(u *blob.UnlistedError) {
	for _, part := range u.Parts {
		r.problem(part.Key, fmt.Errorf("cannot be read, nor what is in it: %w", part.Err))
	}
	if more := u.Count - int64(len(u.Parts)); more > 0 {
		r.problem("elsewhere", fmt.Errorf("%d more directories or files cannot be read", more))
	}
}

// ErrDiffers says that the new store had another object under the key already. Which of the two is the right one the index tells, not the
// stores: the new store's may have been mended by the daemon, and the old store's be what was damaged.
var ErrDiffers = errors.New("the two stores have different objects under this key")

// ErrAltered says that the new store gave back other bytes than it was given, or that the daemon has mended the object at that moment. The
// copy was taken back, and the next run makes another.
var ErrAltered = errors.New("the new store gave back other bytes than were copied there, and they were taken back")

// ErrEmpty says that the old store has nothing at all, not even what MaiRust keeps there of its own.
var ErrEmpty = errors.New("the old store is empty: is its disk mounted, and is storage.previous right?")

// ErrListed says that the old store lists an object that it then does not find.
var ErrListed = errors.New("the old store lists the object, and does not find it")

// ErrSize says that the old store gives an object in another size than it lists.
var ErrSize = errors.New("the old store gives it in another size than it lists")

// ErrGone says that a message was in the old store when the copying began, and is not there any more. The sweep removes those that the index does
// not know, and nothing removes others: the disk of a mailbox may have gone.
var ErrGone = errors.New("it was in the old store when the copying began, and is not there now")

// ErrKeys says that the two stores have another form of the key of a tenant each: it may have been encrypted to another operator since the old store was
// written to.
var ErrKeys = errors.New("the two stores have different keys under this name")

const defaultWorkers = 8

// Run copies to the new store what it does not have, and reads it there again. The old store stays as it is. It may be run
// while both are in use as one Bucket, and again: it goes on where it was. An error is one of a whole store; those of single
// objects, and of directories that cannot be read, are the report's problems.
func Run(ctx context.Context, to, from Store, q Request, report *Report) error {
	m := &mover{to: to, from: from, q: q, report: report}
	counted, err := m.count(ctx)
	if err != nil {
		return err
	}
	if q.Workers <= 0 {
		q.Workers = defaultWorkers
	}
	work := make(chan blob.Info)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	for range q.Workers {
		group.Go(func() {
			for info := range work {
				if err := m.move(ctx, info); err != nil {
					m.failed(info.Key, err, cancel)
				}
			}
		})
	}
	err = m.feed(ctx, work, counted)
	close(work)
	group.Wait()
	return errors.Join(err, context.Cause(ctx))
}

// count gives the number of messages too.
func (m *mover) count(ctx context.Context) (messages int64, err error) {
	for info, err := range m.from.List(ctx, "") {
		if _, is := errors.AsType[*blob.UnlistedError](err); is {
			return messages, nil // told when they are copied
		}
		if err != nil {
			return 0, fmt.Errorf("count the objects: %w", err)
		}
		m.report.Total.Add(1)
		m.report.TotalBytes.Add(info.SizeBytes)
		messages += m.messages(info.Key)
	}
	if m.report.Total.Load() == 0 {
		return 0, ErrEmpty
	}
	return messages, nil
}

// feed lists what there is to copy. It reports messages that were counted and are not listed any more.
func (m *mover) feed(ctx context.Context, work chan<- blob.Info, counted int64) error {
	for info, err := range m.from.List(ctx, "") {
		if unlisted, is := errors.AsType[*blob.UnlistedError](err); is {
			m.report.unlisted(unlisted)
			return nil
		}
		if err != nil {
			return err
		}
		counted -= m.messages(info.Key)
		select {
		case <-ctx.Done():
			return nil // the cause is told by who ended it
		case work <- info:
		}
	}
	if counted > 0 {
		m.report.problem("elsewhere", fmt.Errorf("%d messages fewer than were counted: %w", counted, ErrGone))
	}
	return nil
}

// mover copies objects; its methods run at once.
type mover struct {
	to, from Store
	q        Request
	report   *Report
	// inARow counts failures without a success between.
	inARow atomic.Int64
}

// givenUpAfter is how many objects may fail one after the other before a store is taken to be down.
const givenUpAfter = 50

func (m *mover) failed(key string, err error, cancel context.CancelCauseFunc) {
	m.report.problem(key, err)
	if errors.Is(err, blob.ErrFull) || m.inARow.Add(1) >= givenUpAfter {
		cancel(fmt.Errorf("given up: %w", err))
	}
}

// move takes one object over. An object that was removed meanwhile is none.
func (m *mover) move(ctx context.Context, info blob.Info) error {
	if err := ctx.Err(); err != nil {
		return nil //nolint:nilerr // not the object's fault; Run tells it
	}
	has, err := m.to.Stat(ctx, info.Key)
	switch {
	case err == nil:
		return m.compare(ctx, info, has)
	case !errors.Is(err, blob.ErrNotFound):
		return err
	case m.q.DryRun:
		m.copied(info.SizeBytes)
		return nil
	}
	err = m.copy(ctx, info)
	if errors.Is(err, blob.ErrNotFound) {
		return m.gone(ctx, info.Key)
	}
	if err == nil {
		m.copied(info.SizeBytes)
	}
	return err
}

// gone counts an object that was listed and then not found, unless it is listed still, or is a message.
func (m *mover) gone(ctx context.Context, key string) error {
	for info, err := range m.from.List(ctx, key) {
		if err != nil {
			return fmt.Errorf("list what was not found: %w", err)
		}
		if info.Key == key {
			return ErrListed
		}
	}
	if m.messages(key) > 0 {
		m.report.problem(key, ErrGone) // not the store's failure: the sweep may have removed many
		return nil
	}
	m.report.Gone.Add(1)
	return nil
}

func (m *mover) isReplaced(key string) bool { return m.q.IsReplaced != nil && m.q.IsReplaced(key) }

// messages is 1 for the key of a message, else 0.
func (m *mover) messages(key string) int64 {
	if m.q.IsMessage != nil && m.q.IsMessage(key) {
		return 1
	}
	return 0
}

func (m *mover) copied(sizeBytes int64) {
	m.report.Copied.Add(1)
	m.report.CopiedBytes.Add(sizeBytes)
	m.inARow.Store(0)
}

// compare looks whether what the new store has is the object.
func (m *mover) compare(ctx context.Context, info, has blob.Info) error {
	m.inARow.Store(0)
	if m.q.IsKey != nil && m.q.IsKey(info.Key) {
		return m.compareKeys(ctx, info.Key)
	}
	if m.isReplaced(info.Key) {
		m.report.Present.Add(1)
		return nil
	}
	if has.SizeBytes != info.SizeBytes {
		return fmt.Errorf("%w: %d bytes in the new one, %d in the old one", ErrDiffers, has.SizeBytes, info.SizeBytes)
	}
	if m.q.VerifyAll {
		want, n, err := digestOf(ctx, m.from, info.Key)
		if err == nil && n != info.SizeBytes {
			err = fmt.Errorf("%w: %d bytes, and lists %d", ErrSize, n, info.SizeBytes)
		}
		if err == nil {
			err = m.verify(ctx, info.Key, want, ErrDiffers)
		}
		if errors.Is(err, blob.ErrNotFound) {
			return m.gone(ctx, info.Key)
		}
		if err != nil {
			return err
		}
	}
	m.report.Present.Add(1)
	return nil
}

// compareKeys reads what both stores have of a key, which is small. One that was destroyed meanwhile is none.
func (m *mover) compareKeys(ctx context.Context, key string) error {
	old, _, err := digestOf(ctx, m.from, key)
	if err == nil {
		err = m.verify(ctx, key, old, ErrKeys)
	}
	switch {
	case errors.Is(err, blob.ErrNotFound):
		return m.gone(ctx, key)
	case err == nil:
		m.report.Present.Add(1)
	}
	return err
}

// copy copies one object and reads it again; what does not stand that goes from the new store again, where a later run
// would take it for good. What was removed from the old store meanwhile is taken back, as Bucket.Delete relies on:
// ErrNotFound.
func (m *mover) copy(ctx context.Context, info blob.Info) error {
	key := info.Key
	r, err := blob.NewReader(ctx, m.from, key)
	if err != nil {
		return err
	}
	if n := r.Info().SizeBytes; n != info.SizeBytes && !m.isReplaced(key) {
		return errors.Join(fmt.Errorf("%w: %d bytes, and lists %d", ErrSize, n, info.SizeBytes), r.Close())
	}
	hashed := &hashing{r: r, sum: sha256.New()}
	err = m.to.Put(ctx, key, hashed, r.Info().SizeBytes)
	closed := r.Close()
	switch {
	case m.isReplaced(key) && errors.Is(err, blob.ErrExists):
		return closed // written anew this moment
	case err != nil:
		return errors.Join(err, closed)
	}
	// However the command ends: while it was there unproved, another run may have taken it for good.
	ctx = context.WithoutCancel(ctx)
	_, err = m.from.Stat(ctx, key)
	if m.isReplaced(key) && !errors.Is(err, blob.ErrNotFound) {
		return errors.Join(err, closed) // not read again, nor taken back: it may be a newer one already
	}
	if err == nil {
		err = m.verify(ctx, key, [sha256.Size]byte(hashed.sum.Sum(nil)), ErrAltered)
	}
	if err = errors.Join(err, closed); err == nil {
		return nil
	}
	if failed := m.to.Delete(ctx, key); failed != nil {
		return fmt.Errorf("remove a copy (%v): %w", err, failed) //nolint:errorlint // that it was gone must not hide that it is here
	}
	return err
}

// verify reads an object of the new store; differs says what it is when its digest is not the one of the old store's.
func (m *mover) verify(ctx context.Context, key string, want [sha256.Size]byte, differs error) error {
	has, _, err := digestOf(ctx, m.to, key)
	if err == nil && has != want {
		err = fmt.Errorf("%w: digest %x in the new one, %x in the old one", differs, has, want)
	}
	return err
}

// digestOf reads an object whole, and gives how many bytes there were.
func digestOf(ctx context.Context, s Store, key string) (digest [sha256.Size]byte, n int64, err error) {
	r, _, err := s.Get(ctx, key, 0, -1)
	if err != nil {
		return digest, 0, err
	}
	sum := sha256.New()
	n, err = io.Copy(sum, r)
	if err := errors.Join(err, r.Close()); err != nil {
		return digest, 0, fmt.Errorf("read %s: %w", key, err)
	}
	return [sha256.Size]byte(sum.Sum(nil)), n, nil
}

// hashing takes the digest of what is read, each byte once, however often it is read again.
type hashing struct {
	r   io.ReadSeeker
	sum hash.Hash
	// at is where the reader is, done how much of the content the digest covers.
	at, done int64
}

func (h *hashing) Read(p []byte) (int, error) {
	n, err := h.r.Read(p)
	if end := h.at + int64(n); h.at <= h.done && end > h.done {
		h.sum.Write(p[h.done-h.at : n])
		h.done = end
	}
	h.at += int64(n)
	return n, err
}

func (h *hashing) Seek(offset int64, whence int) (int64, error) {
	at, err := h.r.Seek(offset, whence)
	if err == nil {
		h.at = at
	}
	return at, err
}

package fsck

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// witness is what the object store knows of the database that its objects belong to.
type witness struct {
	DatabaseID string    `json:"database_id"`
	Epoch      int64     `json:"epoch"`
	Token      string    `json:"token"`
	Written    time.Time `json:"written"`
}

// maxDocument bounds what is read and written of a witness or a description, in bytes: that of a tenant with half a million aliases is a quarter of it.
const maxDocument = 256 << 20

// errTooLarge is about a document that is longer. It may be whole, and is neither taken for lost nor written over.
var errTooLarge = errors.New("the document is too large")

// readWitness gives nil when there is none. One that cannot be understood names no database.
func (f *Fsck) readWitness(ctx context.Context) (*witness, error) {
	raw, err := f.document(ctx, Witness)
	if err != nil && !errors.Is(err, blob.ErrDamaged) && !errors.Is(err, errTooLarge) || err == nil && raw == nil {
		return nil, err
	}
	var w witness
	if err != nil || json.Unmarshal(raw, &w) != nil || w.DatabaseID == "" {
		return &witness{}, nil //nolint:nilerr // see above
	}
	return &w, nil
}

// isUnclear says that it was not understood: it is damaged, or another server answers in the place of the object store.
func (w *witness) isUnclear() bool { return w != nil && w.DatabaseID == "" }

// IsLaterWitness says that a witness was written later than another one for the same database: when two stores have one each, it is the one that
// counts.
func IsLaterWitness(a, b []byte) bool {
	var later, earlier witness
	if json.Unmarshal(a, &later) != nil || json.Unmarshal(b, &earlier) != nil {
		return false
	}
	return later.DatabaseID == earlier.DatabaseID && later.Epoch > earlier.Epoch
}

// writeWitness writes what the database says of itself. Who was stopped before it wrote may have written over what another node has written
// since, which would look as if the objects had been set back: it writes again, until the database has not moved on meanwhile.
func (f *Fsck) writeWitness(ctx context.Context, st store.SweepState) error {
	for {
		err := f.writeDocument(ctx, Witness, witness{
			DatabaseID: st.DatabaseID, Epoch: st.Epoch, Token: st.Token, Written: f.now().UTC(),
		})
		if err != nil {
			return err
		}
		is, err := f.store.SweepState(ctx)
		if err != nil || is.DatabaseID != st.DatabaseID || is.Epoch <= st.Epoch {
			return err
		}
		st = is
	}
}

// isBehind says that the objects know less than the database has seen of them. The database is ahead by one for a moment, and at most by
// that before the first witness is written.
func (w *witness) isBehind(st store.SweepState) bool {
	if w == nil {
		return st.Epoch > 1
	}
	return w.DatabaseID == st.DatabaseID && w.Epoch < st.Epoch-1
}

// mayHide says that the objects may be others than those that belong to the database: what is stored with them would not be seen
// any more when the right ones are back. Nothing says then that clients have seen other UIDs.
func (w *witness) mayHide(st store.SweepState) bool { return w.isUnclear() || w.isBehind(st) }

// discord is in which way a witness and a database contradict each other.
type discord int

const (
	agree         discord = iota
	objectsBehind         // the objects were set back, or are not those
	databaseOther         // the database was set back, or is another one
)

func (w *witness) discord(st store.SweepState) discord {
	switch {
	case w.isBehind(st):
		return objectsBehind
	case w.contradicts(st) != "":
		return databaseOther
	default:
		return agree
	}
}

// contradicts says in words why the database is not the one, or not in the state, that the witness saw; empty when it
// may be. A database that is ahead by one is as it should be: it is raised first.
func (w *witness) contradicts(st store.SweepState) string {
	switch {
	case w.isBehind(st):
		return "the objects are not there that belong to this database: the store is empty, another one, not mounted, or was set back in time; no mail is taken meanwhile"
	case w == nil:
		return ""
	case w.isUnclear():
		return "what the objects say of their database (" + Witness + ") cannot be understood: it is damaged, or another server answers in the place of the object store; no mail is taken meanwhile"
	case w.DatabaseID != st.DatabaseID:
		return "the database is another one than the objects belong to"
	case w.Epoch > st.Epoch:
		return fmt.Sprintf("the database was set back in time: it is at epoch %d, the objects at %d of %s", st.Epoch, w.Epoch, w.Written.Format(time.RFC3339))
	case w.Epoch == st.Epoch && w.Token != st.Token:
		return fmt.Sprintf("the database has another history since epoch %d", st.Epoch)
	default:
		return ""
	}
}

// Compare finds out whether the database is the one that the objects belong to and was not set back in time. If it is
// not, all folders get a new UIDVALIDITY and nothing is removed any more until an operator has run mairust fsck
// --repair: ErrStopped. When the objects are the ones that were set back, or cannot be understood, UIDVALIDITY stays. It
// must be called before anybody reads by IMAP, and changes nothing when all is well.
func (f *Fsck) Compare(ctx context.Context) error {
	_, _, err := f.compare(ctx)
	return err
}

func (f *Fsck) compare(ctx context.Context) (*witness, store.SweepState, error) {
	w, st, err := f.readBoth(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return nil, st, fmt.Errorf("compare database and objects: %w", err) // whoever looks ends, which says nothing
	case err != nil:
		return nil, st, f.sure.fail(f.now(), err)
	}
	_ = f.sure.note(f.now(), w, st) // told below
	if reason := w.contradicts(st); reason != "" {
		stopped := f.stop(ctx, reason) // first: renewing may take long, or fail
		if !errors.Is(stopped, ErrStopped) {
			return w, st, stopped
		}
		if err := f.renewOnce(ctx, w, st, reason); err != nil {
			return w, st, err // to be told; that it is stopped was
		}
		return w, st, stopped
	}
	f.renewed.forget()
	f.metrics.setStopped(st.Stopped != "")
	if st.Stopped != "" {
		return w, st, fmt.Errorf("%w: %s", ErrStopped, st.Stopped)
	}
	return w, st, nil
}

// certainFor is for how long a comparison counts for Certain.
const certainFor = time.Second

// sure is what the last comparison said, for those who ask often.
type sure struct {
	// asking is held by who compares.
	asking chan struct{}

	mu  sync.Mutex
	at  time.Time
	err error
	// unsure says that the objects were behind, or not to be understood, or that the last comparison failed, or that there was none.
	unsure atomic.Bool
}

// note notes a comparison, and gives what Certain says of it.
func (s *sure) note(now time.Time, w *witness, st store.SweepState) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	behind, reason := w.isBehind(st), cmp.Or(w.contradicts(st), st.Stopped)
	s.at, s.err = now, nil
	s.unsure.Store(w.mayHide(st))
	switch {
	case reason == "":
	case !behind && w.contradicts(st) != "", st.Stopped == rebuilding:
		s.err = fmt.Errorf("%w: %s", ErrAnother, reason)
	default:
		s.err = fmt.Errorf("%w: %s", ErrStopped, reason)
	}
	return s.err
}

// fail notes that nothing could be compared, and gives back why. What comes back may be another one.
func (s *sure) fail(now time.Time, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.err = now, fmt.Errorf("compare database and objects: %w", err)
	s.unsure.Store(true)
	return s.err
}

// forget has the next who asks compare again.
func (s *sure) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.at, s.err = time.Time{}, nil
	s.unsure.Store(true)
}

// last gives what the last comparison said; ok is false when it is too old, or noted by a clock that was ahead.
func (s *sure) last(now time.Time) (ok bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := now.Sub(s.at)
	return 0 <= age && age < certainFor, s.err
}

// Certain is nil when what the database does not know is not there. It compares as Compare does, at most once a second, and changes
// nothing. ErrAnother while the database is another one or an old one, another ErrStopped while the sweep is stopped for something else; else a
// fault of the database or the object store.
func (f *Fsck) Certain(ctx context.Context) error {
	if ok, err := f.sure.last(f.now()); ok {
		return err
	}
	select {
	case f.sure.asking <- struct{}{}:
		defer func() { <-f.sure.asking }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if ok, err := f.sure.last(f.now()); ok {
		return err
	}
	w, st, err := f.readBoth(ctx)
	switch {
	case err != nil && ctx.Err() != nil:
		return ctx.Err() // who asked has gone, which says nothing
	case err != nil:
		return f.sure.fail(f.now(), err)
	}
	return f.sure.note(f.now(), w, st)
}

// ErrNoObjects says that the objects that belong to the database are not there: their disk is not mounted, it is another bucket, or they
// were set back.
var ErrNoObjects = errors.New("the object store is not the one that belongs to the database, or was set back")

// HasObjects is nil when the objects are those that belong to the database, and ErrNoObjects when they are behind it, or do not say in a way that is
// understood: what is stored now would not be seen again when the right ones are back. It costs nothing when the last comparison, of whoever watches, was good; else it compares as Certain does.
func (f *Fsck) HasObjects(ctx context.Context) error {
	if !f.sure.unsure.Load() {
		return nil
	}
	if err := f.Certain(ctx); err != nil && !errors.Is(err, ErrStopped) {
		return err
	}
	if f.sure.unsure.Load() {
		return ErrNoObjects
	}
	return nil
}

// readBoth reads what both know of each other: the witness first, since it is written after the database was raised. When that took so
// long that others have raised it meanwhile, it is read again.
func (f *Fsck) readBoth(ctx context.Context) (w *witness, st store.SweepState, err error) {
	for range 2 {
		if w, err = f.readWitness(ctx); err != nil {
			return nil, st, err
		}
		if st, err = f.store.SweepState(ctx); err != nil || !w.mayHide(st) {
			return w, st, err
		}
	}
	return w, st, nil
}

// renewFolders gives all folders a new UIDVALIDITY when the witness contradicts the database: clients may have seen UIDs that it
// will give to other messages. That it was done for this witness before says nothing: while the sweep is stopped the witness stays, and
// what the database has seen since may be from a dump that was made after that, and restored again.
func (f *Fsck) renewFolders(ctx context.Context, w *witness, st store.SweepState) error {
	if w.isBehind(st) {
		return nil
	}
	if err := f.store.RenewFolders(ctx); err != nil {
		return fmt.Errorf("renew folders: %w", err)
	}
	return nil
}

// renewals are those of one stop, by its time and the database's token, that this process has made.
type renewals struct {
	mu sync.Mutex
	in string
	// before are the values of RenewedFor that were replaced: one that comes back shows that the database was restored again.
	before map[string]bool
}

func (r *renewals) has(in, renewedFor string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.in == in && !r.before[renewedFor]
}

func (r *renewals) note(in, before string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.in != in {
		r.in, r.before = in, map[string]bool{}
	}
	r.before[before] = true
}

func (r *renewals) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.in, r.before = "", nil
}

// renewOnce does so once in each process while the sweep is stopped. When the objects have two databases that both live, the one that
// goes on has a new token each minute; a repair renews once more, and does so for a witness that is not understood, too.
func (f *Fsck) renewOnce(ctx context.Context, w *witness, st store.SweepState, reason string) error {
	if w.mayHide(st) {
		return nil
	}
	is, err := f.store.SweepState(ctx)
	if err != nil {
		return fmt.Errorf("renew folders: %w", err)
	}
	stop := fmt.Sprint(is.StoppedAt.UnixMicro(), is.Token)
	if f.renewed.has(stop, is.RenewedFor) {
		return nil
	}
	if is.Stopped != reason {
		f.log.Error("the sweep was stopped before, and now this", "reason", reason, "before", is.Stopped)
	}
	if err := f.renewFolders(ctx, w, st); err != nil {
		return err
	}
	f.renewed.note(stop, is.RenewedFor)
	return nil
}

// stop notes why nothing may be removed, and tells it once. It returns an ErrStopped.
func (f *Fsck) stop(ctx context.Context, reason string) error {
	first, err := f.store.StopSweep(ctx, reason)
	if err != nil {
		return fmt.Errorf("stop the sweep: %w", err)
	}
	f.metrics.setStopped(true)
	if first {
		f.log.Error("sweep stopped, nothing is removed until an operator runs: mairust fsck --repair", "reason", reason)
	}
	return fmt.Errorf("%w: %s", ErrStopped, reason)
}

// document reads a small object; nil when there is none. blob.ErrKeyLocked also when encryption is not set up, so that its bytes come as they are stored.
func (f *Fsck) document(ctx context.Context, key string) ([]byte, error) {
	r, info, err := f.objects.Get(ctx, key, 0, f.maxDocument)
	if errors.Is(err, blob.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.SizeBytes > f.maxDocument {
		_ = r.Close() // nothing was read
		return nil, fmt.Errorf("read %s: %w: %d bytes", key, errTooLarge, info.SizeBytes)
	}
	raw, err := io.ReadAll(r)
	if err := errors.Join(err, r.Close()); err != nil {
		return nil, fmt.Errorf("read %s: %w", key, err)
	}
	if bytes.HasPrefix(raw, []byte(encryptedBegin)) {
		return nil, fmt.Errorf("read %s: %w: encryption is not set up", key, blob.ErrKeyLocked)
	}
	return raw, nil
}

func (f *Fsck) writeDocument(ctx context.Context, key string, document any) error {
	raw, err := json.MarshalIndent(document, "", "  ")
	if err != nil {
		return fmt.Errorf("encode %s: %w", key, err)
	}
	raw = append(raw, '\n')
	if int64(len(raw)) > f.maxDocument {
		return fmt.Errorf("write %s: %w: %d bytes", key, errTooLarge, len(raw))
	}
	return f.objects.Replace(ctx, key, bytes.NewReader(raw), int64(len(raw)))
}

// Package store is the index: every SQL statement of the project, one file per noun. The same
// statements run on PostgreSQL and SQLite. Objects themselves live in store/blob.
//
// Reads take a Scope, and the scope is part of the SQL: no caller can forget it.
package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/internal/batch"
	"github.com/mairust/mairust/store/sqldb"
)

// The ids of the nouns, each a UUIDv7 in its text form.
type (
	// TenantID names a Tenant.
	TenantID string
	// DomainID names a Domain.
	DomainID string
	// UserID names a User.
	UserID string
	// MailboxID names a Mailbox.
	MailboxID string
	// FolderID names a Folder.
	FolderID string
	// MessageID names a Message; not the header field of that name.
	MessageID string
	// APIKeyID names an APIKey.
	APIKeyID string
)

// Errors that callers test for. Everything else is a fault of the database, which is temporary.
var (
	ErrNotFound  = errors.New("not found")
	ErrSuspended = errors.New("tenant is suspended")
	ErrQuota     = errors.New("over quota")
	ErrExists    = errors.New("already exists")
	// ErrNotStored says that a fault of the database came before anything could be committed.
	ErrNotStored = errors.New("nothing was stored")
	// ErrUnavailable wraps every error that says that the database could not be reached or is shutting down.
	ErrUnavailable = sqldb.ErrUnavailable
	// ErrFull wraps every error that says that the database has no space left.
	ErrFull = sqldb.ErrFull
)

// Options of a Store. DB is required.
type Options struct {
	DB *sqldb.DB
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log may be nil.
	Log *slog.Logger
	// Registerer takes the metrics; nil means none.
	Registerer prometheus.Registerer
	// OmitContent keeps subject, preview and names of files of new messages out of the database.
	OmitContent bool
	// ShredWait is how long after a tenant's keys were destroyed it can neither get a key nor be resumed: as long as mail may
	// be under way that is encrypted to a destroyed one. Default 0.
	ShredWait time.Duration
}

// Scope is the part of the data that the asker may see. The zero Scope sees nothing.
type Scope struct {
	// All lifts the tenant: for super admins and the system itself.
	All bool
	// Tenant restricts to one tenant.
	Tenant TenantID
	// User, when set, restricts further to the mailboxes this user has access to.
	User UserID
}

// System is the scope of MaiRust's own work, not done for anyone.
var System = Scope{All: true}

// Store is the index. All methods may be called from many goroutines.
type Store struct {
	db  *sqldb.DB
	now func() time.Time
	// shredWait is that of Options.
	shredWait  time.Duration
	log        *slog.Logger
	recipients *recipients
	folderIDs  *remembered[folderKey, FolderID]
	commits    batch.Queue[*deliveryJob]
	// putFirstUntil is until when DeliverWhile stores objects before it begins their rows, in nanoseconds since started.
	putFirstUntil atomic.Int64
	started       time.Time
	putPatience   time.Duration
	// lockedUntil is until when batches wait for locks for a moment only, as putFirstUntil.
	lockedUntil atomic.Int64
	outage      *outage
	metrics     *metrics
	// hasMailbox says that there was a mailbox.
	hasMailbox atomic.Bool

	omitContent bool
}

// timeout bounds every statement and transaction, so that a database that hangs is an error.
const timeout = 30 * time.Second

// New makes a Store over an open and migrated database. The caller closes the database after its last call.
func New(o Options) *Store {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Store{db: o.DB, now: o.Now, log: o.Log, metrics: newMetrics(o.Registerer), outage: &outage{log: o.Log}, omitContent: o.OmitContent, shredWait: o.ShredWait}
	s.started, s.putPatience = time.Now(), defaultPutPatience
	s.recipients = newRecipients(s)
	s.folderIDs = &remembered[folderKey, FolderID]{now: o.Now, size: knownFolderSize, age: knownFolderTime}
	s.commits.Take, s.commits.Work = takeBatch, s.commitBatch
	return s
}

// Patient marks the context of what people and their programs ask for: it leaves a few of the database's connections to mail.
func Patient(ctx context.Context) context.Context { return sqldb.Patient(ctx) }

// Ping asks the database for a sign of life, within ctx.
func (s *Store) Ping(ctx context.Context) error { return s.db.Ping(ctx) }

func (s *Store) get(ctx context.Context, query string, args []any, dest ...any) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return notFound(s.db.Get(ctx, query, args, dest...))
}

func (s *Store) each(ctx context.Context, query string, args []any, row func(scan sqldb.Scan) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.db.Each(ctx, query, args, row)
}

func (s *Store) write(ctx context.Context, fn func(ctx context.Context, tx *sqldb.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.db.Write(ctx, func(tx *sqldb.Tx) error { return fn(ctx, tx) })
}

// notFound turns the database's word into the store's.
func notFound(err error) error {
	switch {
	case errors.Is(err, sqldb.ErrNoRows):
		return ErrNotFound
	case errors.Is(err, sqldb.ErrConflict):
		return fmt.Errorf("%w: %w", ErrExists, err)
	default:
		return err
	}
}

// newID makes a UUIDv7 (RFC 9562, 5.7): it sorts by time of creation.
func newID() string { return uuid.Must(uuid.NewV7()).String() }

// micros is how times are stored: microseconds since 1970 UTC.
func micros(t time.Time) int64 { return t.UnixMicro() }

// microsOrNull stores the zero time as NULL.
func microsOrNull(t time.Time) *int64 {
	if t.IsZero() {
		return nil
	}
	us := t.UnixMicro()
	return &us
}

func fromMicros(us int64) time.Time { return time.UnixMicro(us).UTC() }

// fromNull is the inverse of microsOrNull.
func fromNull(us *int64) time.Time {
	if us == nil {
		return time.Time{}
	}
	return fromMicros(*us)
}

// Package store is the index: every SQL statement of the project, one file per noun. The same
// statements run on PostgreSQL and SQLite. Objects themselves live in store/blob.
//
// Reads take a Scope, and the scope is part of the SQL: no caller can forget it.
package store

import (
	"errors"
	"log/slog"
	"time"

	"github.com/mairust/mairust/store/sqldb"
)

// Ids are UUIDv7 in their text form.
type (
	TenantID  string
	DomainID  string
	UserID    string
	MailboxID string
	FolderID  string
	MessageID string
	APIKeyID  string
)

// Errors that callers test for. Everything else is a fault of the database, which is temporary.
var (
	ErrNotFound  = errors.New("not found")
	ErrSuspended = errors.New("tenant is suspended")
	ErrQuota     = errors.New("over quota")
	ErrExists    = errors.New("already exists")
	// ErrUnavailable wraps every error that says that the database could not be reached or is shutting down.
	ErrUnavailable = sqldb.ErrUnavailable
)

// Options of a Store. DB is required.
type Options struct {
	DB *sqldb.DB
	// Now is the clock; nil means time.Now.
	Now func() time.Time
	// Log may be nil.
	Log *slog.Logger
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

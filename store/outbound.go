package store

import (
	"errors"
	"time"
)

// ErrConflict says that somebody else changed the row since it was read: read it again and decide again.
var ErrConflict = errors.New("changed by somebody else meanwhile")

// The levels of an account, as package policy has them.
const (
	LevelNormal    = "normal"
	LevelSoftLimit = "soft_limit"
	LevelHardLimit = "hard_limit"
)

// OutboundKey names an account of a tenant; as a place in a list, the zero key is before the first.
type OutboundKey struct {
	Tenant  TenantID
	Account string
}

// LogKey names a row of a log by its time and id; as a place in a list, the zero key is the newest end.
type LogKey struct {
	At time.Time
	ID string
}

// IsZero is whether the key names nothing.
func (k LogKey) IsZero() bool { return k.At.IsZero() && k.ID == "" }

// args are the key for "older than", where the zero key is newer than everything.
func (k LogKey) args() []any {
	if k.IsZero() {
		return []any{int64(1) << 62, ""}
	}
	return []any{micros(k.At), k.ID}
}

// NewLogID makes the id of a log row to be written.
func NewLogID() string { return newID() }

// accountInScope keeps what a scope may see of rows that name a tenant and an account. Users see what they sent under
// their own login.
const accountInScope = `($1 = 1 OR tenant_id = $2) AND ($3 = '' OR account = (
	SELECT u.login_fold FROM users u WHERE u.id = $3 AND u.tenant_id = $2))`

// Bounds of what is stored, in bytes.
const (
	maxReason      = 1000
	maxReply       = 512
	maxEvent       = 16 << 10
	maxState       = 16 << 10
	maxExplanation = 16 << 10
)

// outboundBatch is how many rows go into one transaction: a few milliseconds of SQLite's only writer.
const outboundBatch = 100

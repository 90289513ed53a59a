// Package sqldb opens PostgreSQL or SQLite and is the only place that knows their drivers.
package sqldb

import (
	"database/sql"
	"errors"
)

// ErrUnavailable says that the database could not be reached, was lost, or is shutting down.
var ErrUnavailable = errors.New("database unavailable")

// DB is an open database.
type DB struct {
	*sql.DB
}

package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"

	"github.com/mairust/mairust/migrations"
)

// ErrSchema says that the database has another schema version than this binary needs.
var ErrSchema = errors.New("database schema")

// Migrate brings the schema to this binary's version and returns the names of the migrations that it ran.
// Of several processes that call it at once one works and the others wait.
func (db *DB) Migrate(ctx context.Context) ([]string, error) {
	provider, release, err := db.provider()
	if err != nil {
		return nil, err
	}
	results, err := provider.Up(ctx)
	var names []string
	for _, r := range results {
		names = append(names, r.Source.Path)
	}
	if err := errors.Join(err, release()); err != nil {
		return names, fmt.Errorf("migrate: %w", classify(err))
	}
	return names, nil
}

// CheckSchema returns an error that wraps ErrSchema when Migrate has work to do, or when a newer binary has
// migrated the database further than this one knows. The latter is allowed: migrations keep the previous
// binary working.
func (db *DB) CheckSchema(ctx context.Context) error {
	provider, release, err := db.provider()
	if err != nil {
		return err
	}
	pending, err := provider.HasPending(ctx)
	if err := errors.Join(err, release()); err != nil {
		return fmt.Errorf("check schema: %w", classify(err))
	}
	if pending {
		return fmt.Errorf("%w is older than this binary: run `mairust migrate`", ErrSchema)
	}
	return nil
}

// lockEvery and lockTimes are how often, in seconds, and how many times another process's migrations are waited for: an hour in all.
const lockEvery, lockTimes = 5, 720

// provider runs on a pool of its own: SQLite's reading pool cannot write, and PostgreSQL's ends what takes long.
func (db *DB) provider() (*goose.Provider, func() error, error) {
	files, err := fs.Sub(migrations.FS, db.backend)
	if err != nil {
		return nil, nil, fmt.Errorf("migrations for %s: %w", db.backend, err)
	}
	var pool *sql.DB
	dialect := goose.DialectPostgres
	var options []goose.ProviderOption
	if db.writer != nil {
		if pool, err = sql.Open("sqlite", sqliteURL(db.writer.path)+"&_txlock=immediate"); err != nil {
			return nil, nil, classify(err)
		}
		dialect = goose.DialectSQLite3
	} else {
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(lockEvery, lockTimes))
		if err != nil {
			return nil, nil, fmt.Errorf("migration lock: %w", err)
		}
		pool, options = db.migrating(), append(options, goose.WithSessionLocker(locker))
	}
	pool.SetMaxOpenConns(1)
	provider, err := goose.NewProvider(dialect, pool, files, options...)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("migrations for %s: %w", db.backend, classify(err)), pool.Close())
	}
	return provider, pool.Close, nil
}

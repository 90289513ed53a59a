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
	provider, release, err := db.provider(func() (*sql.DB, func() error) {
		pool := db.apart(0)
		return pool, pool.Close
	})
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
	provider, release, err := db.provider(func() (*sql.DB, func() error) { return db.read, func() error { return nil } })
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

// provider runs on a pool of its own on SQLite, because the reading pool cannot write, and on what postgres opens there.
func (db *DB) provider(postgres func() (pool *sql.DB, release func() error)) (*goose.Provider, func() error, error) {
	files, err := fs.Sub(migrations.FS, db.backend)
	if err != nil {
		return nil, nil, fmt.Errorf("migrations for %s: %w", db.backend, err)
	}
	var pool *sql.DB
	var release func() error
	dialect := goose.DialectPostgres
	var options []goose.ProviderOption
	if db.writer != nil {
		if pool, err = sql.Open("sqlite", sqliteURL(db.writer.path)+"&_txlock=immediate"); err != nil {
			return nil, nil, classify(err)
		}
		pool.SetMaxOpenConns(1)
		dialect, release = goose.DialectSQLite3, pool.Close
	} else {
		locker, err := lock.NewPostgresSessionLocker(lock.WithLockTimeout(lockEvery, lockTimes))
		if err != nil {
			return nil, nil, fmt.Errorf("migration lock: %w", err)
		}
		options = append(options, goose.WithSessionLocker(locker))
		pool, release = postgres()
	}
	provider, err := goose.NewProvider(dialect, pool, files, options...)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("migrations for %s: %w", db.backend, classify(err)), release())
	}
	return provider, release, nil
}

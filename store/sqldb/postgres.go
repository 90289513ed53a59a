package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

// pgx5CommitRollback is pgx's word that the server answered COMMIT with ROLLBACK.
var pgx5CommitRollback = pgx.ErrTxCommitRollback

// connectTimeout is how long a server may take to take a connection, or to answer on one that was idle.
const connectTimeout = 5 * time.Second

// minPostgres is the oldest server version that is supported, as server_version_num.
const minPostgres = 140000

func openPostgres(ctx context.Context, o Options) (*DB, error) {
	if o.URL == "" {
		return nil, errors.New("database.url is missing: it names the PostgreSQL server")
	}
	config, err := pgxpool.ParseConfig(o.URL)
	if err != nil {
		// pgx's own message quotes the URL, and with it the password.
		return nil, errors.New("database.url cannot be read: use postgres://user:password@host:5432/database")
	}
	if config.ConnConfig.ConnectTimeout == 0 {
		config.ConnConfig.ConnectTimeout = connectTimeout
	}
	setDefault(config.ConnConfig.RuntimeParams, "application_name", "mairust")
	// A client that hangs in a transaction must not hold locks for ever.
	setDefault(config.ConnConfig.RuntimeParams, "idle_in_transaction_session_timeout", "60000")
	setDefault(config.ConnConfig.RuntimeParams, "statement_timeout", "60000")
	config.MaxConns, config.MinConns = int32(orDefault(o.MaxConnections, 20)), int32(o.MinConnections) // #nosec G115 -- the configuration has 10,000 at most
	// A connection costs the server a process: what a burst has opened stays for the next one.
	config.MaxConnIdleTime, config.PingTimeout = 5*time.Minute, connectTimeout
	config.AfterConnect = holdDurable
	config.ConnConfig.OnNotice = noteUnreplicated
	if c := config.ConnConfig; c.ValidateConnect == nil && hasSeveralServers(c) && !strings.Contains(o.URL, "target_session_attrs") {
		c.ValidateConnect = pgconn.ValidateConnectTargetSessionAttrsReadWrite // the one that is the primary
	}
	connections, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("pool of connections to PostgreSQL: %w", err)
	}
	pool := stdlib.OpenDBFromPool(connections)
	closers := []io.Closer{pool, poolCloser{connections}}
	if err := checkPostgres(ctx, pool, o.Log); err != nil {
		err = fmt.Errorf("open PostgreSQL at %s: %w", config.ConnConfig.Host, err)
		return nil, errors.Join(err, closeAll(closers))
	}
	apart := func(limit time.Duration) *sql.DB { return oneApart(config.ConnConfig, limit) }
	return &DB{backend: Postgres, read: pool, apart: apart, patience: newPatience(int(config.MaxConns)), closers: closers}, nil
}

// oneApart is a connection of its own, of which no other has to wait, and whose statements may take longer than others: so long, or without a limit
// when it is 0. Their waiting for a lock stays as short as it is for others, since whoever asks for the table next waits behind them: a
// transaction that was forgotten must not stop all mail. Both are set when it is connected: PgBouncer refuses what it does not know before.
func oneApart(config *pgx.ConnConfig, limit time.Duration) *sql.DB {
	const query = `SELECT set_config('statement_timeout', $1, false),
		set_config('lock_timeout', CASE current_setting('lock_timeout') WHEN '0' THEN '60000' ELSE current_setting('lock_timeout') END, false)`
	pool := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		if err := holdDurable(ctx, conn); err != nil {
			return err
		}
		_, err := conn.Exec(ctx, query, strconv.FormatInt(limit.Milliseconds(), 10))
		return err
	}))
	pool.SetMaxOpenConns(1)
	return pool
}

func hasSeveralServers(c *pgx.ConnConfig) bool {
	return slices.ContainsFunc(c.Fallbacks, func(f *pgconn.FallbackConfig) bool { return f.Host != c.Host || f.Port != c.Port })
}

// closePatience is how long statements that are under way may take when the database is closed.
const closePatience = 5 * time.Second

// poolCloser closes a pool of pgx, which waits for each of its connections to come back.
type poolCloser struct{ pool *pgxpool.Pool }

// Close does not wait for ever: a server that does not answer would keep the process from ending. What is still under way then
// ends with the process, and is rolled back.
func (c poolCloser) Close() error {
	closed := make(chan struct{})
	go func() {
		c.pool.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(closePatience):
	}
	return nil
}

func setDefault(params map[string]string, key, value string) {
	if _, set := params[key]; !set {
		params[key] = value
	}
}

func orDefault(n, otherwise int) int {
	if n <= 0 {
		return otherwise
	}
	return n
}

// ErrNotDurable is the ErrUnavailable of a connection that is refused, since its commits may be lost.
var ErrNotDurable = fmt.Errorf("%w: synchronous_commit is off: acknowledged mail could be lost; "+
	"set it with: ALTER ROLE CURRENT_USER SET synchronous_commit = on", ErrUnavailable)

// holdDurable holds a new connection to what is set for its commits now, so that a change of the server's configuration does not reach it, and
// refuses one that would not wait for the disk: the setting may have changed since the process began, or the server. What it is sent is UTF-8, or
// stored as it is, whatever encoding somebody has set for clients. Each statement sees what was committed before it: who waits for a row's lock counts
// on that.
func holdDurable(ctx context.Context, conn *pgx.Conn) error {
	const query = `SELECT set_config('synchronous_commit', current_setting('synchronous_commit'), false),
		set_config('default_transaction_isolation', 'read committed', false),
		set_config('client_encoding', CASE current_setting('client_encoding') WHEN 'UTF8' THEN 'UTF8' ELSE current_setting('server_encoding') END, false)`
	var setting, isolation, encoding string
	if err := conn.QueryRow(ctx, query).Scan(&setting, &isolation, &encoding); err != nil {
		return err
	}
	if setting == "off" {
		return ErrNotDurable
	}
	return nil
}

// checkPostgres refuses a server that is too old, and a new database that cannot hold all of Unicode, and complains of one that can lose
// commits at a power cut.
func checkPostgres(ctx context.Context, pool *sql.DB, log *slog.Logger) error {
	const query = `SELECT CAST(current_setting('server_version_num') AS INTEGER), current_setting('server_version'),
		current_setting('fsync'), current_setting('full_page_writes'), current_setting('server_encoding'),
		to_regclass('installation') IS NULL`
	var number int
	var version, fsync, fullPageWrites, encoding string
	var isNew bool
	if err := pool.QueryRowContext(ctx, query).Scan(&number, &version, &fsync, &fullPageWrites, &encoding, &isNew); err != nil {
		return classify(err)
	}
	if number < minPostgres {
		return fmt.Errorf("PostgreSQL %s is too old: MaiRust needs 14 or later", version)
	}
	if encoding != "UTF8" && encoding != "SQL_ASCII" { // the latter takes every byte as it is
		const advice = "make the database with ENCODING 'UTF8' TEMPLATE template0"
		if isNew {
			return fmt.Errorf("the database has the encoding %s, in which not every message can be indexed: %s", encoding, advice)
		}
		log.Error("the database has an encoding in which not every message can be indexed", "encoding", encoding)
	}
	if fsync == "off" || fullPageWrites == "off" {
		log.Error("PostgreSQL can lose acknowledged mail at a power cut: turn its settings on",
			"fsync", fsync, "full_page_writes", fullPageWrites)
	}
	return nil
}

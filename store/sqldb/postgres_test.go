package sqldb_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/sqldb"
)

func TestConnectionsOfABurstServeTheNextOne(t *testing.T) {
	const most = 10
	db := open(t, sqldb.Options{Backend: "postgres", URL: labtest.Postgres(t).URL(), MaxConnections: most, MinConnections: 1})
	seen := make(chan int64, 10*most)
	for range 5 {
		var burst sync.WaitGroup
		for range most {
			burst.Go(func() {
				var pid int64
				assert.NoError(t, db.Get(t.Context(), `SELECT pg_backend_pid() FROM pg_sleep(0.05)`, nil, &pid))
				seen <- pid
			})
		}
		burst.Wait()
	}
	close(seen)
	servers := map[int64]bool{}
	for pid := range seen {
		servers[pid] = true
	}
	require.LessOrEqual(t, len(servers), most, "each new one costs the server a process")
}

func TestPostgresGoneIsUnavailableAndComesBack(t *testing.T) {
	server, err := lab.StartPostgres(t.Context(), lab.PostgresOptions{})
	if err != nil {
		labtest.Postgres(t) // skips or fails with the reason
	}
	require.NoError(t, err)
	defer server.Close()
	db := open(t, sqldb.Options{Backend: "postgres", URL: server.URL()})
	server.Stop(lab.StopImmediate)
	err = db.Write(t.Context(), func(tx *sqldb.Tx) error { return insertTenant(t.Context(), tx, "a") })
	require.ErrorIs(t, err, sqldb.ErrUnavailable)
	require.NoError(t, server.Start(t.Context()))
	require.Eventually(t, func() bool { return db.Ping(t.Context()) == nil }, eventually, tick)
	require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error { return insertTenant(t.Context(), tx, "a") }))
}

func TestClosingWaitsNotForEverForAServerThatHangs(t *testing.T) {
	db, err := sqldb.Open(t.Context(), sqldb.Options{Backend: "postgres", URL: labtest.Postgres(t).URL()})
	require.NoError(t, err)
	over := make(chan error, 1)
	go func() {
		over <- db.Each(context.Background(), `SELECT 1 FROM pg_sleep(20)`, nil, func(sqldb.Scan) error { return nil })
	}()
	require.Eventually(t, func() bool {
		var n int
		err := db.Get(t.Context(), `SELECT COUNT(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE '%pg_sleep(20)%' AND pid <> pg_backend_pid()`, nil, &n)
		return err == nil && n > 0
	}, eventually, tick)
	began := time.Now()
	require.NoError(t, db.Close())
	require.Less(t, time.Since(began), 10*time.Second)
	require.Empty(t, over, "the statement goes on")
	<-over
}

func TestPostgresThatAcknowledgesTooEarlyIsRefused(t *testing.T) {
	url := labtest.Postgres(t).URL()
	_, err := sqldb.Open(t.Context(), sqldb.Options{Backend: "postgres", URL: withParam(url, "synchronous_commit=off")})
	require.ErrorContains(t, err, "synchronous_commit is off")
}

// What is set for the server while the daemon runs reaches no connection that there is, and keeps new ones out.
func TestPostgresThatBeginsToAcknowledgeTooEarlyIsRefused(t *testing.T) {
	server := labtest.OwnPostgres(t, lab.PostgresOptions{})
	db, err := sqldb.Open(t.Context(), sqldb.Options{Backend: "postgres", URL: server.URL()})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	set := func(value string) {
		_, err := server.Exec(t.Context(), `ALTER SYSTEM SET synchronous_commit = `+value)
		require.NoError(t, err)
		_, err = server.Exec(t.Context(), `SELECT pg_reload_conf()`)
		require.NoError(t, err)
		require.Eventually(t, func() bool {
			got, err := server.Exec(t.Context(), `SHOW synchronous_commit`)
			return err == nil && strings.TrimSpace(got) == value
		}, eventually, tick)
	}
	setting := func() (value string, err error) {
		err = db.Get(t.Context(), `SELECT current_setting('synchronous_commit')`, nil, &value)
		return value, err
	}
	set("off")
	value, err := setting()
	require.NoError(t, err)
	require.Equal(t, "on", value)
	_, err = server.Exec(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mairust'`)
	require.NoError(t, err)
	require.Eventually(t, func() bool {
		_, err := setting()
		return err != nil && strings.Contains(err.Error(), "synchronous_commit is off")
	}, eventually, tick)
	set("on")
	require.Eventually(t, func() bool {
		value, err := setting()
		return err == nil && value == "on"
	}, eventually, tick)
}

// A primary that became a standby, or was told to take no changes, is left for another one, or for itself when it takes them again.
func TestAConnectionThatTakesNoChangesIsNotKept(t *testing.T) {
	server := labtest.Postgres(t)
	db := open(t, sqldb.Options{Backend: sqldb.Postgres, URL: server.URL(), MaxConnections: 1})
	_, err := db.Migrate(t.Context())
	require.NoError(t, err)
	change := func(settings ...string) error {
		return db.Write(t.Context(), func(tx *sqldb.Tx) error {
			for _, s := range settings {
				tx.Queue(s)
			}
			_, err := tx.Exec(t.Context(), `UPDATE installation SET created_us = created_us WHERE id = 1`)
			return err
		})
	}
	require.NoError(t, change(`SELECT set_config('default_transaction_read_only', 'on', false)`), "for the session")
	require.ErrorIs(t, change(), sqldb.ErrUnavailable)
	require.NoError(t, change())
}

func TestOfSeveralServersTheOneIsUsedThatTakesChanges(t *testing.T) {
	readOnly := labtest.OwnPostgres(t, lab.PostgresOptions{})
	primary := labtest.Postgres(t)
	u, err := url.Parse(primary.URL())
	require.NoError(t, err)
	name := strings.TrimPrefix(u.Path, "/")
	for _, statement := range []string{`CREATE DATABASE ` + name, `ALTER DATABASE ` + name + ` SET default_transaction_read_only = on`} {
		_, err = readOnly.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	u.Host = readOnly.Addr() + "," + u.Host
	db := open(t, sqldb.Options{Backend: sqldb.Postgres, URL: u.String()})
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
}

func TestADatabaseThatCannotHoldAllOfUnicodeIsRefused(t *testing.T) {
	server := labtest.Postgres(t)
	u, err := url.Parse(server.URL())
	require.NoError(t, err)
	u.Path += "_euc"
	name := strings.TrimPrefix(u.Path, "/")
	_, err = server.Exec(t.Context(), `CREATE DATABASE `+name+` ENCODING 'EUC_JP' LOCALE 'C' TEMPLATE template0`)
	require.NoError(t, err)
	t.Cleanup(func() {
		_, err := server.Exec(context.Background(), `DROP DATABASE `+name)
		require.NoError(t, err)
	})
	_, err = sqldb.Open(t.Context(), sqldb.Options{Backend: sqldb.Postgres, URL: u.String()})
	require.ErrorContains(t, err, "EUC_JP")

	conn, err := pgx.Connect(t.Context(), u.String())
	require.NoError(t, err)
	_, err = conn.Exec(t.Context(), `CREATE TABLE installation (id INTEGER)`)
	require.NoError(t, err)
	require.NoError(t, conn.Close(t.Context()))
	var log bytes.Buffer
	db, err := sqldb.Open(t.Context(), sqldb.Options{Backend: sqldb.Postgres, URL: u.String(), Log: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	require.NoError(t, db.Close())
	require.Contains(t, log.String(), "EUC_JP", "one that is in use goes on")
}

func TestWhatSomebodyHasSetForClientsChangesNoText(t *testing.T) {
	server := labtest.Postgres(t)
	u, err := url.Parse(server.URL())
	require.NoError(t, err)
	_, err = server.Exec(t.Context(), `ALTER DATABASE `+strings.TrimPrefix(u.Path, "/")+` SET client_encoding = 'LATIN1'`)
	require.NoError(t, err)
	db := open(t, sqldb.Options{Backend: sqldb.Postgres, URL: server.URL()})
	const text = "会議のお知らせ"
	var got string
	var bytes int
	require.NoError(t, db.Get(t.Context(), `SELECT CAST($1 AS TEXT), octet_length(CAST($1 AS TEXT))`, []any{text}, &got, &bytes))
	require.Equal(t, text, got)
	require.Equal(t, len(text), bytes, "as they are stored")
}

func TestPostgresThatTookTheRightsAwayIsUnavailable(t *testing.T) {
	db := open(t, sqldb.Options{Backend: "postgres", URL: labtest.Postgres(t).URL()})
	_, err := db.Migrate(t.Context())
	require.NoError(t, err)
	for _, fault := range []string{"ALTER TABLE tenants RENAME TO tenants_away", "SET LOCAL ROLE pg_monitor"} {
		err := db.Write(t.Context(), func(tx *sqldb.Tx) error {
			if _, err := tx.Exec(t.Context(), fault); err != nil {
				return err
			}
			return insertTenant(t.Context(), tx, "a")
		})
		require.ErrorIs(t, err, sqldb.ErrUnavailable, fault)
	}
}

func TestAQueryMayBeGivenMoreTimeThanOthers(t *testing.T) {
	db := open(t, sqldb.Options{Backend: sqldb.Postgres, URL: withParam(labtest.Postgres(t).URL(), "statement_timeout=300"), MaxConnections: 1})
	const slow = `SELECT 1 FROM pg_sleep(0.6)`
	rows := 0
	row := func(scan sqldb.Scan) error {
		rows++
		return scan(new(int))
	}
	require.ErrorIs(t, db.Each(t.Context(), slow, nil, row), sqldb.ErrUnavailable)
	require.NoError(t, db.EachWithin(t.Context(), time.Minute, slow, nil, row))
	require.Equal(t, 1, rows)
	require.ErrorIs(t, db.EachWithin(t.Context(), 100*time.Millisecond, slow, nil, row), sqldb.ErrUnavailable)
	require.ErrorIs(t, db.Each(t.Context(), slow, nil, row), sqldb.ErrUnavailable, "what comes next has no more time than before")
	require.Equal(t, 1, rows)
}

func TestMigrationsTakeLongerThanAStatementMay(t *testing.T) {
	server := labtest.Postgres(t)
	for _, statement := range []string{
		`CREATE FUNCTION large() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN
			PERFORM pg_sleep(0.6);
			IF current_setting('lock_timeout') = '0' THEN RAISE EXCEPTION 'all mail may wait for ever behind this'; END IF;
		END $$`,
		`CREATE EVENT TRIGGER large ON ddl_command_start WHEN TAG IN ('DROP INDEX') EXECUTE FUNCTION large()`,
	} {
		_, err := server.Exec(t.Context(), statement)
		require.NoError(t, err)
	}
	db, err := sqldb.Open(t.Context(), sqldb.Options{Backend: sqldb.Postgres, URL: withParam(server.URL(), "statement_timeout=300")})
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	require.NoError(t, db.CheckSchema(t.Context()))
	require.ErrorIs(t, db.Get(t.Context(), `SELECT 1 FROM pg_sleep(0.6)`, nil, new(int)), sqldb.ErrUnavailable, "other statements have no more time")
}

// An index that is made while others write is left behind, not valid, by an attempt that failed.
func TestIndexThatAFailedMigrationLeftIsMadeAnew(t *testing.T) {
	db := open(t, sqldb.Options{Backend: sqldb.Postgres, URL: labtest.Postgres(t).URL()})
	require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
		tx.Queue(`UPDATE pg_index SET indisvalid = false WHERE indexrelid = CAST('messages_deleted' AS regclass)`)
		tx.Queue(`ALTER TABLE installation DROP COLUMN operator_check`)
		tx.Queue(`ALTER TABLE worker_days DROP COLUMN at_us`)
		tx.Queue(`DELETE FROM goose_db_version WHERE version_id >= 13`)
		return nil
	}))
	names, err := db.Migrate(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"00013_deleted.sql", "00014_operator.sql", "00015_worked.sql"}, names)
	var valid bool
	require.NoError(t, db.Get(t.Context(), `SELECT indisvalid FROM pg_index WHERE indexrelid = CAST('messages_deleted' AS regclass)`, nil, &valid))
	require.True(t, valid)
}

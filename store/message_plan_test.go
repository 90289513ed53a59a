package store

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/sqldb"
)

// A page of a large mailbox reads about as many messages of each folder as it is long, also where PostgreSQL knows nothing of the tables, and
// where there are few folders, of which one is empty. Of deleted messages it reads no others.
func TestListOfAMailboxFindsMessagesByFolderAndID(t *testing.T) {
	for _, backend := range []string{sqldb.SQLite, sqldb.Postgres} {
		t.Run(backend, func(t *testing.T) {
			db, c := largeMailbox(t, backend)
			for _, statement := range []string{`SELECT 1`, `ANALYZE`} {
				require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
					_, err := tx.Exec(t.Context(), statement)
					return err
				}))
				requireWalks(t, planOfList(t, db, listMailbox(false), c), "messages_folder")
				requireWalks(t, planOfList(t, db, listMailbox(true), c), "messages_deleted")
			}
		})
	}
}

// requireWalks requires a plan that finds the first message of each folder, and each next one, by an index.
func requireWalks(t *testing.T, plan []string, index string) {
	t.Helper()
	walks := linesWith(plan, " messages x", "SEARCH x")
	require.Len(t, walks, 2, strings.Join(plan, "\n"))
	for _, line := range walks {
		assert.Contains(t, line, index)
		if strings.Contains(line, "SEARCH x") {
			assert.Contains(t, line, "(folder_id,id)<(?,?)", "from the message before, not from the newest")
		}
	}
	assert.Empty(t, linesWith(plan, "Incremental Sort", "Seq Scan on messages", "SCAN m", "SCAN x"), strings.Join(plan, "\n"))
}

func TestListOfAFolderFindsDeletedMessagesByTheirIndex(t *testing.T) {
	for _, backend := range []string{sqldb.SQLite, sqldb.Postgres} {
		t.Run(backend, func(t *testing.T) {
			db, c := largeMailbox(t, backend)
			plan := planOfList(t, db, listFolder(true), c)
			require.NotEmpty(t, linesWith(plan, "messages_deleted"), strings.Join(plan, "\n"))
		})
	}
}

// largeMailbox has 16,000 messages in each folder but the last, which is empty; four of each are deleted.
func largeMailbox(t *testing.T, backend string) (*sqldb.DB, Copy) {
	t.Helper()
	o, numbers := sqldb.Options{Backend: backend, MaxConnections: 1}, `generate_series(1, 16000) AS g (n)`
	if backend == sqldb.Postgres {
		o.URL = labtest.Postgres(t).URL()
	} else {
		o.Path = filepath.Join(t.TempDir(), "mairust.db")
		numbers = `(WITH RECURSIVE g (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM g WHERE n < 16000) SELECT n FROM g) AS g`
	}
	db, err := sqldb.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	c := fill(t, New(Options{DB: db}), "t", 1)
	const columns = `tenant_id, mailbox_id, object_key, size_bytes, digest, received_us, subject, from_name, from_address, preview, summary,
		has_attachments, envelope_from, envelope_rcpt, queue_id, queue_host, verdict, score_milli, tags`
	require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(t.Context(), `INSERT INTO messages (id, folder_id, uid, modseq, deleted_us, `+columns+`)
			SELECT CAST(100000 + g.n AS TEXT) || f.id, f.id, 100 + g.n, 1, CASE WHEN g.n % 4000 = 0 THEN 1 END, m.`+strings.ReplaceAll(strings.Join(strings.Fields(columns), " "), ", ", ", m.")+`
			FROM messages m JOIN folders f ON f.mailbox_id = m.mailbox_id AND f.name <> 'Trash' CROSS JOIN `+numbers)
		return err
	}))
	return db, c
}

// planOfList is the plan of a statement of Messages, on PostgreSQL one for whatever arguments.
func planOfList(t *testing.T, db *sqldb.DB, query string, c Copy) (lines []string) {
	t.Helper()
	take := func(scan sqldb.Scan) error {
		var line string
		var n int
		dest := []any{&n, &n, &n, &line}
		if db.Backend() == sqldb.Postgres {
			dest = dest[3:]
		}
		err := scan(dest...)
		lines = append(lines, line)
		return err
	}
	if db.Backend() == sqldb.SQLite {
		args := append(System.args(), string(c.Target.Mailbox), "~", 51)
		require.NoError(t, db.Each(t.Context(), `EXPLAIN QUERY PLAN `+query, args, take))
		return lines
	}
	require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
		tx.Queue(`SET LOCAL plan_cache_mode = force_generic_plan`)
		tx.Queue(`PREPARE list (INTEGER, TEXT, TEXT, TEXT, TEXT, INTEGER) AS ` + query)
		execute := fmt.Sprintf(`EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) EXECUTE list (1, '', '', '%s', '~', 51)`, c.Target.Mailbox)
		if err := tx.Each(t.Context(), execute, nil, take); err != nil {
			return err
		}
		tx.Queue(`DEALLOCATE list`)
		return nil
	}))
	return lines
}

// linesWith gives the lines that have one of some texts in them.
func linesWith(lines []string, texts ...string) []string {
	var found []string
	for _, line := range lines {
		for _, text := range texts {
			if strings.Contains(line, text) {
				found = append(found, line)
				break
			}
		}
	}
	return found
}

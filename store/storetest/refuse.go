package storetest

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/sqldb"
)

// RefuseRows has the database refuse the rows of messages for which an SQL condition holds.
func RefuseRows(t testing.TB, db *sqldb.DB, condition string) {
	t.Helper()
	statements := []string{`CREATE TRIGGER refuse BEFORE INSERT ON messages WHEN ` + condition + ` BEGIN SELECT RAISE(ABORT, 'refused'); END`}
	if db.Backend() == sqldb.Postgres {
		statements = []string{
			`CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = '23514'; END $$`,
			`CREATE TRIGGER refuse BEFORE INSERT ON messages FOR EACH ROW WHEN (` + condition + `) EXECUTE FUNCTION refuse()`,
		}
	}
	require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
		for _, s := range statements {
			if _, err := tx.Exec(t.Context(), s); err != nil {
				return err
			}
		}
		return nil
	}))
}

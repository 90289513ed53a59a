package store

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/sqldb"
)

// PostgreSQL keeps the plan that it makes when the tables are empty. It must not read tables from end to end, and it must
// meet the rows to be locked in the order in which they are given.
func TestDirectStatementFindsRowsByTheirKeys(t *testing.T) {
	db, err := sqldb.Open(t.Context(), sqldb.Options{Backend: sqldb.Postgres, URL: labtest.Postgres(t).URL()})
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	columns := [][]sqldb.Column{directTenants, directMailboxes, directFolders, directMessages}
	var types []string
	for _, list := range columns {
		for _, c := range list {
			types = append(types, c.Array())
		}
	}
	nulls := strings.TrimSuffix(strings.Repeat("NULL, ", len(types)), ", ")
	var plan []string
	undone := errors.New("not to be kept")
	err = db.Write(t.Context(), func(tx *sqldb.Tx) error {
		ctx := context.Background()
		tx.KeepPlans()
		if _, err := tx.Exec(ctx, `PREPARE direct (`+strings.Join(types, ", ")+`) AS `+insertDirectly); err != nil {
			return err
		}
		err := tx.Each(ctx, `EXPLAIN (COSTS OFF) EXECUTE direct (`+nulls+`)`, nil, func(scan sqldb.Scan) error {
			var line string
			err := scan(&line)
			plan = append(plan, line)
			return err
		})
		return errors.Join(err, undone)
	})
	require.ErrorIs(t, err, undone)
	text := strings.Join(plan, "\n")
	require.Contains(t, text, "Insert on messages")
	for _, bad := range []string{"Seq Scan", "Hash", "Merge", "Sort Key: x"} {
		assert.NotContains(t, text, bad, text)
	}
	for _, index := range []string{"tenants_pkey", "mailboxes_pkey", "messages_delivery"} {
		assert.Contains(t, text, index)
	}
	assert.Equal(t, 3, strings.Count(text, "Nested Loop"), text)
}

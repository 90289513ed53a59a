package store

import (
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/sqldb"
)

// With a reading of all messages for each mailbox, fsck of 10,000 mailboxes took hours.
func TestCountersAreCountedByIndexes(t *testing.T) {
	db, err := sqldb.Open(t.Context(), sqldb.Options{Path: filepath.Join(t.TempDir(), "mail.db")})
	require.NoError(t, err)
	defer db.Close()
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	for _, c := range counted {
		found := false
		require.NoError(t, db.Each(t.Context(), `EXPLAIN QUERY PLAN `+c.page, []any{"", 1}, func(scan sqldb.Scan) error {
			var id, parent, unused int64
			var step string
			err := scan(&id, &parent, &unused, &step)
			found = true
			assert.NotContains(t, step, "SCAN x", c.noun)
			return err
		}))
		assert.True(t, found, c.noun)
	}
}

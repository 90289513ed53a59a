package sqldb_test

import (
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/sqldb"
)

// People read all the time, each for a moment; the log must not wait for a moment without any of them.
func TestLogStaysShortWhileSomebodyAlwaysReads(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.db")
	db := open(t, sqldb.Options{Path: path})
	var readers sync.WaitGroup
	done := make(chan struct{})
	read := func() {
		_ = db.Each(t.Context(), `SELECT id FROM tenants LIMIT 1`, nil, func(sqldb.Scan) error {
			time.Sleep(20 * time.Millisecond)
			return nil
		})
	}
	for range 2 {
		readers.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					read()
				}
			}
		})
	}
	defer readers.Wait()
	defer close(done)
	longest := int64(0)
	for i := range 1000 {
		require.NoError(t, db.Write(t.Context(), func(tx *sqldb.Tx) error {
			for k := range 40 {
				n := i*40 + k
				if err := insertTenant(t.Context(), tx, fmt.Sprintf("%08x-%d", uint32(n)*2654435761, n)); err != nil { // #nosec G115 -- small
					return err
				}
			}
			return nil
		}))
		info, err := os.Stat(path + "-wal")
		require.NoError(t, err)
		longest = max(longest, info.Size()>>20)
	}
	t.Logf("the log had %d MiB at most", longest)
	require.Less(t, longest, int64(150), "MiB: some 10 KiB for each of 4,000 rows, and what comes while it is copied")
}

package sqldb_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/store/sqldb"
)

// cutLog knows what of one log would be left by a power cut: pages that were changed, or written again as they are, and then flushed.
type cutLog struct {
	t    *testing.T
	path string
	// disk is what would be left, seen what the file was at its last flush.
	disk, seen []byte
	// again are pages that were written without being changed.
	again   map[int64]bool
	failing bool
}

const filePage = 4096

func newCutLog(t *testing.T, path string) *cutLog {
	l := &cutLog{t: t, path: path, again: map[int64]bool{}}
	t.Cleanup(sqldb.ReplaceDataSync(l.flush))
	t.Cleanup(sqldb.ReplaceWriteAt(l.write))
	return l
}

func (l *cutLog) write(f *os.File, b []byte, at int64) (int, error) {
	for p := at / filePage; p*filePage < at+int64(len(b)); p++ {
		l.again[p] = f.Name() == l.path
	}
	return f.WriteAt(b, at)
}

// flush is told once, when it is failing, that nothing of what was written is on the disk. The kernel takes it for written from then on.
func (l *cutLog) flush(fd int) error {
	if name, _ := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", fd)); name != l.path {
		return unix.Fdatasync(fd)
	}
	is, err := os.ReadFile(l.path)
	require.NoError(l.t, err)
	for at := 0; at < len(is) && !l.failing; at += filePage {
		page := is[at:min(at+filePage, len(is))]
		if l.again[int64(at/filePage)] || !bytes.Equal(page, cut(l.seen, at, len(page))) {
			l.disk = append(l.disk, make([]byte, max(0, at+len(page)-len(l.disk)))...)
			copy(l.disk[at:], page)
		}
	}
	l.seen = is
	clear(l.again)
	if l.failing {
		return unix.EIO
	}
	return unix.Fdatasync(fd)
}

func cut(b []byte, at, n int) []byte { return b[min(at, len(b)):min(at+n, len(b))] }

// killed gives the database as a process has left it that was killed, in another directory, and the log is that one's from then on.
func (l *cutLog) killed(path string) string {
	to := filepath.Join(l.t.TempDir(), "mail.db")
	for _, suffix := range []string{"", "-wal"} {
		raw, err := os.ReadFile(path + suffix)
		require.NoError(l.t, err)
		require.NoError(l.t, os.WriteFile(to+suffix, raw, 0o600))
	}
	l.path = to + "-wal"
	return to
}

// powerCut gives the database as it is after one.
func (l *cutLog) powerCut(path string) string {
	to := filepath.Join(l.t.TempDir(), "mail.db")
	raw, err := os.ReadFile(path)
	require.NoError(l.t, err)
	require.NoError(l.t, os.WriteFile(to, raw, 0o600))
	require.NoError(l.t, os.WriteFile(to+"-wal", l.disk, 0o600))
	return to
}

func insertTenants(ctx context.Context, db *sqldb.DB, from, to int) error {
	return db.Write(ctx, func(tx *sqldb.Tx) error {
		for i := from; i < to; i++ {
			if err := insertTenant(ctx, tx, fmt.Sprintf("tenant-%06d", i)); err != nil {
				return err
			}
		}
		return nil
	})
}

// Who was told that the log could not be flushed was killed, and the next one reads it as if it were on the disk.
func TestALogThatAKilledProcessCouldNotFlushIsWrittenAgain(t *testing.T) {
	ctx, path := t.Context(), filepath.Join(t.TempDir(), "mail.db")
	log := newCutLog(t, path+"-wal")
	db := open(t, sqldb.Options{Path: path})
	require.NoError(t, insertTenants(ctx, db, 0, 50)) // SQLite's own flush, of the directory too
	require.NoError(t, insertTenants(ctx, db, 50, 100))
	log.failing = true
	require.ErrorIs(t, insertTenants(ctx, db, 100, 101), sqldb.ErrCommitUnknown)

	path = log.killed(path)
	_, err := sqldb.Open(ctx, sqldb.Options{Path: path})
	require.ErrorIs(t, err, sqldb.ErrUnavailable, "the disk is as it was")
	link := filepath.Join(t.TempDir(), "link.db")
	require.NoError(t, os.Symlink(path, link))
	_, err = sqldb.Open(ctx, sqldb.Options{Path: link})
	require.ErrorIs(t, err, sqldb.ErrUnavailable, "the log is beside the file that the link leads to")
	log.failing = false
	db = open(t, sqldb.Options{Path: path})
	require.Equal(t, 101, countTenants(t, db), "the log is whole, in memory")
	require.NoError(t, insertTenants(ctx, db, 101, 106))
	require.NoError(t, insertTenants(ctx, db, 106, 111))

	db = open(t, sqldb.Options{Path: log.powerCut(path)})
	require.Equal(t, 111, countTenants(t, db))
	var whole string
	require.NoError(t, db.Get(ctx, `SELECT integrity_check FROM pragma_integrity_check`, nil, &whole))
	require.Equal(t, "ok", whole)
}

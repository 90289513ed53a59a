package sqldb

import (
	"context"
	"os"
	"sync"

	"golang.org/x/sys/unix"
	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// doubtfulFiles are the database files of which a flush has failed. The kernel tells of pages that it could not write only once, and
// may have dropped them: a later flush that works says nothing of them. And SQLite notes how much of the log it has copied into the file before it
// flushes the file, when it has not copied all of it (walCheckpoint). So from then on each flush of the file fails, by which no checkpoint ends, and the log is
// neither begun again nor removed, until all of it is copied anew.
type doubtfulFiles struct {
	mu    sync.Mutex
	files map[fileID]bool
}

type fileID struct{ device, inode uint64 }

var doubtful = doubtfulFiles{files: map[fileID]bool{}}

func (d *doubtfulFiles) has(id fileID) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.files[id]
}

func (d *doubtfulFiles) set(id fileID, isDoubtful bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if isDoubtful {
		d.files[id] = true
	} else {
		delete(d.files, id)
	}
}

// fileIDAt is the zero one when there is no such file.
func fileIDAt(path string) fileID {
	var stat unix.Stat_t
	if unix.Stat(path, &stat) != nil {
		return fileID{}
	}
	return fileID{stat.Dev, stat.Ino}
}

// syncDatabase is xSync of a database file.
func syncDatabase(tls *libc.TLS, file uintptr, flags int32) int32 {
	var stat unix.Stat_t
	if unix.Fstat(int(at[sqlite3.TunixFile](file).Fh), &stat) != nil {
		return sqlite3.SQLITE_IOERR_FSTAT
	}
	id := fileID{stat.Dev, stat.Ino}
	if doubtful.has(id) {
		return sqlite3.SQLITE_IOERR_FSYNC
	}
	code := syncFile(tls, file, flags)
	if code != sqlite3.SQLITE_OK {
		doubtful.set(id, true)
	}
	return code
}

// copiedAt is where the log's index says how many frames were copied into the database (sqlite.org/walformat.html#the_wal_index_file_format,
// nBackfill).
const copiedAt = 96

// copyAnew has all of the log copied again by the next checkpoint when the database file is in doubt, and read by readers meanwhile. Readers only
// read that number; who else would change it is a writer, or a checkpoint.
func (w *sqliteWriter) copyAnew() error {
	if !doubtful.has(fileIDAt(w.path)) {
		return nil
	}
	return w.exclusive(context.Background(), func(*sqliteConn) error {
		f, err := os.OpenFile(w.path+"-shm", os.O_WRONLY, 0) // #nosec G304 -- beside the database
		if err != nil {
			return err
		}
		if _, err := f.WriteAt(make([]byte, 4), copiedAt); err != nil {
			_ = f.Close() // it is not what was to be written
			return err
		}
		doubtful.set(fileIDAt(w.path), false)
		return f.Close()
	})
}

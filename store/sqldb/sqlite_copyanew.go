package sqldb

import (
	"sync/atomic"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// syncDatabase is xSync of a database file, which a checkpoint calls when it has copied the last of the log. The kernel tells of pages that it
// could not write only once, and may have dropped them: a later flush that works says nothing of them. SQLite remembers what it had copied before, also by
// checkpoints that copied a part and flushed nothing, and would go on behind that. So all of the log is copied anew.
func syncDatabase(tls *libc.TLS, file uintptr, flags int32) int32 {
	code := syncFile(tls, file, flags)
	if code != sqlite3.SQLITE_OK {
		copyAnew(tls, file)
	}
	return code
}

// The first part of a log's index (-shm), and where in it the number of frames is that were copied into the database: nBackfill of
// sqlite.org/walformat.html#the_wal_index_file_format.
const (
	indexPart = 32 << 10
	copiedAt  = 96
)

// copyAnew sets that number to 0, in the memory that all connections share: readers then read the log, and not the file, and the next checkpoint begins with the
// first frame. The checkpoint that has failed still has the locks with which it may set it.
func copyAnew(tls *libc.TLS, file uintptr) {
	if at[sqlite3.TunixFile](file).FpShm == 0 {
		return // there is no log
	}
	size := int(unsafe.Sizeof(uintptr(0)))
	place := tls.Alloc(size)
	defer tls.Free(size)
	*at[uintptr](place) = 0
	mapped := function[func(*libc.TLS, uintptr, int32, int32, int32, uintptr) int32](&methods.original(file).FxShmMap)
	if mapped(tls, file, 0, indexPart, 0, place) == sqlite3.SQLITE_OK && *at[uintptr](place) != 0 {
		atomic.StoreUint32(at[uint32](*at[uintptr](place)+copiedAt), 0)
	}
}

package sqldb

import (
	"maps"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// maxGathered is how much of the log is written at once, in bytes: some 30 pages. SQLite's own xWrite takes no more.
const maxGathered = 1<<17 - 1

// gathered is what SQLite has written to a log (WAL) and is not in the file yet. SQLite writes each page by two calls of 24 bytes
// and 4 KiB, one behind the other; they go to the file in one when it flushes the log, which it does at each commit before it
// tells readers of the pages (synchronous=FULL), and before it reads, measures or cuts the file itself. Nothing
// gathered is ever part of a commit: what is left when the lock of writers is given back is of a transaction that was taken
// back, and goes.
type gathered struct {
	memory uintptr // of maxGathered bytes, once something was written
	begin  int64   // where in the file
	length int32
	// broken: some of it could not be written, and SQLite may count on it. The file is of no use any more.
	broken bool
}

// openLogs are the logs that are open, each used by the goroutine that uses its connection.
type openLogs struct {
	mu sync.Mutex
	// byFile are those of logs, ofDatabase the logs' files by the database's.
	byFile     map[uintptr]*gathered
	ofDatabase map[uintptr]uintptr
}

var logs = openLogs{byFile: map[uintptr]*gathered{}, ofDatabase: map[uintptr]uintptr{}}

func (l *openLogs) open(file, database uintptr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.byFile[file], l.ofDatabase[database] = &gathered{}, file
}

func (l *openLogs) of(file uintptr) *gathered {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byFile[file]
}

// ofDB is nil for a database without an open log.
func (l *openLogs) ofDB(database uintptr) *gathered {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.byFile[l.ofDatabase[database]]
}

func (l *openLogs) close(tls *libc.TLS, file uintptr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	libc.Xfree(tls, l.byFile[file].memory)
	delete(l.byFile, file)
	maps.DeleteFunc(l.ofDatabase, func(_, log uintptr) bool { return log == file })
}

// gather puts the methods of a log into a table.
func gather(table *sqlite3.Tsqlite3_io_methods) {
	table.FxClose = pointerTo(closeLog)
	table.FxRead = pointerTo(readLog)
	table.FxWrite = pointerTo(writeLog)
	table.FxTruncate = pointerTo(truncateLog)
	table.FxSync = pointerTo(syncLog)
	table.FxFileSize = pointerTo(sizeOfLog)
}

type transfer = func(tls *libc.TLS, file, memory uintptr, length int32, offset int64) int32

// writeLog is xWrite.
func writeLog(tls *libc.TLS, file, from uintptr, length int32, offset int64) int32 {
	g := logs.of(file)
	if g.broken || g.length > 0 && (offset != g.begin+int64(g.length) || g.length+length > maxGathered) {
		if code := g.write(tls, file); code != sqlite3.SQLITE_OK {
			return code
		}
	}
	if g.memory == 0 {
		g.memory = libc.Xmalloc(tls, maxGathered)
	}
	if g.memory == 0 || length > maxGathered {
		return function[transfer](&methods.original(file).FxWrite)(tls, file, from, length, offset)
	}
	if g.length == 0 {
		g.begin = offset
	}
	copy(bytesAt(g.memory+uintptr(g.length), length), bytesAt(from, length))
	g.length += length
	return sqlite3.SQLITE_OK
}

func bytesAt(address uintptr, n int32) []byte {
	return unsafe.Slice(at[byte](address), n) // #nosec G103 -- C memory has no other name in Go
}

// write puts what is gathered into the file. After an error the file is broken until it is closed: SQLite takes a transaction
// back whose commit fails, but may go on with one in which only a read has failed.
func (g *gathered) write(tls *libc.TLS, file uintptr) int32 {
	switch {
	case g.broken:
		return sqlite3.SQLITE_IOERR_WRITE
	case g.length == 0:
		return sqlite3.SQLITE_OK
	}
	length := g.length
	g.length = 0
	code := function[transfer](&methods.original(file).FxWrite)(tls, file, g.memory, length, g.begin)
	g.broken = code != sqlite3.SQLITE_OK
	return code
}

// readLog is xRead.
func readLog(tls *libc.TLS, file, to uintptr, length int32, offset int64) int32 {
	if code := logs.of(file).write(tls, file); code != sqlite3.SQLITE_OK {
		return code
	}
	return function[transfer](&methods.original(file).FxRead)(tls, file, to, length, offset)
}

// truncateLog is xTruncate.
func truncateLog(tls *libc.TLS, file uintptr, size int64) int32 {
	if code := logs.of(file).write(tls, file); code != sqlite3.SQLITE_OK {
		return code
	}
	return function[func(*libc.TLS, uintptr, int64) int32](&methods.original(file).FxTruncate)(tls, file, size)
}

// sizeOfLog is xFileSize.
func sizeOfLog(tls *libc.TLS, file, size uintptr) int32 {
	if code := logs.of(file).write(tls, file); code != sqlite3.SQLITE_OK {
		return code
	}
	return function[func(*libc.TLS, uintptr, uintptr) int32](&methods.original(file).FxFileSize)(tls, file, size)
}

// syncLog is xSync.
func syncLog(tls *libc.TLS, file uintptr, flags int32) int32 {
	if code := logs.of(file).write(tls, file); code != sqlite3.SQLITE_OK {
		return code
	}
	return syncFile(tls, file, flags)
}

// closeLog is xClose.
func closeLog(tls *libc.TLS, file uintptr) int32 {
	original := methods.original(file)
	logs.close(tls, file)
	return function[func(*libc.TLS, uintptr) int32](&original.FxClose)(tls, file)
}

// writersLock is the place of the lock that a writer holds (sqlite.org/walformat.html#wal_locks).
const writersLock = 0

// lockShared is xShmLock, of the database.
func lockShared(tls *libc.TLS, database uintptr, place, n, flags int32) int32 {
	if place == writersLock && flags&sqlite3.SQLITE_SHM_UNLOCK != 0 {
		if g := logs.ofDB(database); g != nil {
			g.length = 0
		}
	}
	return function[func(*libc.TLS, uintptr, int32, int32, int32) int32](&methods.original(database).FxShmLock)(tls, database, place, n, flags)
}

package sqldb

import (
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
// gathered is ever part of a commit, so that losing it loses nothing.
type gathered struct {
	memory uintptr // of maxGathered bytes
	begin  int64   // where in the file
	length int32
}

// logs are the gathered of files that were written to. Each belongs to the goroutine that uses its connection.
var logs = struct {
	sync.Mutex
	byFile map[uintptr]*gathered
}{byFile: map[uintptr]*gathered{}}

// logOf is nil for a file that was not written to.
func logOf(file uintptr) *gathered {
	logs.Lock()
	defer logs.Unlock()
	return logs.byFile[file]
}

// logFor is nil when there is no memory.
func logFor(tls *libc.TLS, file uintptr) *gathered {
	if g := logOf(file); g != nil {
		return g
	}
	memory := libc.Xmalloc(tls, maxGathered)
	if memory == 0 {
		return nil
	}
	g := &gathered{memory: memory}
	logs.Lock()
	defer logs.Unlock()
	logs.byFile[file] = g
	return g
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
	g := logFor(tls, file)
	if g != nil && g.length > 0 && (offset != g.begin+int64(g.length) || g.length+length > maxGathered) {
		if code := g.write(tls, file); code != sqlite3.SQLITE_OK {
			return code
		}
	}
	if g == nil || length > maxGathered {
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

// write puts what is gathered into the file. After an error it is gone: SQLite takes the transaction back.
func (g *gathered) write(tls *libc.TLS, file uintptr) int32 {
	if g == nil || g.length == 0 {
		return sqlite3.SQLITE_OK
	}
	length := g.length
	g.length = 0
	return function[transfer](&methods.original(file).FxWrite)(tls, file, g.memory, length, g.begin)
}

// readLog is xRead.
func readLog(tls *libc.TLS, file, to uintptr, length int32, offset int64) int32 {
	if code := logOf(file).write(tls, file); code != sqlite3.SQLITE_OK {
		return code
	}
	return function[transfer](&methods.original(file).FxRead)(tls, file, to, length, offset)
}

// truncateLog is xTruncate.
func truncateLog(tls *libc.TLS, file uintptr, size int64) int32 {
	if code := logOf(file).write(tls, file); code != sqlite3.SQLITE_OK {
		return code
	}
	return function[func(*libc.TLS, uintptr, int64) int32](&methods.original(file).FxTruncate)(tls, file, size)
}

// sizeOfLog is xFileSize.
func sizeOfLog(tls *libc.TLS, file, size uintptr) int32 {
	if code := logOf(file).write(tls, file); code != sqlite3.SQLITE_OK {
		return code
	}
	return function[func(*libc.TLS, uintptr, uintptr) int32](&methods.original(file).FxFileSize)(tls, file, size)
}

// syncLog is xSync.
func syncLog(tls *libc.TLS, file uintptr, flags int32) int32 {
	if code := logOf(file).write(tls, file); code != sqlite3.SQLITE_OK {
		return code
	}
	return syncFile(tls, file, flags)
}

// closeLog is xClose. What is still gathered is of a transaction that was taken back.
func closeLog(tls *libc.TLS, file uintptr) int32 {
	original := methods.original(file)
	if g := logOf(file); g != nil {
		logs.Lock()
		delete(logs.byFile, file)
		logs.Unlock()
		libc.Xfree(tls, g.memory)
	}
	return function[func(*libc.TLS, uintptr) int32](&original.FxClose)(tls, file)
}

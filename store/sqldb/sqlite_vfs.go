package sqldb

import (
	"errors"
	"fmt"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// dataSyncVFS is SQLite's own layer to the operating system (sqlite.org/vfs.html) with one call replaced: files are flushed
// by fdatasync(2), as SQLite does wherever it is built with HAVE_FDATASYNC, and not by fsync(2), as the driver's build does.
// Both put the bytes and the length of the file on the disk. But fsync also wants the time of its last change there,
// so that each commit waits until the file system has written its own journal, with all that others have put into it.
const dataSyncVFS = "unix-fdatasync"

// registerVFS makes dataSyncVFS known to SQLite, once for the process.
var registerVFS = sync.OnceValue(func() error {
	tls := libc.NewTLS() // kept, as what is registered is
	original := sqlite3.Xsqlite3_vfs_find(tls, 0)
	name, err := libc.CString(dataSyncVFS)
	if original == 0 || err != nil {
		return errors.Join(errors.New("SQLite has no layer to the operating system"), err)
	}
	made := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
	if made == 0 {
		return errors.New("no memory for SQLite's layer to the operating system")
	}
	vfs := at[sqlite3.Tsqlite3_vfs](made)
	*vfs = *at[sqlite3.Tsqlite3_vfs](original)
	vfsOpen = vfs.FxOpen
	vfs.FpNext, vfs.FzName, vfs.FxOpen = 0, name, pointerTo(openFile)
	if code := sqlite3.Xsqlite3_vfs_register(tls, made, 0); code != sqlite3.SQLITE_OK {
		return fmt.Errorf("register SQLite's layer to the operating system: code %d", code)
	}
	return nil
})

// dataSync is another function in a test only.
var dataSync = unix.Fdatasync

// vfsOpen is the original's xOpen. It is set before the first file is opened.
var vfsOpen uintptr

// openFile is xOpen: the original's file, with methods of ours.
func openFile(tls *libc.TLS, vfs, path, file uintptr, flags int32, outFlags uintptr) int32 {
	open := function[func(*libc.TLS, uintptr, uintptr, uintptr, int32, uintptr) int32](&vfsOpen)
	code := open(tls, vfs, path, file, flags, outFlags)
	f := at[sqlite3.TunixFile](file)
	if code != sqlite3.SQLITE_OK || f.FpMethod == 0 {
		return code
	}
	kind := anyFile
	switch {
	case !logIsGathered:
	case flags&sqlite3.SQLITE_OPEN_MAIN_DB != 0:
		kind = databaseFile
	case flags&sqlite3.SQLITE_OPEN_WAL != 0:
		kind = logFile
		logs.open(file, sqlite3.Xsqlite3_database_file_object(tls, path))
	}
	f.FpMethod = methods.replaced(tls, f.FpMethod, kind)
	return code
}

// fileKind says which methods of a file are ours.
type fileKind int

const (
	anyFile fileKind = iota
	databaseFile
	logFile
	fileKinds
)

// fileMethods are the tables of methods that files have: the original's, which are few and never go away, and ours.
type fileMethods struct {
	mu sync.Mutex
	// ours are by kind and the original's, originals by ours.
	ours      [fileKinds]map[uintptr]uintptr
	originals map[uintptr]*sqlite3.Tsqlite3_io_methods
}

var methods = fileMethods{
	ours:      [fileKinds]map[uintptr]uintptr{{}, {}, {}},
	originals: map[uintptr]*sqlite3.Tsqlite3_io_methods{},
}

// replaced is the table original but for methods of ours; original itself when there is no memory.
func (m *fileMethods) replaced(tls *libc.TLS, original uintptr, kind fileKind) uintptr {
	m.mu.Lock()
	defer m.mu.Unlock()
	if made, ok := m.ours[kind][original]; ok {
		return made
	}
	made := libc.Xmalloc(tls, libc.Tsize_t(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))
	if made == 0 {
		return original
	}
	table := at[sqlite3.Tsqlite3_io_methods](made)
	*table = *at[sqlite3.Tsqlite3_io_methods](original)
	table.FxSync = pointerTo(syncFile)
	switch kind {
	case databaseFile:
		table.FxSync = pointerTo(syncDatabase)
		table.FxShmLock = pointerTo(lockShared)
	case logFile:
		gather(table)
	}
	m.ours[kind][original], m.originals[made] = made, at[sqlite3.Tsqlite3_io_methods](original)
	return made
}

// original is the table that the methods of an open file were made from.
func (m *fileMethods) original(file uintptr) *sqlite3.Tsqlite3_io_methods {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.originals[at[sqlite3.TunixFile](file).FpMethod]
}

// syncFile is xSync. The first flush of a new file is the original's, which flushes the directory too.
func syncFile(tls *libc.TLS, file uintptr, flags int32) int32 {
	f := at[sqlite3.TunixFile](file)
	if f.FctrlFlags&sqlite3.UNIXFILE_DIRSYNC != 0 {
		return function[func(*libc.TLS, uintptr, int32) int32](&methods.original(file).FxSync)(tls, file, flags)
	}
	err := dataSync(int(f.Fh))
	var errno unix.Errno
	if errors.As(err, &errno) {
		f.FlastErrno = int32(errno)
	}
	if err != nil {
		return sqlite3.SQLITE_IOERR_FSYNC
	}
	return sqlite3.SQLITE_OK
}

// at is the T that SQLite has at an address, in memory that Go's collector does not know.
func at[T any](address uintptr) *T {
	return *(**T)(unsafe.Pointer(&address)) // #nosec G103 -- C memory has no other name in Go
}

// function is the Go function behind a function pointer of the translated C.
func function[F any](pointer *uintptr) F {
	return *(*F)(unsafe.Pointer(pointer)) // #nosec G103 -- the form that the translated code itself uses
}

// pointerTo is a Go function as a function pointer of the translated C: the address of its value.
func pointerTo(f any) uintptr {
	return (*[2]uintptr)(unsafe.Pointer(&f))[1] // #nosec G103 -- the same
}

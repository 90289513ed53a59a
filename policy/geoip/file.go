package geoip

import (
	"errors"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
)

// File is the database of a path, read again when another file is there. Its methods may be called by many at once.
type File struct {
	path string
	now  atomic.Pointer[Database] // nil while none could be read

	mu    sync.Mutex
	tried os.FileInfo // the file as it was when it was read, or found damaged; nil when it must be tried again
	err   error
}

// Follow reads the database of a path. Err tells when that did not work: no country is then known until it does.
func Follow(path string) *File {
	f := &File{path: path}
	f.Refresh()
	return f
}

// Path is where the file is.
func (f *File) Path() string { return f.path }

// Database is the one in use; nil when none could be read yet.
func (f *File) Database() *Database { return f.now.Load() }

// Err is why the file that is there now is not the one in use; nil when it is.
func (f *File) Err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// Country is that of the database in use.
func (f *File) Country(a netip.Addr) (string, error) {
	if d := f.now.Load(); d != nil {
		return d.Country(a)
	}
	return "", nil
}

// Refresh looks whether another file is there, and reads it. One that can't be used leaves the database in use as it is. It tells
// whether there is news: another database in use, or another Err.
func (f *File) Refresh() (news bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if info, err := os.Stat(f.path); err == nil && same(info, f.tried) {
		return false
	}
	d, tried, err := read(f.path)
	switch {
	case err == nil:
		f.now.Store(d)
		f.tried, f.err = tried, nil
		return true
	case errors.Is(err, errChanging) && f.now.Load() != nil:
		return false // whoever writes it will come to an end
	}
	f.tried = nil
	if errors.Is(err, errDamaged) {
		f.tried = tried
	}
	news = f.err == nil || f.err.Error() != err.Error()
	f.err = err
	return news
}

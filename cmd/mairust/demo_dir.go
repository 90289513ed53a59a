package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/mairust/mairust/internal/auth"
)

// demoMarker is a file that says that a directory is a demo's and may be removed. While a demo runs, it holds
// a lock on it.
const demoMarker = ".mairust-demo"

// The files of a demo that are named in more than one place.
const (
	demoConfig = "config.yaml"
	demoLog    = "mairust.log"
)

// demoDir is the directory of a demo, locked. It is the asker's own, and nobody else can put anything into it; what
// is written goes through root, so that not even a link in it leads elsewhere.
type demoDir struct {
	path   string
	root   *os.Root
	marker *os.File
}

// openDemoDir makes the directory or takes that of an earlier demo; it never takes anything else.
func openDemoDir(path string) (*demoDir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("demo directory: %w", err)
	}
	if err := os.MkdirAll(path, 0o755); err != nil { // #nosec G301 -- what is secret in it has modes of its own
		return nil, fmt.Errorf("demo directory: %w", err)
	}
	d, err := enterDemoDir(path)
	if err != nil {
		return nil, err
	}
	entries, err := os.ReadDir(path)
	if err == nil && len(entries) > 0 && !d.marked() {
		err = fmt.Errorf("%s is not empty and not of a demo: choose another --dir", path)
	}
	if err == nil {
		err = d.lock(os.O_CREATE)
	}
	if err != nil {
		return nil, errors.Join(err, d.root.Close())
	}
	return d, nil
}

// enterDemoDir opens a directory that is there, if it is safe to.
func enterDemoDir(path string) (*demoDir, error) {
	info, err := os.Lstat(path)
	if err == nil {
		err = ownOnly(path, info, fs.ModeDir)
	}
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, fmt.Errorf("demo directory: %w", err)
	}
	opened, err := root.Stat(".")
	if err == nil && !os.SameFile(info, opened) {
		err = fmt.Errorf("%s was exchanged while it was opened", path)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return &demoDir{path: path, root: root}, nil
}

// ownOnly refuses what others have prepared or could change: run by root, the demo would write where they point.
func ownOnly(path string, info fs.FileInfo, kind fs.FileMode) error {
	why := ""
	st, ok := info.Sys().(*syscall.Stat_t)
	switch {
	case info.Mode().Type() != kind:
		why = "is a link or of the wrong kind"
	case !ok || int64(st.Uid) != int64(os.Geteuid()):
		why = "belongs to another user"
	case info.Mode().Perm()&0o022 != 0:
		why = "can be written by others (chmod go-w)"
	default:
		return nil
	}
	return fmt.Errorf("%s %s: choose another --dir", path, why)
}

// marked says whether there is a marker of any kind.
func (d *demoDir) marked() bool {
	_, err := d.root.Lstat(demoMarker)
	return !errors.Is(err, fs.ErrNotExist)
}

// lock takes the marker, made when flag is os.O_CREATE.
func (d *demoDir) lock(flag int) error {
	if info, err := d.root.Lstat(demoMarker); err == nil {
		if err := ownOnly(d.join(demoMarker), info, 0); err != nil {
			return err
		}
	}
	f, err := d.root.OpenFile(demoMarker, os.O_RDWR|flag, 0o600)
	if err != nil {
		return err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("a demo runs in %s: stop it first, with Ctrl-C where it runs", d.path)
		}
		return errors.Join(err, f.Close())
	}
	d.marker = f
	return nil
}

// Close lets others have the directory.
func (d *demoDir) Close() error { return errors.Join(d.marker.Close(), d.root.Close()) }

// write puts a file into the directory under a name of at most one folder, which is made. It replaces what had the
// name, be it a link, and never writes through it.
func (d *demoDir) write(name string, content []byte) error {
	if folder := filepath.Dir(name); folder != "." {
		if err := d.root.MkdirAll(folder, 0o700); err != nil {
			return err
		}
	}
	temporary := name + ".new"
	if err := d.root.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f, err := d.root.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return d.root.Rename(temporary, name)
}

func (d *demoDir) join(names ...string) string {
	return filepath.Join(append([]string{d.path}, names...)...)
}

func (d *demoDir) configFile() string { return d.join(demoConfig) }
func (d *demoDir) logFile() string    { return d.join(demoLog) }

// logTail is the end of the daemon's log.
func (d *demoDir) logTail() string { return fileTail(d.logFile(), 2<<10) }

// fileTail is the end of a file, whole lines only; what cannot be read is empty.
func fileTail(path string, sizeBytes int64) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close() //nolint:errcheck // only read
	st, err := f.Stat()
	if err != nil {
		return ""
	}
	start := max(st.Size()-sizeBytes, 0)
	raw, err := io.ReadAll(io.NewSectionReader(f, start, sizeBytes))
	if err != nil {
		return ""
	}
	text := string(raw)
	if start > 0 {
		_, text, _ = strings.Cut(text, "\n")
	}
	return text
}

// password gives the content of a file below secrets, which is made with a random one the first time.
func (d *demoDir) password(name string) (string, error) {
	return d.secret(name, func() (string, error) { return auth.RandomPassword(), nil })
}

// secret gives the content of a file below secrets, which is made when it is missing.
func (d *demoDir) secret(name string, create func() (string, error)) (string, error) {
	name = filepath.Join("secrets", name)
	raw, err := d.root.ReadFile(name)
	if text := strings.TrimSpace(string(raw)); err == nil && text != "" {
		return text, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read secret: %w", err)
	}
	text, err := create()
	if err != nil {
		return "", err
	}
	if err := d.write(name, []byte(text+"\n")); err != nil {
		return "", fmt.Errorf("write secret: %w", err)
	}
	return text, nil
}

func (d *demoDir) secretFile(name string) string { return d.join("secrets", name) }

// resetDemo removes the directory of a demo that does not run.
func resetDemo(path string, w io.Writer) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("demo directory: %w", err)
	}
	out := demoPrinter{w}
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		out.text("Nothing to remove: %s does not exist.", path)
		return nil
	}
	d, err := markedDemoDir(path)
	if err != nil {
		return fmt.Errorf("%w: nothing was removed", err)
	}
	if err := d.lock(0); err != nil {
		return errors.Join(err, d.root.Close())
	}
	if err := removeDemo(d); err != nil {
		return errors.Join(err, d.Close())
	}
	out.text("Removed %s, with all mail, accounts and logs of the demo.", path)
	return d.Close()
}

// markedDemoDir opens a directory that has the marker of a demo.
func markedDemoDir(path string) (*demoDir, error) {
	d, err := enterDemoDir(path)
	if err != nil {
		return nil, err
	}
	if !d.marked() {
		return nil, errors.Join(fmt.Errorf("%s is not of a demo (it has no file %s)", path, demoMarker), d.root.Close())
	}
	return d, nil
}

// removeDemo removes the marker last, so that a removal that was cut short can be repeated.
func removeDemo(d *demoDir) error {
	entries, err := os.ReadDir(d.path)
	if err != nil {
		return fmt.Errorf("remove demo: %w", err)
	}
	for _, e := range entries {
		if e.Name() == demoMarker {
			continue
		}
		if err := d.root.RemoveAll(e.Name()); err != nil {
			return fmt.Errorf("remove demo: %w", err)
		}
	}
	if err := os.RemoveAll(d.path); err != nil {
		return fmt.Errorf("remove demo: %w", err)
	}
	return nil
}

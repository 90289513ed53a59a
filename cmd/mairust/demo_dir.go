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

// demoDir is the directory of a demo, locked.
type demoDir struct {
	path   string
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
	entries, err := os.ReadDir(path)
	if err != nil {
		return nil, fmt.Errorf("demo directory: %w", err)
	}
	d := &demoDir{path: path}
	if _, err := os.Lstat(d.join(demoMarker)); errors.Is(err, fs.ErrNotExist) && len(entries) > 0 {
		return nil, fmt.Errorf("%s is not empty and not of a demo: choose another --dir", path)
	}
	return d, d.lock(os.O_CREATE)
}

// lock takes the marker, made when flag is os.O_CREATE.
func (d *demoDir) lock(flag int) error {
	f, err := os.OpenFile(d.join(demoMarker), os.O_RDWR|flag, 0o600)
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
func (d *demoDir) Close() error { return d.marker.Close() }

func (d *demoDir) join(names ...string) string {
	return filepath.Join(append([]string{d.path}, names...)...)
}

func (d *demoDir) configFile() string { return d.join("config.yaml") }
func (d *demoDir) logFile() string    { return d.join("mairust.log") }

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
	raw, err := os.ReadFile(d.secretFile(name))
	if text := strings.TrimSpace(string(raw)); err == nil && text != "" {
		return text, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read secret: %w", err)
	}
	if err := os.MkdirAll(d.join("secrets"), 0o700); err != nil {
		return "", fmt.Errorf("write secret: %w", err)
	}
	text, err := create()
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(d.secretFile(name), []byte(text+"\n"), 0o600); err != nil {
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
	d := &demoDir{path: path}
	err = d.lock(0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%s is not of a demo (it has no file %s): nothing was removed", path, demoMarker)
	}
	if err != nil {
		return err
	}
	if err := removeDemo(d); err != nil {
		return errors.Join(err, d.Close())
	}
	out.text("Removed %s, with all mail, accounts and logs of the demo.", path)
	return d.Close()
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
		if err := os.RemoveAll(d.join(e.Name())); err != nil {
			return fmt.Errorf("remove demo: %w", err)
		}
	}
	if err := os.RemoveAll(d.path); err != nil {
		return fmt.Errorf("remove demo: %w", err)
	}
	return nil
}

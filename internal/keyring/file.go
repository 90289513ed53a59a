package keyring

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Create makes a new keyring with one key at path, mode 0600, and a missing parent with mode 0700. The file
// appears whole and durably or not at all. The error wraps fs.ErrExist when there is one already.
func Create(path string) (*Ring, error) {
	k, err := newKey(time.Now())
	if err != nil {
		return nil, fmt.Errorf("create keyring %s: %w", path, err)
	}
	keys := []key{k}
	if err := makeParent(path); err != nil {
		return nil, fmt.Errorf("create keyring %s: %w", path, err)
	}
	temp, err := writeTemp(path, format(keys))
	if err != nil {
		return nil, fmt.Errorf("create keyring %s: %w", path, err)
	}
	err = os.Link(temp, path) // unlike a rename it never replaces a ring
	err = errors.Join(err, os.Remove(temp))
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, fmt.Errorf("create keyring %s: %w", path, err)
	}
	return newRing(keys), nil
}

func openFile(path string) (*Ring, error) {
	keys, err := readFile(path)
	if err != nil {
		return nil, fmt.Errorf("open keyring %s: %w", path, err)
	}
	return newRing(keys), nil
}

func openEnv(name string) (*Ring, error) {
	text, ok := os.LookupEnv(name)
	if !ok {
		return nil, fmt.Errorf("open keyring: variable %s: %w", name, fs.ErrNotExist)
	}
	if !strings.Contains(text, "\n") {
		text = strings.ReplaceAll(text, ";", "\n")
	}
	keys, err := parse([]byte(text))
	if err != nil {
		return nil, fmt.Errorf("open keyring: variable %s: %w", name, err)
	}
	return newRing(keys), nil
}

func readFile(path string) ([]key, error) {
	f, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0) // a FIFO must not hang the start
	if err != nil {
		return nil, errors.Unwrap(err) // the caller names the path
	}
	defer func() { _ = f.Close() }() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if err := checkMode(path, info); err != nil {
		return nil, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxBytes+1))
	if err != nil {
		return nil, err
	}
	return parse(text)
}

// checkMode refuses a file of ours that others may touch. Somebody else's (a secret mounted by an
// orchestrator) has the mode that its owner chose.
func checkMode(path string, info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("not a regular file")
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || int(st.Uid) != os.Geteuid() || info.Mode().Perm()&0o077 == 0 {
		return nil
	}
	return fmt.Errorf("mode %04o lets other users at the keys; run: chmod 600 %s", info.Mode().Perm(), path)
}

func newKey(created time.Time) (key, error) {
	var b [secretBytes + 4]byte
	if _, err := rand.Read(b[:]); err != nil {
		return key{}, err
	}
	return key{
		id:      hex.EncodeToString(b[secretBytes:]),
		secret:  b[:secretBytes],
		created: created.UTC().Truncate(time.Second),
	}, nil
}

// makeParent makes the directory of path and what is missing above it, all durable.
func makeParent(path string) error {
	dir := filepath.Dir(path)
	_, err := os.Stat(dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeParent(dir); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// writeTemp writes text durably to a new file of mode 0600 beside path.
func writeTemp(path string, text []byte) (temp string, err error) {
	f, err := os.CreateTemp(filepath.Dir(path), ".keyring-*") // 0600, O_EXCL
	if err != nil {
		return "", err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Remove(f.Name()))
		}
	}()
	if _, err := f.Write(text); err != nil {
		return "", err
	}
	return f.Name(), f.Sync()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

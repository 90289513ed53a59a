package lab

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// cacheDir is where compiled patterns wait for the next start.
func cacheDir(name string) string {
	base, err := os.UserCacheDir()
	if err != nil {
		base = filepath.Join(os.TempDir(), fmt.Sprintf("lab-cache-%d", os.Getuid()))
	}
	return filepath.Join(base, "mairust-lab", name)
}

// isPattern says whether a file of rspamd's DBDIR is a compiled pattern (hyperscan); all else is state.
func isPattern(name string) bool {
	return strings.HasSuffix(name, ".hs") || strings.HasSuffix(name, ".hsmp") || strings.HasSuffix(name, ".hsmc") ||
		strings.HasSuffix(name, ".unser")
}

// loadCache copies the entry into dir. An entry that is not there is no error.
func loadCache(name, dir string) error {
	err := copyPatterns(cacheDir(name), dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// saveCache makes an entry from dir, unless there is one. A cache that can't be written is no error either:
// the next start is slower, that is all.
func saveCache(name, dir string) error {
	to := cacheDir(name)
	if _, err := os.Stat(to); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return nil
	}
	tmp, err := os.MkdirTemp(filepath.Dir(to), "new-")
	if err != nil {
		return nil
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // gone after the rename
	if err := copyPatterns(dir, tmp); err != nil {
		return err
	}
	_ = os.Rename(tmp, to) // another process was first, with the same content
	return nil
}

// copyPatterns copies the compiled patterns of one directory into another.
func copyPatterns(from, to string) error {
	entries, err := os.ReadDir(from)
	if err != nil {
		return fmt.Errorf("copy patterns: %w", err)
	}
	for _, e := range entries {
		if !isPattern(e.Name()) || !e.Type().IsRegular() {
			continue
		}
		if err := copyFile(filepath.Join(from, e.Name()), filepath.Join(to, e.Name())); err != nil {
			return fmt.Errorf("copy patterns: %w", err)
		}
	}
	return nil
}

// copyFile copies one file.
func copyFile(from, to string) error {
	in, err := os.Open(from) // #nosec G304 -- our own file
	if err != nil {
		return err
	}
	defer in.Close()          //nolint:errcheck // only read
	out, err := os.Create(to) // #nosec G304 -- our own file
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

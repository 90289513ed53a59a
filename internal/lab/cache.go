package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// patternCache is the directory where the compiled patterns of one build of rspamd wait for the next start.
// A cache that can't be written is no error: each start is slower, that is all.
type patternCache string

// cacheNamed is a cache in the user's cache directory.
func cacheNamed(name string) patternCache {
	base, err := os.UserCacheDir()
	if err != nil {
		base = filepath.Join(os.TempDir(), fmt.Sprintf("lab-cache-%d", os.Getuid()))
	}
	return patternCache(filepath.Join(base, "mairust-lab", name))
}

// there says whether the cache is filled.
func (c patternCache) there() bool {
	_, err := os.Stat(string(c))
	return err == nil
}

// lockUntilThere lets one process of the machine fill an empty cache, because compiling at the same time takes
// all of them longer: it waits until the cache is filled or is ours to fill. The result gives it free.
func (c patternCache) lockUntilThere(ctx context.Context) (unlock func()) {
	nothing := func() {}
	if c.there() || os.MkdirAll(filepath.Dir(string(c)), 0o700) != nil {
		return nothing
	}
	f, err := os.OpenFile(string(c)+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nothing
	}
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	// When it takes too long we go on without; two that compile are slow, not wrong.
	_ = Eventually(ctx, func(context.Context) error {
		if c.there() {
			return nil
		}
		return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	})
	return func() { _ = f.Close() } // the lock goes with the descriptor
}

// load copies the cache into dir, when it is there.
func (c patternCache) load(dir string) error {
	if !c.there() {
		return nil
	}
	return copyPatterns(string(c), dir)
}

// save fills the cache from dir, unless it is filled.
func (c patternCache) save(dir string) error {
	if c.there() {
		return nil
	}
	tmp, err := os.MkdirTemp(filepath.Dir(string(c)), "new-")
	if err != nil {
		return nil
	}
	defer os.RemoveAll(tmp) //nolint:errcheck // gone after the rename
	if err := copyPatterns(dir, tmp); err != nil {
		return err
	}
	_ = os.Rename(tmp, string(c)) // an error means that another process was first, with the same content
	return nil
}

// isPattern says whether a file of rspamd's DBDIR is a compiled pattern (hyperscan); all else is state.
func isPattern(name string) bool {
	return strings.HasSuffix(name, ".hs") || strings.HasSuffix(name, ".hsmp") || strings.HasSuffix(name, ".hsmc") ||
		strings.HasSuffix(name, ".unser")
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

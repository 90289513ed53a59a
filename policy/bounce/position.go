package bounce

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// position is up to where a log has been dealt with. It is kept in a small file, so that a restart neither loses nor
// repeats lines.
type position struct {
	// Path, Inode, Offset and the digest of the first HeadBytes bytes name a place in a file: inodes are used again.
	Path      string `json:"path,omitempty"`
	Inode     uint64 `json:"inode,omitempty"`
	Offset    int64  `json:"offset,omitempty"`
	Head      string `json:"head,omitempty"`
	HeadBytes int64  `json:"head_bytes,omitempty"`
	// Skipping says that the offset lies within a line that is left out.
	Skipping bool `json:"skipping,omitempty"`
	// Cursor is that of the journal.
	Cursor string `json:"cursor,omitempty"`
	// At is when the position was reached.
	At time.Time `json:"at"`
}

// loadPosition gives the zero position when there is no file yet.
func loadPosition(path string) (p position, err error) {
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return p, nil
	}
	if err == nil {
		err = json.Unmarshal(raw, &p)
	}
	if err != nil {
		return position{}, fmt.Errorf("position in the log, %s (remove it to begin at the end of the log): %w", path, err)
	}
	return p, nil
}

// save replaces the file as a whole, and survives the loss of power.
func (p position) save(path string) error {
	raw, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("position in the log: %w", err)
	}
	if err := writeWhole(path, append(raw, '\n')); err != nil {
		return fmt.Errorf("position in the log: %w", err)
	}
	return nil
}

func writeWhole(path string, raw []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	_, err = f.Write(raw)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return err
	}
	return errors.Join(dir.Sync(), dir.Close())
}

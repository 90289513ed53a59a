package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Source says where a configuration came from.
type Source struct {
	// Path of the file; empty for the embedded defaults.
	Path string

	positions map[string]position // of each key that the file has, by its path
}

type position struct{ line, col int }

// String is the path, or "embedded defaults".
func (s Source) String() string {
	if s.Path == "" {
		return "embedded defaults"
	}
	return s.Path
}

// Has reports whether the file itself sets key, written as in a finding.
func (s Source) Has(key string) bool {
	_, ok := s.positions[key]
	return ok
}

// finding places a problem at key, or where its nearest parent stands in the file.
func (s Source) finding(key, format string, args ...any) Finding {
	f := Finding{File: s.String(), Key: key, Problem: fmt.Sprintf(format, args...)}
	if key == "run_dir" && !s.Has(key) {
		key = "data_dir" // from which it follows
	}
	for k := key; k != ""; k = parentKey(k) {
		if p, ok := s.positions[k]; ok {
			f.Line, f.Col = p.line, p.col
			break
		}
	}
	return f
}

// maxFileBytes bounds a configuration file; one with a thousand rules has a quarter of it.
const maxFileBytes = 1 << 20

// readSource reads the file at path; for an empty path the first that exists of the usual places. No file
// gives an empty Source and no bytes.
func readSource(path string) (Source, []byte, error) {
	if path != "" {
		data, err := readFile(path)
		return Source{Path: path}, data, err
	}
	for _, p := range searchPaths() {
		data, err := readFile(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		return Source{Path: p}, data, err
	}
	return Source{}, nil, nil
}

func searchPaths() []string {
	paths := []string{"/etc/mairust/config.yaml"}
	if home, err := os.UserHomeDir(); err == nil {
		paths = append(paths, filepath.Join(home, ".config", "mairust", "config.yaml"))
	}
	return append(paths, "config.yaml")
}

func readFile(path string) ([]byte, error) {
	data, err := readRegular(path, maxFileBytes)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return data, nil
}

// readRegular reads a regular file of at most limit bytes. Pipes and devices are refused: they may never end.
func readRegular(path string, limit int64) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close() //nolint:errcheck // nothing was written
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", path, limit)
	}
	return data, nil
}

package outbound

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
)

// errDamaged says that a file is not what was written, or of a later version.
var errDamaged = errors.New("damaged file")

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// fileMagic begins the files of this package; its last byte is the version.
const fileMagic = "MRoutb\x00\x01"

func (g *Gate) file(name string) string { return filepath.Join(g.dir, name) }

func makeDir(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("outbound: make directory: %w", err)
	}
	return nil
}

// writeFile puts data under its name, durably and whole or not at all.
func writeFile(path string, data []byte) error {
	head := binary.BigEndian.AppendUint32([]byte(fileMagic), crc32.Checksum(data, castagnoli))
	return replaceFile(path, func(f *os.File) error {
		_, err := f.Write(append(head, data...))
		return err
	})
}

// replaceFile makes a file anew and puts it where the old one was, durably.
func replaceFile(path string, write func(f *os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	err = write(f)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("write %s: %w", path, errors.Join(err, os.Remove(f.Name())))
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("flush directory: %w", err)
	}
	if err := errors.Join(d.Sync(), d.Close()); err != nil {
		return fmt.Errorf("flush directory: %w", err)
	}
	return nil
}

// readFile gives what writeFile wrote. Errors: errDamaged, fs.ErrNotExist.
func readFile(path string) ([]byte, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("outbound: %w", err)
	}
	head := len(fileMagic) + 4
	if len(raw) < head || string(raw[:len(fileMagic)]) != fileMagic ||
		binary.BigEndian.Uint32(raw[len(fileMagic):]) != crc32.Checksum(raw[head:], castagnoli) {
		return nil, fmt.Errorf("%s: %w", path, errDamaged)
	}
	return raw[head:], nil
}

package outbound

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"

	"github.com/mairust/mairust/store"
)

// spool is the bounded file of rows that the database could not take.
type spool struct {
	path string
	most int64
	size atomic.Int64

	mu   sync.Mutex // of the file
	file *os.File
	// draining is held by the one that reads.
	draining sync.Mutex
}

// maxRow bounds one row in the file.
const maxRow = 128 << 10

// rowHead is the length of what stands before a row: its length and checksum.
const rowHead = 8

var errSpoolFull = errors.New("the file of decisions is full (outbound.spool_max_bytes)")

// openSpool opens the file, and cuts off a row that was not written whole: nothing behind it could be read.
func openSpool(path string, most int64, log *slog.Logger) (*spool, error) {
	if most <= 0 {
		most = 64 << 20
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("outbound: %w", err)
	}
	s := &spool{path: path, most: most, file: f}
	info, err := f.Stat()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("outbound: %w", err), f.Close())
	}
	whole := int64(0)
	for r := bufio.NewReaderSize(f, 1<<16); ; {
		raw, ok := readRow(r)
		if !ok {
			break
		}
		whole += rowHead + int64(len(raw))
	}
	if torn := info.Size() - whole; torn > 0 {
		log.Warn("file of decisions ends early: what came after is lost", "file", path, "bytes", torn)
		if err := f.Truncate(whole); err != nil {
			return nil, errors.Join(fmt.Errorf("outbound: %w", err), f.Close())
		}
	}
	s.size.Store(whole)
	return s, nil
}

func (s *spool) bytes() int64 { return s.size.Load() }

// add appends rows and gives how many it took, which is none after an error. They outlive the process; sync makes them outlive
// a loss of power.
func (s *spool) add(rows []store.OutboundDecision) (int, error) {
	var b []byte
	for i := range rows {
		raw, err := json.Marshal(&rows[i])
		if err != nil {
			return 0, fmt.Errorf("encode decision: %w", err)
		}
		b = binary.BigEndian.AppendUint32(b, uint32(len(raw)))
		b = append(binary.BigEndian.AppendUint32(b, crc32.Checksum(raw, castagnoli)), raw...)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.size.Load()
	if was+int64(len(b)) > s.most {
		return 0, errSpoolFull
	}
	if _, err := s.file.Write(b); err != nil {
		return 0, fmt.Errorf("keep decisions: %w", errors.Join(err, s.file.Truncate(was)))
	}
	s.size.Store(was + int64(len(b)))
	return len(rows), nil
}

func (s *spool) sync() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.file.Sync(); err != nil {
		return fmt.Errorf("keep decisions: %w", err)
	}
	return nil
}

// drain gives the rows to write, a batch at a time, and empties the file when all were taken. After an error it begins from
// the first again, next time: writing a row twice does no harm.
func (s *spool) drain(write func([]store.OutboundDecision) error) (n int, err error) {
	s.draining.Lock()
	defer s.draining.Unlock()
	for at := int64(0); s.size.Load() > 0; {
		r := bufio.NewReaderSize(io.NewSectionReader(s.file, at, s.size.Load()-at), 1<<16)
		rows, used := readRows(r)
		if len(rows) > 0 {
			if err := write(rows); err != nil {
				return n, err
			}
			n += len(rows)
			at += used
			continue
		}
		if done, err := s.clear(at); done {
			return n, err
		}
	}
	return n, nil
}

// clear empties the file if nothing was added behind at, or if what is there can't be read, which is told.
func (s *spool) clear(at int64) (done bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := s.size.Load() - at
	if rows, _ := readRows(bufio.NewReader(io.NewSectionReader(s.file, at, left))); len(rows) > 0 {
		return false, nil
	}
	if err := s.file.Truncate(0); err != nil {
		return true, nil // it will be written again, which does no harm
	}
	s.size.Store(0)
	if left > 0 {
		return true, fmt.Errorf("%w: the last %d bytes can't be read and are lost", errDamaged, left)
	}
	return true, nil
}

// readRows gives the next batch, to the first record that is damaged, and how long it was.
func readRows(r io.Reader) (rows []store.OutboundDecision, used int64) {
	for len(rows) < batch {
		raw, ok := readRow(r)
		if !ok {
			return rows, used
		}
		var row store.OutboundDecision
		if err := json.Unmarshal(raw, &row); err != nil {
			return rows, used
		}
		rows = append(rows, row)
		used += rowHead + int64(len(raw))
	}
	return rows, used
}

// readRow gives the encoding of the next row; false at the end and where it is damaged.
func readRow(r io.Reader) ([]byte, bool) {
	var head [rowHead]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, false
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxRow {
		return nil, false
	}
	raw := make([]byte, n)
	_, err := io.ReadFull(r, raw)
	return raw, err == nil && crc32.Checksum(raw, castagnoli) == binary.BigEndian.Uint32(head[4:])
}

// Close leaves the file as it is.
func (s *spool) Close() error { return s.file.Close() }

package outbound

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// journal is the file of what this node remembers: a record for each change that was kept, of which the last one of an
// account counts. It is made anew when most of it is outdated.
type journal struct {
	path string
	log  *slog.Logger

	mu   sync.Mutex
	file *os.File // nil when it could not be opened again
	size int64    // of the file
	base int64    // of the file when it was made anew
	lock *os.File
}

const (
	// maxRecord bounds one record: a state and names.
	maxRecord = policy.MaxStateBytes + 4096
	// compactBytes are appended, at least, before the file is made anew.
	compactBytes = 16 << 20
)

// openJournal reads what the file remembers, to a record that was not written whole, and goes on behind it. Only one process
// may have it.
func openJournal(path string, log *slog.Logger, restore func(policy.Account, known)) (*journal, error) {
	j := &journal{path: path, log: log}
	var err error
	if j.lock, err = os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return nil, fmt.Errorf("outbound: %w", err)
	}
	if err := lockFile(j.lock); err != nil {
		return nil, errors.Join(fmt.Errorf("outbound: %s is in use by another process: each needs a data_dir of its own", path), j.lock.Close())
	}
	err = j.read(restore)
	if errors.Is(err, errDamaged) {
		log.Error("file of states is of another version, beginning anew", "err", err, "kept_as", path+".old")
		err = os.Rename(path, path+".old")
	}
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		err = j.open()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("outbound: states: %w", err), j.lock.Close())
	}
	return j, nil
}

// lockPatience is how long a process that is ending may still hold the file.
const lockPatience = 2 * time.Second

func lockFile(f *os.File) error {
	for deadline := time.Now().Add(lockPatience); ; time.Sleep(lockPatience / 40) {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EWOULDBLOCK) || time.Now().After(deadline) {
			return err
		}
	}
}

func (j *journal) read(restore func(policy.Account, known)) error {
	f, err := os.Open(j.path)
	if err != nil {
		return err
	}
	defer f.Close() //nolint:errcheck // only read
	r := bufio.NewReaderSize(f, 1<<20)
	head := make([]byte, len(fileMagic))
	if _, err := io.ReadFull(r, head); err != nil || string(head) != fileMagic {
		return fmt.Errorf("%s: %w", j.path, errDamaged)
	}
	j.size = int64(len(head))
	for {
		payload, err := readRecord(r)
		if err != nil {
			if !errors.Is(err, io.EOF) {
				j.log.Warn("file of states ends early: what came after is lost", "file", j.path, "bytes", j.size, "err", err)
			}
			return nil
		}
		a, k, err := decodeKnown(payload)
		if err != nil {
			return nil // its checksum was right: written by a program with a fault
		}
		restore(a, k)
		j.size += int64(8 + len(payload))
	}
}

// readRecord gives the payload of the next record; io.EOF only at the very end.
func readRecord(r io.Reader) ([]byte, error) {
	var head [8]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxRecord {
		return nil, fmt.Errorf("%w: a record of %d bytes", errDamaged, n)
	}
	payload := make([]byte, n)
	if _, err := io.ReadFull(r, payload); err != nil {
		return nil, fmt.Errorf("%w: a record is cut off", errDamaged)
	}
	if crc32.Checksum(payload, castagnoli) != binary.BigEndian.Uint32(head[4:]) {
		return nil, fmt.Errorf("%w: a checksum is wrong", errDamaged)
	}
	return payload, nil
}

// open makes the file if there is none, and cuts off what could not be read.
func (j *journal) open() error {
	f, err := os.OpenFile(j.path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	if err = f.Truncate(j.size); err == nil && j.size == 0 {
		_, err = f.Write([]byte(fileMagic))
		j.size = int64(len(fileMagic))
	}
	if err == nil {
		_, err = f.Seek(j.size, io.SeekStart)
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	j.file, j.base = f, j.size
	return nil
}

func appendRecord(b []byte, e *entry) []byte {
	payload := encodeKnown(e.account, e.known)
	b = binary.BigEndian.AppendUint32(b, uint32(len(payload)))
	b = binary.BigEndian.AppendUint32(b, crc32.Checksum(payload, castagnoli))
	return append(b, payload...)
}

func encodeKnown(a policy.Account, k known) []byte {
	var b []byte
	for _, s := range []string{string(a), string(k.tenant)} {
		b = append(binary.AppendUvarint(b, uint64(len(s))), s...)
	}
	return append(b, k.pack()...)
}

func decodeKnown(b []byte) (a policy.Account, k known, err error) {
	var texts [2]string
	for i := range texts {
		n, used := binary.Uvarint(b)
		if used <= 0 || n > uint64(len(b)-used) {
			return "", known{}, errDamaged
		}
		texts[i], b = string(b[used:used+int(n)]), b[used+int(n):]
	}
	k = unpack(b)
	k.tenant = store.TenantID(texts[1])
	return policy.Account(texts[0]), k, nil
}

// append keeps a held entry; durable waits for the disk.
func (j *journal) append(e *entry, durable bool) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if err := j.reopen(); err != nil {
		return err
	}
	record := appendRecord(nil, e)
	n, err := j.file.Write(record)
	j.size += int64(n)
	if err == nil && durable {
		err = j.file.Sync()
	}
	if err != nil {
		return fmt.Errorf("keep state: %w", errors.Join(err, j.repair(int64(n))))
	}
	e.journalled = true
	return nil
}

// reopen opens the file if that failed when it was made anew.
func (j *journal) reopen() error {
	if j.file != nil {
		return nil
	}
	if err := j.open(); err != nil {
		return fmt.Errorf("open states: %w", err)
	}
	return nil
}

// repair cuts off a record that was not written whole, so that those that follow can be read.
func (j *journal) repair(n int64) error {
	j.size -= n
	err := j.file.Truncate(j.size)
	_, err2 := j.file.Seek(j.size, io.SeekStart)
	return errors.Join(err, err2)
}

// save keeps all entries that have changed, and makes the file anew when it has grown; as long as that fails, it grows on.
func (j *journal) save(s *states) error {
	var compactErr, err error
	if j.isLarge() {
		if compactErr = j.compact(s); compactErr == nil {
			return nil
		}
	}
	s.each(func(e *entry) {
		if !e.journalled && err == nil {
			err = j.append(e, false)
		}
	})
	if err != nil {
		return errors.Join(compactErr, err)
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if err = j.reopen(); err == nil {
		err = j.file.Sync()
	}
	if err != nil {
		err = fmt.Errorf("keep states: %w", err)
	}
	return errors.Join(compactErr, err)
}

func (j *journal) isLarge() bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.size > 2*j.base+compactBytes
}

// compact makes the file anew from what is remembered. After an error the entries that only the new file has are to be kept still.
func (j *journal) compact(s *states) error {
	var changed []*entry
	err := j.replace(s, &changed)
	if err != nil {
		for _, e := range changed {
			e.mu.Lock()
			e.journalled = false
			e.mu.Unlock()
		}
	}
	return err
}

// replace writes the new file and goes on with it. What is appended meanwhile is in the new file too. It adds the entries to
// changed that the old one does not have.
func (j *journal) replace(s *states, changed *[]*entry) error {
	j.mu.Lock()
	mark := j.size
	j.mu.Unlock()
	locked, size := false, int64(0)
	var made os.FileInfo
	err := replaceFile(j.path, func(f *os.File) error {
		w := bufio.NewWriterSize(f, 1<<20)
		_, err := w.WriteString(fileMagic)
		size = int64(len(fileMagic))
		// Without the file's lock: whoever appends holds an entry and waits for that lock.
		s.each(func(e *entry) {
			if e.state != nil && err == nil {
				var n int
				n, err = w.Write(appendRecord(nil, e))
				size += int64(n)
			}
			if !e.journalled {
				*changed = append(*changed, e)
			}
			e.journalled = true
		})
		if err = errors.Join(err, w.Flush()); err != nil {
			return err
		}
		if made, err = f.Stat(); err != nil {
			return err
		}
		j.mu.Lock()
		locked = true
		if err := j.reopen(); err != nil {
			return err
		}
		n, err := io.Copy(f, io.NewSectionReader(j.file, mark, j.size-mark))
		size += n
		return err
	})
	if locked {
		defer j.mu.Unlock()
	}
	if err != nil && !isAt(j.path, made) {
		return err
	}
	old := j.file
	j.file, j.size = nil, size // the old one is nowhere any more, be the new one opened or not
	return errors.Join(err, j.open(), old.Close())
}

// isAt tells whether a file has got its name: an error may come after that.
func isAt(path string, made os.FileInfo) bool {
	is, err := os.Stat(path)
	return err == nil && made != nil && os.SameFile(is, made)
}

// Close keeps nothing more.
func (j *journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.file == nil {
		return j.lock.Close()
	}
	return errors.Join(j.file.Sync(), j.file.Close(), j.lock.Close())
}

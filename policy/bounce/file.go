package bounce

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// headBytes is how much of a file's beginning tells it from another one with the same inode.
	headBytes = 1024
	// rotationGrace is how long a file that was renamed may still be written to: syslog daemons open the new one only
	// when they are told.
	rotationGrace = 5 * time.Second
	pollEvery     = time.Second
)

// logFile follows a file through its rotations: renamed and made anew, or copied and truncated.
type logFile struct {
	path    string
	logHost string
	parser  Parser
	log     *slog.Logger
	now     func() time.Time
	every   time.Duration

	file *os.File
	pos  position
	buf  []byte
	// atEnd says that a file which could not be read yet is to be read from its end on.
	atEnd bool

	mu     sync.Mutex // guards the rest, which is asked for from elsewhere
	behind int64
	since  time.Time
}

// openLogFile begins at pos; at the end of the file when pos is that of no file or of another path, or at its
// beginning. A file that cannot be read is an error of next, which tries again.
func openLogFile(f *logFile, pos position, fromStart bool) *logFile {
	f.buf = make([]byte, chunk)
	if f.every <= 0 {
		f.every = pollEvery
	}
	if pos.Path == f.path {
		f.pos = pos
		return f
	}
	f.pos = position{Path: f.path, At: f.now()}
	if fromStart {
		return f
	}
	if err := f.seekEnd(); err != nil && !errors.Is(err, fs.ErrNotExist) { // whatever is written to a new file is new
		f.atEnd = true
	}
	return f
}

// seekEnd places f at the end of the file. When its last line has no end yet, the rest of that is left out.
func (f *logFile) seekEnd() error {
	if err := f.open(f.path, 0); err != nil {
		return err
	}
	size, err := f.size()
	if err != nil || size == 0 {
		return err
	}
	last := make([]byte, 1)
	if _, err := f.file.ReadAt(last, size-1); err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	f.pos.Offset, f.pos.Skipping = size, last[0] != '\n'
	return f.noteHead()
}

// open makes the file at path the one that is read, from offset on.
func (f *logFile) open(path string, offset int64) error {
	file, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = errors.New("it is not a regular file")
	}
	if err != nil {
		return errors.Join(fmt.Errorf("open log %s: %w", path, err), file.Close())
	}
	f.shut()
	f.file = file
	f.pos = position{Path: f.path, Inode: inodeOf(info), Offset: offset, At: f.now()}
	return f.noteHead()
}

func (f *logFile) shut() {
	if f.file != nil {
		_ = f.file.Close() // it was only read
		f.file = nil
	}
}

func (f *logFile) close() error {
	f.shut()
	return nil
}

func (f *logFile) position() position { return f.pos }

func (f *logFile) lag() (int64, time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.behind, f.since
}

// next reads what is new.
func (f *logFile) next(ctx context.Context) (batch, error) {
	b, err := f.poll()
	if err != nil {
		return b, err
	}
	if b.lines == 0 {
		pause(ctx, f.every)
	}
	return b, nil
}

// poll reads without waiting.
func (f *logFile) poll() (b batch, err error) {
	if f.file == nil {
		if err := f.resume(&b); err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				b.atEnd = true
				return b, nil // rotation makes it anew
			}
			return b, err
		}
	}
	if err := f.checkTruncated(&b); err != nil {
		return b, err
	}
	if err := f.read(&b); err != nil {
		return b, err
	}
	if b.lines == 0 {
		err = f.followRotation(&b)
	}
	return b, errors.Join(err, f.measure())
}

// resume opens the file in which the position lies, wherever rotation has moved it.
func (f *logFile) resume(b *batch) error {
	switch {
	case f.atEnd:
		err := f.seekEnd()
		f.atEnd = err != nil
		return err
	case f.pos.Inode == 0:
		return f.open(f.path, 0)
	}
	was := f.pos
	if name := f.find(was); name != "" {
		return f.reopen(name, was)
	}
	return f.afterLoss(b, was)
}

// find gives the file in which a position lies, or "": the same file, whatever it is called now, or a copy of it.
func (f *logFile) find(p position) (found string) {
	for _, name := range f.generations() {
		info, err := os.Stat(name)
		if err != nil || info.Size() < p.Offset || !sameHead(name, p) {
			continue
		}
		if inodeOf(info) == p.Inode {
			return name
		}
		if p.HeadBytes > 0 {
			found = name
		}
	}
	return found
}

// reopen goes on at a known position in the file that is now called name.
func (f *logFile) reopen(name string, was position) error {
	if err := f.open(name, was.Offset); err != nil {
		return err
	}
	f.pos.Skipping = was.Skipping
	return nil
}

// checkTruncated notices that the file was emptied and perhaps filled again. What was not read yet is in the copy that
// was made before, if there is one.
func (f *logFile) checkTruncated(b *batch) error {
	size, err := f.size()
	if err != nil {
		return err
	}
	if size >= f.pos.Offset && f.hasHead() {
		return nil
	}
	was := f.pos
	if name := f.find(was); name != "" {
		return f.reopen(name, was)
	}
	f.pos = position{Path: f.path, Inode: was.Inode, At: f.now()}
	if was.Offset > 0 {
		b.gaps++
		f.log.Warn("log was truncated: lines may be lost that were not read yet", "path", f.path)
	}
	return nil
}

// afterLoss goes on after the file of the position is gone, or was compressed: with the oldest that was written to
// since, from its beginning.
func (f *logFile) afterLoss(b *batch, was position) error {
	b.gaps++
	f.log.Warn("log was rotated away before it was read to its end: lines are lost", "path", f.path, "last_read", was.At)
	return f.open(cmp.Or(changedAfter(f.generations(), was.At), f.path), 0)
}

// read reads a chunk.
func (f *logFile) read(b *batch) error {
	n, err := f.file.ReadAt(f.buf, f.pos.Offset)
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("read log: %w", err)
	}
	rest := f.buf[:n]
	for !b.isFull() {
		end := bytes.IndexByte(rest, '\n')
		if end < 0 {
			f.skipLong(b, rest)
			break
		}
		f.take(b, rest[:end])
		f.pos.Offset += int64(end + 1)
		rest = rest[end+1:]
	}
	if b.lines == 0 {
		return nil
	}
	f.pos.At = f.now()
	return f.noteHead()
}

func (f *logFile) take(b *batch, line []byte) {
	b.lines++
	switch {
	case f.pos.Skipping:
		f.pos.Skipping = false
	case len(line) > maxLine:
		b.tooLong++
	default:
		if d, ok := f.parser.Parse(bytes.TrimSuffix(line, []byte("\r"))); ok {
			b.add(d, f.logHost)
		}
	}
}

// skipLong leaves out the beginning of a line that is too long, so that it is not read again and again.
func (f *logFile) skipLong(b *batch, rest []byte) {
	if len(rest) <= maxLine && !f.pos.Skipping || len(rest) == 0 {
		return
	}
	if !f.pos.Skipping {
		b.tooLong++
	}
	b.lines++ // there was something to read
	f.pos.Skipping = true
	f.pos.Offset += int64(len(rest))
}

// followRotation goes on with the next file, when this one was renamed a while ago and is at its end.
func (f *logFile) followRotation(b *batch) error {
	info, err := f.file.Stat()
	if err != nil {
		return fmt.Errorf("read log: %w", err)
	}
	next := f.successor(info)
	if next == "" || f.now().Sub(changedAt(info)) < rotationGrace {
		b.atEnd = true
		return nil
	}
	if info.Size() > f.pos.Offset {
		b.torn++
	}
	b.lines++ // so that nobody waits
	return f.open(next, 0)
}

// successor is the file that came after the one that is read, or "".
func (f *logFile) successor(read fs.FileInfo) string {
	names := f.generations()
	for i, name := range names {
		if info, err := os.Stat(name); err == nil && os.SameFile(info, read) {
			return strings.Join(names[i+1:min(i+2, len(names))], "")
		}
	}
	return changedAfter(names, read.ModTime()) // it was removed, or compressed, while we read it
}

// changedAfter is the first of the files that was written to after t, or "".
func changedAfter(names []string, t time.Time) string {
	for _, name := range names {
		if info, err := os.Stat(name); err == nil && info.ModTime().After(t) {
			return name
		}
	}
	return ""
}

func (f *logFile) size() (int64, error) {
	info, err := f.file.Stat()
	if err != nil {
		return 0, fmt.Errorf("read log: %w", err)
	}
	return info.Size(), nil
}

// measure notes how far behind the end we are, in this file and in those that follow.
func (f *logFile) measure() error {
	if f.file == nil {
		return nil
	}
	size, err := f.size()
	if err != nil {
		return err
	}
	behind := size - f.pos.Offset
	found := false
	for _, name := range f.generations() {
		info, err := os.Stat(name)
		switch {
		case err != nil:
		case inodeOf(info) == f.pos.Inode:
			found = true
		case found || name == f.path:
			behind += info.Size()
		}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.behind = max(behind, 0)
	if f.behind == 0 {
		f.since = time.Time{}
	} else if f.since.IsZero() {
		f.since = f.now()
	}
	return nil
}

// noteHead notes the digest of the beginning of the file, as far as it was read.
func (f *logFile) noteHead() error {
	n := min(f.pos.Offset, headBytes)
	if f.pos.HeadBytes == n && (n == 0 || f.pos.Head != "") {
		return nil
	}
	head, err := headOf(f.file, n)
	f.pos.Head, f.pos.HeadBytes = head, n
	return err
}

func (f *logFile) hasHead() bool {
	head, err := headOf(f.file, f.pos.HeadBytes)
	return err == nil && head == f.pos.Head
}

// sameHead says whether a file begins as the one of a position does.
func sameHead(name string, p position) bool {
	file, err := os.Open(name)
	if err != nil {
		return false
	}
	defer file.Close() //nolint:errcheck // only read
	head, err := headOf(file, p.HeadBytes)
	return err == nil && head == p.Head
}

// headOf is empty for no bytes, so that a file of which nothing was read is any file.
func headOf(r io.ReaderAt, n int64) (string, error) {
	if n == 0 {
		return "", nil
	}
	raw := make([]byte, n)
	if _, err := r.ReadAt(raw, 0); err != nil {
		return "", fmt.Errorf("read log: %w", err)
	}
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]), nil
}

// changedAt is when a file was last written to or renamed.
func changedAt(info fs.FileInfo) time.Time {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return time.Unix(st.Ctim.Unix())
	}
	return info.ModTime()
}

func inodeOf(info fs.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Ino
	}
	return 0
}

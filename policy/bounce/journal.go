package bounce

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/mairust/mairust/internal/mail"
)

const (
	// maxEntry is the longest entry of the journal that is looked at, as JSON.
	maxEntry = 256 << 10
	// waiting is how many entries may wait to be dealt with; then journalctl waits.
	waiting = 1000
	// endPatience is how long journalctl has to end when it is told to.
	endPatience = 5 * time.Second
	// badCursorAfter is how often in a row journalctl may end without an entry before its cursor is given up.
	badCursorAfter = 3
)

// journal follows the systemd journal through journalctl, whose JSON systemd.io/JOURNAL_EXPORT_FORMATS describes.
type journal struct {
	program   string
	logHost   string
	log       *slog.Logger
	now       func() time.Time
	every     time.Duration
	fromStart bool
	// once ends at the end of what is there now.
	once bool

	pos     position
	child   *child
	useless int

	mu    sync.Mutex // guards since
	since time.Time
}

// child is a running journalctl.
type child struct {
	cancel  context.CancelFunc
	entries chan entry
	// err is why entries was closed.
	err error
}

// entry is one of the journal, or the remains of one that was too long.
type entry struct {
	delivery Delivery
	isOne    bool
	cursor   string
	at       time.Time
	tooLong  bool
}

// record is an entry as journalctl writes it: each field is a string, an array of bytes, an array of values, or null.
type record struct {
	Cursor     string          `json:"__CURSOR"`
	Realtime   string          `json:"__REALTIME_TIMESTAMP"`
	Message    json.RawMessage `json:"MESSAGE"`
	Identifier json.RawMessage `json:"SYSLOG_IDENTIFIER"`
	Host       json.RawMessage `json:"_HOSTNAME"`
}

func (j *journal) position() position { return j.pos }

func (j *journal) lag() (int64, time.Time) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return 0, j.since
}

// next gives what has come, and waits a little for the first entry.
func (j *journal) next(ctx context.Context) (b batch, err error) {
	if j.child == nil {
		if j.child, err = j.start(); err != nil {
			return b, err
		}
	}
	timer := time.NewTimer(j.every)
	defer timer.Stop()
	for !b.isFull() {
		select {
		case e, ok := <-j.child.entries:
			if !ok {
				return b, j.ended(&b)
			}
			j.take(&b, e)
			if len(j.child.entries) == 0 && !j.once {
				j.note(true)
				return b, nil
			}
		case <-timer.C:
			j.note(len(j.child.entries) == 0)
			return b, nil
		case <-ctx.Done():
			return b, nil
		}
	}
	j.note(false)
	return b, nil
}

// note notes whether the end was reached.
func (j *journal) note(atEnd bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if atEnd {
		j.since = time.Time{}
	} else if j.since.IsZero() {
		j.since = j.now()
	}
}

func (j *journal) take(b *batch, e entry) {
	b.lines++
	if e.tooLong {
		b.tooLong++
		return
	}
	j.useless = 0
	j.pos.Cursor, j.pos.At = e.cursor, e.at
	if e.isOne {
		b.add(e.delivery, j.logHost)
	}
}

// ended says why journalctl is gone; the next call starts it again. What was read before is not lost.
func (j *journal) ended(b *batch) error {
	err := j.child.err
	j.child = nil
	if j.once && err == nil {
		b.atEnd = true
		return nil
	}
	if err == nil {
		err = errors.New("without an error")
	}
	if j.useless++; j.useless >= badCursorAfter && j.pos.Cursor != "" {
		j.log.Warn("the journal does not know its cursor any more: going on by time, lines may be lost", "since", j.pos.At, "err", err)
		j.pos.Cursor, j.useless = "", 0
		b.gaps++
	}
	return fmt.Errorf("journalctl ended: %w", err)
}

// arguments of journalctl(1): everything of the facility mail, in full, from the position on.
func (j *journal) arguments() []string {
	args := []string{"--output=json", "--output-fields=MESSAGE,SYSLOG_IDENTIFIER,_HOSTNAME", "--all", "--no-pager", "--quiet"}
	if !j.once {
		args = append(args, "--follow")
	}
	switch {
	case j.pos.Cursor != "":
		args = append(args, "--no-tail", "--after-cursor="+j.pos.Cursor)
	case !j.pos.At.IsZero():
		args = append(args, "--no-tail", "--since=@"+strconv.FormatInt(j.pos.At.Unix(), 10))
	case j.fromStart:
		args = append(args, "--no-tail")
	default:
		args = append(args, "--lines=0")
	}
	return append(args, "SYSLOG_FACILITY=2")
}

func (j *journal) start() (*child, error) {
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, j.program, j.arguments()...) //nolint:gosec // the operator's choice
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = endPatience
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	complaints := &complaint{}
	cmd.Stderr = complaints
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		cancel()
		return nil, fmt.Errorf("start journalctl: %w", err)
	}
	c := &child{cancel: cancel, entries: make(chan entry, waiting)}
	go func() {
		defer close(c.entries)
		readErr := readEntries(ctx, out, c.entries)
		err := cmd.Wait()
		if c.err = errors.Join(readErr, err); c.err != nil {
			c.err = errors.Join(c.err, complaints.asError())
		}
	}()
	return c, nil
}

// close ends journalctl and waits for it.
func (j *journal) close() error {
	if j.child == nil {
		return nil
	}
	j.child.cancel()
	for range j.child.entries { // until it is closed
	}
	j.child = nil
	return nil
}

// readEntries reads one JSON object a line.
func readEntries(ctx context.Context, r io.Reader, to chan<- entry) error {
	in := bufio.NewReaderSize(r, maxEntry)
	for skipping := false; ; {
		line, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			skipping = true
			continue
		}
		if err != nil {
			if errors.Is(err, io.EOF) {
				return nil
			}
			return err
		}
		e := entry{tooLong: true}
		if !skipping {
			if e, err = parseEntry(line); err != nil {
				return err
			}
		}
		skipping = false
		select {
		case to <- e:
		case <-ctx.Done():
			return nil
		}
	}
}

// parseEntry refuses what journalctl does not write.
func parseEntry(line []byte) (entry, error) {
	var r record
	if err := json.Unmarshal(line, &r); err != nil {
		return entry{}, fmt.Errorf("its output is not JSON: %w", err)
	}
	us, err := strconv.ParseInt(r.Realtime, 10, 64)
	if err != nil || r.Cursor == "" || len(r.Cursor) > 1024 {
		return entry{}, errors.New("its output lacks __CURSOR or __REALTIME_TIMESTAMP")
	}
	e := entry{cursor: r.Cursor, at: time.UnixMicro(us)}
	message := valueOf(r.Message)
	if len(message) <= maxLine {
		e.delivery, e.isOne = ParseMessage(e.at, string(valueOf(r.Host)), string(valueOf(r.Identifier)), message)
	}
	return e, nil
}

// valueOf reads a field: a string, or a number for each byte. Several values and null are none.
func valueOf(raw json.RawMessage) []byte {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return []byte(text)
	}
	var numbers []int
	if json.Unmarshal(raw, &numbers) != nil {
		return nil
	}
	value := make([]byte, len(numbers))
	for i, n := range numbers {
		value[i] = byte(n)
	}
	return value
}

// complaint keeps the first KiB of what journalctl complains about.
type complaint struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (t *complaint) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.b.Write(p[:min(len(p), max(0, 1024-t.b.Len()))])
	return len(p), nil
}

func (t *complaint) asError() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if text := bytes.TrimSpace(t.b.Bytes()); len(text) > 0 {
		return errors.New(mail.Clean(string(text), 1024))
	}
	return nil
}

package lmtp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
)

const (
	// maxScanAge is how long a verdict is believed: longer than mail stays in a queue.
	maxScanAge = 7 * 24 * time.Hour
	// maxClockSkew is how far the milter's clock may be ahead of ours.
	maxClockSkew = 5 * time.Minute
	// maxScanHeader is how much of a header is searched for the field; Postfix's header_size_limit is a tenth.
	maxScanHeader = 1 << 20
	// maxScanField bounds the field itself.
	maxScanField = 8 << 10

	// tagUnscanned marks a message without a verdict.
	tagUnscanned = "unscanned"
)

// Why a scan header is not believed; the words are those of the metric.
const (
	scanMissing = "missing"
	scanInvalid = "invalid" // malformed, or its MAC is wrong
	scanOld     = "old"
	scanFuture  = "future"
	scanForeign = "queue_id" // it speaks of another message
)

// placement is what the verdict makes of a message.
type placement struct {
	folder  string
	tags    []string
	verdict mail.Verdict
	// believed says that the message came through our milter, under the queue id of its topmost Received field.
	believed bool
}

// place believes the first scan header if it is valid, young, and about the message that our MTA received
// last; else the message goes to INBOX with the tag "unscanned".
func (tx *transaction) place(m *message) (placement, error) {
	scan, reason, err := tx.readScan(m)
	if err != nil {
		return placement{}, err
	}
	if reason != "" {
		tx.server.metrics.unscanned.WithLabelValues(reason).Inc()
		return placement{folder: store.Inbox, tags: []string{tagUnscanned}}, nil
	}
	p := placement{
		folder:  store.Inbox,
		tags:    slices.Clone(scan.Tags),
		verdict: mail.Verdict{Action: scan.Action, Tags: scan.Tags, Score: scan.Score}, believed: true,
	}
	if scan.Action >= mail.Quarantine {
		p.folder = store.Quarantine
	}
	return p, nil
}

// readScan gives the verdict, or why there is none to be believed; an error is one of reading the spool.
func (tx *transaction) readScan(m *message) (scan mail.Scan, reason string, err error) {
	object := m.spool.reader()
	header := io.NewSectionReader(object, m.prefixBytes, min(object.Size()-m.prefixBytes, maxScanHeader))
	value, found, err := firstField(header, mail.ScanField)
	switch {
	case err != nil:
		return scan, "", fmt.Errorf("read spool: %w", err)
	case !found:
		return scan, scanMissing, nil
	}
	body, err := m.bodyDigest()
	if err != nil {
		return scan, "", fmt.Errorf("read spool: %w", err)
	}
	scan, bad := mail.ParseScan(value, tx.from, body, tx.server.deps.Verify)
	now := tx.server.deps.Now()
	switch {
	case bad != nil:
		tx.server.log.Warn("scan header not believed", "queue_id", m.summary.Top.ID, "err", bad)
		return scan, scanInvalid, nil
	case now.Sub(scan.Time) > maxScanAge:
		return scan, scanOld, nil
	case scan.Time.Sub(now) > maxClockSkew:
		return scan, scanFuture, nil
	case scan.QueueID == "" || scan.QueueID != m.summary.Top.ID:
		return scan, scanForeign, nil
	}
	return scan, "", nil
}

// headerReaders are for the headers of messages, one after the other.
var headerReaders = sync.Pool{New: func() any { return bufio.NewReader(nil) }}

// firstField gives the value of the first field called name in the header at the beginning of r, folded as it
// stands, cut at maxScanField.
func firstField(r io.Reader, name string) (value string, found bool, err error) {
	in, ok := headerReaders.Get().(*bufio.Reader)
	if !ok {
		in = bufio.NewReader(nil)
	}
	in.Reset(r)
	defer func() {
		in.Reset(nil) // holds on to nothing
		headerReaders.Put(in)
	}()
	var field []byte
	for {
		line, whole, err := readHeaderLine(in)
		if errors.Is(err, io.EOF) || whole && isBlank(line) {
			return string(field), field != nil, nil
		}
		if err != nil {
			return "", false, err
		}
		switch folded := line[0] == ' ' || line[0] == '\t'; {
		case field != nil && !folded:
			return string(field), true, nil
		case field != nil:
			field = append(field, line...)
			field = field[:min(len(field), maxScanField)]
		default:
			field = valueOf(line, name)
		}
	}
}

// isBlank recognises the line that ends a header.
func isBlank(line []byte) bool { return string(line) == "\r\n" || string(line) == "\n" }

// valueOf gives the value of the field that begins in line if it is called name, else nil.
func valueOf(line []byte, name string) []byte {
	have, value, found := bytes.Cut(line, []byte(":"))
	if !found || !strings.EqualFold(string(bytes.TrimRight(have, " \t")), name) {
		return nil
	}
	return append([]byte{}, value...)
}

// readHeaderLine gives a line with its end; of a line that is too long, its beginning, and whole is false.
// The slice is valid until the next call.
func readHeaderLine(in *bufio.Reader) (line []byte, whole bool, err error) {
	line, err = in.ReadSlice('\n')
	if !errors.Is(err, bufio.ErrBufferFull) {
		if errors.Is(err, io.EOF) && len(line) > 0 {
			err = nil
		}
		return line, true, err
	}
	line = bytes.Clone(line)
	for errors.Is(err, bufio.ErrBufferFull) {
		_, err = in.ReadSlice('\n')
	}
	if errors.Is(err, io.EOF) {
		err = nil // the next call says so
	}
	return line, false, err
}

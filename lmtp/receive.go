package lmtp

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/blob"
)

// message is one message received whole, as it will be stored: a Return-Path line (RFC 5321, 4.4) and the
// bytes as they came.
type message struct {
	spool *spool
	// prefixBytes is the length of the Return-Path line.
	prefixBytes int64
	digest      [32]byte
	pieces      string
	received    time.Time
	summary     *mail.Summary
}

func (m *message) close(log *slog.Logger) {
	if err := m.spool.close(); err != nil {
		log.Warn("close spool", "err", err)
	}
}

// errClient says that the client went away, or gave the message up, before it was complete.
var errClient = errors.New("receive message")

// receive reads the message to its end, whatever happens, so that the replies come when the client waits for
// them. On error there may be a message all the same, to be closed. errClient is wrapped when the client went
// away; then nothing can be said to it any more.
func (tx *transaction) receive(r io.Reader) (*message, error) {
	o := tx.server.options
	m := &message{spool: newSpool(tx.server.deps.SpoolDir, o.SpoolMemoryBytes, tx.server.budget)}
	prefix := "Return-Path: <" + tx.from.SMTP() + ">\r\n"
	m.prefixBytes = int64(len(prefix))
	digest := blob.NewDigester()

	_, failure := io.WriteString(io.MultiWriter(m.spool, digest), prefix)
	if failure == nil {
		failure = tx.copyMessage(io.MultiWriter(m.spool, digest), r)
	}
	if failure != nil && !errors.Is(failure, errClient) {
		if _, err := io.Copy(io.Discard, r); err != nil {
			failure = fmt.Errorf("%w: %w, and before: %w", errClient, err, failure)
		}
	}
	if failure != nil {
		tx.server.log.Warn("message not received", "from", tx.from.String(), "size", m.spool.size, "err", failure)
		return m, failure
	}
	tx.server.metrics.bytes.Add(float64(m.spool.size - m.prefixBytes))
	m.received = tx.server.deps.Now()
	m.digest, m.pieces = digest.Sum(), digest.Pieces()
	return m, tx.summarize(m)
}

// copyBytes is how much of a message is read at once.
const copyBytes = 32 << 10

var copyBuffers sync.Pool

// copyMessage copies r to w, up to the limit of a message's size.
func (tx *transaction) copyMessage(w io.Writer, r io.Reader) error {
	limit := tx.server.options.MaxMessageBytes
	source := r
	if limit > 0 {
		source = io.LimitReader(r, limit+1)
	}
	buf, ok := copyBuffers.Get().(*[copyBytes]byte)
	if !ok {
		buf = new([copyBytes]byte)
	}
	defer copyBuffers.Put(buf)
	n, err := io.CopyBuffer(w, source, buf[:])
	switch {
	case errors.Is(err, errSpool):
		return err
	case err != nil:
		return fmt.Errorf("%w: after %d bytes: %w", errClient, n, err)
	case limit > 0 && n > limit:
		return errTooBig
	}
	return nil
}

// bodyDigest is what a scan header speaks of. Not every message has one, so it is made only when asked for.
func (m *message) bodyDigest() ([32]byte, error) {
	object, body := m.spool.reader(), mail.NewMessageBodyHash()
	_, err := io.Copy(body, io.NewSectionReader(object, m.prefixBytes, object.Size()-m.prefixBytes))
	return body.Sum(), err
}

// summarize reads what the message says of itself. A bug in that must not keep a message out, which would be
// sent again and again until it bounces: it is stored with an empty summary instead.
func (tx *transaction) summarize(m *message) (err error) {
	defer func() {
		if p := recover(); p != nil {
			tx.server.metrics.panics.Inc()
			tx.server.log.Error("panic while a message was summarised", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			m.summary = &mail.Summary{SizeBytes: m.spool.size}
		}
	}()
	summary, err := tx.server.deps.Summarize(m.spool.reader(), mail.Limits{})
	if err != nil {
		return fmt.Errorf("read spool: %w", err)
	}
	m.summary = summary
	return nil
}

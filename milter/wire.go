package milter

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	"github.com/mairust/mairust/internal/mail"
)

// wire is a connection of the MTA as packets. It lets only well-formed ones through, and keeps answers until the MTA waits for them.
type wire struct {
	net.Conn
	srv *Server
	*buffers
	last code
	busy bool // a message is in progress; guarded by srv.mu
}

// buffers are what a connection reads and writes through. Postfix opens a connection for each SMTP session, often for one
// message, so that they are used again.
type buffers struct {
	r   *bufio.Reader // of Conn; Postfix sends what needs no answer in one go
	buf []byte        // for a packet that r does not hold
	out []byte        // answers that are not yet sent
}

const (
	// readBytes of a connection are read at once: header and body of most messages.
	readBytes = 16 << 10
	// maxKeptBytes of a buffer are kept for the next connection.
	maxKeptBytes = 128 << 10
	// maxOutBytes of answers wait for the last one of a message.
	maxOutBytes = 64 << 10
)

var bufferPool = sync.Pool{New: func() any { return &buffers{r: bufio.NewReaderSize(nil, readBytes)} }}

func newBuffers(conn net.Conn) *buffers {
	b := bufferPool.Get().(*buffers) //nolint:errcheck // it holds nothing else
	b.r.Reset(conn)
	return b
}

// release gives the buffers to the next connection.
func (b *buffers) release() {
	b.r.Reset(nil)
	b.out = b.out[:0]
	if cap(b.buf) <= maxKeptBytes && cap(b.out) <= maxKeptBytes {
		bufferPool.Put(b)
	}
}

// next gives a packet, checked, whose data hold until the call after. What was said is sent first. While the server drains,
// io.EOF follows the end of a message.
func (w *wire) next() (code, []byte, error) {
	w.flush()
	if !w.settle() {
		return 0, nil, io.EOF
	}
	p, err := w.readPacket()
	if err != nil {
		return 0, nil, err
	}
	w.last = code(p[0])
	if w.last == cmdMail {
		w.setBusy(true)
	}
	return w.last, p[1:], checkPacket(w.last, p[1:])
}

// readPacket reads one packet, without its length.
func (w *wire) readPacket() ([]byte, error) {
	head, err := w.r.Peek(4)
	if err != nil {
		if len(head) > 0 && errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	length := binary.BigEndian.Uint32(head)
	if length == 0 || length > maxPacketBytes {
		return nil, fmt.Errorf("%w: length %d", errMalformed, length)
	}
	n := int(length)
	_, _ = w.r.Discard(4) // they are there
	if n <= w.r.Size() {
		p, err := w.r.Peek(n)
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		_, _ = w.r.Discard(len(p))
		return p, err
	}
	if cap(w.buf) < n {
		w.buf = make([]byte, n)
	}
	p := w.buf[:n]
	_, err = io.ReadFull(w.r, p)
	return p, err
}

// say keeps an answer, which is sent before the next packet is read: header edits and the reply to a message are one write,
// and Postfix wakes up once.
func (w *wire) say(c code, parts ...string) {
	w.out = appendPacket(w.out, c, parts...)
	if len(w.out) > maxOutBytes {
		w.flush()
	}
}

// flush sends the answers. An error ends the connection at the next packet.
func (w *wire) flush() {
	if len(w.out) == 0 {
		return
	}
	if _, err := w.Write(w.out); err != nil {
		w.report(err)
		_ = w.Close()
	}
	w.out = w.out[:0]
}

// settle is called between packets. It notes that a message has ended, and says whether to read on:
// while draining, not beyond the end of a message.
func (w *wire) settle() bool {
	w.srv.mu.Lock()
	defer w.srv.mu.Unlock()
	if w.last == cmdEnd || w.last == cmdAbort {
		w.busy = false
	}
	return w.busy || !w.srv.draining
}

func (w *wire) setBusy(busy bool) {
	w.srv.mu.Lock()
	defer w.srv.mu.Unlock()
	w.busy = busy
}

// report logs why a connection ends, unless the peer just closed it.
func (w *wire) report(err error) {
	switch {
	case errors.Is(err, errMalformed):
		w.srv.metrics.malformed.Inc()
		w.srv.log.Warn("milter connection closed", "err", mail.Clean(err.Error(), 200))
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
	default:
		w.srv.log.Debug("milter connection lost", "err", err)
	}
}

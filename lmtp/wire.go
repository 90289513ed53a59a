package lmtp

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// Bounds on what a client may send.
const (
	// maxCommandBytes is far above RFC 5321, 4.5.3.1.4 (512) with every extension's parameters, and bounds the
	// memory for a command.
	maxCommandBytes = 4096
	wireBuffer      = 16 << 10
)

// wire stands between the network and go-smtp (v0.25.1), which frames its input in ways that lose mail:
//
//   - its reader of DATA does not see the end of a line that ends in CR CR LF, so that a message with such a
//     line before the final dot hangs until the timeout, and it drops a CR that follows a leading dot;
//   - a client that vanishes within a BDAT chunk looks like the end of the message, which would be stored cut;
//   - its read deadline spans a whole message, and after it strikes, the rest of the message is read as
//     commands;
//   - command lines are as long as the client likes once lines of a message may be.
//
// So the wire knows whether a command, a message or a chunk comes next, and hands go-smtp one command line per
// Read, never more: what follows is decided by the reply. The message of a DATA command is read from the wire
// by the session (body); go-smtp only gets to see an empty one. An error of the network is final: nothing is
// read after it.
type wire struct {
	conn  net.Conn // the network, or the TLS connection on it
	front *front
	in    *bufio.Reader

	// out is what go-smtp has yet to read of a command line, err the final error, data the message being
	// received. They are used by one goroutine at a time: go-smtp's, or its session's while that one waits.
	out  []byte
	err  error
	data *dotReader

	mu    sync.Mutex
	phase phase
	chunk uint64 // what is left of a BDAT chunk
	// secured is after STARTTLS. mute swallows the greeting, which is not said twice.
	secured, mute bool
	// waiting is for a command, until commandBy; a message is to be complete by messageBy, unless that is zero.
	waiting              bool
	commandBy, messageBy time.Time
	transaction          bool // between MAIL and its end
	draining             bool
	handedOver           bool // the connection lives on under another wire
	writeErr             error
}

// phase says what the client sends next.
type phase int

const (
	inCommands phase = iota
	inData           // the message after 354
	inChunk          // what BDAT announced
)

func newWire(conn net.Conn, f *front, secured bool) *wire {
	w := &wire{conn: conn, front: f, secured: secured, mute: secured}
	w.in = bufio.NewReaderSize(network{w}, wireBuffer)
	w.await() // so that a handshake of implicit TLS has a deadline
	w.arm()
	return w
}

// network reads from the connection, with the deadline that the phase calls for.
type network struct{ w *wire }

// Read implements io.Reader.
func (n network) Read(p []byte) (int, error) {
	if err := n.w.arm(); err != nil {
		return 0, err
	}
	return n.w.conn.Read(p)
}

// arm sets the deadline for the next read. It does not rely on the connection alone, which may be wrapped in
// something with deadlines of its own.
func (w *wire) arm() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	now, by := time.Now(), w.commandBy
	switch {
	case w.waiting && w.draining && !w.transaction:
		return os.ErrDeadlineExceeded
	case !w.waiting:
		by = now.Add(w.front.server.options.DataTimeout)
		if !w.messageBy.IsZero() && w.messageBy.Before(by) {
			by = w.messageBy
		}
	}
	if !now.Before(by) {
		return os.ErrDeadlineExceeded
	}
	return w.conn.SetReadDeadline(by)
}

// Read gives go-smtp the rest of a command line, of a chunk, or of a message that the session did not read.
func (w *wire) Read(p []byte) (int, error) {
	if len(w.out) == 0 && w.err == nil {
		switch w.currentPhase() {
		case inChunk:
			return w.readChunk(p)
		case inData:
			w.endData()
		default:
			w.out, w.err = w.readCommand()
		}
	}
	if len(w.out) > 0 {
		n := copy(p, w.out)
		w.out = w.out[n:]
		return n, nil
	}
	return 0, w.err
}

func (w *wire) currentPhase() phase {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.phase
}

// readCommand gives the next command line as go-smtp shall see it.
func (w *wire) readCommand() ([]byte, error) {
	if !w.await() {
		return nil, w.sayGoodbye()
	}
	line, err := w.in.ReadSlice('\n')
	leaving := w.stopWaiting()
	switch {
	case errors.Is(err, bufio.ErrBufferFull) || err == nil && len(line) > maxCommandBytes:
		return nil, smtp.ErrTooLongLine
	case leaving && errors.Is(err, os.ErrDeadlineExceeded):
		return nil, w.sayGoodbye()
	case err != nil:
		return nil, err
	}
	return w.translate(line)
}

// await notes that the wire waits for a command; false when the server is closing and no transaction is open.
func (w *wire) await() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting, w.commandBy = true, time.Now().Add(w.front.server.options.CommandTimeout)
	return !w.draining || w.transaction
}

// stopWaiting says whether the server is closing and no transaction is open.
func (w *wire) stopWaiting() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.waiting = false
	return w.draining && !w.transaction
}

// sayGoodbye tells an idle client that the server is closing (RFC 5321, 3.8).
func (w *wire) sayGoodbye() error {
	if err := w.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(w.conn, "421 4.3.2 Server is shutting down\r\n"); err != nil {
		return err
	}
	return io.EOF
}

// readChunk reads from a BDAT chunk. The end of the input within it is an error, not the end of the message.
func (w *wire) readChunk(p []byte) (int, error) {
	w.mu.Lock()
	p = p[:min(uint64(len(p)), w.chunk)]
	w.mu.Unlock()
	n, err := w.in.Read(p)
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.chunk -= uint64(n); w.chunk == 0 {
		w.phase = inCommands
	}
	w.err = err
	return n, err
}

// body gives the message of a DATA command, nil when there is none (but chunks). It ends in io.EOF at the final
// dot. It is used by one session, while go-smtp waits for it.
func (w *wire) body() io.Reader {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.phase != inData {
		return nil
	}
	return bodyReader{w}
}

// bodyReader reads the message for the session; an error is the end of the connection.
type bodyReader struct{ w *wire }

// Read implements io.Reader.
func (b bodyReader) Read(p []byte) (int, error) {
	if b.w.err != nil {
		return 0, b.w.err
	}
	n, err := b.w.data.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		b.w.err = err
	}
	return n, err
}

// endData reads what the session left of the message, and gives go-smtp the end of an empty one.
func (w *wire) endData() {
	if _, err := io.Copy(io.Discard, bodyReader{w}); err != nil {
		return // w.err has it
	}
	w.out = []byte(".\r\n")
	w.mu.Lock()
	defer w.mu.Unlock()
	w.phase = inCommands
}

// Write passes go-smtp's replies, one line at a time as it gives them. A client that doesn't take them is cut
// off: go-smtp itself does not look at errors.
func (w *wire) Write(p []byte) (int, error) {
	w.mu.Lock()
	if w.mute {
		w.mute = false
		w.mu.Unlock()
		return len(p), nil
	}
	if bytes.HasPrefix(p, []byte("354")) { // the reply to DATA and nothing else
		w.phase, w.data = inData, newDotReader(w.in)
		w.startMessage()
	}
	err := w.writeErr
	w.mu.Unlock()
	if err != nil {
		return 0, err
	}
	n, err := w.conn.Write(p)
	if err != nil {
		w.mu.Lock()
		w.writeErr = err
		w.mu.Unlock()
		_ = w.conn.Close() // so that reading ends too; the write error is what matters
	}
	return n, err
}

// startTLS does the handshake and hands the connection to the protocol server behind TLS. go-smtp never hears
// of the command; for it the connection ends here.
func (w *wire) startTLS() error {
	if w.in.Buffered() > 0 {
		// Commands sent in the clear must not be taken as if they had come through TLS (RFC 3207, 6).
		return errors.New("input after STARTTLS, before the handshake")
	}
	ctx, cancel := context.WithTimeout(w.front.server.base, w.front.server.options.CommandTimeout)
	defer cancel()
	if err := w.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	if _, err := io.WriteString(w.conn, "220 2.0.0 Ready to start TLS\r\n"); err != nil {
		return err
	}
	secured := tls.Server(w.conn, w.front.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		return err
	}
	w.handedOver = w.front.upgraded.give(secured)
	return io.EOF
}

// startMessage sets when the message that begins now is to be complete. The caller holds mu.
func (w *wire) startMessage() {
	if w.messageBy.IsZero() {
		w.messageBy = time.Now().Add(w.front.server.options.MessageTimeout)
	}
}

// begin and finish bracket a transaction; outside of them a closing server ends the connection.
func (w *wire) begin()  { w.setTransaction(true) }
func (w *wire) finish() { w.setTransaction(false) }

func (w *wire) setTransaction(open bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.transaction, w.messageBy = open, time.Time{}
}

// drain ends the connection with 421, at once when it is idle, else after its transaction.
func (w *wire) drain() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.draining = true
	if w.waiting && !w.transaction {
		_ = w.conn.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection
	}
}

// Close closes the connection, unless it lives on under another wire.
func (w *wire) Close() error {
	w.front.server.removeWire(w)
	if w.handedOver { // set by this goroutine, or never
		return nil
	}
	return w.conn.Close()
}

// The rest of net.Conn is the connection's.

// LocalAddr implements net.Conn.
func (w *wire) LocalAddr() net.Addr { return w.conn.LocalAddr() }

// RemoteAddr implements net.Conn.
func (w *wire) RemoteAddr() net.Addr { return w.conn.RemoteAddr() }

// SetDeadline implements net.Conn.
func (w *wire) SetDeadline(t time.Time) error { return w.conn.SetDeadline(t) }

// SetReadDeadline implements net.Conn.
func (w *wire) SetReadDeadline(t time.Time) error { return w.conn.SetReadDeadline(t) }

// SetWriteDeadline implements net.Conn.
func (w *wire) SetWriteDeadline(t time.Time) error { return w.conn.SetWriteDeadline(t) }

package lmtp

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/emersion/go-smtp"
)

// Bounds on what a client may send.
const (
	// maxCommandBytes is far above RFC 5321, 4.5.3.1.4 (512) with every extension's parameters, and above what
	// quoting makes of the longest address that Postfix takes by default. It bounds the memory for a command.
	maxCommandBytes = wireBuffer
	wireBuffer      = 16 << 10
)

// wire stands between the network and go-smtp (v0.25.1), which frames its input in ways that lose mail:
//
//   - its reader of DATA does not see the end of a line that ends in CR CR LF, so that a message with such a
//     line before the final dot hangs until the timeout, and it drops a CR that follows a leading dot;
//   - a client that vanishes within a BDAT chunk looks like the end of the message, which would be stored cut;
//     a message aborted between chunks may give its result to the next one; and an error in the last chunk has
//     one reply where LMTP needs one for each recipient;
//   - its read deadline spans a whole message, and after it strikes, the rest of the message is read as
//     commands;
//   - command lines are as long as the client likes once lines of a message may be.
//
// So the wire hands go-smtp one command line per Read, never more: the reply decides what follows. Of messages
// go-smtp only sees an empty one. The session reads the real one from the wire (body), whether it comes with
// DATA or in BDAT chunks, which go-smtp never hears of: the first BDAT becomes its DATA. An error of the network
// is final: nothing is read after it.
//
// Reading and writing is done by one goroutine at a time: go-smtp's, or its session's while that one waits.
type wire struct {
	conn  net.Conn // the network, or the TLS connection on it
	front *front
	in    *bufio.Reader

	// out is what go-smtp has yet to read, err the error that follows.
	out []byte
	err error
	// verb is that of the command that go-smtp reads or has read last.
	verb string
	// path is that of the MAIL or RCPT that go-smtp reads or has read last, as the client wrote it, without
	// angle brackets.
	path string
	// pending is a command that was read while the next chunk was expected.
	pending []byte
	// chunks is the message that begins if go-smtp accepts the DATA which stands for BDAT.
	chunks *chunkReader
	// data is the message being received; nil between messages.
	data io.Reader
	// mute swallows replies until the next command: a greeting that was said before STARTTLS, and the replies
	// to a message that the client gave up.
	mute bool
	// secured is after STARTTLS.
	secured bool
	replies *replies
	// handedOver says that the connection lives on under another wire.
	handedOver bool
	// closed is set from any goroutine.
	closed atomic.Bool

	// The rest is for the deadlines, which drain changes from outside.
	mu          sync.Mutex
	waiting     bool      // for a command
	skipping    bool      // a chunk that was refused
	commandBy   time.Time // when it is to be there
	messageBy   time.Time // when the message, or what is skipped, is to be complete; zero between messages
	transaction bool      // between MAIL and its end
	draining    bool
}

func newWire(conn net.Conn, f *front, secured bool) *wire {
	w := &wire{conn: conn, front: f, secured: secured, mute: secured, replies: &replies{conn: conn, timeout: f.server.options.ReplyTimeout}}
	w.in = bufio.NewReaderSize(network{w}, wireBuffer)
	w.await()
	_ = w.arm() // for a handshake of implicit TLS; later reads set their own, and see the error
	return w
}

// Read gives go-smtp the next command line, or the end of a message. After Close, as for QUIT, it gives nothing of what came with that.
func (w *wire) Read(p []byte) (int, error) {
	if w.closed.Load() {
		return 0, net.ErrClosed
	}
	if len(w.out) == 0 && w.err == nil {
		if w.data != nil {
			w.endMessage()
		} else {
			w.out, w.err = w.nextCommand()
		}
	}
	if len(w.out) > 0 {
		n := copy(p, w.out)
		w.out = w.out[n:]
		return n, nil
	}
	return 0, w.err
}

// nextCommand gives the next command line as go-smtp shall see it.
func (w *wire) nextCommand() ([]byte, error) {
	w.mute = false
	if err := w.skipRefusedChunk(); err != nil {
		return nil, err
	}
	line := w.pending
	w.pending = nil
	if line == nil {
		var err error
		if line, err = w.readLine(); err != nil {
			return nil, err
		}
	}
	return w.translate(line)
}

// readLine reads a line with its end. In a closing server it says 421 instead, unless a transaction is open.
func (w *wire) readLine() ([]byte, error) {
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
	return bytes.Clone(line), nil
}

// sayGoodbye tells an idle client that the server is closing (RFC 5321, 3.8).
func (w *wire) sayGoodbye() error {
	if err := w.say("421 4.3.2 Server is shutting down"); err != nil {
		return err
	}
	return io.EOF
}

// say writes a reply that go-smtp knows nothing of.
func (w *wire) say(line string) error {
	if _, err := w.replies.Write([]byte(line + "\r\n")); err != nil {
		return err
	}
	return w.replies.flush()
}

// Write takes go-smtp's replies, one line at a time as it gives them. They leave before the wire waits for the client,
// so that those to commands that came together leave together (RFC 2920). A client that doesn't take them is
// cut off: go-smtp itself does not look at errors.
func (w *wire) Write(p []byte) (int, error) {
	accepted := bytes.HasPrefix(p, []byte("354")) // the reply to DATA and nothing else
	switch {
	case w.mute:
		return len(p), nil
	case accepted && w.chunks != nil:
		w.startMessage(w.chunks)
		w.chunks = nil
		return len(p), nil // BDAT has no such reply
	case accepted:
		w.startMessage(newDotReader(w.in))
	}
	if _, err := w.replies.Write(w.brief(p)); err != nil {
		return 0, err
	}
	return len(p), nil
}

// Replies to MAIL and RCPT, with the codes of RFC 3463, 3.2.
var (
	senderOK    = []byte("250 2.1.0 Sender ok\r\n")
	recipientOK = []byte("250 2.1.5 Recipient ok\r\n")
)

// brief gives what is to be said for a reply of go-smtp, which repeats the address: an MTA reads it byte by byte, for every message.
func (w *wire) brief(reply []byte) []byte {
	if !bytes.HasPrefix(reply, []byte("250 ")) {
		return reply
	}
	switch w.verb {
	case "MAIL":
		return senderOK
	case "RCPT":
		return recipientOK
	}
	return reply
}

func (w *wire) startMessage(data io.Reader) {
	w.data = data
	w.mu.Lock()
	defer w.mu.Unlock()
	w.messageBy = time.Now().Add(w.front.server.options.MessageTimeout)
}

// body gives the message that go-smtp has just announced to the session. It ends in io.EOF.
func (w *wire) body() io.Reader { return bodyReader{w} }

// bodyReader reads the message for the session; an error of the network is the end of the connection.
type bodyReader struct{ w *wire }

// Read implements io.Reader.
func (b bodyReader) Read(p []byte) (int, error) {
	w := b.w
	if w.err != nil {
		return 0, w.err
	}
	n, err := w.data.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, errGivenUp) {
		w.err = err
	}
	return n, err
}

// endMessage reads what the session left of the message, and gives go-smtp the end of an empty one.
func (w *wire) endMessage() {
	if _, err := io.Copy(io.Discard, w.body()); err != nil && !errors.Is(err, errGivenUp) {
		return // w.err has it
	}
	w.out, w.data = []byte(".\r\n"), nil
	w.mu.Lock()
	defer w.mu.Unlock()
	w.messageBy = time.Time{}
}

// startTLS does the handshake and hands the connection to the protocol server behind TLS. go-smtp never hears
// of the command; for it the connection ends here.
func (w *wire) startTLS() error {
	if w.in.Buffered() > 0 {
		// Commands sent in the clear must not be taken as if they had come through TLS (RFC 3207, 6).
		return errors.New("input after STARTTLS, before the handshake")
	}
	if err := w.say("220 2.0.0 Ready to start TLS"); err != nil {
		return err
	}
	ctx, cancel := w.front.server.within(w.front.server.options.CommandTimeout)
	defer cancel()
	secured := tls.Server(w.conn, w.front.tls)
	if err := secured.HandshakeContext(ctx); err != nil {
		return err
	}
	w.handedOver = w.front.upgraded.give(secured)
	return io.EOF
}

// Close closes the connection, unless it lives on under another wire.
func (w *wire) Close() error {
	w.closed.Store(true)
	w.front.server.removeWire(w)
	if w.handedOver {
		return nil
	}
	_ = w.replies.flush() // nobody is left to be told of an error
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

package milter

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"

	gomilter "github.com/emersion/go-milter"

	"github.com/mairust/mairust/internal/mail"
)

// maxPacketBytes bounds a packet with its command byte. Postfix sends bodies in pieces of 64 KiB, but
// a header field whole, up to its header_size_limit (100 kB unless raised). go-milter stops at 1 MiB.
const maxPacketBytes = 1 << 20

// errMalformed is wrapped by every error about bytes that are not the milter protocol.
var errMalformed = errors.New("malformed milter packet")

// guard is the connection as go-milter sees it: it reads whole packets, lets only well-formed ones
// through (the library would misread or drop others), and tells the server when the connection ends.
//
// The protocol lets the end of the body ride on the end-of-message packet. Postfix 3.7 does not do so,
// others do. go-milter ignores it there, so the guard hands it over as a body packet of its own first.
type guard struct {
	net.Conn
	srv   *Server
	ended func() // called once, when nothing more comes

	*buffers
	now  []byte // what the library is reading
	next []byte // the packet after it, if one was split in two
	last gomilter.Code
	// envID is the ENVID of the last MAIL, which the library drops with all its parameters.
	envID string

	// split is true while the library handles a body packet that the MTA did not send, to which it
	// must not reply.
	split bool

	busy   bool // a message is in progress; guarded by srv.mu
	closed sync.Once
}

// buffers are what a connection reads and writes through. Postfix opens a connection for each SMTP session, often for one
// message, so that they are used again.
type buffers struct {
	r   *bufio.Reader // of Conn; Postfix sends what needs no answer in one go
	buf []byte        // the packets that the library reads live here
	out []byte        // answers that are not yet sent
}

const (
	// maxKeptBytes of a buffer are kept for the next connection.
	maxKeptBytes = 128 << 10
	// maxOutBytes of answers wait for the last one of a message.
	maxOutBytes = 64 << 10
)

var bufferPool = sync.Pool{New: func() any { return &buffers{r: bufio.NewReader(nil)} }}

func newBuffers(conn net.Conn) *buffers {
	b := bufferPool.Get().(*buffers) //nolint:errcheck // it holds nothing else
	b.r.Reset(conn)
	return b
}

// release gives the buffers to the next connection.
func (b *buffers) release() {
	b.r.Reset(nil)
	b.out = b.out[:0]
	if cap(b.buf) <= maxKeptBytes {
		bufferPool.Put(b)
	}
}

// readOffer reads the first packet, which must be the handshake, and keeps it for the library.
func (g *guard) readOffer() (offer, error) {
	p, err := g.readPacket()
	if err != nil {
		return offer{}, err
	}
	if gomilter.Code(p[4]) != gomilter.CodeOptNeg {
		return offer{}, fmt.Errorf("%w: it begins with %q and not a handshake", errMalformed, p[4])
	}
	g.now = p
	return offer{
		version:  binary.BigEndian.Uint32(p[5:]),
		actions:  gomilter.OptAction(binary.BigEndian.Uint32(p[9:])),
		protocol: gomilter.OptProtocol(binary.BigEndian.Uint32(p[13:])),
	}, nil
}

// Read yields checked packets. After any error it says io.EOF, which the library takes without a word:
// the reason was logged here.
func (g *guard) Read(b []byte) (int, error) {
	if len(g.now) == 0 {
		if err := g.advance(); err != nil {
			g.report(err)
			return 0, io.EOF
		}
	}
	n := copy(b, g.now)
	g.now = g.now[n:]
	return n, nil
}

// Write takes the library's answers, which are sent together as soon as it reads on: header edits and the reply to a
// message are one write, and Postfix wakes up once.
func (g *guard) Write(b []byte) (int, error) {
	g.out = append(g.out, b...)
	if len(g.out) > maxOutBytes {
		g.flush()
	}
	return len(b), nil
}

// flush sends the answers. An error ends the connection at the next Read.
func (g *guard) flush() {
	if len(g.out) == 0 {
		return
	}
	if _, err := g.Conn.Write(g.out); err != nil {
		g.report(err)
		_ = g.Conn.Close()
	}
	g.out = g.out[:0]
}

// Close ends the connection. The library calls it when its goroutine ends.
func (g *guard) Close() error {
	err := g.Conn.Close()
	g.closed.Do(func() {
		g.ended()
		g.release()
		g.srv.dropConn(g)
	})
	return err
}

// advance makes the next packet the current one.
func (g *guard) advance() error {
	g.split = false
	if g.next != nil {
		g.now, g.next = g.next, nil
		return nil
	}
	g.flush()
	if !g.settle() {
		return io.EOF
	}
	p, err := g.readPacket()
	if err != nil {
		return err
	}
	code := gomilter.Code(p[4])
	if code == gomilter.CodeOptNeg {
		return fmt.Errorf("%w: a second handshake", errMalformed)
	}
	if code == gomilter.CodeMail {
		g.setBusy(true)
		g.envID = envID(p[5:])
	}
	g.last = code
	g.now = p
	if code == gomilter.CodeEOB && len(p) > 5 {
		p[4] = byte(gomilter.CodeBody)
		g.split = true
		g.next = []byte{0, 0, 0, 1, byte(gomilter.CodeEOB)}
	}
	return nil
}

// maxEnvID is how long an ENVID may be (RFC 3461, section 5.4).
const maxEnvID = 100

// envID finds the ENVID among the parameters of MAIL, which follow the address, each ended by a NUL; empty for none.
func envID(data []byte) string {
	for _, parameter := range bytes.Split(data, []byte{0})[1:] {
		name, value, ok := bytes.Cut(parameter, []byte{'='})
		if ok && bytes.EqualFold(name, []byte("ENVID")) && len(value) <= maxEnvID {
			return mail.Clean(string(value), maxEnvID)
		}
	}
	return ""
}

// settle is called between packets. It notes that a message has ended, and says whether to read on:
// while draining, not beyond the end of a message.
func (g *guard) settle() bool {
	g.srv.mu.Lock()
	defer g.srv.mu.Unlock()
	if g.last == gomilter.CodeEOB || g.last == gomilter.CodeAbort {
		g.busy = false
	}
	return g.busy || !g.srv.draining
}

func (g *guard) setBusy(busy bool) {
	g.srv.mu.Lock()
	defer g.srv.mu.Unlock()
	g.busy = busy
}

// readPacket reads one packet, with its length, into the guard's buffer and checks it.
func (g *guard) readPacket() ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(g.r, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n == 0 || n > maxPacketBytes {
		return nil, fmt.Errorf("%w: length %d", errMalformed, n)
	}
	if need := 4 + int(n); cap(g.buf) < need {
		g.buf = make([]byte, max(need, 4096))
	}
	p := g.buf[:4+n]
	copy(p, head[:])
	if _, err := io.ReadFull(g.r, p[4:]); err != nil {
		return nil, err
	}
	return p, checkPacket(gomilter.Code(p[4]), p[5:])
}

// report logs why a connection ends, unless the peer just closed it.
func (g *guard) report(err error) {
	switch {
	case errors.Is(err, errMalformed):
		g.srv.metrics.malformed.Inc()
		g.srv.log.Warn("milter connection closed", "err", mail.Clean(err.Error(), 200))
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
	default:
		g.srv.log.Debug("milter connection lost", "err", err)
	}
}

// checkPacket tells whether the data of a command is what go-milter can read without loss.
func checkPacket(code gomilter.Code, data []byte) error {
	ok := false
	switch code {
	case gomilter.CodeOptNeg:
		ok = len(data) == 12
	case gomilter.CodeConn:
		ok = validConnect(data)
	case gomilter.CodeMacro:
		ok = validMacros(data)
	case gomilter.CodeHelo:
		ok = cStrings(data) == 1
	case gomilter.CodeMail, gomilter.CodeRcpt:
		ok = cStrings(data) >= 1
	case gomilter.CodeHeader:
		ok = cStrings(data) == 2 && data[0] != 0
	case gomilter.CodeBody, gomilter.CodeEOB:
		ok = true
	case gomilter.CodeEOH, gomilter.CodeAbort, gomilter.CodeQuit:
		ok = len(data) == 0
	}
	if !ok {
		return fmt.Errorf("%w: command %q with %d bytes", errMalformed, byte(code), len(data))
	}
	return nil
}

// validConnect: host NUL family, and for all but the unknown family two bytes of port, address NUL.
func validConnect(data []byte) bool {
	_, rest, found := bytes.Cut(data, []byte{0})
	if !found || len(rest) == 0 {
		return false
	}
	family, rest := gomilter.ProtoFamily(rest[0]), rest[1:]
	switch family {
	case gomilter.FamilyUnknown:
		return true
	case gomilter.FamilyUnix:
		return cStrings(rest) >= 1 // with or without the port, which the library does not use
	case gomilter.FamilyInet, gomilter.FamilyInet6:
		return len(rest) > 2 && cStrings(rest[2:]) == 1
	}
	return false
}

// validMacros: the stage, then pairs of name and value.
func validMacros(data []byte) bool {
	if len(data) == 0 {
		return false
	}
	n := cStrings(data[1:])
	return len(data) == 1 || n > 0 && n%2 == 0 && data[1] != 0
}

// cStrings counts the NUL-terminated strings that data is made of; 0 if it does not end in NUL.
func cStrings(data []byte) int {
	if len(data) == 0 || data[len(data)-1] != 0 {
		return 0
	}
	return bytes.Count(data, []byte{0})
}

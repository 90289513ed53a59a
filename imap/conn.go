package imap

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/mairust/mairust/store"
)

// state is that of RFC 9051, section 3.
type state int

const (
	notAuthenticated state = iota
	authenticated
	selected
	loggedOut
)

// bufferBytes of each connection's reader: all that an idle one keeps, beside what TLS does.
const bufferBytes = 4 << 10

// conn is one connection. Only its own goroutine uses it, but for nc, for what wake does, and for IDLE, which has
// a goroutine of its own that alone writes meanwhile.
type conn struct {
	server *Server
	// listener is where the client came in.
	listener net.Listener
	security Security
	secure   bool
	client   netip.Addr
	log      *slog.Logger

	nc  net.Conn
	br  *bufio.Reader
	out *writer

	state state
	// fails counts bad commands and failed logins before the login.
	fails int
	login string
	scope store.Scope
	// view is of the selected folder.
	view *view
	// saved is the result of the last SEARCH that was to be saved (RFC 5182).
	saved []uint32
	// condstore and qresync are what the client enabled (RFC 7162).
	condstore, qresync bool

	// broken ends the connection after a command during which it went out of step.
	broken error

	// loginBy is when the client must have logged in.
	loginBy time.Time

	// waking makes "is the server stopping, then don't wait" one step, and guards nc once the connection is served, and
	// what follows.
	waking sync.Mutex
	// waiting is for a command or, before the login, for whatever the client does.
	waiting bool
	// entered is looked at again from time to time, and revoked says what did not hold any more.
	entered entered
	revoked error
	// abort ends what is being done.
	abort context.CancelFunc
	// leaving is when only last words are left to say.
	leaving bool
}

func newConn(s *Server, l net.Listener, nc net.Conn, security Security) *conn {
	_, secure := nc.(*tls.Conn)
	c := &conn{server: s, listener: l, security: security, secure: secure, nc: nc, client: clientAddr(nc)}
	c.log = s.log.With("client", c.client.String())
	c.loginBy = time.Now().Add(s.deps.Timeouts.Login)
	c.br = bufio.NewReaderSize(nc, bufferBytes)
	c.out = newWriter(nc, c.writing, c.written, s.metrics.bytes)
	return c
}

func clientAddr(nc net.Conn) netip.Addr {
	if a, ok := nc.RemoteAddr().(*net.TCPAddr); ok {
		return a.AddrPort().Addr().Unmap()
	}
	return netip.Addr{}
}

// canLogin says whether a password may be sent over this connection.
func (c *conn) canLogin() bool { return c.secure || c.security.PlainLogin }

// serve speaks until the client leaves, or is made to.
func (c *conn) serve() {
	ctx, cancel := c.server.within()
	defer cancel()
	c.abort = cancel
	defer func() {
		if v := recover(); v != nil {
			c.server.metrics.panics.Inc()
			c.log.Error("panic", "panic", v, "stack", string(debug.Stack()))
		}
		c.closeFolder()
		c.hangUp()
	}()
	if c.wait() != nil { // of implicit TLS the handshake comes before the greeting
		return
	}
	c.out.line("* OK [CAPABILITY " + c.capabilities() + "] MaiRust ready")
	if err := c.out.flush(); err != nil {
		return
	}
	for c.state != loggedOut {
		if err := c.next(ctx); err != nil {
			c.end(err)
			return
		}
	}
}

// end says why the connection ends, if the client can still hear it.
func (c *conn) end(err error) {
	switch {
	case errors.Is(err, errStopping), errors.Is(err, os.ErrDeadlineExceeded) && c.server.stopping():
		c.out.line("* BYE MaiRust is shutting down")
	case errors.Is(err, errLoginEnded):
		c.log.Info("login ended")
		c.out.line("* BYE [AUTHENTICATIONFAILED] This login does not hold any more, please log in again") // RFC 5530, 3
	case errors.Is(err, errAccessEnded):
		c.log.Info("access ended")
		c.out.line("* BYE [NOPERM] This mailbox may not be read any more") // as above
	case errors.Is(err, errRenumbered):
		c.out.line("* BYE The messages of this folder have new UIDs, please connect again")
	case errors.Is(err, os.ErrDeadlineExceeded) && c.state == notAuthenticated:
		c.out.line("* BYE The login took too long")
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.out.line("* BYE Nothing came for too long")
	case errors.Is(err, errTooLong):
		c.out.line("* BYE [TOOBIG] A command is too long")
	case errors.Is(err, errTooManyFails):
		c.out.line("* BYE Too many bad commands")
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return
	default:
		c.log.Debug("connection ended", "err", err)
		return
	}
	c.leave()
	_ = c.out.flush() // a courtesy
}

// maxFails before the login: scanners and guessers are not worth a connection.
const maxFails = 10

var errTooManyFails = errors.New("too many bad commands")

// next reads a command and does it.
func (c *conn) next(ctx context.Context) error {
	raw, err := c.readCommand()
	if err != nil {
		return err
	}
	r := c.do(ctx, raw)
	if c.broken != nil {
		return c.broken
	}
	if c.state == notAuthenticated && r.kind != "OK" {
		if c.fails++; c.fails >= maxFails {
			c.out.line(r.line())
			return errTooManyFails
		}
	}
	if r.tag != "" {
		c.out.line(r.line())
	}
	if err := c.out.flush(); err != nil {
		return err
	}
	if r.after != nil {
		return r.after()
	}
	return nil
}

var errStopping = errors.New("the server is stopping")

// startTLS makes the connection one of TLS. What a client sent before it is dropped (CVE-2011-0411 and its kin).
func (c *conn) startTLS() error {
	if c.br.Buffered() > 0 {
		return errors.New("bytes after STARTTLS came too early")
	}
	tc := tls.Server(c.nc, c.security.StartTLS)
	if err := c.writing(); err != nil { // reading has its deadline
		return err
	}
	ctx, cancel := c.server.within()
	defer cancel()
	if err := tc.HandshakeContext(ctx); err != nil {
		return err
	}
	c.waking.Lock()
	c.nc = tc
	c.waking.Unlock()
	c.br.Reset(tc)
	c.out.reset(tc)
	c.secure = true
	return nil
}

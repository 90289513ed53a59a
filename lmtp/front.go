package lmtp

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"sync"

	"github.com/emersion/go-smtp"
)

// front is one listener with the protocol servers behind it. There are two of them, because STARTTLS is done
// by the wire (go-smtp would put TLS where the wire can't see through it): a connection begins at plain, and
// after the handshake begins again at secure, knowing nothing of what was said before (RFC 3207, 4.2).
type front struct {
	server   *Server
	listener net.Listener
	tls      *tls.Config
	upgraded *handoff
	plain    *smtp.Server
	secure   *smtp.Server
	once     sync.Once // for close
}

func (s *Server) newFront(l net.Listener, tlsConfig *tls.Config) *front {
	return &front{
		server: s, listener: l, tls: tlsConfig,
		upgraded: &handoff{addr: l.Addr(), conns: make(chan net.Conn), done: make(chan struct{})},
		plain:    s.protocol(tlsConfig),
		secure:   s.protocol(nil),
	}
}

// serve returns when the listener is closed, by close or otherwise; connections may go on then.
func (f *front) serve() error {
	served := make(chan error, 1)
	go func() { served <- f.secure.Serve(&wireListener{Listener: f.upgraded, front: f, secured: true}) }()
	err := f.plain.Serve(&wireListener{Listener: f.listener, front: f})
	f.close()
	return errors.Join(err, <-served)
}

// close stops accepting. It may be called again, and from any goroutine, which go-smtp's Shutdown may not.
func (f *front) close() {
	f.once.Do(func() {
		// With a context that is over, go-smtp closes the listeners that it knows and waits for nothing.
		over, cancel := context.WithCancel(context.Background())
		cancel()
		_ = f.plain.Shutdown(over)
		_ = f.secure.Shutdown(over)
		// It may not know them yet. Closing twice is no news.
		_ = f.listener.Close()
		_ = f.upgraded.Close()
	})
}

// wireListener puts a wire on each connection that it accepts.
type wireListener struct {
	net.Listener
	front *front
	// secured says that the connections come from a STARTTLS and have been greeted already.
	secured bool
}

// Accept gives the next connection. When the server is closing, the listener is or will be closed at once.
func (l *wireListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		w := newWire(conn, l.front, l.secured)
		if l.front.server.addWire(w) {
			return w, nil
		}
		_ = conn.Close() // never greeted
	}
}

// handoff is a listener for connections that are open already.
type handoff struct {
	addr  net.Addr
	conns chan net.Conn
	once  sync.Once
	done  chan struct{}
}

// give hands conn to whoever accepts; false when nobody will.
func (h *handoff) give(conn net.Conn) bool {
	select {
	case h.conns <- conn:
		return true
	case <-h.done:
		return false
	}
}

// Accept implements net.Listener.
func (h *handoff) Accept() (net.Conn, error) {
	select {
	case conn := <-h.conns:
		return conn, nil
	case <-h.done:
		return nil, net.ErrClosed
	}
}

// Close implements net.Listener.
func (h *handoff) Close() error {
	h.once.Do(func() { close(h.done) })
	return nil
}

// Addr implements net.Listener.
func (h *handoff) Addr() net.Addr { return h.addr }

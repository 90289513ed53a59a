// Package lookup answers Postfix's questions about recipients over the socketmap protocol
// (socketmap_table(5)), so that Postfix refuses unknown recipients itself, at RCPT, and never has to send a
// bounce for them.
//
//	virtual_mailbox_domains = socketmap:unix:/run/mairust/lookup.sock:domains
//	virtual_mailbox_maps    = socketmap:unix:/run/mairust/lookup.sock:mailboxes
//	virtual_alias_maps      = socketmap:unix:/run/mairust/lookup.sock:aliases
package lookup

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/internal/listen"
)

// Options of the lookup service. Zero values mean the defaults.
type Options struct {
	Listeners []listen.Options `yaml:"listeners"`
	// MaxConnections at once on one listener; default 1000. One more waits: the protocol has no word to refuse it.
	MaxConnections int `yaml:"max_connections"`
	// MaxPerClient at once from one address; default: as many as MaxConnections, because Postfix is one client.
	MaxPerClient int `yaml:"max_per_client"`
	// IdleTimeout closes a connection on which nothing was asked; default 5 minutes. Postfix connects again.
	IdleTimeout time.Duration `yaml:"idle_timeout"`
	// RequestTimeout bounds the reading of one request, finding the answer, and the writing of it, each by
	// itself; default 10 seconds.
	RequestTimeout time.Duration `yaml:"request_timeout"`
}

// Limits are what Options say about the connections of a listener.
func (o Options) Limits() listen.Limits {
	return listen.Limits{
		MaxConnections: o.MaxConnections, MaxPerClient: cmp.Or(o.MaxPerClient, o.MaxConnections, 1000), Idle: time.Hour,
	}
}

// Deps are what the service works with. Index is required.
type Deps struct {
	Index Index
	// RecipientDelimiter is that of LMTP and of Postfix; empty means that addresses have no detail part.
	RecipientDelimiter string
	// Uncertain says whether the database may not know all mailboxes, of a domain that it knows or of others: what it does not know is
	// then not refused for good. Nil means never.
	Uncertain func(ctx context.Context, known bool) (bool, error)
	// Log may be nil.
	Log *slog.Logger
	// Registerer may be nil.
	Registerer prometheus.Registerer
}

// Server answers lookups. Serve may be called for several listeners at once.
type Server struct {
	options Options
	deps    Deps
	metrics metrics

	mu        sync.Mutex
	closed    bool
	listeners map[net.Listener]struct{}
	conns     map[net.Conn]struct{}
	serving   sync.WaitGroup
}

// New makes a server; it does not listen yet.
func New(o Options, d Deps) (*Server, error) {
	if d.Index == nil {
		return nil, errors.New("lookup: an index is required")
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = 5 * time.Minute
	}
	if o.RequestTimeout <= 0 {
		o.RequestTimeout = 10 * time.Second
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Uncertain == nil {
		d.Uncertain = func(context.Context, bool) (bool, error) { return false, nil }
	}
	m, err := newMetrics(d.Registerer)
	if err != nil {
		return nil, fmt.Errorf("lookup: register metrics: %w", err)
	}
	return &Server{
		options: o, deps: d, metrics: m,
		listeners: map[net.Listener]struct{}{}, conns: map[net.Conn]struct{}{},
	}, nil
}

// Serve answers on l until ctx is done or Shutdown is called, and then returns nil; it closes l. Requests
// that are being answered at that moment are answered.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	if !s.addListener(l) {
		_ = l.Close() // nobody is waiting on it
		return nil
	}
	defer s.dropListener(l)
	stop := context.AfterFunc(ctx, s.stop)
	defer stop()
	for {
		conn, err := l.Accept()
		switch {
		case err == nil:
			s.start(context.WithoutCancel(ctx), conn)
		case s.isClosed():
			s.serving.Wait()
			return nil
		case isTemporary(err):
			s.deps.Log.Warn("accept", "err", err)
			if !pause(ctx, 100*time.Millisecond) {
				s.stop()
			}
		default:
			return fmt.Errorf("lookup: accept: %w", err)
		}
	}
}

// Shutdown stops accepting, lets requests that are being answered end, and closes the rest at once. When
// ctx ends first, everything is closed and the context's error is returned. It may be called twice.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serving.Wait()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.mu.Lock()
		for c := range s.conns {
			_ = c.Close() // it is being torn down; there is nobody to tell
		}
		s.mu.Unlock()
		return fmt.Errorf("lookup: shutdown: %w", ctx.Err())
	}
}

// stop closes the listeners and wakes the connections that wait for a request.
func (s *Server) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	for l := range s.listeners {
		_ = l.Close() // Accept reports it
	}
	for c := range s.conns {
		_ = c.SetReadDeadline(time.Unix(1, 0)) // fails only on a closed connection
	}
}

func (s *Server) start(ctx context.Context, conn net.Conn) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		_ = conn.Close() // never served
		return
	}
	s.conns[conn] = struct{}{}
	s.serving.Add(1)
	s.mu.Unlock()
	s.metrics.connections.Inc()
	go func() {
		defer s.serving.Done()
		defer s.metrics.connections.Dec()
		defer s.end(conn)
		if err := s.converse(ctx, conn); err != nil {
			s.deps.Log.Warn("lookup connection ended", "client", conn.RemoteAddr().String(), "err", err)
		}
	}()
}

// end forgets and closes conn, whatever happened on it.
func (s *Server) end(conn net.Conn) {
	if p := recover(); p != nil {
		s.metrics.panics.Inc()
		s.deps.Log.Error("panic in lookup", "err", fmt.Sprint(p), "stack", string(debug.Stack()))
	}
	s.mu.Lock()
	delete(s.conns, conn)
	s.mu.Unlock()
	_ = conn.Close() // nothing is left to be written
}

// converse answers requests until the peer closes, is silent for too long, or breaks the protocol.
func (s *Server) converse(ctx context.Context, conn net.Conn) error {
	r := bufio.NewReaderSize(conn, maxRequestBytes+16)
	for {
		if !s.await(conn, s.options.IdleTimeout) {
			return nil
		}
		if _, err := r.Peek(1); err != nil {
			return quiet(err)
		}
		if !s.await(conn, s.options.RequestTimeout) {
			return nil
		}
		request, err := readNetstring(r, maxRequestBytes)
		if err != nil {
			if errors.Is(err, errNetstring) {
				// A last word for whoever is looking at the other end.
				_ = s.write(conn, "PERM "+err.Error())
			}
			return fmt.Errorf("read request: %w", err)
		}
		if err := s.write(conn, s.answer(ctx, request)); err != nil {
			return fmt.Errorf("write reply: %w", err)
		}
	}
}

func (s *Server) write(conn net.Conn, reply string) error {
	if err := conn.SetWriteDeadline(time.Now().Add(s.options.RequestTimeout)); err != nil {
		return err
	}
	_, err := conn.Write(appendNetstring(nil, reply))
	return err
}

// await gives the peer time to send; false when the server is closing.
func (s *Server) await(conn net.Conn, d time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.closed && conn.SetReadDeadline(time.Now().Add(d)) == nil
}

func (s *Server) addListener(l net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.listeners[l] = struct{}{}
	return true
}

func (s *Server) dropListener(l net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
	_ = l.Close() // closed already in the ordinary course
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// quiet drops the errors by which a connection between two requests ends in the ordinary course.
func quiet(err error) error {
	var timeout net.Error
	if errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) || (errors.As(err, &timeout) && timeout.Timeout()) {
		return nil
	}
	return err
}

// isTemporary says that accept(2) may succeed later: out of file descriptors, a connection gone before it was taken.
func isTemporary(err error) bool {
	var t interface{ Temporary() bool }
	return errors.As(err, &t) && t.Temporary()
}

func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

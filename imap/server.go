// Package imap lets mail programs read mailboxes: IMAP4rev1 (RFC 3501) with the extensions that clients of today ask
// for. It is read-only; every command that would change something is answered NO [NOPERM].
//
// The protocol engine is our own; docs/adr says why. A connection is a goroutine that reads a command, does it, and
// reads the next; what it knows of its folder is shared with other connections (hub).
package imap

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// Server speaks IMAP. Serve may be called for several listeners at once.
type Server struct {
	options Options
	deps    Deps
	log     *slog.Logger
	metrics *metrics
	hub     *hub
	cache   *cache
	// objects gives no byte of a message that is not as it was stored.
	objects *blob.Verifier

	mu     sync.Mutex
	closed bool
	// listeners and conns are what Shutdown has to end; bool says that TLS may begin later.
	listeners map[net.Listener]struct{}
	conns     map[*conn]struct{}
	open      sync.WaitGroup
	// within ends all work when a Shutdown has run out of patience.
	within func() (context.Context, context.CancelFunc)
	abort  context.CancelFunc
}

// New makes a Server.
func New(o Options, d Deps) (*Server, error) {
	if err := d.check(); err != nil {
		return nil, err
	}
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Suspect == nil {
		d.Suspect = func(store.MessageID, error) {}
	}
	o, d.Timeouts = o.withDefaults(), d.Timeouts.withDefaults()
	m, err := newMetrics(d.Registerer)
	if err != nil {
		return nil, err
	}
	base, abort := context.WithCancel(store.Patient(context.Background()))
	s := &Server{
		options: o, deps: d, log: d.Log, metrics: m,
		listeners: map[net.Listener]struct{}{}, conns: map[*conn]struct{}{},
		within: func() (context.Context, context.CancelFunc) { return context.WithCancel(base) },
		abort:  abort,
	}
	s.objects = blob.NewVerifier(d.Objects)
	s.cache = newCache(o.CacheBytes/4*3, m)
	s.hub = newHub(d.Index, o.CacheBytes/4, d.Log)
	return s, nil
}

// Security says how the connections of a listener are protected.
type Security struct {
	// StartTLS is for the protocol's own STARTTLS (RFC 9051, 6.2.1); nil when the listener has none.
	StartTLS *tls.Config
	// PlainLogin allows logins without TLS; for loopback and unix sockets only.
	PlainLogin bool
}

// Serve accepts connections until the listener is closed or the server shut down, and then returns nil once they
// have ended. It closes the listener.
func (s *Server) Serve(ctx context.Context, l net.Listener, security Security) error {
	if !s.addListener(l) {
		return l.Close()
	}
	defer s.removeListener(l)
	defer context.AfterFunc(ctx, s.stop)()
	checking, endChecks := context.WithCancel(context.WithoutCancel(ctx)) // those who are there while the server stops are looked at too
	var checks sync.WaitGroup
	checks.Go(func() { s.recheckLogins(checking, l) })
	defer checks.Wait()
	defer endChecks()
	for {
		nc, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			break
		}
		if err != nil {
			return fmt.Errorf("imap: accept on %s: %w", l.Addr(), err)
		}
		c := newConn(s, l, nc, security)
		if !s.addConn(c) {
			_ = nc.Close() // shutting down; nothing was said
			break
		}
		go func() {
			defer s.removeConn(c)
			c.serve()
		}()
	}
	s.open.Wait()
	return nil
}

// Shutdown stops accepting, says BYE to connections that wait for a command, cuts those that have not logged in, and waits until the
// others have finished their commands. Who does not take the answer meanwhile is cut. When ctx ends first, all are closed, and the
// context's error is returned. It may be called twice.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.open.Wait()
	}()
	defer s.abort()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		s.abort()
		for _, c := range s.allConns() {
			c.hangUp() // its reader and writer see the error
		}
		return fmt.Errorf("imap: shutdown: %w", ctx.Err())
	}
}

// stop begins the end: no new connections, no new commands.
func (s *Server) stop() {
	s.mu.Lock()
	s.closed = true
	for l := range s.listeners {
		_ = l.Close() // Serve sees it closed
	}
	s.mu.Unlock()
	for _, c := range s.allConns() {
		c.stop()
	}
}

func (s *Server) stopping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
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

func (s *Server) removeListener(l net.Listener) {
	_ = l.Close() // it may be closed already
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

func (s *Server) addConn(c *conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.conns[c] = struct{}{}
	s.open.Add(1)
	s.metrics.connections.Inc()
	return true
}

func (s *Server) removeConn(c *conn) {
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.metrics.connections.Dec()
	s.open.Done()
}

func (s *Server) allConns() []*conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	list := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		list = append(list, c)
	}
	return list
}

// Package lmtp takes mail from Postfix over LMTP (RFC 2033) and delivers it: the object first, then the
// index, then the reply. A 250 for a recipient means that object and index row survive the loss of power.
//
// The protocol is go-smtp's. Between it and the network stands a wire, which frames the input itself; its
// comment says why.
package lmtp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"time"

	"github.com/emersion/go-smtp"
)

// Server delivers mail. Serve may be called for several listeners at once.
type Server struct {
	options Options
	deps    Deps
	metrics metrics
	log     *slog.Logger
	// budget is the memory of all spools.
	budget *budget
	fault  fault
	// foreign is for telling once of an MTA that has another name.
	foreign sync.Once

	// within makes the context of a piece of work. abort ends all of them, when a Shutdown has run out of patience.
	within func(time.Duration) (context.Context, context.CancelFunc)
	abort  context.CancelFunc

	mu     sync.Mutex
	closed bool
	fronts map[*front]struct{}
	wires  map[*wire]struct{}
	// open counts the wires, so that stopping can wait for them.
	open sync.WaitGroup
}

// New makes a server; it does not listen yet.
func New(o Options, d Deps) (*Server, error) {
	o, d = o.withDefaults(), d.withDefaults()
	if err := errors.Join(o.check(), d.check()); err != nil {
		return nil, fmt.Errorf("lmtp: %w", err)
	}
	m, err := newMetrics(d.Registerer)
	if err != nil {
		return nil, fmt.Errorf("lmtp: register metrics: %w", err)
	}
	s := &Server{
		options: o, deps: d, metrics: m, log: d.Log, budget: newBudget(o.SpoolMemoryTotalBytes),
		fronts: map[*front]struct{}{}, wires: map[*wire]struct{}{},
	}
	base, abort := context.WithCancel(context.Background())
	s.abort = abort
	s.within = func(d time.Duration) (context.Context, context.CancelFunc) { return context.WithTimeout(base, d) }
	return s, nil
}

// Serve takes mail on l until ctx is done or Shutdown is called; it closes l. With a tlsConfig it offers
// STARTTLS. When ctx is done the whole server stops accepting, closes idle connections with 421 and lets
// transactions end; then Serve returns nil. Shutdown bounds how long that takes. Any other end is an error.
func (s *Server) Serve(ctx context.Context, l net.Listener, tlsConfig *tls.Config) error {
	f := s.newFront(l, tlsConfig)
	if !s.addFront(f) {
		f.close()
		return nil
	}
	defer s.removeFront(f)
	defer context.AfterFunc(ctx, s.stop)()

	if err := f.serve(); err != nil && !s.isClosed() {
		return fmt.Errorf("lmtp: serve %s: %w", l.Addr(), err)
	}
	s.open.Wait()
	return nil
}

// Shutdown stops accepting, closes idle connections with 421, and waits until transactions have ended. When
// ctx ends first, they are aborted (Postfix will send their messages again), their connections are closed,
// and the context's error is returned. It may be called twice.
func (s *Server) Shutdown(ctx context.Context) error {
	s.stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.open.Wait()
	}()
	select {
	case <-done:
		s.abort()
		return nil
	case <-ctx.Done():
		s.abort()
		for _, w := range s.allWires() {
			_ = w.conn.Close() // its reader and writer see the error
		}
		return fmt.Errorf("lmtp: shutdown: %w", ctx.Err())
	}
}

// stop begins the end: no new connections, no new transactions.
func (s *Server) stop() {
	s.mu.Lock()
	s.closed = true
	for f := range s.fronts {
		f.close()
	}
	s.mu.Unlock()
	for _, w := range s.allWires() {
		w.drain()
	}
}

func (s *Server) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

func (s *Server) addFront(f *front) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.fronts[f] = struct{}{}
	return true
}

func (s *Server) removeFront(f *front) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.fronts, f)
	f.close()
}

// addWire is false when the server is closing, and the connection must not be served.
func (s *Server) addWire(w *wire) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wires[w] = struct{}{}
	s.open.Add(1)
	s.metrics.connections.Inc()
	return true
}

// removeWire may be called again.
func (s *Server) removeWire(w *wire) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.wires[w]; ok {
		delete(s.wires, w)
		s.open.Done()
		s.metrics.connections.Dec()
	}
}

func (s *Server) allWires() []*wire {
	s.mu.Lock()
	defer s.mu.Unlock()
	wires := make([]*wire, 0, len(s.wires))
	for w := range s.wires {
		wires = append(wires, w)
	}
	return wires
}

// protocol makes the go-smtp server that speaks on wires; with tlsConfig it announces STARTTLS.
func (s *Server) protocol(tlsConfig *tls.Config) *smtp.Server {
	p := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		return s.newSession(c)
	}))
	p.LMTP = true
	p.Domain = s.deps.Hostname
	p.TLSConfig = tlsConfig
	p.EnableSMTPUTF8 = true
	p.MaxRecipients = s.options.MaxRecipients
	p.MaxMessageBytes = s.options.MaxMessageBytes
	p.MaxLineLength = 0 // the wire bounds command lines, and a message may have lines of any length
	p.ReadTimeout = 0   // it would be one deadline for a whole message; the wire has better ones
	p.WriteTimeout = 0  // the wire has its own
	p.ErrorLog = protocolLog{s.log}
	return p
}

// protocolLog hands go-smtp's messages to slog. They are about single connections: clients that vanish.
type protocolLog struct{ log *slog.Logger }

func (l protocolLog) Printf(format string, v ...any) {
	l.log.Info("lmtp connection", "err", fmt.Sprintf(format, v...))
}

func (l protocolLog) Println(v ...any) { l.log.Info("lmtp connection", "err", fmt.Sprint(v...)) }

package milter

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"
)

// Serve accepts connections of ln until ctx ends or Shutdown is called, and then returns nil with ln
// closed; connections it accepted go on until Shutdown. Role is one of the Role constants, empty for
// RoleAuto. Any other error of ln is returned.
func (s *Server) Serve(ctx context.Context, ln net.Listener, role string) error {
	role = orDefault(role, RoleAuto)
	if !validRole(role) {
		return fmt.Errorf("milter: listener role %q: use auto, inbound, submission or local", role)
	}
	if !s.addListener(ln) {
		return errors.Join(ln.Close())
	}
	defer s.dropListener(ln)
	stop := context.AfterFunc(ctx, func() { s.dropListener(ln) })
	defer stop()

	for {
		conn, err := ln.Accept()
		if err != nil {
			if ctx.Err() != nil || s.isDraining() {
				return nil
			}
			return fmt.Errorf("milter: accept: %w", err)
		}
		s.start(conn, role)
	}
}

// start serves conn in a goroutine of its own.
func (s *Server) start(conn net.Conn, role string) {
	w := &wire{Conn: conn, srv: s, buffers: newBuffers(conn)}
	if !s.addConn(w) {
		w.release()
		_ = conn.Close()
		return
	}
	sess := &session{srv: s, wire: w, role: role}
	go func() {
		defer s.dropConn(w)
		defer w.release()
		defer sess.drop()
		sess.serve()
		_ = conn.Close()
	}()
}

// Shutdown stops accepting, closes connections that have no message in progress, and waits for the
// others to come to the end of their message. When ctx ends first, checks are cancelled, what is left
// is closed (Postfix then answers 451 and the sender tries again) and the error of ctx is returned.
// It may be called again.
func (s *Server) Shutdown(ctx context.Context) error {
	s.drain()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	defer s.cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.closeConns() // first: a check that is cancelled must not have its on_error said to anybody
	s.cancel()
	select {
	case <-done:
	case <-time.After(time.Second): // a check that ignores its context is left to itself
	}
	return fmt.Errorf("milter: shutdown: %w", ctx.Err())
}

// drain closes all listeners and idle connections and tells the others to end with their message.
func (s *Server) drain() {
	s.mu.Lock()
	s.draining = true
	var idle []*wire
	for w := range s.conns {
		if !w.busy {
			idle = append(idle, w)
		}
	}
	listeners := s.listeners
	s.listeners = map[net.Listener]struct{}{}
	s.mu.Unlock()

	for ln := range listeners {
		_ = ln.Close()
	}
	for _, w := range idle {
		_ = w.Close() // its reader sees that
	}
}

func (s *Server) closeConns() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for w := range s.conns {
		_ = w.Close()
	}
}

func (s *Server) isDraining() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.draining
}

func (s *Server) addListener(ln net.Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.listeners[ln] = struct{}{}
	return true
}

func (s *Server) dropListener(ln net.Listener) {
	s.mu.Lock()
	_, open := s.listeners[ln]
	delete(s.listeners, ln)
	s.mu.Unlock()
	if open {
		_ = ln.Close()
	}
}

func (s *Server) addConn(w *wire) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining {
		return false
	}
	s.conns[w] = struct{}{}
	s.wg.Add(1)
	s.metrics.connections.Inc()
	return true
}

func (s *Server) dropConn(w *wire) {
	s.mu.Lock()
	delete(s.conns, w)
	s.mu.Unlock()
	s.metrics.connections.Dec()
	s.wg.Done()
}

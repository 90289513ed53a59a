package lab

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
)

// SMTPProxy stands before an SMTP server without TLS. From a line of the client on, the client hears nothing more, while the server does
// what it is told.
type SMTPProxy struct {
	// Addr is host:port on loopback, where clients connect.
	Addr string

	to, last string
	cut      bool
	listener net.Listener
	letters  atomic.Int64
	mutes    chan struct{}
	group    sync.WaitGroup
	mu       sync.Mutex
	open     map[net.Conn]bool // nil when closed
}

// SMTPFault says what a proxy does.
type SMTPFault struct {
	// Last is the line of the client to which the reply is lost, such as QUIT, or "." for the end of a letter; empty for none.
	Last string
	// Cut closes the connection then; else it stays, silent.
	Cut bool
}

// StartSMTPProxy starts a proxy before the server at host:port.
func StartSMTPProxy(to string, f SMTPFault) (*SMTPProxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("SMTP proxy: %w", err)
	}
	p := &SMTPProxy{
		Addr: l.Addr().String(), to: to, last: f.Last, cut: f.Cut, listener: l, mutes: make(chan struct{}, 1000), open: map[net.Conn]bool{},
	}
	p.group.Go(p.accept)
	return p, nil
}

// Letters is how many letters were told to their end.
func (p *SMTPProxy) Letters() int { return int(p.letters.Load()) }

// Mutes gives one for each connection that has become silent, when the server has replied.
func (p *SMTPProxy) Mutes() <-chan struct{} { return p.mutes }

// Close ends the proxy and its connections.
func (p *SMTPProxy) Close() error {
	err := p.listener.Close()
	p.mu.Lock()
	for c := range p.open {
		_ = c.Close()
	}
	p.open = nil
	p.mu.Unlock()
	p.group.Wait()
	return err
}

// keep notes a connection that Close is to end; false when that was called.
func (p *SMTPProxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.open == nil {
		_ = c.Close()
		return false
	}
	p.open[c] = true
	return true
}

func (p *SMTPProxy) drop(c net.Conn) {
	_ = c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.open, c)
}

func (p *SMTPProxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		p.group.Go(func() { p.serve(client) })
	}
}

// serve passes on until one side goes.
func (p *SMTPProxy) serve(client net.Conn) {
	if !p.keep(client) {
		return
	}
	defer p.drop(client)
	server, err := net.Dial("tcp", p.to)
	if err != nil || !p.keep(server) {
		return
	}
	defer p.drop(server)
	var mute atomic.Bool
	p.group.Go(func() { p.replies(client, server, &mute) })
	for lines := bufio.NewReader(client); ; {
		text, err := lines.ReadString('\n')
		if err != nil {
			return
		}
		if text == ".\r\n" {
			p.letters.Add(1)
		}
		if strings.TrimRight(text, "\r\n") == p.last {
			mute.Store(true)
		}
		if _, err := server.Write([]byte(text)); err != nil {
			return
		}
	}
}

// replies passes on what the server says. It ends when that goes, and then the client does.
func (p *SMTPProxy) replies(client, server net.Conn, mute *atomic.Bool) {
	for lines := bufio.NewReader(server); ; {
		text, err := lines.ReadString('\n')
		if err != nil && !mute.Load() {
			_ = client.Close()
		}
		if err != nil {
			return
		}
		if !mute.Load() {
			_, _ = client.Write([]byte(text)) // a client that is gone ends the other direction
			continue
		}
		select {
		case p.mutes <- struct{}{}:
		default:
		}
		if p.cut {
			_ = client.Close()
		}
	}
}

package store_test

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// commitProxy is a TCP proxy for PostgreSQL's protocol (manual, chapter 55) that knows when COMMIT is asked for and when
// it is answered, and can be told to fail just then. It counts round trips, and can make each take longer. It remembers what the
// server has refused.
type commitProxy struct {
	listener net.Listener
	server   string
	trips    atomic.Int64
	// away is how far away the server is, in nanoseconds there and back.
	away atomic.Int64

	mu       sync.Mutex
	fault    *commitFault
	met      bool
	refusing bool
	refused  map[string]int
	conns    map[net.Conn]bool
	wg       sync.WaitGroup
}

// commitFault happens once, when COMMIT is asked for.
type commitFault struct {
	// before is called before the server sees the COMMIT; nil is nothing.
	before func()
	cut    commitMoment
	// away makes the proxy refuse everybody from the cut on.
	away bool
}

// commitMoment is when a connection is cut.
type commitMoment int

const (
	never commitMoment = iota
	beforeCommit
	beforeAnswer
)

func startCommitProxy(t testing.TB, server string) *commitProxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &commitProxy{listener: l, server: server, refused: map[string]int{}, conns: map[net.Conn]bool{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		_ = l.Close() // ends accept
		p.refuse(true)
		p.wg.Wait()
	})
	return p
}

// url is that of the database behind the proxy.
func (p *commitProxy) url(direct string) string {
	u, err := url.Parse(direct)
	if err != nil {
		return direct
	}
	u.Host = p.listener.Addr().String()
	return u.String()
}

// atNextCommit sets what happens when COMMIT is asked for the next time, on any connection.
func (p *commitProxy) atNextCommit(f commitFault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault, p.met = &f, false
}

// happened says whether the fault was met since it was set.
func (p *commitProxy) happened() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.met
}

// refusals is how many errors of an SQLSTATE the server has answered with.
func (p *commitProxy) refusals(code string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.refused[code]
}

// refuse cuts all connections and takes no new ones, or takes them again.
func (p *commitProxy) refuse(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refusing = on
	if on {
		for c := range p.conns {
			_ = c.Close() // cut
		}
	}
}

func (p *commitProxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server)
		if err != nil || !p.add(client, server) {
			_ = client.Close()
			continue
		}
		s := &proxied{proxy: p, client: client, server: server, statements: map[string]string{}}
		p.wg.Go(func() { s.close(s.forward()) })
		p.wg.Go(func() { s.close(s.back()) })
	}
}

func (p *commitProxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.refusing {
			_ = c.Close()
			continue
		}
		p.conns[c] = true
	}
	return !p.refusing
}

// take gives the fault to the one who meets it.
func (p *commitProxy) take() *commitFault {
	p.mu.Lock()
	defer p.mu.Unlock()
	f := p.fault
	p.fault = nil
	p.met = p.met || f != nil
	return f
}

// proxied is one connection.
type proxied struct {
	proxy          *commitProxy
	client, server net.Conn
	statements     map[string]string
	mu             sync.Mutex
	met            *commitFault
}

func (s *proxied) close(error) {
	s.proxy.mu.Lock()
	defer s.proxy.mu.Unlock()
	for _, c := range []net.Conn{s.client, s.server} {
		_ = c.Close() // the other direction does so too
		delete(s.proxy.conns, c)
	}
}

// forward passes the client's messages on. The first has no type.
func (s *proxied) forward() error {
	start, err := readMessage(s.client, 0)
	if err != nil {
		return err
	}
	if _, err := s.server.Write(start); err != nil {
		return err
	}
	for {
		message, err := readMessage(s.client, 1)
		if err != nil {
			return err
		}
		if s.asksForCommit(message) && s.meets(beforeCommit) {
			return nil
		}
		if asksForAnswer(message) {
			s.proxy.trips.Add(1)
			time.Sleep(time.Duration(s.proxy.away.Load()))
		}
		if _, err := s.server.Write(message); err != nil {
			return err
		}
	}
}

// meets takes the fault that waits, when COMMIT is asked for, and says whether the connection is cut at this moment.
func (s *proxied) meets(moment commitMoment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if moment == beforeCommit {
		s.met = s.proxy.take()
		if s.met != nil && s.met.before != nil {
			s.met.before()
		}
	}
	if s.met == nil || s.met.cut != moment {
		return false
	}
	if s.met.away {
		s.proxy.refuse(true)
	}
	return true
}

// asksForCommit remembers what Parse names and looks for the name in Bind.
func (s *proxied) asksForCommit(message []byte) bool {
	words := bytes.SplitN(message[5:], []byte{0}, 3)
	switch message[0] {
	case 'P':
		s.statements[string(words[0])] = string(words[1])
	case 'B':
		return s.statements[string(words[1])] == "COMMIT"
	}
	return false
}

// asksForAnswer tells Sync and Query, after which a client waits.
func asksForAnswer(message []byte) bool { return message[0] == 'S' || message[0] == 'Q' }

// back passes the server's messages on, but for the answer to a COMMIT that is to be lost.
func (s *proxied) back() error {
	for {
		message, err := readMessage(s.server, 1)
		if err != nil {
			return err
		}
		if message[0] == 'E' {
			s.noteRefusal(message[5:])
		}
		if message[0] == 'C' && bytes.HasPrefix(message[5:], []byte("COMMIT")) && s.meets(beforeAnswer) {
			return nil
		}
		if _, err := s.client.Write(message); err != nil {
			return err
		}
	}
}

// noteRefusal counts an ErrorResponse by its SQLSTATE, the field C.
func (s *proxied) noteRefusal(fields []byte) {
	s.proxy.mu.Lock()
	defer s.proxy.mu.Unlock()
	for field := range bytes.SplitSeq(fields, []byte{0}) {
		if len(field) > 0 && field[0] == 'C' {
			s.proxy.refused[string(field[1:])]++
		}
	}
}

// readMessage reads a message: its type, when it has one, its length, which counts itself, and the rest.
func readMessage(r io.Reader, typeLen int) ([]byte, error) {
	head := make([]byte, typeLen+4)
	if _, err := io.ReadFull(r, head); err != nil {
		return nil, err
	}
	n := int(binary.BigEndian.Uint32(head[typeLen:])) - 4
	message := append(head, make([]byte, n)...)
	_, err := io.ReadFull(r, message[len(head):])
	return message, err
}

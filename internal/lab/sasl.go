package lab

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
)

// saslServer answers Postfix's smtpd in Dovecot's authentication protocol (version 1.1, as documented in
// Dovecot's "Authentication Protocol"), PLAIN only, from a fixed list of users. With it AUTH works without
// another package.
type saslServer struct {
	listener net.Listener
	users    map[string]string
	serving  sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]bool // nil after Close
}

// maxSASLLine bounds a line of the protocol.
const maxSASLLine = 16 << 10

// listenSASL serves on a port of loopback until Close.
func listenSASL(users map[string]string) (*saslServer, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("sasl: %w", err)
	}
	s := &saslServer{listener: l, users: users, conns: map[net.Conn]bool{}}
	s.serving.Go(s.accept)
	return s, nil
}

// Close ends the listener and every conversation. It may be called twice.
func (s *saslServer) Close() error {
	err := s.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	s.mu.Lock()
	for c := range s.conns {
		_ = c.Close()
	}
	s.conns = nil
	s.mu.Unlock()
	s.serving.Wait()
	return err
}

func (s *saslServer) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		s.mu.Lock()
		if s.conns == nil {
			_ = c.Close()
		} else {
			s.conns[c] = true
			s.serving.Go(func() { s.serve(c) })
		}
		s.mu.Unlock()
	}
}

func (s *saslServer) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	_, err := fmt.Fprintf(c, "VERSION\t1\t1\nMECH\tPLAIN\tplaintext\nSPID\t%d\nCUID\t1\nCOOKIE\t00112233445566778899aabbccddeeff\nDONE\n", os.Getpid())
	if err != nil {
		return
	}
	lines := bufio.NewScanner(c)
	lines.Buffer(make([]byte, 4096), maxSASLLine)
	for lines.Scan() {
		reply := s.reply(strings.Split(lines.Text(), "\t"))
		if reply == "" {
			continue
		}
		if _, err := c.Write([]byte(reply + "\n")); err != nil {
			return
		}
	}
}

// reply answers one request; "" for those that have no answer (VERSION, CPID).
func (s *saslServer) reply(f []string) string {
	if len(f) < 3 || (f[0] != "AUTH" && f[0] != "CONT") {
		return ""
	}
	id, response, given := f[1], "", false
	if f[0] == "CONT" {
		response, given = f[2], true
	}
	for _, param := range f[2:] {
		if r, ok := strings.CutPrefix(param, "resp="); ok {
			response, given = r, true
		}
	}
	if !given {
		return "CONT\t" + id + "\t"
	}
	name, ok := s.check(response)
	if !ok {
		return "FAIL\t" + id + "\tuser=" + name
	}
	return "OK\t" + id + "\tuser=" + name
}

// check verifies a PLAIN response (RFC 4616): authorisation id NUL name NUL password.
func (s *saslServer) check(response string) (string, bool) {
	raw, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		return "", false
	}
	parts := strings.Split(string(raw), "\x00")
	if len(parts) != 3 {
		return "", false
	}
	want, known := s.users[parts[1]]
	return parts[1], known && want == parts[2]
}

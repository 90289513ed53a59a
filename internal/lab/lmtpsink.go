package lab

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// Bounds of LMTPSink; a test that sends more is told so by a closed connection.
const (
	maxSinkLine    = 1 << 20
	maxSinkMessage = 256 << 20
	sinkIdle       = 5 * time.Minute
)

// LMTPSink is a small LMTP server (RFC 2033) that records what it is given, for tests of Postfix and of the
// milter that don't need the real delivery agent.
type LMTPSink struct {
	// OnRcpt, when set, answers RCPT for an address ("250 2.1.5 ok"). Set it before the first connection.
	OnRcpt func(rcpt string) string
	// OnData, when set, answers the message for one recipient. Set it before the first connection.
	OnData func(rcpt string) string

	listener net.Listener
	serving  sync.WaitGroup

	mu    sync.Mutex
	got   []Transaction
	conns map[net.Conn]bool // nil after Close
}

// Transaction is one message as it reached an LMTPSink.
type Transaction struct {
	// Helo is the argument of LHLO.
	Helo string
	// From and Rcpts are the addresses between the angle brackets; recipients that OnRcpt refused are not here.
	From  string
	Rcpts []string
	// MailParams is what followed the sender's address.
	MailParams string
	// Data is the message, CRLF line ends and all, without the dots of transparency and the last line.
	Data []byte
}

// StartLMTPSink listens at "host:port" or "unix:/path" ("" is a free port of loopback). The mode of a socket
// file lets everybody connect.
func StartLMTPSink(addr string) (*LMTPSink, error) {
	l, err := listenSink(addr)
	if err != nil {
		return nil, fmt.Errorf("lmtp sink: %w", err)
	}
	s := &LMTPSink{listener: l, conns: map[net.Conn]bool{}}
	s.serving.Go(s.accept)
	return s, nil
}

// Transport is the sink as Postfix's transport, "lmtp:inet:…" or "lmtp:unix:…".
func (s *LMTPSink) Transport() string {
	a := s.listener.Addr()
	if a.Network() == "unix" {
		return "lmtp:unix:" + a.String()
	}
	return "lmtp:inet:" + a.String()
}

// Addr is the sink for SMTPSend.
func (s *LMTPSink) Addr() string {
	a := s.listener.Addr()
	if a.Network() == "unix" {
		return "unix:" + a.String()
	}
	return a.String()
}

// Transactions are the messages so far, in the order of their ends.
func (s *LMTPSink) Transactions() []Transaction {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.got)
}

// Wait waits for n messages in all and returns what is there then.
func (s *LMTPSink) Wait(ctx context.Context, n int) ([]Transaction, error) {
	err := Eventually(ctx, func(context.Context) error {
		if have := len(s.Transactions()); have < n {
			return fmt.Errorf("%d of %d messages", have, n)
		}
		return nil
	})
	return s.Transactions(), err
}

// Close stops listening and closes every connection. It may be called twice.
func (s *LMTPSink) Close() error {
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

func (s *LMTPSink) accept() {
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

func (s *LMTPSink) serve(c net.Conn) {
	defer func() {
		_ = c.Close()
		s.mu.Lock()
		delete(s.conns, c)
		s.mu.Unlock()
	}()
	t := &sinkSession{sink: s, conn: c, r: bufio.NewReaderSize(c, 64<<10)}
	if t.say("220 sink.example.test LMTP") != nil {
		return
	}
	for {
		if err := t.step(); err != nil {
			return // the client is gone, or was told to go
		}
	}
}

// sinkSession is one connection.
type sinkSession struct {
	sink *LMTPSink
	conn net.Conn
	r    *bufio.Reader
	tx   Transaction
}

// step reads one command and answers it; an error ends the connection.
func (t *sinkSession) step() error {
	if err := t.conn.SetDeadline(time.Now().Add(sinkIdle)); err != nil {
		return err
	}
	line, err := t.readLine()
	if err != nil {
		return err
	}
	text := strings.TrimRight(string(line), "\r\n")
	verb, arg, _ := strings.Cut(text, " ")
	switch strings.ToUpper(verb) {
	case "LHLO":
		t.tx = Transaction{Helo: arg}
		return t.say("250-sink.example.test\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-ENHANCEDSTATUSCODES\r\n250 SIZE")
	case "MAIL":
		t.tx = Transaction{Helo: t.tx.Helo}
		t.tx.From, t.tx.MailParams = address(arg)
		return t.say("250 2.1.0 ok")
	case "RCPT":
		return t.rcpt(arg)
	case "DATA":
		return t.data()
	case "RSET":
		t.tx = Transaction{Helo: t.tx.Helo}
		return t.say("250 2.0.0 ok")
	case "NOOP":
		return t.say("250 2.0.0 ok")
	case "QUIT":
		return errors.Join(t.say("221 2.0.0 bye"), io.EOF)
	default:
		return t.say("500 5.5.2 unknown command")
	}
}

func (t *sinkSession) rcpt(arg string) error {
	rcpt, _ := address(arg)
	reply := "250 2.1.5 ok"
	if t.sink.OnRcpt != nil {
		reply = t.sink.OnRcpt(rcpt)
	}
	if strings.HasPrefix(reply, "2") {
		t.tx.Rcpts = append(t.tx.Rcpts, rcpt)
	}
	return t.say(reply)
}

func (t *sinkSession) data() error {
	if len(t.tx.Rcpts) == 0 {
		return t.say("503 5.5.1 no valid recipients")
	}
	if err := t.say("354 go on"); err != nil {
		return err
	}
	body, err := t.readMessage()
	if err != nil {
		return err
	}
	t.tx.Data = body
	t.sink.mu.Lock()
	t.sink.got = append(t.sink.got, t.tx)
	t.sink.mu.Unlock()
	rcpts := t.tx.Rcpts
	t.tx = Transaction{Helo: t.tx.Helo}
	for _, rcpt := range rcpts {
		reply := "250 2.0.0 recorded"
		if t.sink.OnData != nil {
			reply = t.sink.OnData(rcpt)
		}
		if err := t.say(reply); err != nil {
			return err
		}
	}
	return nil
}

// readMessage reads up to the line with a single dot. Only CRLF ends a line (RFC 5321 section 2.3.8).
func (t *sinkSession) readMessage() ([]byte, error) {
	var b bytes.Buffer
	atLineStart := true
	for {
		line, err := t.readLine()
		if err != nil {
			return nil, err
		}
		if atLineStart {
			if string(line) == ".\r\n" {
				return b.Bytes(), nil
			}
			line = bytes.TrimPrefix(line, []byte("."))
		}
		if b.Len()+len(line) > maxSinkMessage {
			return nil, fmt.Errorf("message over %d bytes", maxSinkMessage)
		}
		b.Write(line)
		atLineStart = bytes.HasSuffix(line, []byte("\r\n"))
	}
}

// readLine reads up to and with the next LF.
func (t *sinkSession) readLine() ([]byte, error) {
	var line []byte
	for {
		part, err := t.r.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			return line, nil
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return nil, err
		}
		if len(line) > maxSinkLine {
			return nil, fmt.Errorf("line over %d bytes", maxSinkLine)
		}
	}
}

func (t *sinkSession) say(reply string) error {
	_, err := io.WriteString(t.conn, reply+"\r\n")
	return err
}

// address takes "FROM:<a@b> PARAMS" apart.
func address(arg string) (addr, params string) {
	_, rest, _ := strings.Cut(arg, "<")
	end := strings.LastIndex(rest, ">")
	if end < 0 {
		return rest, ""
	}
	return rest[:end], strings.TrimSpace(rest[end+1:])
}

// listenSink opens the sink's listener.
func listenSink(addr string) (net.Listener, error) {
	path, ok := strings.CutPrefix(addr, "unix:")
	if !ok {
		return net.Listen("tcp4", or(addr, "127.0.0.1:0"))
	}
	l, err := net.Listen("unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o777); err != nil { // #nosec G302 -- Postfix connects as its own user
		return nil, closeAfter(err, l)
	}
	return l, nil
}

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// mailboxCount is how many mailboxes a load is spread over, in defaultDomain, unless it says otherwise.
const (
	mailboxCount  = 50
	defaultDomain = "example.test"
)

// load is a number of LMTP clients that send as fast as they are answered.
type load struct {
	connections, size int
	// reconnect makes a new session for each message.
	reconnect bool
	// smtp speaks SMTP instead of LMTP.
	smtp bool
	// mailboxes and domain are to whom; default mailboxCount and defaultDomain.
	mailboxes int
	domain    string
	goal      goal
}

func (l load) String() string {
	size := fmt.Sprintf("%d KB", l.size>>10)
	if l.size >= 1<<20 {
		size = fmt.Sprintf("%d MB", l.size>>20)
	}
	switch {
	case l.reconnect:
		return fmt.Sprintf("%s, %d at once, a new session each", size, l.connections)
	case l.connections == 1:
		return size + ", 1 kept connection"
	default:
		return fmt.Sprintf("%s, %d kept connections", size, l.connections)
	}
}

// sent is what a load has measured.
type sent struct {
	elapsed time.Duration
	// took is how long each message took, from its MAIL (or its connect) to the reply to its data; sorted.
	took []time.Duration
}

// hello is the verb that begins a session.
func (l load) hello() string {
	if l.smtp {
		return "EHLO"
	}
	return "LHLO"
}

// commands begin a message to each mailbox.
func (l load) commands() [][]byte {
	list := make([][]byte, cmp.Or(l.mailboxes, mailboxCount))
	for i := range list {
		list[i] = fmt.Appendf(nil, "MAIL FROM:<a@sender.test>\r\nRCPT TO:<%s>\r\nDATA\r\n", mailbox(i, cmp.Or(l.domain, defaultDomain)))
	}
	return list
}

// run sends to the mailboxes for the given time.
func (l load) run(ctx context.Context, addr string, lasting time.Duration) (sent, error) {
	commands := l.commands()
	body := message(l.size)
	took, errs := make([][]time.Duration, l.connections), make([]error, l.connections)
	ctx, cancel := context.WithTimeout(ctx, lasting)
	defer cancel()
	start := time.Now()
	var clients sync.WaitGroup
	for n := range l.connections {
		first := n * len(commands) / l.connections // they are spread over the mailboxes, and stay so
		c := client{ctx: ctx, addr: addr, first: int(start.UnixMicro()) + n, step: l.connections, commands: slices.Concat(commands[first:], commands[:first]), reconnect: l.reconnect,
			hello: l.hello(), body: bytes.Clone(body)}
		clients.Go(func() { took[n], errs[n] = c.run() })
	}
	clients.Wait()
	s := sent{elapsed: time.Since(start), took: slices.Concat(took...)}
	if err := errors.Join(errs...); err != nil {
		return s, fmt.Errorf("load: %w", err)
	}
	if len(s.took) == 0 {
		return s, fmt.Errorf("load: no message in %s", lasting)
	}
	slices.Sort(s.took)
	return s, nil
}

// client is one sender. It costs little, since it shares the machine with what it measures: each write is one system
// call, and nothing is allocated for a message.
type client struct {
	ctx      context.Context //nolint:containedctx // as long as run
	addr     string
	commands [][]byte
	// first and step make the queue ids.
	first, step int
	body        []byte
	hello       string
	reconnect   bool
}

func (c *client) run() ([]time.Duration, error) {
	took := make([]time.Duration, 0, 1<<16)
	var conn *lmtpConn
	var err error
	place := stampPlace(c.body)
	for i := 0; c.ctx.Err() == nil; i++ {
		start := time.Now()
		if conn == nil {
			if conn, err = dial(c.addr, c.hello); err != nil {
				return took, err
			}
		}
		place.write(start, c.first+i*c.step) // each message is a new one, or it would be answered and not stored
		if err := conn.send(c.commands[i%len(c.commands)], c.body); err != nil {
			return took, err
		}
		if c.reconnect {
			if err := conn.Close(); err != nil {
				return took, err
			}
			conn = nil
		}
		took = append(took, time.Since(start))
	}
	if conn != nil {
		return took, conn.Close()
	}
	return took, nil
}

// writeHex fills to with the last digits of n.
func writeHex(to []byte, n int) {
	for i := len(to) - 1; i >= 0; i-- {
		to[i] = "0123456789ABCDEF"[n&15]
		n >>= 4
	}
}

// lmtpConn is a client that pipelines as Postfix does (RFC 2920).
type lmtpConn struct {
	net.Conn
	r *bufio.Reader
}

func dial(addr, hello string) (*lmtpConn, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
	}
	conn, err := net.Dial(network, addr) //nolint:noctx // loopback
	if err != nil {
		return nil, err
	}
	c := &lmtpConn{conn, bufio.NewReaderSize(conn, 1<<10)}
	if err := c.expect("220"); err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte(hello + " mx.example.test\r\n")); err != nil {
		return nil, err
	}
	return c, c.expect("250")
}

// send sends one message; command is its MAIL, RCPT and DATA.
func (c *lmtpConn) send(command, body []byte) error {
	if _, err := c.Write(command); err != nil {
		return err
	}
	for _, code := range [...]string{"250", "250", "354"} {
		if err := c.expect(code); err != nil {
			return err
		}
	}
	if _, err := c.Write(body); err != nil {
		return err
	}
	return c.expect("250")
}

// expect reads a reply of any number of lines.
func (c *lmtpConn) expect(code string) error {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) < 4 || string(line[:3]) != code {
			return fmt.Errorf("want %s, got %q", code, line)
		}
		if line[3] == ' ' {
			return nil
		}
	}
}

// mailbox is the address of the nth mailbox of a domain.
func mailbox(n int, domain string) string { return fmt.Sprintf("u%d@%s", n, domain) }

// queueID and date are where each message has its own. An id of Postfix begins with the microseconds of its time.
const (
	queueID    = "USECSINODEINODE"
	dateLayout = "Mon, 02 Jan 2006 15:04:05 +0000"
)

// stamp is where queue id and date of the Received field are in a message.
type stamp struct {
	id, date []byte
	second   int64
}

func stampPlace(body []byte) *stamp {
	id, date := bytes.Index(body, []byte(queueID)), bytes.Index(body, []byte(dateLayout))
	return &stamp{id: body[id:][:len(queueID)], date: body[date:][:len(dateLayout)]}
}

// write makes the message the nth, received at this time.
func (s *stamp) write(at time.Time, n int) {
	writeHex(s.id[:5], at.Nanosecond()/1000)
	writeHex(s.id[5:], n)
	if at.Unix() != s.second {
		s.second = at.Unix()
		at.UTC().AppendFormat(s.date[:0], dateLayout)
	}
}

// message is a message of about size bytes as it goes over the wire, with headers as mail has them.
func message(size int) []byte {
	var b bytes.Buffer
	b.WriteString("Received: from client.sender.test (client.sender.test [192.0.2.25])\r\n\tby mx.example.test (Postfix) with ESMTP id " + queueID + "\r\n" +
		"\tfor <u@example.test>; " + dateLayout + " (UTC)\r\nFrom: =?UTF-8?B?5bGx55Sw?= <yamada@sender.test>\r\n" +
		"To: u@example.test\r\nSubject: =?UTF-8?B?5Lya6K2w44Gu44GK55+l44KJ44Gb?=\r\nMessage-ID: <bench@sender.test>\r\n" +
		"Date: Sun, 22 Nov 2026 10:00:00 +0900\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	for b.Len() < size-5 {
		b.WriteString("0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n")
	}
	b.WriteString(".\r\n")
	return b.Bytes()
}

// ownCPU is the CPU time that this process has used.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		panic(err) // it has no other error than a bad address
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

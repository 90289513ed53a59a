package lab

import (
	"bytes"
	"context"
	"encoding/base64"
	"fmt"
	"maps"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"time"
)

// smtpTimeout bounds a conversation whose context has no deadline.
const smtpTimeout = 2 * time.Minute

// Reply is one answer of a server. Text is the lines after the code, joined with "\n".
type Reply struct {
	Code int
	Text string
}

// String is the reply as one would say it: "550 5.1.1 no such user".
func (r Reply) String() string { return fmt.Sprintf("%d %s", r.Code, r.Text) }

// OK says whether the code is 2xx or 3xx.
func (r Reply) OK() bool { return r.Code >= 200 && r.Code < 400 }

// SMTPConn is a conversation with an SMTP or LMTP server, command by command, for tests that need every reply.
// It changes nothing in what it is given: commands are sent as they are.
type SMTPConn struct {
	// Greeting is the server's first reply.
	Greeting Reply

	conn net.Conn
	text *textproto.Conn
}

// DialSMTP connects to addr ("host:port" or "unix:/path") and reads the greeting. The deadline of ctx holds
// for the whole conversation.
func DialSMTP(ctx context.Context, addr string) (*SMTPConn, error) {
	network := "tcp"
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, addr = "unix", path
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr)
	if err != nil {
		return nil, fmt.Errorf("dial: %w", err)
	}
	deadline, ok := ctx.Deadline()
	if !ok {
		deadline = time.Now().Add(smtpTimeout)
	}
	c := &SMTPConn{conn: conn, text: textproto.NewConn(conn)}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, closeAfter(fmt.Errorf("dial: %w", err), conn)
	}
	if c.Greeting, err = c.ReadReply(); err != nil {
		return nil, closeAfter(fmt.Errorf("greeting: %w", err), conn)
	}
	return c, nil
}

// ReadReply reads the next reply. Any code is fine; the error is about the connection or the syntax.
func (c *SMTPConn) ReadReply() (Reply, error) {
	code, text, err := c.text.ReadResponse(0)
	return Reply{code, text}, err
}

// Cmd sends a line and reads its reply.
func (c *SMTPConn) Cmd(line string) (Reply, error) {
	if err := c.Write([]byte(line + "\r\n")); err != nil {
		return Reply{}, err
	}
	r, err := c.ReadReply()
	if err != nil {
		return r, fmt.Errorf("%s: %w", verbOf(line), err)
	}
	return r, nil
}

// Write sends bytes as they are, for pipelining (RFC 2920) and for breaking rules.
func (c *SMTPConn) Write(p []byte) error {
	if _, err := c.conn.Write(p); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}

// Body sends a message after a 354, and reads n replies: one in SMTP; in LMTP one for each accepted recipient
// (RFC 2033 section 4.2). See DotStuff for what is sent.
func (c *SMTPConn) Body(msg []byte, n int) ([]Reply, error) {
	if err := c.Write(DotStuff(msg)); err != nil {
		return nil, err
	}
	replies := make([]Reply, 0, n)
	for range n {
		r, err := c.ReadReply()
		if err != nil {
			return replies, fmt.Errorf("reply to the message: %w", err)
		}
		replies = append(replies, r)
	}
	return replies, nil
}

// Close drops the connection without a QUIT.
func (c *SMTPConn) Close() error { return c.conn.Close() }

// DotStuff is msg as it goes over the wire after DATA (RFC 5321 section 4.5.2): lines end in CRLF (a bare LF
// becomes one, all other bytes stay), dots at the start of a line are doubled, and a line with a dot ends it.
func DotStuff(msg []byte) []byte {
	var b bytes.Buffer
	for len(msg) > 0 {
		line, rest, found := bytes.Cut(msg, []byte("\n"))
		msg = rest
		if found {
			line = bytes.TrimSuffix(line, []byte("\r"))
		}
		if bytes.HasPrefix(line, []byte(".")) {
			b.WriteByte('.')
		}
		b.Write(line)
		b.WriteString("\r\n")
	}
	b.WriteString(".\r\n")
	return b.Bytes()
}

// SendOptions change what SMTPSend says. The zero value is plain SMTP.
type SendOptions struct {
	// Helo is the argument of EHLO or LHLO; default client.example.test.
	Helo string
	// LMTP says LHLO and reads one final reply for each accepted recipient.
	LMTP bool
	// XClient attributes are sent first (Postfix's XCLIENT_README), for example "ADDR": "192.0.2.7".
	XClient map[string]string
	// Username and Password log in with AUTH PLAIN when Username is not empty.
	Username, Password string
	// MailParams and RcptParams follow the addresses, for example "BODY=8BITMIME".
	MailParams, RcptParams string
}

// Replies are a server's answers to SMTPSend, in order. What was not reached is the zero Reply or nil.
type Replies struct {
	Greeting, XClient, Helo, Auth, Mail Reply
	// Rcpts answers each recipient, in order.
	Rcpts []Reply
	// Data is the 354, or why not.
	Data Reply
	// Final answers the message: one reply in SMTP, one for each accepted recipient in LMTP.
	Final []Reply
}

// Accepted says whether the message was taken for at least one recipient.
func (r *Replies) Accepted() bool {
	return slices.ContainsFunc(r.Final, func(f Reply) bool { return f.Code == 250 })
}

// SMTPSend sends one message, going on as a client does until the server's refusals leave nothing to do, and
// says QUIT. Refusals are in the replies, not in the error, which is about the connection; with an error the
// replies so far are returned.
func SMTPSend(ctx context.Context, addr, from string, rcpts []string, msg []byte, o SendOptions) (*Replies, error) {
	c, err := DialSMTP(ctx, addr)
	if err != nil {
		return &Replies{}, err
	}
	defer c.Close() //nolint:errcheck // QUIT has been answered, or there is an error already
	r := &Replies{Greeting: c.Greeting}
	if err := c.transaction(r, from, rcpts, msg, o); err != nil {
		return r, err
	}
	_, err = c.Cmd("QUIT")
	return r, err
}

// transaction fills r until a refusal ends it.
func (c *SMTPConn) transaction(r *Replies, from string, rcpts []string, msg []byte, o SendOptions) error {
	ok, err := c.hello(r, o)
	if !ok || err != nil {
		return err
	}
	if r.Mail, err = c.Cmd(join("MAIL FROM:<"+from+">", o.MailParams)); err != nil || !r.Mail.OK() {
		return err
	}
	accepted := 0
	for _, rcpt := range rcpts {
		reply, err := c.Cmd(join("RCPT TO:<"+rcpt+">", o.RcptParams))
		if err != nil {
			return err
		}
		r.Rcpts = append(r.Rcpts, reply)
		if reply.OK() {
			accepted++
		}
	}
	if accepted == 0 {
		return nil
	}
	if r.Data, err = c.Cmd("DATA"); err != nil || r.Data.Code != 354 {
		return err
	}
	if !o.LMTP {
		accepted = 1
	}
	r.Final, err = c.Body(msg, accepted)
	return err
}

// hello says XCLIENT, EHLO and AUTH; ok is false when the server refuses one of them.
func (c *SMTPConn) hello(r *Replies, o SendOptions) (ok bool, err error) {
	if !r.Greeting.OK() {
		return false, nil
	}
	verb := "EHLO "
	if o.LMTP {
		verb = "LHLO "
	}
	helo := verb + or(o.Helo, "client.example.test")
	if len(o.XClient) > 0 {
		// XCLIENT is only known after EHLO, and starts the conversation again with a new greeting.
		if _, err := c.Cmd(helo); err != nil {
			return false, err
		}
		if r.XClient, err = c.Cmd(xclientLine(o.XClient)); err != nil || !r.XClient.OK() {
			return false, err
		}
	}
	if r.Helo, err = c.Cmd(helo); err != nil || !r.Helo.OK() {
		return false, err
	}
	if o.Username == "" {
		return true, nil
	}
	plain := base64.StdEncoding.EncodeToString([]byte("\x00" + o.Username + "\x00" + o.Password))
	r.Auth, err = c.Cmd("AUTH PLAIN " + plain)
	return r.Auth.OK(), err
}

// xclientLine is the command with its attributes in a fixed order and their values in xtext (RFC 3461 section 4).
func xclientLine(attrs map[string]string) string {
	var b strings.Builder
	b.WriteString("XCLIENT")
	for _, name := range slices.Sorted(maps.Keys(attrs)) {
		fmt.Fprintf(&b, " %s=", name)
		for _, ch := range []byte(attrs[name]) {
			if ch < '!' || ch > '~' || ch == '+' || ch == '=' {
				fmt.Fprintf(&b, "+%02X", ch)
			} else {
				fmt.Fprintf(&b, "%c", ch)
			}
		}
	}
	return b.String()
}

func join(command, params string) string {
	if params == "" {
		return command
	}
	return command + " " + params
}

func verbOf(line string) string {
	verb, _, _ := strings.Cut(line, " ")
	return verb
}

package postfix

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"strings"
	"time"
)

// smtpTimeout bounds a conversation of the check; postscreen(8) may let a client wait for some seconds.
const smtpTimeout = time.Minute

// ErrNoSMTP is what SMTPAddress gives when master.cf has no service that takes mail over SMTP.
var ErrNoSMTP = errors.New("master.cf has no inet service of smtpd or postscreen")

// SMTPAddress is where the site takes mail from outside, "host:port".
func (s *Site) SMTPAddress() (string, error) {
	for _, v := range s.Master.Services() {
		if v.Type != "inet" || v.Command != "smtpd" && v.Command != "postscreen" || isReturn(v) || v.Options["smtpd_sasl_auth_enable"] == "yes" {
			continue
		}
		host, port := "", v.Name
		if i := strings.LastIndex(v.Name, ":"); i >= 0 {
			host, port = strings.Trim(v.Name[:i], "[]"), v.Name[i+1:]
		}
		n, err := net.DefaultResolver.LookupPort(context.Background(), "tcp", port)
		if err != nil {
			return "", fmt.Errorf("master.cf line %d: %w", v.Line, err)
		}
		if host == "" {
			host = s.listensOn()
		}
		return net.JoinHostPort(host, fmt.Sprint(n)), nil
	}
	return "", ErrNoSMTP
}

// listensOn is an address of inet_interfaces that this host can connect to.
func (s *Site) listensOn() string {
	interfaces := Fields(s.Value("inet_interfaces"))
	if len(interfaces) > 0 && net.ParseIP(strings.Trim(interfaces[0], "[]")) != nil {
		return strings.Trim(interfaces[0], "[]")
	}
	if s.Value("inet_protocols") == "ipv6" {
		return "::1"
	}
	return "127.0.0.1"
}

// Reply is an answer of an SMTP server; lines after the first are joined with "\n".
type Reply struct {
	Code int
	Text string
}

func (r Reply) String() string { return fmt.Sprintf("%d %s", r.Code, r.Text) }

// Probe talks to an SMTP server: it offers one recipient from the null sender and, when message is not nil and the
// recipient is taken, sends the message (lines end in CRLF, none starts with a dot). It returns the answer to the
// last command that counts: RCPT, or the end of the message. The error is about the connection, or a refusal before.
func Probe(ctx context.Context, address, rcpt string, message []byte) (Reply, error) {
	conn, err := Dial(ctx, "inet:"+address, smtpTimeout)
	if err != nil {
		return Reply{}, err
	}
	c := textproto.NewConn(conn)
	defer c.Close() //nolint:errcheck // the answers are here
	if _, _, err := c.ReadResponse(2); err != nil {
		return Reply{}, fmt.Errorf("greeting: %w", err)
	}
	for _, line := range []string{"EHLO localhost.localdomain", "MAIL FROM:<>"} {
		if _, err := command(c, line, 2); err != nil {
			return Reply{}, err
		}
	}
	reply, err := command(c, "RCPT TO:<"+rcpt+">", 0)
	if err != nil || message == nil || reply.Code/100 != 2 {
		return reply, errors.Join(err, c.PrintfLine("QUIT"))
	}
	if _, err := command(c, "DATA", 3); err != nil {
		return Reply{}, err
	}
	if reply, err = command(c, string(message)+".", 0); err != nil {
		return Reply{}, err
	}
	return reply, c.PrintfLine("QUIT")
}

// command sends a line and reads the reply; expect is the first digit it must have, 0 for any.
func command(c *textproto.Conn, line string, expect int) (Reply, error) {
	if err := c.PrintfLine("%s", line); err != nil {
		return Reply{}, err
	}
	code, text, err := c.ReadResponse(expect)
	var refused *textproto.Error
	if errors.As(err, &refused) && expect == 0 {
		err = nil
	}
	if err != nil {
		verb, _, _ := strings.Cut(line, ":")
		return Reply{}, fmt.Errorf("%.20s: %w", verb, err)
	}
	return Reply{code, text}, nil
}

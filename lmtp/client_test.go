package lmtp_test

import (
	"fmt"
	"net"
	"net/textproto"
	"time"
)

// quickClient sends whole messages and may be used outside of the test's goroutine.
type quickClient struct {
	conn net.Conn
	text *textproto.Conn
}

func smtpDial(addr string) (*quickClient, error) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	if err := conn.SetDeadline(time.Now().Add(10 * patience)); err != nil {
		return nil, err
	}
	c := &quickClient{conn: conn, text: textproto.NewConn(conn)}
	if _, _, err := c.text.ReadResponse(220); err != nil {
		return nil, err
	}
	if err := c.text.PrintfLine("LHLO mx.example.test"); err != nil {
		return nil, err
	}
	_, _, err = c.text.ReadResponse(250)
	return c, err
}

// message pipelines one transaction and gives the final replies.
func (c *quickClient) message(from, message string, rcpts ...string) ([]string, error) {
	commands := "MAIL FROM:<" + from + ">\r\n"
	for _, r := range rcpts {
		commands += "RCPT TO:<" + r + ">\r\n"
	}
	if _, err := c.conn.Write([]byte(commands + "DATA\r\n")); err != nil {
		return nil, err
	}
	for range len(rcpts) + 1 {
		if _, _, err := c.text.ReadResponse(250); err != nil {
			return nil, err
		}
	}
	if _, _, err := c.text.ReadResponse(354); err != nil {
		return nil, err
	}
	if _, err := c.conn.Write([]byte(stuff(message))); err != nil {
		return nil, err
	}
	replies := make([]string, len(rcpts))
	for i := range replies {
		code, text, err := c.text.ReadResponse(0)
		if err != nil {
			return nil, err
		}
		replies[i] = fmt.Sprintf("%d %s", code, text)
	}
	return replies, nil
}

func (c *quickClient) close() { _ = c.conn.Close() }

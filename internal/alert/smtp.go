package alert

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/smtp"
	"slices"
	"time"
)

// SMTPOptions are the section `notify.smtp` of the configuration.
type SMTPOptions struct {
	// Address is HOST:PORT of a mail server; empty means that no mail is sent.
	Address string `yaml:"address"`
	// From and To are plain addresses. To should not be a mailbox of this installation.
	From string   `yaml:"from"`
	To   []string `yaml:"to"`
	// TLS is none, starttls (required, not merely tried), implicit, or auto: none to this host, else starttls.
	// Empty means auto.
	TLS string `yaml:"tls"`
	// Username and Password log in when Username is not empty; over TLS or to this host only.
	Username string `yaml:"username"`
	Password string `yaml:"password"`
}

// The values of SMTPOptions.TLS.
const (
	TLSAuto     = "auto"
	TLSNone     = "none"
	TLSStartTLS = "starttls"
	TLSImplicit = "implicit"
)

// Validate says what is missing or malformed. An empty Address is fine: then nothing is sent.
func (o SMTPOptions) Validate() error {
	if o.Address == "" {
		return nil
	}
	if host, port, err := net.SplitHostPort(o.Address); err != nil || host == "" || port == "" {
		return errors.New("address wants HOST:PORT, such as 127.0.0.1:25")
	}
	if len(o.To) == 0 {
		return errors.New("to is empty: list who is to be told")
	}
	for _, a := range append(slices.Clone(o.To), o.From) {
		if parsed, err := mail.ParseAddress(a); err != nil || parsed.Address != a {
			return fmt.Errorf("from and to want plain addresses such as postmaster@example.com, not %q", a)
		}
	}
	if !slices.Contains([]string{"", TLSAuto, TLSNone, TLSStartTLS, TLSImplicit}, o.TLS) {
		return errors.New("tls wants auto, none, starttls or implicit")
	}
	if o.Username != "" && o.TLS == TLSNone && !o.local() {
		return errors.New("a password is sent over TLS or to this host only: set tls to starttls or implicit")
	}
	return nil
}

// startTLS says whether TLS begins with the command.
func (o SMTPOptions) startTLS() bool {
	return o.TLS == TLSStartTLS || (o.TLS == "" || o.TLS == TLSAuto) && !o.local()
}

// local says whether the server is on this host.
func (o SMTPOptions) local() bool {
	host, _, err := net.SplitHostPort(o.Address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// sendTimeout bounds the sending of one notice.
const sendTimeout = 30 * time.Second

// SMTP sends notices by mail (RFC 5321). It is a Sink.
type SMTP struct {
	options  SMTPOptions
	hostname string
}

// NewSMTP makes a sink; hostname names this installation in the mails and in EHLO.
func NewSMTP(o SMTPOptions, hostname string) (*SMTP, error) {
	if o.Address == "" {
		return nil, errors.New("notify.smtp: address is empty")
	}
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("notify.smtp: %w", err)
	}
	return &SMTP{options: o, hostname: hostname}, nil
}

// Send sends one mail to all addresses. An error means that not all of them were told.
func (s *SMTP) Send(ctx context.Context, n Notice) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.options.Address)
	if err != nil {
		return fmt.Errorf("notify by mail: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := s.talk(conn, n); err != nil {
		return fmt.Errorf("notify by mail to %s: %w", s.options.Address, errors.Join(err, ctx.Err()))
	}
	return nil
}

// talk closes conn.
func (s *SMTP) talk(conn net.Conn, n Notice) error {
	host, _, err := net.SplitHostPort(s.options.Address)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	if s.options.TLS == TLSImplicit {
		conn = tls.Client(conn, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12})
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer c.Close() //nolint:errcheck // after QUIT it is closed; before, there is an error already
	if err := s.begin(c, host); err != nil {
		return err
	}
	if err := c.Mail(s.options.From); err != nil {
		return err
	}
	for _, to := range s.options.To {
		if err := c.Rcpt(to); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(s.compose(n)); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	// The mail is taken, whatever becomes of the goodbye.
	_ = c.Quit()
	return nil
}

// begin says EHLO, turns TLS on and logs in.
func (s *SMTP) begin(c *smtp.Client, host string) error {
	if err := c.Hello(s.hostname); err != nil {
		return err
	}
	if s.options.startTLS() {
		if err := c.StartTLS(&tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}); err != nil {
			return fmt.Errorf("starttls: %w", err)
		}
	}
	if s.options.Username == "" {
		return nil
	}
	return c.Auth(smtp.PlainAuth("", s.options.Username, s.options.Password, host))
}

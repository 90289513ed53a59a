// Package mailer sends mail about the installation to its administrators, through a mail server that the operator names.
package mailer

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

// Options are the section `notify.smtp` of the configuration.
type Options struct {
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

// The values of Options.TLS.
const (
	TLSAuto     = "auto"
	TLSNone     = "none"
	TLSStartTLS = "starttls"
	TLSImplicit = "implicit"
)

// Validate says what is missing or malformed. An empty Address is fine: then nothing is sent.
func (o Options) Validate() error {
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
func (o Options) startTLS() bool {
	return o.TLS == TLSStartTLS || (o.TLS == "" || o.TLS == TLSAuto) && !o.local()
}

// local says whether the server is on this host.
func (o Options) local() bool {
	host, _, err := net.SplitHostPort(o.Address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// sendTimeout bounds the sending of one letter.
const sendTimeout = 30 * time.Second

// Mailer sends letters by SMTP (RFC 5321). Its methods may be called from many goroutines.
type Mailer struct {
	options  Options
	hostname string
}

// New makes a Mailer; hostname names this installation in Message-ID and EHLO.
func New(o Options, hostname string) (*Mailer, error) {
	if o.Address == "" {
		return nil, errors.New("notify.smtp: address is empty")
	}
	if err := o.Validate(); err != nil {
		return nil, fmt.Errorf("notify.smtp: %w", err)
	}
	return &Mailer{options: o, hostname: hostname}, nil
}

// Hostname is what the Mailer was made with.
func (m *Mailer) Hostname() string { return m.hostname }

// Send sends one mail to all addresses. An error means that not all of them were told.
func (m *Mailer) Send(ctx context.Context, l Letter) error {
	ctx, cancel := context.WithTimeout(ctx, sendTimeout)
	defer cancel()
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", m.options.Address)
	if err != nil {
		return fmt.Errorf("notify by mail: %w", err)
	}
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	if err := m.talk(conn, l); err != nil {
		return fmt.Errorf("notify by mail to %s: %w", m.options.Address, errors.Join(err, ctx.Err()))
	}
	return nil
}

// talk closes conn.
func (m *Mailer) talk(conn net.Conn, l Letter) error {
	host, _, err := net.SplitHostPort(m.options.Address)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	if m.options.TLS == TLSImplicit {
		conn = tls.Client(conn, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12})
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return errors.Join(err, conn.Close())
	}
	defer c.Close() //nolint:errcheck // after QUIT it is closed; before, there is an error already
	if err := m.begin(c, host); err != nil {
		return err
	}
	if err := c.Mail(m.options.From); err != nil {
		return err
	}
	for _, to := range m.options.To {
		if err := c.Rcpt(to); err != nil {
			return err
		}
	}
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(m.compose(l)); err != nil {
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
func (m *Mailer) begin(c *smtp.Client, host string) error {
	if err := c.Hello(m.hostname); err != nil {
		return err
	}
	if m.options.startTLS() {
		if err := c.StartTLS(&tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}); err != nil {
			return fmt.Errorf("starttls: %w", err)
		}
	}
	if m.options.Username == "" {
		return nil
	}
	return c.Auth(smtp.PlainAuth("", m.options.Username, m.options.Password, host))
}

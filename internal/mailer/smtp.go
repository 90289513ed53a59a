// Package mailer sends mail about the installation to its administrators, through a mail server that the operator names.
package mailer

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/mail"
	"net/smtp"
	"net/textproto"
	"slices"
	"strings"
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
	if o.Username != "" && o.TLS == TLSNone && !o.Local() {
		return errors.New("a password is sent over TLS or to this host only: set tls to starttls or implicit")
	}
	return nil
}

// startTLS says whether TLS begins with the command.
func (o Options) startTLS() bool {
	return o.TLS == TLSStartTLS || (o.TLS == "" || o.TLS == TLSAuto) && !o.Local()
}

// Local says whether the server is on this host, where it may be the one whose mail is judged here.
func (o Options) Local() bool {
	host, _, err := net.SplitHostPort(o.Address)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// Mailer sends letters by SMTP (RFC 5321). Its methods may be called from many goroutines.
type Mailer struct {
	options  Options
	hostname string
	mac      func(fields ...string) string
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

// Refusal is an address of Options.To that the server did not take. Err is its reply.
type Refusal struct {
	Address string
	Err     error
}

// String names the address with the reply, for operators.
func (r Refusal) String() string { return r.Address + " is refused: " + r.Err.Error() }

// Refusals are those of one letter; none means that it went to all.
type Refusals []Refusal

// String is all of them; empty for none.
func (r Refusals) String() string {
	texts := make([]string, len(r))
	for i, one := range r {
		texts[i] = one.String()
	}
	return strings.Join(texts, "; ")
}

// Prove makes the letters tell a milter of this installation that they are ours; mac is of its keyring. It is called before the
// first Send.
func (m *Mailer) Prove(mac func(fields ...string) string) { m.mac = mac }

// Hostname is what the Mailer was made with.
func (m *Mailer) Hostname() string { return m.hostname }

// Send sends one mail to all addresses that the server takes, and gives those that it refused, for good or for now: whoever sent
// it again for them would send it twice to the others. An error means that nobody was told; ErrUnsure, that this is not known. It
// takes SendTakes at most.
func (m *Mailer) Send(ctx context.Context, l Letter) (Refusals, error) {
	var refused Refusals
	err := m.connected(ctx, func(c *smtp.Client, reply func() error) (err error) {
		refused, err = m.talk(c, l, reply)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("notify by mail to %s: %w", m.options.Address, err)
	}
	return refused, nil
}

// Probed is what Probe found out.
type Probed struct {
	// NoEnvID says that the server takes no ENVID (RFC 3461): a milter of this installation behind it does not know letters as ours.
	NoEnvID bool
	// Refused are the addresses that would get no letter.
	Refused Refusals
}

// Probe does all for a letter but sending it. An error is what would keep a letter back from everybody.
func (m *Mailer) Probe(ctx context.Context) (Probed, error) {
	var p Probed
	err := m.connected(ctx, func(c *smtp.Client, _ func() error) (err error) {
		dsn, _ := c.Extension("DSN")
		p.NoEnvID = !dsn
		_, letter := m.compose(Letter{Subject: "probe", At: time.Now(), ID: rand.Text()}, m.options.To)
		if _, p.Refused, err = m.envelope(c, letter); err != nil {
			return err
		}
		return c.Reset()
	})
	return p, err
}

// connected calls talk with a connection that is logged in, and with what talk calls before it waits for the word on a letter.
func (m *Mailer) connected(ctx context.Context, talk func(c *smtp.Client, reply func() error) error) error {
	deadline := time.Now().Add(sendTimeout)
	conn, err := (&net.Dialer{Deadline: deadline}).DialContext(ctx, "tcp", m.options.Address)
	if err != nil {
		return err
	}
	return m.converse(ctx, conn, deadline, talk)
}

// converse closes conn.
func (m *Mailer) converse(ctx context.Context, conn net.Conn, deadline time.Time, talk func(c *smtp.Client, reply func() error) error) error {
	l := &line{Conn: conn}
	defer l.Close() //nolint:errcheck // all was said, or there is an error already
	if err := l.until(ctx, deadline, 0); err != nil {
		return err
	}
	defer func() { l.leave() }()
	c, err := m.logIn(l)
	if err == nil {
		err = talk(c, func() error { return l.until(ctx, time.Now().Add(replyTimeout), replyGrace) })
	}
	if err != nil {
		return errors.Join(err, ctx.Err())
	}
	l.bye(c.Quit)
	return nil
}

// logIn begins the conversation.
func (m *Mailer) logIn(conn net.Conn) (*smtp.Client, error) {
	host, _, err := net.SplitHostPort(m.options.Address)
	if err != nil {
		return nil, err
	}
	if m.options.TLS == TLSImplicit {
		conn = tls.Client(conn, &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12})
	}
	c, err := smtp.NewClient(conn, host)
	if err != nil {
		return nil, err
	}
	return c, m.begin(c, host)
}

// talk begins anew without the addresses that are refused: the proof is given before them, and holds for those alone who get the
// letter.
func (m *Mailer) talk(c *smtp.Client, l Letter, reply func() error) (Refusals, error) {
	l.ID = cmp.Or(l.ID, rand.Text())
	var refused Refusals
	for to := m.options.To; ; {
		raw, letter := m.compose(l, to)
		taken, not, err := m.envelope(c, letter)
		if err != nil {
			return nil, err
		}
		if len(not) == 0 {
			return refused, content(c, raw, reply)
		}
		refused, to = append(refused, not...), taken
		if err := c.Reset(); err != nil {
			return nil, err
		}
	}
}

// envelope says MAIL, and RCPT for each recipient. An error means that none was taken.
func (m *Mailer) envelope(c *smtp.Client, letter Received) (taken []string, refused Refusals, err error) {
	if err := m.mail(c, letter); err != nil {
		return nil, nil, err
	}
	for _, to := range letter.To {
		err := c.Rcpt(to)
		if _, isReply := errors.AsType[*textproto.Error](err); err != nil && !isReply {
			return nil, nil, err
		}
		if err == nil {
			taken = append(taken, to)
		} else {
			refused = append(refused, Refusal{Address: to, Err: err})
		}
	}
	if len(taken) == 0 {
		return nil, refused, fmt.Errorf("nobody was taken: %s", refused)
	}
	return taken, refused, nil
}

// content says DATA.
func content(c *smtp.Client, raw []byte, reply func() error) error {
	w, err := c.Data()
	if err != nil {
		return err
	}
	if _, err := w.Write(raw); err != nil {
		return err
	}
	if err := reply(); err != nil {
		return err
	}
	return unsure(w.Close())
}

// mail says MAIL, with the proof where the server takes one.
func (m *Mailer) mail(c *smtp.Client, letter Received) error {
	dsn, _ := c.Extension("DSN")
	proof := ""
	if m.mac != nil && dsn {
		proof = prove(letter, time.Now(), m.mac)
	}
	if proof == "" {
		return c.Mail(m.options.From)
	}
	command := "MAIL FROM:<%s> ENVID=%s"
	if utf8, _ := c.Extension("SMTPUTF8"); utf8 {
		command += " SMTPUTF8"
	}
	id, err := c.Text.Cmd(command, m.options.From, proof) // addresses were parsed: there is no line end in them
	if err != nil {
		return err
	}
	c.Text.StartResponse(id)
	defer c.Text.EndResponse(id)
	_, _, err = c.Text.ReadResponse(250)
	return err
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

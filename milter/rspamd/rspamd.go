// Package rspamd asks an rspamd worker about a message, over HTTP (POST /checkv2), and reads its answer
// as a verdict. The protocol is described at https://rspamd.com/doc/developers/protocol.html.
package rspamd

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/mairust/mairust/internal/mail"
)

const (
	// maxAnswerBytes bounds what is read of an answer; a usual one is some kilobytes.
	maxAnswerBytes = 1 << 20
	// maxRecipients bounds the Rcpt fields of a request.
	maxRecipients = 1000
	// tagUnscanned marks a message that rspamd was not asked about.
	tagUnscanned = "unscanned"
)

// Options are the rspamd part of the configuration. Without a URL there is no check.
type Options struct {
	// URL of a normal worker or a proxy, such as http://127.0.0.1:11333; a path before /checkv2 is kept.
	URL string `yaml:"url"`
	// Password is sent when it is not empty.
	Password string `yaml:"password"`
	// TimeoutMS bounds one request, within the milter's deadline; default 8000.
	TimeoutMS int `yaml:"timeout_ms"`
	// MaxBytes is the size of the largest message that is sent to rspamd; default 50 MiB. A larger one is
	// tagged "unscanned".
	MaxBytes int64 `yaml:"max_bytes"`
	// OnError is allow (default), tempfail or reject; the milter carries it out.
	OnError string `yaml:"on_error"`
	// AddHeader is what the actions "add header" and "rewrite subject" mean: tag (default) or quarantine.
	AddHeader string `yaml:"add_header"`
	// Greylist is what the action "greylist" means: tempfail (default) or allow. It comes with every
	// message whose score is in that range; when rspamd's greylisting module wants a message to wait, it
	// says "soft reject". Set allow where that module runs, or where mail in that range shall pass.
	Greylist string `yaml:"greylist"`
}

// Client asks one rspamd. It is a check of the milter; its methods may be called at once.
type Client struct {
	url       string
	password  string
	timeout   time.Duration
	maxBytes  int64
	addHeader mail.Action
	greylist  mail.Action
	http      *http.Client
	log       *slog.Logger
}

// New checks o, which must have a URL. A nil log discards.
func New(o Options, log *slog.Logger) (*Client, error) {
	u, err := url.Parse(o.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("rspamd: url: use http://host:port") // not the URL: a password may be in it
	}
	if o.TimeoutMS < 0 || o.MaxBytes < 0 {
		return nil, errors.New("rspamd: timeout_ms and max_bytes can't be negative")
	}
	c := &Client{
		url:      u.JoinPath("checkv2").String(),
		password: o.Password,
		timeout:  8 * time.Second,
		maxBytes: 50 << 20,
		log:      log,
		http: &http.Client{
			Transport: &http.Transport{
				DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
				MaxIdleConnsPerHost: 64,
				IdleConnTimeout:     30 * time.Second,
				DisableCompression:  true,
			},
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
	}
	if o.TimeoutMS > 0 {
		c.timeout = time.Duration(o.TimeoutMS) * time.Millisecond
	}
	if o.MaxBytes > 0 {
		c.maxBytes = o.MaxBytes
	}
	if c.addHeader, err = choose("add_header", o.AddHeader, mail.Tag, mail.Quarantine); err != nil {
		return nil, err
	}
	if c.greylist, err = choose("greylist", o.Greylist, mail.Tempfail, mail.Allow); err != nil {
		return nil, err
	}
	if c.log == nil {
		c.log = slog.New(slog.DiscardHandler)
	}
	return c, nil
}

// choose reads word as one of two actions, the first when it is empty.
func choose(key, word string, def, other mail.Action) (mail.Action, error) {
	switch word {
	case "", def.String():
		return def, nil
	case other.String():
		return other, nil
	}
	return 0, fmt.Errorf("rspamd: %s %q: use %s or %s", key, mail.Clean(word, 40), def, other)
}

// Name is "rspamd".
func (c *Client) Name() string { return "rspamd" }

// Check sends the message and reads the verdict. A message over MaxBytes is not sent, but tagged
// "unscanned". Errors are rspamd's absence, lateness, refusal, or an answer that is none.
func (c *Client) Check(ctx context.Context, m *mail.Message) (mail.Verdict, error) {
	if m.SizeBytes > c.maxBytes {
		return mail.Verdict{Action: mail.Tag, Tags: []string{tagUnscanned}, Reasons: []string{"rspamd: over max_bytes"}}, nil
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	req, err := c.request(ctx, m)
	if err != nil {
		return mail.Verdict{}, fmt.Errorf("ask rspamd: %w", err)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return mail.Verdict{}, fmt.Errorf("ask rspamd: %w", err)
	}
	body, err := readAnswer(resp)
	if err != nil {
		return mail.Verdict{}, fmt.Errorf("read rspamd's answer: %w", err)
	}
	a, err := parseAnswer(body)
	if err != nil {
		return mail.Verdict{}, err
	}
	return c.verdict(a, m.QueueID), nil
}

// Close lets go of idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

func readAnswer(resp *http.Response) ([]byte, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswerBytes+1))
	if err := errors.Join(err, resp.Body.Close()); err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("status %d: %q", resp.StatusCode, mail.Clean(string(body), 200))
	}
	if len(body) > maxAnswerBytes {
		return nil, fmt.Errorf("longer than %d bytes", maxAnswerBytes)
	}
	return body, nil
}

// request describes the envelope in header fields; the body is the message.
func (c *Client) request(ctx context.Context, m *mail.Message) (*http.Request, error) {
	body, err := m.Open()
	if err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.url, body)
	if err != nil {
		return nil, errors.Join(err, body.Close())
	}
	req.GetBody = m.Open
	req.ContentLength = m.SizeBytes
	h := req.Header
	h["Idempotency-Key"] = nil // not sent; it lets net/http try again when an idle connection turns out dead
	h.Set("Content-Type", "message/rfc822")
	set(h, "Password", c.password)
	set(h, "Queue-Id", m.QueueID)
	set(h, "From", "<"+m.From.SMTP()+">")
	for i, r := range m.Rcpt {
		if i == maxRecipients {
			break
		}
		h.Add("Rcpt", printable("<"+r.Address.SMTP()+">"))
	}
	if m.Client.Addr.IsValid() {
		set(h, "IP", m.Client.Addr.String())
	}
	set(h, "Helo", m.Client.Helo)
	set(h, "Hostname", m.Client.Name)
	set(h, "User", m.Client.Login)
	set(h, "MTA-Name", m.Host)
	return req, nil
}

// set adds a field unless its value is empty.
func set(h http.Header, name, value string) {
	if value = printable(value); value != "" {
		h.Set(name, value)
	}
}

// printable takes out what may not stand in an HTTP field: control characters.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, s)
}

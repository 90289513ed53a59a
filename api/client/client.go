// Package client speaks the REST API of MaiRust, over HTTPS with an API key or through the admin socket of the host.
package client

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/mairust/mairust/api/wire"
)

// Options of a Client. One of URL and Socket is required.
type Options struct {
	// URL is where the server is, such as "https://mail.example.jp". Plain http is for loopback only, since a key is sent.
	URL string
	// Key is an API key; it goes to URL only.
	Key string
	// Socket is the path of the admin socket, where whoever may connect is a super admin. It is used when URL is empty.
	Socket string
	// Language is that of texts for people: "en" (default) or "ja".
	Language string
	// CA has certificates in PEM form to trust beside those of the system; nil for none.
	CA []byte
	// UserAgent may be empty.
	UserAgent string
	// Timeout of one call; default 30 seconds.
	Timeout time.Duration
}

// Client calls the API. Its methods may be called from many goroutines. Errors are *Problem when the server said what is
// wrong, *UnreachableError when it did not answer.
type Client struct {
	base     string
	key      string
	where    string
	language string
	agent    string
	http     *http.Client
}

// Problem is an error that the server told.
type Problem struct {
	wire.Problem
}

// Error is the server's sentence for people, with what is wrong where it says so.
func (p *Problem) Error() string {
	text := p.Title
	if p.Detail != "" {
		text = p.Detail
	}
	for _, f := range p.Errors {
		text += fmt.Sprintf("\n  %s: %s", f.Location, f.Message)
	}
	return text
}

// UnreachableError says that no answer came.
type UnreachableError struct {
	// Where is the URL or the socket; Socket tells which.
	Where  string
	Socket bool
	Err    error
}

// Error names the server and the cause.
func (e *UnreachableError) Error() string {
	return fmt.Sprintf("%s does not answer: %v", e.Where, e.Err)
}

// Unwrap gives the cause.
func (e *UnreachableError) Unwrap() error { return e.Err }

// socketBase stands for the admin socket in URLs.
const socketBase = "http://admin"

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 32 << 20

// New makes a Client. It connects to nothing.
func New(o Options) (*Client, error) {
	c := &Client{language: o.Language, agent: o.UserAgent, key: o.Key}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: 10 * time.Second}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	switch {
	case o.URL != "":
		if err := c.setURL(o.URL); err != nil {
			return nil, err
		}
		var err error
		if transport.TLSClientConfig, err = trust(o.CA); err != nil {
			return nil, err
		}
	case o.Socket != "":
		c.base, c.where, c.key = socketBase, "the admin socket "+o.Socket, ""
		transport.Proxy = nil
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "unix", o.Socket)
		}
	default:
		return nil, errors.New("say where the server is: a URL or an admin socket")
	}
	c.http = &http.Client{
		Transport: transport, Timeout: o.Timeout,
		// The key goes to nobody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return c, nil
}

func (c *Client) setURL(text string) error {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || u.Scheme != "https" && u.Scheme != "http" {
		return fmt.Errorf("%q is not the URL of a server: write https://HOST or http://127.0.0.1:PORT", text)
	}
	if u.Scheme == "http" && !isLoopback(u.Hostname()) {
		return fmt.Errorf("%s: plain http is for this host only, since the API key would be readable on its way: use https", text)
	}
	c.base = strings.TrimRight(u.String(), "/")
	c.where = c.base
	return nil
}

func isLoopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && a.IsLoopback()
}

// trust is the system's certificates and more.
func trust(more []byte) (*tls.Config, error) {
	if more == nil {
		return nil, nil //nolint:nilnil // the default of net/http
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(more) {
		return nil, errors.New("no certificate in PEM form among those to trust")
	}
	return &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}, nil
}

// call does one request: body is sent as JSON unless it is nil, the answer decoded into result unless that is nil.
func (c *Client) call(ctx context.Context, method, path string, query url.Values, body, result any) error {
	status, answer, err := c.do(ctx, method, path, query, body)
	if err != nil {
		return err
	}
	if status < 200 || status > 299 {
		return problemOf(c.where, status, answer)
	}
	if result == nil {
		return nil
	}
	if err := json.Unmarshal(answer, result); err != nil {
		return fmt.Errorf("%s answered something else than was asked for: %w", c.where, err)
	}
	return nil
}

func (c *Client) do(ctx context.Context, method, path string, query url.Values, body any) (int, []byte, error) {
	var content io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		if err != nil {
			return 0, nil, fmt.Errorf("encode the request: %w", err)
		}
		content = bytes.NewReader(raw)
	}
	target := c.base + path
	if len(query) > 0 {
		target += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, method, target, content)
	if err != nil {
		return 0, nil, err
	}
	c.setHeader(req.Header, body != nil)
	resp, err := c.http.Do(req)
	if err != nil {
		return 0, nil, c.unreachable(withoutURL(err))
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(answer) > maxAnswer {
		err = fmt.Errorf("the answer has more than %d bytes", maxAnswer)
	}
	if err != nil {
		return 0, nil, c.unreachable(err)
	}
	return resp.StatusCode, answer, nil
}

func (c *Client) unreachable(err error) error {
	return &UnreachableError{Where: c.where, Socket: c.base == socketBase, Err: err}
}

func (c *Client) setHeader(h http.Header, content bool) {
	h.Set("Accept", "application/json")
	if content {
		h.Set("Content-Type", "application/json")
	}
	if c.language != "" {
		h.Set("Accept-Language", c.language)
	}
	if c.agent != "" {
		h.Set("User-Agent", c.agent)
	}
	if c.key != "" {
		h.Set("Authorization", "Bearer "+c.key)
	}
}

// withoutURL leaves out the method and address that net/http puts before the cause: the address may hold an account.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// problemOf makes an error of an answer. One that is no problem of ours comes from something in between.
func problemOf(where string, status int, answer []byte) error {
	var p Problem
	if err := json.Unmarshal(answer, &p.Problem); err == nil && p.Code != "" {
		return &p
	}
	detail := fmt.Sprintf("%s answered %d %s", where, status, http.StatusText(status))
	if text := strings.TrimSpace(string(answer)); text != "" && len(text) < 200 && !strings.HasPrefix(text, "<") {
		detail += ": " + text
	} else {
		detail += ", not as MaiRust's API does"
	}
	return &Problem{wire.Problem{Status: status, Title: http.StatusText(status), Code: "not_ours", Detail: detail}}
}

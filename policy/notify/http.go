package notify

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// WebhookOptions are the section `notify.webhook` of the configuration.
type WebhookOptions struct {
	// URL takes a POST for each notice; empty means no webhook. For Slack and its kind it is a secret.
	URL string `yaml:"url"`
	// Format is json (default) or slack, which Mattermost and others understand too.
	Format string `yaml:"format"`
	// Secret signs the JSON form, as hooks are signed.
	Secret string `yaml:"secret"`
	// Timeout of one request; default 10 seconds.
	Timeout time.Duration `yaml:"timeout"`
}

// MonitorOptions are the section `notify.monitor` of the configuration.
type MonitorOptions struct {
	// URL takes a POST for each notice; empty, the default, means that no monitor is told.
	URL string `yaml:"url"`
	// Token is sent as a bearer token when it is not empty.
	Token string `yaml:"token"`
	// Timeout of one request; default 10 seconds.
	Timeout time.Duration `yaml:"timeout"`
	// Heartbeat is how often the monitor is told that this installation lives; 0 is never.
	Heartbeat time.Duration `yaml:"heartbeat"`
}

// DefaultMonitor is the monitor's section with its defaults and no URL.
func DefaultMonitor() MonitorOptions {
	return MonitorOptions{Timeout: defaultTimeout, Heartbeat: defaultHeartbeat}
}

// DefaultWebhook is the webhook's section with its defaults and no URL.
func DefaultWebhook() WebhookOptions {
	return WebhookOptions{Format: "json", Timeout: defaultTimeout}
}

const (
	defaultTimeout = 10 * time.Second
	maxTimeout     = time.Minute
	// maxAnswer is how much of an answer is read; nobody looks at it.
	maxAnswer = 4 << 10
)

// Validate says what is malformed. The text never holds the URL, which may be a secret.
func (o WebhookOptions) Validate() error {
	if err := validateURL(o.URL, o.Timeout); err != nil {
		return fmt.Errorf("notify.webhook: %w", err)
	}
	if !slices.Contains([]string{"", "json", "slack"}, o.Format) {
		return errors.New("notify.webhook: format wants json or slack")
	}
	return nil
}

// Validate says what is malformed.
func (o MonitorOptions) Validate() error {
	if err := validateURL(o.URL, o.Timeout); err != nil {
		return fmt.Errorf("notify.monitor: %w", err)
	}
	return nil
}

func validateURL(text string, timeout time.Duration) error {
	if timeout < 0 || timeout > maxTimeout {
		return fmt.Errorf("timeout wants at most %s", maxTimeout)
	}
	if text == "" {
		return nil
	}
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.User != nil || u.Fragment != "" {
		return errors.New("url wants https://HOST/PATH without a user")
	}
	return nil
}

// poster posts JSON to one address.
type poster struct {
	url    string
	client *http.Client
	// sign adds headers for a body; nil for none.
	sign func(h http.Header, body []byte)
}

// newPoster makes a client that goes where it was told to and nowhere else: no redirects, no cookies, and
// no connections that are kept, as notices are rare.
func newPoster(address string, timeout time.Duration) *poster {
	if timeout <= 0 {
		timeout = defaultTimeout
	}
	return &poster{url: address, client: &http.Client{
		Timeout:       timeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: timeout}).DialContext,
			TLSClientConfig: &tls.Config{MinVersion: tls.VersionTLS12}, TLSHandshakeTimeout: timeout, ForceAttemptHTTP2: true,
			MaxResponseHeaderBytes: 64 << 10, DisableKeepAlives: true,
		},
	}}
}

func (p *poster) post(ctx context.Context, payload any) error {
	body, err := json.Marshal(payload)
	if err != nil {
		return err
	}
	ctx, leave := lingering(ctx)
	defer leave()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.url, bytes.NewReader(body))
	if err != nil {
		return withoutURL(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "MaiRust")
	if p.sign != nil {
		p.sign(req.Header, body)
	}
	resp, err := p.client.Do(req)
	if err != nil {
		return withoutURL(err)
	}
	defer resp.Body.Close()
	_, _ = io.CopyN(io.Discard, resp.Body, maxAnswer)
	switch {
	case resp.StatusCode >= 200 && resp.StatusCode < 300:
		return nil
	case resp.StatusCode >= 300 && resp.StatusCode < 400:
		return fmt.Errorf("it answers %d: redirects are not followed, configure where it leads", resp.StatusCode)
	default:
		return fmt.Errorf("it answers %d", resp.StatusCode)
	}
}

// answerGrace is how long an answer is waited for when everything ends meanwhile: the server may have taken what it was sent.
const answerGrace = 5 * time.Second

// lingering ends a little after ctx, or with leave.
func lingering(ctx context.Context) (late context.Context, leave func()) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() { time.AfterFunc(answerGrace, cancel) })
	return late, func() { stop(); cancel() }
}

// withoutURL takes the address, which may be a secret, out of an error of net/http.
func withoutURL(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		if u.Timeout() {
			return errors.New("no answer in time")
		}
		return u.Err
	}
	return err
}

// newSignature signs as the requests of hooks are signed.
func newSignature(id, secret string) func(http.Header, []byte) {
	return func(h http.Header, body []byte) {
		timestamp, sum := strconv.FormatInt(time.Now().Unix(), 10), sha256.Sum256(body)
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write([]byte(strings.Join([]string{timestamp, id, hex.EncodeToString(sum[:])}, "\n")))
		h.Set("X-MaiRust-Timestamp", timestamp)
		h.Set("X-MaiRust-Plugin-Id", id)
		h.Set("X-MaiRust-Signature", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
}

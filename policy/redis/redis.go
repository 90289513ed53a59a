// Package redis keeps what the outbound engine remembers where several nodes share it: the state of an account, changed by
// compare and set, and the counters of domains and tenants, which are scripts of their own. It knows nothing of what it
// keeps. When Redis is away every call says so at once, for callers to go on with what their node knows.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"
)

// Options say which Redis. Without a URL there is none.
type Options struct {
	// URL is redis://[user:password@]host:port/database, rediss:// with TLS, or unix://path.
	URL string `yaml:"url"`
	// Prefix begins every key; default "mairust".
	Prefix string `yaml:"prefix"`
	// TimeoutMS bounds one command, connecting included; default 250.
	TimeoutMS int `yaml:"timeout_ms"`
}

var (
	// ErrAway wraps every error that says that Redis did not answer. Whether it did what it was asked is not known.
	ErrAway = errors.New("redis does not answer")
	// ErrBusy says that others changed the state at every try.
	ErrBusy = errors.New("the state was changed by others at every try")
)

// restFor is how long Redis is left alone after it did not answer, so that only few messages wait for it.
const restFor = time.Second

// Client is a Redis. Its methods may be called by many at once. Nothing is connected before the first call.
type Client struct {
	rdb     *goredis.Client
	prefix  string
	timeout time.Duration
	log     *slog.Logger
	now     func() time.Time
	// restUntil is when Redis is asked again, in nanoseconds since 1970; 0 while it answers.
	restUntil atomic.Int64
}

// Open makes a Client, which the caller closes. The error never holds the password of the URL.
func Open(o Options, log *slog.Logger) (*Client, error) {
	opts, err := goredis.ParseURL(o.URL)
	if err != nil {
		return nil, errors.New("redis: the URL must be redis://, rediss:// or unix://")
	}
	if o.TimeoutMS < 0 {
		return nil, errors.New("redis: timeout_ms can't be negative")
	}
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	c := &Client{prefix: "mairust", timeout: 250 * time.Millisecond, log: log, now: time.Now}
	if o.Prefix != "" {
		c.prefix = o.Prefix
	}
	if o.TimeoutMS > 0 {
		c.timeout = time.Duration(o.TimeoutMS) * time.Millisecond
	}
	goredis.SetLogger(silence{}) // it writes to standard error what the errors say as well
	opts.MaxRetries = -1         // a script that was sent twice would count twice
	opts.ContextTimeoutEnabled = true
	opts.DialTimeout, opts.ReadTimeout, opts.WriteTimeout, opts.PoolTimeout = c.timeout, c.timeout, c.timeout, c.timeout
	opts.DialerRetries = 1
	opts.DisableIdentity = true
	opts.MaintNotificationsConfig = &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}
	c.rdb = goredis.NewClient(opts)
	return c, nil
}

// silence is the library's log.
type silence struct{}

// Printf does nothing.
func (silence) Printf(context.Context, string, ...any) {}

// Close closes all connections.
func (c *Client) Close() error { return c.rdb.Close() }

// Ping asks for a sign of life, whether or not Redis is being left alone.
func (c *Client) Ping(ctx context.Context) error {
	return c.run(ctx, func(ctx context.Context) error { return c.rdb.Ping(ctx).Err() })
}

// ask runs one command with its deadline. ErrAway.
func (c *Client) ask(ctx context.Context, command func(ctx context.Context) error) error {
	if until := c.restUntil.Load(); until != 0 && c.now().UnixNano() < until {
		return ErrAway
	}
	return c.run(ctx, command)
}

// run is ask of a Redis that may be resting.
func (c *Client) run(ctx context.Context, command func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	return c.note(command(ctx))
}

// note keeps whether Redis answers, and logs when that changes.
func (c *Client) note(err error) error {
	var said goredis.Error
	switch {
	case err == nil || errors.Is(err, goredis.Nil):
		if c.restUntil.Swap(0) != 0 {
			c.log.Info("redis answers again")
		}
		return err
	case errors.As(err, &said) && !isUnready(err):
		return fmt.Errorf("redis: %w", err)
	}
	if c.restUntil.Swap(c.now().Add(restFor).UnixNano()) == 0 {
		c.log.Warn("redis does not answer", "err", err)
	}
	return fmt.Errorf("%w: %w", ErrAway, err)
}

// isUnready tells errors of a server that is there and can't work.
func isUnready(err error) bool {
	for _, prefix := range []string{"LOADING", "READONLY", "MASTERDOWN", "NOREPLICAS", "OOM", "MISCONF", "CLUSTERDOWN", "TRYAGAIN", "NOAUTH", "WRONGPASS", "NOPERM"} {
		if goredis.HasErrorPrefix(err, prefix) {
			return true
		}
	}
	return false
}

// key makes a key whose hash tag is what it is about, so that a cluster keeps together what a script needs.
func (c *Client) key(about, what string) string {
	return c.prefix + ":outbound:{" + about + "}:" + what
}

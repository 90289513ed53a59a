package lmtp

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/internal/listen"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// Options of the LMTP service. Zero values mean the defaults.
type Options struct {
	Listeners []listen.Options `yaml:"listeners"`
	// MaxConnections at once on one listener; default 1000. One more is told 421.
	MaxConnections int `yaml:"max_connections"`
	// MaxPerClient at once from one address; default: as many as MaxConnections, because Postfix is one client.
	MaxPerClient int `yaml:"max_per_client"`
	// RecipientDelimiter divides user and detail in an address, as Postfix's recipient_delimiter, with which
	// it should agree; default "+". "none" means that there are no details.
	RecipientDelimiter string `yaml:"recipient_delimiter"`
	// MaxMessageBytes is announced by SIZE and enforced; 0 leaves the limit to Postfix.
	MaxMessageBytes int64 `yaml:"max_message_bytes"`
	// MaxRecipients of one transaction; default 1000. Postfix sends 50 unless told otherwise.
	MaxRecipients int `yaml:"max_recipients"`
	// SpoolMemoryBytes is how much of a message is held in memory before it goes to a file; default 2 MiB.
	SpoolMemoryBytes int64 `yaml:"spool_memory_bytes"`
	// SpoolMemoryTotalBytes is how much memory the messages of all sessions take together before more go to files,
	// however small; default 48 MiB.
	SpoolMemoryTotalBytes int64 `yaml:"spool_memory_total_bytes"`
	// CommandTimeout is how long a client may take for its next command; default 5 minutes
	// (RFC 5321, 4.5.3.2.7).
	CommandTimeout time.Duration `yaml:"command_timeout"`
	// DataTimeout is how long a client may be silent within a message; default 3 minutes (RFC 5321, 4.5.3.2.5).
	DataTimeout time.Duration `yaml:"data_timeout"`
	// MessageTimeout bounds one message from DATA to its end, however busily the client drips; default 30 minutes.
	MessageTimeout time.Duration `yaml:"message_timeout"`
	// ReplyTimeout is how long a client may not read the replies that are sent to it; default 1 minute.
	ReplyTimeout time.Duration `yaml:"reply_timeout"`
	// ResolveTimeout bounds the lookup of one recipient; default 30 seconds.
	ResolveTimeout time.Duration `yaml:"resolve_timeout"`
	// DeliverTimeout bounds the writing of objects and rows; default 5 minutes. It should stay below Postfix's
	// lmtp_data_done_timeout (10 minutes), or a message that was slow to store comes again.
	DeliverTimeout time.Duration `yaml:"deliver_timeout"`
}

// postfixIdle is how long Postfix may keep a connection that it does not use.
const postfixIdle = time.Hour

// Limits are what Options say about the connections of a listener.
func (o Options) Limits() listen.Limits {
	return listen.Limits{
		MaxConnections: o.MaxConnections, MaxPerClient: cmp.Or(o.MaxPerClient, o.MaxConnections, 1000), Idle: postfixIdle,
		Refusal: "421 4.3.2 Too many connections, try again later\r\n",
	}
}

func (o Options) withDefaults() Options {
	setDefault(&o.RecipientDelimiter, "+")
	if o.RecipientDelimiter == "none" {
		o.RecipientDelimiter = ""
	}
	setDefault(&o.MaxRecipients, 1000)
	setDefault(&o.SpoolMemoryBytes, 2<<20)
	setDefault(&o.SpoolMemoryTotalBytes, 48<<20)
	setDefault(&o.CommandTimeout, 5*time.Minute)
	setDefault(&o.DataTimeout, 3*time.Minute)
	setDefault(&o.MessageTimeout, 30*time.Minute)
	setDefault(&o.ReplyTimeout, time.Minute)
	setDefault(&o.ResolveTimeout, 30*time.Second)
	setDefault(&o.DeliverTimeout, 5*time.Minute)
	return o
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (o Options) check() error {
	switch {
	case o.MaxMessageBytes < 0:
		return errors.New("max_message_bytes is negative")
	case o.MaxRecipients < 0:
		return errors.New("max_recipients is negative")
	case o.SpoolMemoryBytes < 0:
		return errors.New("spool_memory_bytes is negative")
	case o.SpoolMemoryTotalBytes < 0:
		return errors.New("spool_memory_total_bytes is negative")
	case min(o.CommandTimeout, o.DataTimeout, o.MessageTimeout, o.ReplyTimeout, o.ResolveTimeout, o.DeliverTimeout) < 0:
		return errors.New("a timeout is negative")
	}
	return nil
}

// Index is where deliveries are decided and recorded; *store.Store is one.
type Index interface {
	// Resolve finds the mailbox that takes mail for rcpt. Errors: store.ErrNotFound, store.ErrSuspended,
	// store.ErrQuota; any other is temporary.
	Resolve(ctx context.Context, rcpt mail.Address, delimiter string) (store.Target, error)
	// Deliver records the copies, one Result for each, in order. When it returns, what it says is durable.
	// store.ErrNotFound, store.ErrSuspended, store.ErrQuota and store.ErrNotStored in a Result mean that nothing was
	// recorded; after any other error nobody knows.
	Deliver(ctx context.Context, copies []store.Copy) []store.Result
	// DeliverWhile is put and then Deliver of one copy, or both at once. An error is that of put; then nothing was recorded.
	DeliverWhile(ctx context.Context, c store.Copy, put func() error) (store.Result, error)
}

// Deps are what the service works with.
type Deps struct {
	// Index and Objects are required.
	Index   Index
	Objects blob.Bucket
	// SoonBytes is the size up to which Objects stores an object within some milliseconds; 0 where it does not.
	SoonBytes int64
	// Verify checks the MAC of a scan header; required.
	Verify func(mac string, fields ...string) error
	// Summarize reads what a message says of itself; nil means mail.Summarize.
	Summarize func(r io.Reader, limits mail.Limits) (*mail.Summary, error)
	// SpoolDir is where big messages lie until they are stored, in files without a name; empty means the
	// system's directory for temporary files.
	SpoolDir string
	// Delivered is told of each copy that was stored, and must not wait; may be nil.
	Delivered func(store.Copy)
	// Hostname stands in the greeting; empty means "localhost".
	Hostname string
	// Log may be nil.
	Log *slog.Logger
	// Registerer may be nil.
	Registerer prometheus.Registerer
	// Now is the clock for ages and records, not for timeouts; nil means time.Now.
	Now func() time.Time
}

func (d Deps) withDefaults() Deps {
	if d.Log == nil {
		d.Log = slog.New(slog.DiscardHandler)
	}
	if d.Now == nil {
		d.Now = time.Now
	}
	if d.Summarize == nil {
		d.Summarize = mail.Summarize
	}
	setDefault(&d.Hostname, "localhost")
	return d
}

func (d Deps) check() error {
	switch {
	case d.Index == nil:
		return errors.New("an index is required")
	case d.Objects == nil:
		return errors.New("an object store is required")
	case d.Verify == nil:
		return errors.New("a function that verifies scan headers is required")
	}
	return nil
}

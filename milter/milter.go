// Package milter judges mail while Postfix still holds the sender: it speaks the milter protocol,
// runs every configured check at the end of a message within one deadline, merges what they say, and
// answers with an SMTP reply or with header edits.
//
// The protocol is in protocol.go and handshake.go, a connection as packets in wire.go, and what they mean in session.go.
//
// The package holds no database: it goes on when everything but Postfix and its sources is gone.
package milter

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/internal/listen"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter/rspamd"
)

// The roles of a listener, as listen.Options.Role has them.
const (
	// RoleAuto takes a session with a login, or of a Postfix service whose milter_macro_daemon_name
	// is ORIGINATING, as outbound and all others as inbound.
	RoleAuto = "auto"
	// RoleInbound is for port 25: everything comes from strangers.
	RoleInbound = "inbound"
	// RoleSubmission is for ports 465 and 587: everything goes out.
	RoleSubmission = "submission"
	// RoleLocal is for non_smtpd_milters. Nobody is there to be refused, and a refusal would become
	// a bounce, so such a listener never refuses: a reject or tempfail becomes a quarantine.
	RoleLocal = "local"
)

// Options are the milter's part of the configuration. The zero value works, with no checks at all.
type Options struct {
	// Listeners are opened by the caller and given to Serve, each with its role.
	Listeners []listen.Options `yaml:"listeners"`
	// TimeoutMS is the deadline for all checks of a message together; default 10000.
	TimeoutMS int `yaml:"timeout_ms"`
	// MaxConnections at once on one listener, enforced by whoever opens it; 0 is that one's default.
	MaxConnections int `yaml:"max_connections"`
	// MaxPerClient at once from one address; 0 means as many as MaxConnections, because Postfix is one client.
	MaxPerClient int `yaml:"max_per_client"`
	// SpoolMemoryBytes of a message are kept in memory, a longer one goes to a file; default 1 MiB.
	SpoolMemoryBytes int `yaml:"spool_memory_bytes"`
	// SpoolMaxBytes bounds that file. A longer message is not checked but tagged "unscanned";
	// default 256 MiB.
	SpoolMaxBytes int64 `yaml:"spool_max_bytes"`
	// Quarantine says what becomes of a quarantined message that also goes elsewhere.
	Quarantine Quarantine `yaml:"quarantine"`
	// Rspamd is the rspamd check; off without a url.
	Rspamd rspamd.Options `yaml:"rspamd"`
}

// Quarantine is about a message with a recipient that MaiRust does not deliver, or that an alias may send on.
type Quarantine struct {
	// Elsewhere is hold (default: Postfix's hold queue), tag or reject. A message that is released from
	// hold (postsuper -H) goes to all its recipients, and still to the Quarantine folder of those here.
	Elsewhere string `yaml:"elsewhere"`
	// Mailers are the Postfix transports that end in MaiRust's LMTP; default lmtp and local.
	Mailers []string `yaml:"mailers"`
}

// Check judges a message. Its context ends with the deadline; it must not keep the message after that.
// Checks of several messages run at once.
type Check interface {
	// Name is a short constant word for logs and metrics.
	Name() string
	// Check gives its verdict, or an error when it can't.
	Check(ctx context.Context, m *mail.Message) (mail.Verdict, error)
}

// Source is a Check with what the site wants of it.
type Source struct {
	Check Check
	// OnError is allow (default; with the tag "unscanned"), tempfail or reject: the verdict when the check fails
	// or is late.
	OnError string
	// First makes a source run before those that aren't, in order; the others run side by side.
	First bool
}

// Deps are what a Server works with. All but MAC may be left out.
type Deps struct {
	Sources []Source
	// Outbound judges what goes out; nil lets everything go.
	Outbound Outbound
	// Delivers tells whether mail for a recipient ends in a mailbox here, whatever aliases lead to it. It is asked, within 3 s for all
	// recipients, only about a message that is to be quarantined and that Postfix gives to our transports; an error counts as no.
	// With nil the transport alone decides.
	Delivers func(ctx context.Context, rcpt mail.Address) (bool, error)
	// MAC signs the fields of the scan header with the installation's key. Required.
	MAC func(fields ...string) string
	// Log takes one line per message; nil discards.
	Log *slog.Logger
	// Registerer takes the metrics; nil keeps them to ourselves.
	Registerer prometheus.Registerer
	// Now is the clock; default time.Now.
	Now func() time.Time
	// SpoolDir takes the bodies of large messages, in files that have no name; default os.TempDir.
	SpoolDir string
}

// Server serves milter connections on any number of listeners. Its methods may be called at once.
type Server struct {
	timeout     time.Duration
	spoolMemory int
	spoolMax    int64
	elsewhere   mail.Action // Quarantine stands for hold
	mailers     []string
	delivers    func(ctx context.Context, rcpt mail.Address) (bool, error) // may be nil

	sources  []source
	outbound Outbound
	mac      func(fields ...string) string
	log      *slog.Logger
	metrics  *metrics
	now      func() time.Time
	dir      string

	// deadline makes the context of one message's checks. It does not end with the listeners, so that
	// draining lets checks end, but with cancel.
	deadline func() (context.Context, context.CancelFunc)
	cancel   context.CancelFunc

	mu        sync.Mutex
	draining  bool
	listeners map[net.Listener]struct{}
	conns     map[*wire]struct{}
	wg        sync.WaitGroup // connections and checks
}

// New checks o and d and makes a Server.
func New(o Options, d Deps) (*Server, error) {
	if d.MAC == nil {
		return nil, errors.New("milter: no MAC for the scan header")
	}
	if o.TimeoutMS < 0 || o.SpoolMemoryBytes < 0 || o.SpoolMaxBytes < 0 {
		return nil, errors.New("milter: timeout_ms, spool_memory_bytes and spool_max_bytes can't be negative")
	}
	s := &Server{
		timeout:     time.Duration(orDefault(o.TimeoutMS, 10_000)) * time.Millisecond,
		spoolMemory: orDefault(o.SpoolMemoryBytes, 1<<20),
		spoolMax:    orDefault(o.SpoolMaxBytes, 256<<20),
		mailers:     o.Quarantine.Mailers,
		delivers:    d.Delivers,
		outbound:    d.Outbound,
		mac:         d.MAC,
		log:         d.Log,
		now:         d.Now,
		dir:         orDefault(d.SpoolDir, os.TempDir()),
		listeners:   map[net.Listener]struct{}{},
		conns:       map[*wire]struct{}{},
	}
	if len(s.mailers) == 0 {
		s.mailers = []string{"lmtp", "local"}
	}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	var err error
	if s.elsewhere, err = parseElsewhere(o.Quarantine.Elsewhere); err != nil {
		return nil, err
	}
	if s.sources, err = newSources(d.Sources); err != nil {
		return nil, err
	}
	s.metrics = newMetrics(d.Registerer)
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	s.deadline = func() (context.Context, context.CancelFunc) { return context.WithTimeout(ctx, s.timeout) }
	return s, nil
}

func parseElsewhere(word string) (mail.Action, error) {
	switch word {
	case "", "hold":
		return mail.Quarantine, nil
	case "tag":
		return mail.Tag, nil
	case "reject":
		return mail.Reject, nil
	}
	return 0, fmt.Errorf("milter: quarantine.elsewhere %q: use hold, tag or reject", word)
}

func validRole(role string) bool {
	return slices.Contains([]string{RoleAuto, RoleInbound, RoleSubmission, RoleLocal}, role)
}

func orDefault[T comparable](v, def T) T {
	var zero T
	if v == zero {
		return def
	}
	return v
}

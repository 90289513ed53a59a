// Package outbound runs the outbound engine: it stands between the milter and the pure decisions of package policy. It tells
// whose a message is, keeps what the engine remembers of each account, in this process or shared through Redis, carries out
// what was decided, and keeps the decisions for people.
//
// No decision waits for the database. Accounts and domains that are stopped, modes and bulk profiles are read from it when
// they change, and kept in a file as well; decisions are written by a goroutine, and kept in a file while the database is
// away. What the engine remembers is in a file too, so that a stop holds through the loss of database and Redis and through
// a restart, by kill -9 as well.
package outbound

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/geoip"
	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/store"
)

// Options are those of the outbound section that are not the engine's own. The zero value works.
type Options struct {
	// TrustedNetworks (CIDR or addresses) may send without a login; each of their addresses is an account.
	TrustedNetworks []string `yaml:"trusted_networks"`
	// Tenants say whose a sender is where its domain does not, the most exact match first.
	Tenants []TenantOptions `yaml:"tenants"`
	// GeoIP is the path of a database of countries (MMDB), as package geoip reads it; empty is none.
	GeoIP string `yaml:"geoip"`
	// MaxAccounts are remembered; the least recently sending are then left to the database. Default 100000. A suspended account
	// is never left out.
	MaxAccounts int `yaml:"max_accounts"`
	// SpoolMaxBytes bounds the decisions kept in a file while the database is away; default 64 MiB.
	SpoolMaxBytes int64 `yaml:"spool_max_bytes"`
}

// TenantOptions give senders to a tenant.
type TenantOptions struct {
	// Match is an account, a domain, or a network (CIDR) for senders without a login.
	Match string `yaml:"match"`
	// Tenant is the tenant's name.
	Tenant string `yaml:"tenant"`
}

// Shared is what several nodes share, as package redis has it. Every error means that this node goes on alone.
type Shared interface {
	// Update changes what is kept of an account, all or nothing; change may be called several times.
	Update(ctx context.Context, account string, change func(old []byte) (new []byte)) error
	// Forget removes it.
	Forget(ctx context.Context, account string) error
	// Take counts n copies for domain and tenant at nowUS and gives those of the hour before; after an error none is counted.
	// GiveBack takes them away again.
	Take(ctx context.Context, nowUS, n int64, counters ...string) (before []int64, err error)
	GiveBack(ctx context.Context, counter string, takenUS, n int64) error
}

// Deps are what a Gate works with. Hash and Dir are required.
type Deps struct {
	// Hash makes keyed hashes of recipients.
	Hash func(fields ...string) uint64
	// Dir takes the files of this node; it is made when it is missing.
	Dir string
	// Open opens the database. It is tried again until it works; nil is no database.
	Open func(ctx context.Context) (*store.Store, error)
	// Shared is nil when each node has its own state.
	Shared Shared
	// Filtered says that a spam filter is asked for every message, so that one without its answer is judged with less knowledge.
	Filtered bool
	// HasFeed tells whether bounces of a Postfix host reach us; decisions about others say that they are unknown. nil is no
	// opinion.
	HasFeed func(host string) bool
	// Letters tells which mails are ours to administrators; they are not judged. nil is that none are.
	Letters *Letters
	// Notify takes what administrators should hear of decisions that change no level. It must not block. A notice of a level is written to
	// the database with it, by the one node that makes the change. nil is that nobody is told of either.
	Notify func(notify.Notice)
	// Log, Registerer and Now may be left out.
	Log        *slog.Logger
	Registerer prometheus.Registerer
	Now        func() time.Time
}

// Gate is a running engine. Its methods may be called by many at once. Run must run beside.
type Gate struct {
	policy   atomic.Pointer[policy.Policy]
	senders  atomic.Pointer[senders]
	standing atomic.Pointer[standing]
	settings sync.Mutex // held while policy, senders and standing are made anew
	options  policy.Options
	profiles []policy.Profile
	// countries is nil without a database of them.
	countries atomic.Pointer[geoip.File]

	states   *states
	counters *counters
	journal  *journal
	writer   *writer
	recent   *recent
	repeats  repeats
	shared   Shared
	hash     func(fields ...string) uint64
	open     func(ctx context.Context) (*store.Store, error)
	opened   *store.Store                // by Begin, for Run
	store    atomic.Pointer[store.Store] // nil until it was opened
	away     atomic.Bool                 // the database did not answer last time
	stored   sync.Mutex
	storedAt time.Time // of the last states that were written to it; guarded by stored
	filtered bool
	hasFeed  func(host string) bool
	notify   func(notify.Notice)
	letters  *letters
	dir      string
	log      *slog.Logger
	metrics  *metrics
	now      func() time.Time
}

// New makes a Gate and restores what its files remember. o and its companions are checked; errors name the key. The caller
// calls Begin before the first message, runs Run, and calls Close at the end.
func New(o policy.Options, own Options, whitelist []policy.Profile, d Deps) (*Gate, error) {
	if d.Hash == nil || d.Dir == "" {
		return nil, errors.New("outbound: Hash and Dir are required")
	}
	g := &Gate{
		repeats:  repeats{list: map[likeness]*repeat{}},
		counters: newCounters(), recent: newRecent(), shared: d.Shared, hash: d.Hash, open: d.Open, filtered: d.Filtered,
		hasFeed: d.HasFeed, notify: d.Notify, letters: newLetters(d.Letters), dir: d.Dir, log: d.Log, now: d.Now,
	}
	if g.log == nil {
		g.log = slog.New(slog.DiscardHandler)
	}
	if g.now == nil {
		g.now = time.Now
	}
	g.metrics = newMetrics(d.Registerer, g)
	if err := makeDir(d.Dir); err != nil {
		return nil, err
	}
	g.standing.Store(&standing{})
	if err := g.restoreStanding(); err != nil {
		return nil, err
	}
	g.beginCountries(own.GeoIP)
	if err := g.Configure(o, own, whitelist); err != nil {
		return nil, err
	}
	g.states = newStates(own.MaxAccounts, g.metrics.evicted)
	g.states.onEvict = g.leave
	var err error
	if g.writer, err = newWriter(g, own.SpoolMaxBytes); err != nil {
		return nil, err
	}
	if g.journal, err = openJournal(g.file("states"), g.log, g.states.restore); err != nil {
		return nil, err
	}
	return g, nil
}

// Configure puts other settings in force, at once and for all later decisions; after an error nothing has changed.
// MaxAccounts and SpoolMaxBytes stay as they were.
func (g *Gate) Configure(o policy.Options, own Options, whitelist []policy.Profile) error {
	g.settings.Lock()
	defer g.settings.Unlock()
	s, err := newSenders(o.DefaultDomain, own)
	if err != nil {
		return err
	}
	p, err := g.standing.Load().compile(o, whitelist, g.log)
	if err != nil {
		return fmt.Errorf("outbound: %w", err)
	}
	countries, err := g.countriesOf(own.GeoIP)
	if err != nil {
		return err
	}
	g.options, g.profiles = o, whitelist
	g.countries.Store(countries)
	g.senders.Store(s)
	g.policy.Store(p)
	return nil
}

// Mode is what the configuration says for everybody.
func (g *Gate) Mode() policy.Mode { return g.policy.Load().Mode("", "") }

// Mail begins a message that goes out; e has its sender, client and host. A nil Transaction means that nobody judges it. A
// reply refuses it.
func (g *Gate) Mail(ctx context.Context, e mail.Envelope) (*Transaction, *mail.Reply) {
	s, known := g.sender(e.Client)
	if !known || g.mode(s) == policy.Off {
		return nil, nil
	}
	tx := newTransaction(g, s, e)
	if tx.letter = g.letterOf(e); tx.letter != nil {
		return tx, nil
	}
	if reply := tx.begin(ctx); reply != nil {
		return nil, reply
	}
	return tx, nil
}

// mode is what holds for a sender: that of the account in the database, else of its tenant there, else the configuration's.
func (g *Gate) mode(s sender) policy.Mode {
	if m := g.standing.Load().mode(s); m != "" {
		return m
	}
	return g.policy.Load().Mode(string(s.tenant), s.account)
}

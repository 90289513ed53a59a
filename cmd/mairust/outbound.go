package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"time"

	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/internal/mailer"
	"github.com/mairust/mairust/milter"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/geoip"
	"github.com/mairust/mairust/policy/outbound"
	"github.com/mairust/mairust/policy/redis"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
)

// outboundEngine is the running outbound engine with what it has open.
type outboundEngine struct {
	gate  *outbound.Gate
	redis *redis.Client // nil without one
	db    *sqldb.DB     // its own, in a process that has no other
	store *lateStore    // this one's, or the process's
}

// Close closes everything, the engine first.
func (e *outboundEngine) Close() error {
	err := e.gate.Close()
	if e.redis != nil {
		err = errors.Join(err, e.redis.Close())
	}
	if e.db != nil {
		err = errors.Join(err, e.db.Close())
	}
	return err
}

// buildOutbound builds the engine that judges what goes out. It begins with what its files remember, whatever else is there.
func (d *daemon) buildOutbound() error {
	c := d.config
	log := d.log.With("component", "outbound")
	e := &outboundEngine{store: &lateStore{}}
	deps := outbound.Deps{
		Hash: d.site.ring.Hash(keyring.Recipient), Dir: filepath.Join(c.DataDir, d.outboundDir()), Filtered: c.Milter.Rspamd.URL != "",
		Log: log, Registerer: d.registry, Letters: d.letters(),
	}
	switch {
	case d.site.store != nil:
		e.store.store.Store(d.site.store)
		deps.Open = func(context.Context) (*store.Store, error) { return d.site.store, nil }
	case c.Database.Backend == sqldb.Postgres:
		deps.Open = func(ctx context.Context) (*store.Store, error) { return d.openForOutbound(ctx, e) }
	default:
		log.Warn("the milter alone has no SQLite database: stops by hand and profiles of the database are not known to it, and it holds what is quarantined")
	}
	if open := deps.Open; open != nil {
		deps.Open = func(ctx context.Context) (*store.Store, error) {
			s, err := open(ctx)
			if err == nil {
				e.store.store.Store(s)
			}
			return s, err
		}
	}
	// Another process than the milter's has an engine to show, not to judge: bounces are counted where mail is judged.
	follows := deps.Open != nil && slices.Contains(d.roles, roleMilter)
	if follows {
		deps.Notify = d.tellOf
		deps.HasFeed = func(host string) bool { return d.bounces == nil || d.bounces.feeds.Has(host) }
	}
	if c.Redis.URL != "" {
		var err error
		if e.redis, err = redis.Open(c.Redis, log); err != nil {
			return err
		}
		deps.Shared = e.redis
	}
	var err error
	if e.gate, err = outbound.New(c.Outbound.Options, c.Outbound.Gate, c.OutboundWhitelist, deps); err != nil {
		if e.redis != nil {
			err = errors.Join(err, e.redis.Close())
		}
		return err
	}
	d.outbound = e
	d.site.closers = append(d.site.closers, e)
	if !follows {
		return nil
	}
	return d.buildBounces(e.store)
}

// letters are the mails to administrators; nil when there are none.
func (d *daemon) letters() *outbound.Letters {
	o := d.config.Notify.SMTP
	if o.Address == "" {
		return nil
	}
	return &outbound.Letters{Username: o.Username, To: o.To, Verify: func(mac string, fields ...string) error {
		return d.site.ring.Verify(keyring.Letter, mac, fields...)
	}}
}

// mailer sends letters to administrators, with the proof that they are ours.
func (d *daemon) mailer(hostname string) (*mailer.Mailer, error) {
	m, err := mailer.New(d.config.Notify.SMTP, hostname)
	if err != nil {
		return nil, err
	}
	m.Prove(func(fields ...string) string { return d.site.ring.MAC(keyring.Letter, fields...) })
	return m, nil
}

// outboundDir is the folder of the engine's files. A process without the milter has files of its own, so that it may share
// its data_dir with the milter's.
func (d *daemon) outboundDir() string {
	if slices.Contains(d.roles, roleMilter) {
		return "outbound"
	}
	return "outbound-serve"
}

// openForOutbound opens the database for the engine alone; the milter works without it.
func (d *daemon) openForOutbound(ctx context.Context, e *outboundEngine) (*store.Store, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	db, err := openDatabase(ctx, d.config, d.log)
	if err != nil {
		return nil, err
	}
	if _, err := store.New(store.Options{DB: db}).Claim(ctx, d.site.ring.CheckValue()); err != nil {
		return nil, errors.Join(explainClaim(d.config, err), db.Close())
	}
	e.db = db
	return store.New(store.Options{DB: db, Log: d.log.With("component", "store"), Registerer: d.registry}), nil
}

// checkOutbound says what the engine goes on without. That the database is away is said once, by its own part, where there
// is one.
func (d *daemon) checkOutbound(ctx context.Context) error {
	if d.outbound == nil {
		return nil
	}
	err := d.outbound.gate.Check(ctx)
	if err != nil && d.site.db != nil && d.site.store.Check(ctx) != nil {
		err = nil
	}
	if d.outbound.redis != nil {
		if away := d.outbound.redis.Ping(ctx); away != nil {
			err = errors.Join(err, fmt.Errorf("each node goes on alone: %w", away))
		}
	}
	return err
}

// milterOutbound is the engine as the milter sees it.
type milterOutbound struct{ gate *outbound.Gate }

// Trusts is the engine's.
func (o milterOutbound) Trusts(client netip.Addr) bool { return o.gate.Trusts(client) }

// Mail is the engine's. Nobody's message has no Sending.
func (o milterOutbound) Mail(ctx context.Context, e mail.Envelope) (milter.Sending, *mail.Reply) {
	tx, reply := o.gate.Mail(ctx, e)
	if tx == nil {
		return nil, reply
	}
	return tx, reply
}

// outbound tells what is decided about mail that goes out.
func (r *checkReport) outbound(c *config.Config) {
	o := c.Outbound
	text := fmt.Sprintf("mode %s; %d trusted networks, %d bulk senders in the configuration", o.Mode, len(o.Gate.TrustedNetworks), len(c.OutboundWhitelist))
	if o.Mode == policy.Off {
		r.warn("outbound", text+": nobody is limited or stopped", "outbound.mode: shadow records what would be decided, enforce decides")
		return
	}
	r.pass("outbound", text)
}

// oldCountries is when a database of countries is so old that it tells wrong ones: networks move.
const oldCountries = 90 * 24 * time.Hour

// geoip reads the database of countries.
func (r *checkReport) geoip(c *config.Config) {
	path := c.Outbound.Gate.GeoIP
	if path == "" {
		return
	}
	d, err := geoip.Read(path)
	if err != nil {
		r.fail("geoip", fmt.Errorf("outbound.geoip: %w", err), "put a database of countries (MMDB) there; until then places are networks, and mail flows")
		return
	}
	text := fmt.Sprintf("%s of %s, %.1f MB", d.Type, d.Built.Format(time.DateOnly), float64(d.SizeBytes)/1e6)
	if time.Since(d.Built) > oldCountries {
		r.warn("geoip", text+": networks have moved since", "have it updated every month, as by geoipupdate; a new file is taken by itself")
		return
	}
	r.pass("geoip", text)
}

// redis asks the Redis that nodes share.
func (r *checkReport) redis(ctx context.Context, c *config.Config) {
	if c.Redis.URL == "" {
		return
	}
	client, err := redis.Open(c.Redis, nil)
	if err == nil {
		err = errors.Join(client.Ping(ctx), client.Close())
	}
	if err != nil {
		r.fail("redis", err, "start Redis, or correct redis.url; until then each node judges alone")
		return
	}
	r.pass("redis", "answers")
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/internal/postfix"
	"github.com/mairust/mairust/policy/bounce"
	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/store"
)

// bounceMAC is the purpose of the identities of bounces.
const bounceMAC keyring.Purpose = "bounce"

// bounceWork is what a process with an outbound engine does about bounces and notices, beside the engine.
type bounceWork struct {
	follower *bounce.Follower // nil without a log to read
	// broken is why it is nil all the same.
	broken  error
	applier *bounce.Applier
	feeds   *bounce.Feeds
	outbox  *notify.Outbox
}

// buildBounces builds it; the database may come later.
func (d *daemon) buildBounces(late *lateStore) error {
	o := d.config.Outbound.Bounces
	log := d.log.With("component", "bounces")
	w := &bounceWork{outbox: notify.NewOutbox(late, log), feeds: bounce.NewFeeds(late, o.StaleAfter, nil)}
	var err error
	if w.applier, err = bounce.NewApplier(bounce.ApplierDeps{Store: late, Gate: d.outbound.gate, Log: log, Registerer: d.registry}); err != nil {
		return err
	}
	d.bounces = w
	if !o.Enabled() {
		return nil
	}
	intake, err := d.newIntake(late)
	if err != nil {
		return err
	}
	if o.Host == "" {
		o.Host = d.postfixName()
	}
	w.follower, err = bounce.NewFollower(o, bounce.FollowerDeps{
		Sink: intake, PositionPath: filepath.Join(d.config.DataDir, "bounces", "position.json"), Log: log, Registerer: d.registry,
	})
	if err != nil { // mail flows all the same
		w.broken = fmt.Errorf("outbound.bounces: %w", err)
		log.Error("bounces are not followed", "err", err)
	}
	return nil
}

// newIntake makes what takes the reports of feeds; the metrics of a process have one.
func (d *daemon) newIntake(s bounce.Reports) (*bounce.Intake, error) {
	if d.intake != nil {
		return d.intake, nil
	}
	var err error
	d.intake, err = bounce.NewIntake(bounce.IntakeDeps{
		Store: s, Hash: d.site.ring.Hash(keyring.Recipient), Registerer: d.registry,
		MAC: func(fields ...string) string { return d.site.ring.MAC(bounceMAC, fields...) },
	})
	return d.intake, err
}

// postfixName is how the Postfix of this host calls itself, or the name of the host.
func (d *daemon) postfixName() string {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	name, err := nameOfPostfix(ctx)
	if err == nil {
		return name
	}
	hostname, hostErr := os.Hostname()
	d.log.Warn("outbound.bounces.host is not set, and Postfix does not tell its myhostname", "host", hostname, "err", errors.Join(err, hostErr))
	return hostname
}

func nameOfPostfix(ctx context.Context) (string, error) {
	host, err := postfix.Find(ctx, "")
	if err != nil {
		return "", err
	}
	name, err := host.Name(ctx)
	if err == nil && name == "" {
		err = errors.New("myhostname is empty")
	}
	return name, err
}

// run follows and counts until ctx ends, and writes notices until deciding ends.
func (w *bounceWork) run(ctx, deciding context.Context) {
	var group sync.WaitGroup
	if w.follower != nil {
		group.Go(func() { w.follower.Run(ctx) })
	}
	group.Go(func() { w.applier.Run(ctx) })
	group.Go(func() { w.outbox.Run(deciding) })
	group.Wait()
}

// checkBounces says which hosts send mail whose bounces nobody learns of.
func (d *daemon) checkBounces(ctx context.Context) error {
	if d.bounces == nil {
		return nil
	}
	err := d.bounces.broken
	if d.bounces.follower != nil {
		err = d.bounces.follower.Check(ctx)
	}
	return errors.Join(err, d.bounces.feeds.Check(ctx))
}

// tellOf gives what the engine wants to be heard to the outbox.
func (d *daemon) tellOf(n notify.Notice) { d.bounces.outbox.Put(n) }

// bounces tells where bounces are learned of.
func (r *checkReport) bounces(c *config.Config) {
	o := c.Outbound.Bounces
	switch {
	case o.Journal:
		r.pass("bounces", "the systemd journal is followed")
	case o.File == "":
		r.warn("bounces", "no log is followed: bounces are no evidence", "set outbound.bounces.file to Postfix's log, or outbound.bounces.journal: true")
	default:
		f, err := os.Open(o.File)
		if err != nil {
			r.warn("bounces", err.Error(), "let the user of the service read the log, mostly by the group adm")
			return
		}
		_ = f.Close()
		r.pass("bounces", o.File+" is followed")
	}
}

// lateStore is a store that may be opened later, as the milter's is. Until then it is unavailable.
type lateStore struct{ store atomic.Pointer[store.Store] }

var errNotOpen = fmt.Errorf("%w: it is not open yet", store.ErrUnavailable)

// use calls do with the store.
func (l *lateStore) use(do func(s *store.Store) error) error {
	if s := l.store.Load(); s != nil {
		return do(s)
	}
	return errNotOpen
}

// The methods below are those of store.Store.

func (l *lateStore) AddNotice(ctx context.Context, n store.Notice) error {
	return l.use(func(s *store.Store) error { return s.AddNotice(ctx, n) })
}

func (l *lateStore) ReportBounces(ctx context.Context, f store.BounceFeed, list []store.Bounce) error {
	return l.use(func(s *store.Store) error { return s.ReportBounces(ctx, f, list) })
}

func (l *lateStore) ClaimBounces(ctx context.Context, limit int, hold time.Duration) (list []store.Bounce, err error) {
	err = l.use(func(s *store.Store) error { list, err = s.ClaimBounces(ctx, limit, hold); return err })
	return list, err
}

func (l *lateStore) SettleBounce(ctx context.Context, id string, counted bool) error {
	return l.use(func(s *store.Store) error { return s.SettleBounce(ctx, id, counted) })
}

func (l *lateStore) PostponeBounce(ctx context.Context, id string, next time.Time) error {
	return l.use(func(s *store.Store) error { return s.PostponeBounce(ctx, id, next) })
}

func (l *lateStore) WaitingBounces(ctx context.Context) (n int64, err error) {
	err = l.use(func(s *store.Store) error { n, err = s.WaitingBounces(ctx); return err })
	return n, err
}

func (l *lateStore) BounceFeeds(ctx context.Context) (list []store.BounceFeed, err error) {
	err = l.use(func(s *store.Store) error { list, err = s.BounceFeeds(ctx); return err })
	return list, err
}

func (l *lateStore) SendingHosts(ctx context.Context, since time.Time) (list []string, err error) {
	err = l.use(func(s *store.Store) error { list, err = s.SendingHosts(ctx, since); return err })
	return list, err
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/mairust/mairust/internal/alert"
	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/listen"
	"github.com/mairust/mairust/lmtp"
	"github.com/mairust/mairust/policy/bounce"
	"github.com/mairust/mairust/store/fsck"
)

var (
	errLogFormat   = errors.New("--log-format must be json or text")
	errSplitSQLite = errors.New("SQLite allows one process only: use `mairust run`, or PostgreSQL to run roles apart")
)

// daemon is a running process: open → build → listen → wait → stop.
type daemon struct {
	config *config.Config
	source config.Source
	roles  []role
	out    io.Writer

	log       *slog.Logger
	level     *slog.LevelVar
	registry  *prometheus.Registry
	sockets   *listen.Metrics
	site      *site
	rules     *liveRules
	watch     *alert.Watcher
	fsck      *fsck.Fsck
	health    *health
	outbound  *outboundEngine
	bounces   *bounceWork
	intake    *bounce.Intake
	worker    *worker
	agent     *lmtp.Server
	services  []service
	listeners []openListener
	// hangups has a SIGHUP that asks for a reload.
	hangups chan os.Signal
	// reloading is held while a new configuration is applied.
	reloading sync.Mutex
}

// service is one front: it serves listeners until it is shut down.
type service struct {
	name     string
	serve    func(ctx context.Context, l *listen.Listener, o listen.Options) error
	shutdown func(ctx context.Context) error
	listen   []listen.Options
	limits   listen.Limits
}

type openListener struct {
	*listen.Listener
	options listen.Options
	service *service
}

// threads is how many goroutines may run at once: four on each core. A goroutine that waits for the disk in a system call
// holds its place for a while; with as many places as cores the others waited with it, and the one whose flush was done
// waited behind them. Measured with 32 deliveries at once: a fifth to a quarter more. On a single core they mostly wake each
// other: with two, mail that comes from Postfix, a few messages at once, costs a twentieth less, and 32 at once as much.
func threads(cores int) int {
	if cores == 1 {
		return 2
	}
	return 4 * cores
}

// heapReserve counts as memory that lives, and is never touched, so it takes none. The collector begins when as much as lives
// was allocated anew: with the few megabytes that a busy daemon holds, that was 30 times a second.
const heapReserve = 32 << 20

func (d *daemon) run(ctx context.Context) error {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(threads(runtime.GOMAXPROCS(0)))
	}
	reserve := make([]byte, heapReserve)
	defer runtime.KeepAlive(reserve)
	d.log, d.level = newLog(d.out, d.config.Log)
	if slices.Contains(d.roles, roleLMTP) {
		if err := scheduleAsBatch(); err != nil {
			d.log.Info("scheduled as any other process: deliveries may take a little longer under load", "err", err)
		}
	}
	defer d.leaveOnSecondSignal()()
	defer d.catchHangups()()
	d.registry = prometheus.NewRegistry()
	d.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	d.sockets = listen.NewMetrics(d.registry)

	if err := d.open(ctx); err != nil {
		return err
	}
	err := d.build()
	if err == nil {
		err = d.listen(ctx)
	}
	if err == nil {
		err = d.serve(ctx)
	}
	return errors.Join(err, d.site.Close())
}

// open opens what the roles need; the milter alone needs only the keyring.
func (d *daemon) open(ctx context.Context) error {
	if len(d.roles) > 1 || d.roles[0] != roleMilter {
		var err error
		d.site, err = openSite(ctx, d.config, openOptions{log: d.log, registerer: d.registry, patience: databasePatience})
		if err != nil {
			return err
		}
		d.adoptOperator(ctx)
		return d.compare(ctx)
	}
	d.site = &site{config: d.config}
	if err := makeDirs(d.config); err != nil {
		return err
	}
	warnOfOwner(d.config.DataDir, d.log)
	var err error
	d.site.ring, err = openRing(d.config, d.log)
	return err
}

// compare finds out whether the database was set back in time, before anybody sees its UIDs. What is wrong then is told
// by the log, and stops the sweep, not the daemon.
func (d *daemon) compare(ctx context.Context) error {
	var err error
	if d.fsck, err = d.site.fsck(d.log.With("component", "fsck"), d.registry); err != nil {
		return errors.Join(err, d.site.Close())
	}
	if err := d.fsck.Compare(ctx); err != nil && !errors.Is(err, fsck.ErrStopped) {
		d.log.Error("database and objects not compared", "component", "fsck", "err", err)
	}
	return nil
}

func (d *daemon) build() error {
	if err := d.buildWatch(); err != nil {
		return err
	}
	for _, r := range d.roles {
		build := map[role]func() error{roleMilter: d.buildMilter, roleLMTP: d.buildLMTP, roleServe: d.buildAPI, roleWorker: d.buildWorker}[r]
		if err := build(); err != nil {
			return err
		}
	}
	return d.buildOps()
}

func (d *daemon) listen(ctx context.Context) error {
	for i := range d.services {
		s := &d.services[i]
		for _, o := range s.listen {
			hooks := listen.Hooks{Name: s.name, Log: d.log, Metrics: d.sockets}
			l, err := listen.Open(ctx, o, s.limits, hooks)
			if err != nil {
				for _, open := range d.listeners {
					err = errors.Join(err, open.Close())
				}
				return fmt.Errorf("%s: %w", s.name, err)
			}
			d.listeners = append(d.listeners, openListener{Listener: l, options: o, service: s})
		}
	}
	return nil
}

// serve runs until ctx ends or a service fails, and then stops everything.
func (d *daemon) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if d.outbound != nil {
		d.outbound.gate.Begin(ctx)
	}
	var group sync.WaitGroup
	for _, l := range d.listeners {
		group.Go(func() {
			// Not ctx: how the end comes is shutdown's decision.
			if err := l.service.serve(context.Background(), l.Listener, l.options); err != nil && !errors.Is(err, net.ErrClosed) {
				cancel(fmt.Errorf("%s on %s: %w", l.service.name, l.options.Address, err))
			}
		})
	}
	if slices.Contains(d.roles, roleLMTP) {
		group.Go(func() { d.fsck.Run(ctx) })
	}
	deciding, endDeciding := context.WithCancel(context.Background()) // messages that end during the shutdown are judged too
	defer endDeciding()
	if d.fsck != nil {
		group.Go(func() { d.fsck.Examine(ctx) })
	}
	if d.outbound != nil {
		group.Go(func() { d.outbound.gate.Run(deciding) })
	}
	if d.site.attachments != nil {
		group.Go(func() { d.site.attachments.Run(ctx) })
	}
	if d.bounces != nil {
		group.Go(func() { d.bounces.run(ctx, deciding) })
	}
	if d.worker != nil {
		group.Go(func() { d.worker.run(ctx) })
	}
	d.announce()
	group.Go(func() { d.watch.Run(ctx) })
	group.Go(func() { d.reloadOnHangup(ctx) })
	<-ctx.Done()
	err := d.shutdown()
	endDeciding()
	d.endWithin(max(time.Second, time.Duration(d.config.Shutdown.DrainTimeoutSeconds)*time.Second))
	group.Wait()
	d.watch.Close()
	if cause := context.Cause(ctx); !errors.Is(cause, context.Canceled) {
		err = errors.Join(cause, err)
	}
	d.log.Info("stopped")
	return err
}

func (d *daemon) announce() {
	var at []string
	for _, l := range d.listeners {
		at = append(at, l.service.name+"="+listenerName(l))
	}
	d.health.ready() // before the line that people and scripts wait for
	d.log.Info("ready", "version", buildVersion(), "config", d.source.String(), "data_dir", d.config.DataDir,
		"database", d.config.Database.Backend, "listeners", strings.Join(at, " "))
}

// listenerName is the address that was really taken, which differs from the wanted one for port 0.
func listenerName(l openListener) string {
	if strings.HasPrefix(l.options.Address, "unix:") {
		return l.options.Address
	}
	return "inet:" + l.Addr().String()
}

// leaveOnSecondSignal ends the process on the spot at the second signal, whatever it waits for then; nothing acknowledged is lost by that. The
// first one is for who makes the context.
func (d *daemon) leaveOnSecondSignal() (disarm func()) {
	signals, done := make(chan os.Signal, 2), make(chan struct{})
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		for range 2 {
			select {
			case <-signals:
			case <-done:
				return
			}
		}
		d.log.Warn("second signal, leaving at once")
		os.Exit(1)
	}()
	return func() {
		signal.Stop(signals)
		close(done)
	}
}

// endWithin bounds the rest of the process: jobs, deliveries that a database or disk which hangs has not decided, and closing all of it. Clients of
// those deliveries were not told that anything is stored, so that after the patience the process just ends.
func (d *daemon) endWithin(patience time.Duration) {
	time.AfterFunc(patience, func() {
		d.log.Error("jobs, deliveries or the store have not ended, leaving without them", "patience", patience)
		os.Exit(1)
	})
}

// shutdown stops accepting at once and lets sessions end for as long as the configuration says.
func (d *daemon) shutdown() error {
	d.health.stopping()
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(d.config.Shutdown.TimeoutSeconds)*time.Second)
	defer cancel()
	d.log.Info("stopping", "patience", time.Duration(d.config.Shutdown.TimeoutSeconds)*time.Second)
	errs := make([]error, len(d.services))
	var group sync.WaitGroup
	for i, s := range d.services {
		group.Go(func() {
			if err := s.shutdown(ctx); err != nil {
				errs[i] = fmt.Errorf("%s: shutdown: %w", s.name, err)
			}
		})
	}
	group.Wait()
	for _, l := range d.listeners {
		errs = append(errs, l.Close())
	}
	return errors.Join(errs...)
}

package main

import (
	"context"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/policy/upkeep"
)

func workerCommand() *cobra.Command {
	return roleCommand("worker", "Run the background work alone", `Runs the background work alone: notices to administrators, the ends of stops and limits, sums of days, retention. Any number
may run; each kind of work is done by one of them at a time. Needs PostgreSQL: SQLite has one process, mairust run.`,
		"  mairust worker --config /etc/mairust/config.yaml", roleWorker)
}

// worker is the background work of a process.
type worker struct {
	upkeep   *upkeep.Upkeep
	notifier *notify.Notifier
}

func (d *daemon) buildWorker() error {
	w := &worker{}
	var err error
	w.upkeep, err = upkeep.New(d.config.Outbound.Retention, upkeep.Deps{
		Store: d.site.store, Log: d.log.With("component", "upkeep"), Registerer: d.registry,
	})
	if err != nil {
		return err
	}
	deps := notify.Deps{Store: d.site.store, Link: d.accountPage(), Log: d.log.With("component", "notify"), Registerer: d.registry}
	if deps.Hostname, err = os.Hostname(); err != nil {
		return err
	}
	c := d.config.Notify
	if c.SMTP.Address != "" {
		if deps.Mailer, err = d.mailer(deps.Hostname); err != nil {
			return err
		}
	}
	if w.notifier, err = notify.New(notify.Options{Language: c.Language, Webhook: c.Webhook, Monitor: c.Monitor}, deps); err != nil {
		return err
	}
	d.worker = w
	return nil
}

// accountPage gives the page about an account in the Web UI; nil when nobody knows its address.
func (d *daemon) accountPage() func(account string) string {
	public := strings.TrimRight(d.config.HTTP.PublicURL, "/")
	if public == "" {
		return nil
	}
	return func(account string) string { return public + "/outbound/accounts/" + url.PathEscape(account) + "/why" }
}

// run works until ctx ends.
func (w *worker) run(ctx context.Context) {
	var group sync.WaitGroup
	group.Go(func() { w.upkeep.Run(ctx) })
	group.Go(func() { w.notifier.Run(ctx) })
	group.Wait()
}

// checkNotices says which ways to tell administrators do not work.
func (d *daemon) checkNotices(ctx context.Context) error {
	if d.worker == nil {
		return nil
	}
	return d.worker.notifier.Check(ctx)
}

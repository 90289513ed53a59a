package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/policy/rule"
)

func reloadCommand() *cobra.Command {
	return &cobra.Command{
		Use: "reload", Short: "Make the running daemon read its configuration again",
		Long: `Makes the running daemon read its configuration file again, as SIGHUP does. Rules, outbound policy and log level apply at once;
for every other change the keys that need a restart are named. A broken file changes nothing.`,
		Example: "  mairust reload --config /etc/mairust/config.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			var result reloaded
			if err := newSocketClient(c.AdminSocket()).call(cmd.Context(), http.MethodPost, "/admin/v1/reload", struct{}{}, &result); err != nil {
				return err
			}
			fmt.Fprintln(cmd.OutOrStdout(), result.String())
			return nil
		},
	}
}

// reloaded tells what a reload did.
type reloaded struct {
	// Applied keys are in force, Restart keys wait for a restart.
	Applied []string `json:"applied"`
	Restart []string `json:"restart"`
}

func (r reloaded) String() string {
	if len(r.Applied)+len(r.Restart) == 0 {
		return "nothing has changed"
	}
	var lines []string
	if len(r.Applied) > 0 {
		lines = append(lines, "applied: "+strings.Join(r.Applied, ", "))
	}
	if len(r.Restart) > 0 {
		lines = append(lines, "needs a restart: "+strings.Join(r.Restart, ", "))
	}
	return strings.Join(lines, "\n")
}

// reload reads the configuration again and applies what can be applied, or nothing and logs why.
func (d *daemon) reload() (reloaded, error) {
	d.reloading.Lock()
	defer d.reloading.Unlock()
	result, err := d.applyFile()
	if err != nil {
		d.log.Error("reload: the configuration was left as it is", "err", err)
		return reloaded{}, err
	}
	d.log.Info("reloaded", "applied", result.Applied, "needs_restart", result.Restart)
	return result, nil
}

func (d *daemon) applyFile() (result reloaded, err error) {
	fresh, _, err := config.Load(d.source.Path)
	if err != nil {
		return reloaded{}, err
	}
	result.Applied, result.Restart = config.Diff(d.config, fresh)
	rules, err := rule.New(fresh.Milter.Rules)
	if err != nil {
		return reloaded{}, err
	}
	if d.outbound != nil {
		if err := d.outbound.gate.Configure(fresh.Outbound.Options, fresh.Outbound.Gate, fresh.OutboundWhitelist); err != nil {
			return reloaded{}, err
		}
	}
	if d.rules != nil {
		d.rules.set.Store(rules) // last, since nothing fails any more
	}
	d.level.Set(logLevel(fresh.Log.Level))
	// What needs a restart stays as it was, so that it is named again next time.
	d.config.Milter.Rules, d.config.Log.Level = fresh.Milter.Rules, fresh.Log.Level
	was := d.config.Outbound
	d.config.Outbound, d.config.OutboundWhitelist = fresh.Outbound, fresh.OutboundWhitelist
	d.config.Outbound.Gate.MaxAccounts, d.config.Outbound.Gate.SpoolMaxBytes = was.Gate.MaxAccounts, was.Gate.SpoolMaxBytes
	d.config.Outbound.Bounces, d.config.Outbound.Retention = was.Bounces, was.Retention
	return result, nil
}

func (d *daemon) serveReload(w http.ResponseWriter, _ *http.Request) {
	result, err := d.reload()
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(result); err != nil {
		d.log.Debug("reload: answer", "err", err)
	}
}

// catchHangups keeps a SIGHUP for when there is something to reload, instead of the end of the process that it is else. Those that come while
// the daemon stops do nothing.
func (d *daemon) catchHangups() (release func()) {
	d.hangups = make(chan os.Signal, 1)
	signal.Notify(d.hangups, syscall.SIGHUP)
	return func() { signal.Stop(d.hangups) }
}

// reloadOnHangup reloads at each SIGHUP until ctx ends.
func (d *daemon) reloadOnHangup(ctx context.Context) {
	for {
		select {
		case <-d.hangups:
			_, _ = d.reload() // it has logged what is wrong
		case <-ctx.Done():
			return
		}
	}
}

// liveRules is the check of the site's own rules, which a reload replaces while mail flows.
type liveRules struct{ set atomic.Pointer[rule.Set] }

func newLiveRules(o []rule.Options) (*liveRules, error) {
	set, err := rule.New(o)
	if err != nil {
		return nil, err
	}
	l := &liveRules{}
	l.set.Store(set)
	return l, nil
}

// Name is that of the rules.
func (l *liveRules) Name() string { return l.set.Load().Name() }

// Check asks the rules of the moment.
func (l *liveRules) Check(ctx context.Context, m *mail.Message) (mail.Verdict, error) {
	return l.set.Load().Check(ctx, m)
}

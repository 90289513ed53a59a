package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/mairust/mairust/cmd/internal/command"
	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/sqldb"
)

// The exit codes of fsck, beside 0 for a clean installation.
const (
	fsckMended      = 1
	fsckLeft        = 2
	fsckInterrupted = 3
	fsckFailed      = 4
)

func fsckCommand() *cobra.Command {
	var o fsckOptions
	cmd := &cobra.Command{
		Use: "fsck", Short: "Compare objects and database, and mend what differs",
		Long: `Compares every object with the database and every message with its object, and counts quotas and folders again. Without
--repair it changes nothing, but for a mark on messages whose object is missing or damaged. It may run while mail flows; with
SQLite the running daemon does the work.

--repair indexes again what the database lost, removes what is stored twice, moves to orphan/ what belongs to no mailbox, makes
mailboxes again that only their description is left of, and writes counters and descriptions anew. It ends the stop of a sweep
that found too many objects without a row, or a database that is another one or was set back in time. What is damaged it names:
put the object back from a backup, and run it again. What is not there it takes for gone, and makes the directories of mailboxes
again: mount all disks first, and give the operator's identity if mail is encrypted.

--rebuild makes the index from the objects alone, in an empty migrated database: tenants, domains, aliases, mailboxes, folders,
messages, quotas. Users, passwords and API keys are not in the objects, nor are flags, tags given later, moves between folders and
deletions: what was deleted comes back. Nor is what was set and learnt of senders: note stops and modes before, and set them again.
Make no tenant before it. Addresses that are described and cannot be made again keep the database from being accepted.

--verify-content reads every byte. When interrupted, the next one goes on from there, and of what was read before looks whether it is
there, and reads again what was damaged; --restart begins anew, and so does --repair of a database that is not accepted yet.

Exit codes: 0 all is well, 1 problems were found and all mended, 2 problems are left, 3 interrupted, 4 not carried out.`,
		Example: `  mairust fsck
  mairust fsck --repair
  mairust fsck --verify-content --rate 20
  mairust fsck --rebuild --config /etc/mairust/config.yaml
  mairust fsck -o json | jq '.problems[] | select(.mended | not) | .key'`,
		Args:        cobra.NoArgs,
		Annotations: map[string]string{command.UsageExit: fmt.Sprint(fsckFailed)},
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return command.Misuse(cmd, err)
			}
			c, _, err := loadConfig(cmd)
			if err == nil {
				err = runFsck(cmd, c, o)
			}
			var exit *exitError
			if err != nil && !errors.As(err, &exit) {
				return &exitError{fsckFailed, err}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.Repair, "repair", false, "mend what can be mended")
	f.BoolVar(&o.Rebuild, "rebuild", false, "make the index from objects alone, in an empty database")
	f.BoolVar(&o.DryRun, "dry-run", false, "change nothing at all, and say what is found")
	f.BoolVar(&o.VerifyContent, "verify-content", false, "read every byte of every object")
	f.BoolVar(&o.Restart, "restart", false, "begin --verify-content anew, wherever the last one was interrupted")
	f.Float64Var(&o.rate, "rate", 0, "read at most so many `MB/s` (0 = as fast as it goes)")
	f.DurationVar(&o.minAge, "min-age", -1, "objects younger than `DURATION` may have no row yet; default: storage.sweep.min_age")
	f.Lookup("min-age").DefValue = "0s" // which pflag does not print: any duration may be meant, 0 too
	f.StringVarP(&o.output, "output", "o", "text", "`text` or json")
	return cmd
}

type fsckOptions struct {
	fsck.Request
	rate   float64
	minAge time.Duration
	output string
}

func (o *fsckOptions) check() error {
	switch {
	case o.output != "text" && o.output != "json":
		return errors.New("--output must be text or json")
	case o.Repair && o.Rebuild:
		return errors.New("--rebuild is for an empty database, --repair for one with mail: choose one")
	case (o.Restart || o.rate != 0) && !o.VerifyContent:
		return errors.New("--rate and --restart are for --verify-content")
	case o.rate < 0:
		return errors.New("--rate is negative")
	}
	o.BytesPerSecond, o.MinAge = int64(o.rate*1e6), o.minAge
	return nil
}

// runFsck checks here, or in the daemon that has the SQLite database open, and prints.
func runFsck(cmd *cobra.Command, c *config.Config, o fsckOptions) error {
	p := newFsckPrinter(cmd.OutOrStdout(), cmd.ErrOrStderr(), o)
	report, err := checkSite(cmd.Context(), c, cmd.ErrOrStderr(), o.Request, p.tell)
	if cmd.Context().Err() != nil && (err != nil || report == nil) {
		report, err = &fsck.Report{Interrupted: true}, nil
	}
	if err != nil {
		p.endLine()
		return err
	}
	code := fsckCode(*report)
	if err := p.end(*report, code); err != nil {
		return err
	}
	if code == 0 {
		return nil
	}
	return &exitError{code, errSilent}
}

func fsckCode(r fsck.Report) int {
	switch {
	case r.Interrupted:
		return fsckInterrupted
	case r.Left > 0:
		return fsckLeft
	case r.Found > 0:
		return fsckMended
	default:
		return 0
	}
}

func checkSite(ctx context.Context, c *config.Config, progress io.Writer, q fsck.Request, tell func(fsck.Event)) (*fsck.Report, error) {
	log := slog.New(slog.NewTextHandler(progress, &slog.HandlerOptions{Level: slog.LevelError}))
	own := *c
	own.Storage.Options.Journal = "off" // of a command that is killed nobody would end it: what the daemon then removes would come back
	site, err := openSite(ctx, &own, openOptions{log: log})
	if errors.Is(err, sqldb.ErrLocked) {
		return newSocketClient(c.AdminSocket()).fsck(ctx, q, tell)
	}
	if err != nil {
		return nil, err
	}
	f, err := site.fsck(slog.New(slog.DiscardHandler), nil)
	var report fsck.Report
	if err == nil {
		report, err = f.Check(ctx, q, tell)
	}
	return &report, errors.Join(err, site.Close())
}

// fsck makes what keeps the site's objects and index at one.
func (s *site) fsck(log *slog.Logger, r prometheus.Registerer) (*fsck.Fsck, error) {
	return fsck.New(s.config.Storage.Sweep, fsck.Deps{
		Store: s.store, Objects: s.objects, Log: log, Registerer: r,
		Verify: func(mac string, fields ...string) error { return s.ring.Verify(keyring.Scan, mac, fields...) },
	})
}

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/cmd/internal/command"
	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/store/blob/move"
	"github.com/mairust/mairust/store/fsck"
)

func migrateStorageCommand() *cobra.Command {
	var o migrateStorageOptions
	cmd := &cobra.Command{
		Use: "migrate-storage", Short: "Copy messages from the store before to the one that is used now, while mail flows",
		Long: `Copies every object of storage.previous to storage, and reads each again there to compare its digest. What is there already is
left alone, so that a copying that was interrupted, however it was, goes on where it ended. The old store is not changed.

In the configuration, storage names the new store, and storage.previous, with the same keys, the old one. A daemon that was
restarted with it writes to the new store, reads from both, and removes from both; then this command copies the rest, beside
the daemon or without it. See that all disks of the old store are mounted: what is away all the time is not missed. When it says
that everything is in the new store, remove storage.previous, and restart the daemon.

Exit codes: 0 everything is in the new store, 1 something is not.`,
		Example: `  mairust migrate-storage --to s3 --dry-run
  mairust migrate-storage --to s3
  mairust migrate-storage --to fs --verify-all`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if err := o.check(c); err != nil {
				return command.Misuse(cmd, err)
			}
			return o.run(cmd, c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.to, "to", "", "the `BACKEND` that storage.backend names, fs or s3: says that the direction is meant")
	f.BoolVar(&o.DryRun, "dry-run", false, "copy nothing, and say what would be copied")
	f.BoolVar(&o.VerifyAll, "verify-all", false, "compare also the bytes of what was copied before")
	f.IntVar(&o.Workers, "workers", 8, "copy so many objects at once (`N`)")
	return cmd
}

type migrateStorageOptions struct {
	move.Request
	to string
}

func (o *migrateStorageOptions) check(c *config.Config) error {
	switch {
	case o.to == "":
		return errors.New("--to is missing")
	case c.Storage.Previous == nil:
		return errors.New("the configuration has no storage.previous: name the new store in storage, and the old one there")
	case o.to != c.Storage.Backend:
		return fmt.Errorf("--to %s, but storage.backend is %s: objects are copied from storage.previous to storage", o.to, c.Storage.Backend)
	case o.Workers < 1 || o.Workers > 256:
		return errors.New("--workers must be 1 to 256")
	}
	return nil
}

func (o *migrateStorageOptions) run(cmd *cobra.Command, c *config.Config) error {
	ctx := cmd.Context()
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelError}))
	options := c.Storage.Options
	options.Journal = "off" // of a command that is killed nobody would end it: what the daemon then replaces or deletes would come back
	to, err := openBackend(ctx, c.Storage.Backend, options, log, nil, nil)
	if err != nil {
		return err
	}
	from, err := openPrevious(ctx, c, log)
	if err != nil {
		return errors.Join(err, to.Close())
	}
	o.IsReplaced, o.IsKey, o.IsMessage = fsck.IsReplaced, fsck.IsTenantKey, fsck.IsMessage
	var report move.Report
	stop := tellProgress(ctx, cmd.ErrOrStderr(), &report)
	err = move.Run(ctx, to, from, o.Request, &report)
	stop()
	return errors.Join(o.tell(cmd.OutOrStdout(), &report, err), to.Close(), from.Close())
}

// tell prints what was done, and gives the error that the command ends with.
func (o *migrateStorageOptions) tell(w io.Writer, r *move.Report, err error) error {
	verb := "copied and compared"
	if o.DryRun {
		verb = "to copy"
	}
	problems := r.Problems()
	for _, p := range problems {
		fmt.Fprintf(w, "not taken over: %s: %v\n", p.Key, p.Err)
	}
	for _, h := range hints {
		if slices.ContainsFunc(problems, func(p move.Problem) bool { return errors.Is(p.Err, h.of) }) {
			fmt.Fprintln(w, h.text)
		}
	}
	fmt.Fprintf(w, "%d objects in the old store: %d %s (%d bytes), %d there already, %d removed meanwhile, %d not taken over\n",
		r.Total.Load(), r.Copied.Load(), verb, r.CopiedBytes.Load(), r.Present.Load(), r.Gone.Load(), len(problems))
	switch {
	case err != nil:
		return fmt.Errorf("not finished, run it again: %w", err)
	case len(problems) > 0:
		return errSilent
	case !o.DryRun:
		fmt.Fprintln(w, "Everything is in the new store. If a daemon has run with the old one alone meanwhile, restart it and run this again; then remove storage.previous and restart.")
	}
	return nil
}

// hints say what to do about problems.
var hints = []struct {
	of   error
	text string
}{{move.ErrDiffers, differsHint}, {move.ErrKeys, keysHint}, {move.ErrGone, goneHint}}

const keysHint = `Where the two stores have different keys of a tenant, one may be encrypted to the operator's key of before. With storage.previous still there:
mairust keys check --repair, then mairust keys rewrap, which writes to both stores. Then run this again.`

const goneHint = `Nothing removes messages that the database knows. Is the disk of each mailbox in the old store mounted? The sweep moves those that the database does not
know below orphan/, and removes what is there twice: if it was that, nothing is said of them when this is run again. Run it again, and then mairust fsck.`

const differsHint = `Where the two stores have different objects, one is damaged; the daemon may have mended the new store's. What a message should be only the
index knows: mairust fsck --verify-content --restart reads the new store's. Of a message that it does not name as damaged remove the old
store's object; of one that it names move the new store's elsewhere. Then run this again.`

// progressEvery is how often a line tells how far a copying is.
const progressEvery = 5 * time.Second

func tellProgress(ctx context.Context, w io.Writer, r *move.Report) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(progressEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				fmt.Fprintf(w, "%d of %d objects (%d of %d MB copied)\n", r.Copied.Load()+r.Present.Load()+r.Gone.Load(), r.Total.Load(),
					r.CopiedBytes.Load()/1e6, r.TotalBytes.Load()/1e6)
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

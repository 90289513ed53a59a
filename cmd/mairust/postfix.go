package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/internal/postfix"
)

func postfixCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "postfix", Short: "Wire the Postfix of this host to MaiRust, check the wiring, take it out again",
		Long: `Wires an existing Postfix to MaiRust. "print" shows what would be set, "apply" writes it after it has shown the
difference, "check" proves it with a probe mail, and "revert" gives main.cf and master.cf back as they were.

docs/postfix.md explains the modes and every line that is written.`,
		Args: cobra.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.PersistentFlags().String("postfix-config", "", "Postfix's configuration `DIR`; default: Postfix's own, mostly /etc/postfix")
	cmd.AddCommand(postfixPrintCommand(), postfixApplyCommand(), postfixRevertCommand(), postfixCheckCommand())
	return cmd
}

func postfixPrintCommand() *cobra.Command {
	var o wiringOptions
	cmd := &cobra.Command{
		Use: "print", Short: "Print the lines that apply would write",
		Long:    "Prints every setting and file that apply would write, with its reason. Changes nothing.",
		Example: "  mairust postfix print --mode replace", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			w, err := newWiring(cmd, o)
			if err == nil {
				err = w.plan(cmd.Context(), nil)
			}
			if err != nil {
				return err
			}
			printPlan(cmd.OutOrStdout(), w.planned)
			printNotes(cmd.ErrOrStderr(), w.notes())
			return nil
		},
	}
	o.flags(cmd)
	return cmd
}

func postfixApplyCommand() *cobra.Command {
	var o wiringOptions
	var w applyOptions
	cmd := &cobra.Command{
		Use: "apply", Short: "Wire Postfix to MaiRust",
		Long: `Shows the difference to main.cf and master.cf and asks; then writes it, with a backup, and reloads Postfix. Nothing
else is touched. It may be repeated, also with another mode: what an earlier apply wrote is replaced. When nothing has to be
written and Postfix was not reloaded since the last time, only that is done.

The modes:
  replace  deliver domains to MaiRust; the default
  pilot    deliver the recipients of a list to MaiRust, and leave all others alone
  copy     leave delivery as it is, and send MaiRust a copy of each message`,
		Example: `  mairust postfix apply
  mairust postfix apply --mode pilot --recipients pilot.txt
  mairust postfix apply --mode copy --domain example.test --yes`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return applyPostfix(cmd, o, w) },
	}
	o.flags(cmd)
	w.flags(cmd)
	return cmd
}

func postfixRevertCommand() *cobra.Command {
	var o applyOptions
	cmd := &cobra.Command{
		Use: "revert", Short: "Take the wiring out of Postfix again",
		Long: `Gives main.cf and master.cf back byte for byte, when nobody else has changed them since apply. Otherwise takes only
MaiRust's settings out, and says so. The exit code is 1 when something still names MaiRust's tables, so that they had to stay:
the command names the lines.`,
		Example: "  mairust postfix revert", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return revertPostfix(cmd, o) },
	}
	o.flags(cmd)
	return cmd
}

// applyOptions are flags of what writes.
type applyOptions struct{ dryRun, yes, noReload bool }

func (o *applyOptions) flags(cmd *cobra.Command) {
	f := cmd.Flags()
	f.BoolVar(&o.dryRun, "dry-run", false, "show the difference and write nothing")
	f.BoolVar(&o.yes, "yes", false, "write without asking")
	f.BoolVar(&o.noReload, "no-reload", false, "do not reload Postfix afterwards")
}

// findPostfix finds the Postfix that the flags name.
func findPostfix(cmd *cobra.Command) (*postfix.Host, error) {
	dir, err := cmd.Flags().GetString("postfix-config")
	if err != nil {
		return nil, err
	}
	host, err := postfix.Find(cmd.Context(), dir)
	switch {
	case errors.Is(err, postfix.ErrMissing):
		return nil, fmt.Errorf("%w (on Debian: apt-get install postfix)", err)
	case errors.Is(err, os.ErrPermission):
		return nil, fmt.Errorf("%w (try it as root)", err)
	}
	return host, err
}

// mustBeRoot is for what writes Postfix's configuration, which is root's.
func mustBeRoot(o applyOptions) error {
	if o.dryRun || os.Geteuid() == 0 {
		return nil
	}
	return errors.New("this writes Postfix's configuration and must be run by root; --dry-run shows the difference to anyone")
}

func applyPostfix(cmd *cobra.Command, o wiringOptions, a applyOptions) error {
	if err := mustBeRoot(a); err != nil {
		return err
	}
	w, err := newWiring(cmd, o)
	if err != nil {
		return err
	}
	ask := newQuestions(cmd, a)
	if err := w.plan(cmd.Context(), ask); err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	printNotes(out, w.notes())
	if !w.host.Changed(w.base, w.planned) {
		fmt.Fprintf(out, "Nothing to do: Postfix is wired in mode %s already.\n", w.planned.Mode)
		return reloadLate(cmd.Context(), out, w, ask, a)
	}
	fmt.Fprint(out, w.host.Diff(w.base, w.planned.Main(), w.planned.Master()))
	printFiles(out, w.host, w.planned)
	if a.dryRun {
		fmt.Fprintln(out, "Nothing was written (--dry-run).")
		return nil
	}
	if !ask.yes("Write this?", false) {
		return errors.New("nothing was written: answer y, or give --yes")
	}
	backup, err := w.host.Apply(cmd.Context(), w.base, w.planned)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "Written. The files as they were before are in %s.\n", backup)
	if err := reloadPostfix(cmd.Context(), out, w.host, ask, a); err != nil {
		return err
	}
	fmt.Fprintln(out, "Prove it with: mairust postfix check\nUndo it with:  mairust postfix revert")
	return nil
}

func revertPostfix(cmd *cobra.Command, a applyOptions) error {
	if err := mustBeRoot(a); err != nil {
		return err
	}
	host, err := findPostfix(cmd)
	if err != nil {
		return err
	}
	base, err := host.Undo()
	if err != nil {
		return err
	}
	out := cmd.OutOrStdout()
	if base.State == nil {
		fmt.Fprintf(out, "Nothing to do: nothing of MaiRust is applied in %s.\nIf Postfix was not reloaded since the last revert: postfix reload\n", host.Dir)
		return nil
	}
	printNotes(out, base.Notes)
	fmt.Fprint(out, host.Diff(base, base.Main, base.Master))
	if a.dryRun {
		fmt.Fprintln(out, "Nothing was written (--dry-run).")
		return nil
	}
	ask := newQuestions(cmd, a)
	if !ask.yes("Write this?", false) {
		return errors.New("nothing was written: answer y, or give --yes")
	}
	if err := host.Revert(base); err != nil {
		return err
	}
	partly := false
	switch {
	case base.Exact:
		fmt.Fprintln(out, "Reverted: main.cf and master.cf are byte for byte as they were before apply.")
	case base.Clean():
		fmt.Fprintf(out, "Reverted: MaiRust's settings are out; others changed the files since, and that stays. Backups are in %s/mairust.\n", host.Dir)
	default:
		partly = true
		fmt.Fprintf(out, "Partly reverted: something still names MaiRust's tables, so they stay in %s/mairust. Mend it as said above, then revert again.\n", host.Dir)
	}
	if err := reloadPostfix(cmd.Context(), out, host, ask, a); err != nil {
		return err
	}
	if partly {
		return errSilent
	}
	return nil
}

// reloadLate is for what an earlier apply has written and Postfix has not read. It does nothing else, so that a command that is
// run every hour reloads no Postfix every hour.
func reloadLate(ctx context.Context, out io.Writer, w *wiring, ask *questions, a applyOptions) error {
	if a.dryRun || !w.base.State.ReloadPending {
		return nil
	}
	fmt.Fprintln(out, "But Postfix may not have been reloaded since that was written.")
	return reloadPostfix(ctx, out, w.host, ask, a)
}

// reloadPostfix offers a reload when Postfix runs.
func reloadPostfix(ctx context.Context, out io.Writer, host *postfix.Host, ask *questions, a applyOptions) error {
	if a.noReload || !ask.yes("Reload Postfix now?", true) {
		fmt.Fprintln(out, "Postfix was not reloaded; what was written holds after: postfix reload")
		return nil
	}
	running, err := host.Reload(ctx)
	if err != nil {
		return err
	}
	if running {
		fmt.Fprintln(out, "Postfix was reloaded.")
	} else {
		fmt.Fprintln(out, "Postfix is not running; what was written holds from its next start.")
	}
	return nil
}

// printPlan prints what apply would write, as lines for main.cf and master.cf.
func printPlan(out io.Writer, p *postfix.Plan) {
	file := ""
	for _, s := range p.Settings {
		if s.File != file {
			file = s.File
			fmt.Fprintf(out, "## %s\n", file)
		}
		fmt.Fprintf(out, "# %s\n%s\n", s.Why, s.Line)
	}
	for _, f := range p.Files {
		fmt.Fprintf(out, "## mairust/%s\n%s", f.Name, f.Text)
	}
}

// maxShown bounds what is shown of a table.
const maxShown = 20

// printFiles shows the tables beside main.cf and master.cf.
func printFiles(out io.Writer, host *postfix.Host, p *postfix.Plan) {
	for _, f := range p.Files {
		fmt.Fprintf(out, "+++ %s/mairust/%s\n", host.Dir, f.Name)
		lines := strings.SplitAfter(strings.TrimSuffix(f.Text, "\n"), "\n")
		for i, line := range lines {
			if i == maxShown {
				fmt.Fprintf(out, "… and %d lines more\n", len(lines)-maxShown)
				break
			}
			fmt.Fprintf(out, "+%s\n", strings.TrimSuffix(line, "\n"))
		}
	}
}

// printNotes prints remarks, warnings with what mends them.
func printNotes(out io.Writer, notes []postfix.Note) {
	for _, n := range notes {
		switch {
		case !n.Warn:
			fmt.Fprintf(out, "note: %s\n", n.Text)
		default:
			fmt.Fprintf(out, "WARN: %s\n      mend: %s\n", n.Text, strings.ReplaceAll(n.Mend, "\n", "\n      "))
		}
	}
}

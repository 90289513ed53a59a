package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/cmd/internal/command"
	"github.com/mairust/mairust/internal/lab"
)

// demoOptions are the flags of mairust demo.
type demoOptions struct {
	dir       string
	reset     bool
	noInstall bool
	once      bool
}

func demoCommand() *cobra.Command {
	var o demoOptions
	cmd := &cobra.Command{
		Use: "demo", Short: "Show all of it in a folder of its own",
		Long: `Starts MaiRust with a private Postfix (and rspamd, where it is installed) on loopback, sends it realistic mail, shows what
became of each, and how to read it back. Ctrl-C stops everything; the data stays in the folder for the next time.

Postfix needs root. It is installed with apt-get when it is missing, unless --no-install is given, and neither started nor left to
start at boot. Without it the mail goes straight to LMTP.`,
		Example: "  mairust demo\n  mairust demo --dir /tmp/try --no-install\n  mairust demo --reset",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cmd.Flags().Changed("config") {
				return command.Misuse(cmd, errors.New("the demo writes a configuration of its own: leave --config out"))
			}
			if o.reset {
				return errors.Join(clearPolicy(servicePolicy, demoPrinter{cmd.OutOrStdout()}), resetDemo(o.dir, cmd.OutOrStdout()))
			}
			return runDemo(cmd.Context(), o, cmd.OutOrStdout())
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.dir, "dir", "./mairust-demo", "`DIR` that holds all of the demo's data")
	f.BoolVar(&o.reset, "reset", false, "remove the folder of an earlier demo, and do nothing else")
	f.BoolVar(&o.noInstall, "no-install", false, "never install Postfix")
	f.BoolVar(&o.once, "once", false, "stop when everything has been shown; the exit code is 1 when mail is missing")
	return cmd
}

// demo is a demo that runs. What is nil was not started.
type demo struct {
	options demoOptions
	dir     *demoDir
	out     demoPrinter
	// program is this binary, which does the real work in processes of its own.
	program string
	ports   *demoPorts
	runDir  string
	api     *demoAPI
	// lmtpOnly is set when there is no Postfix.
	lmtpOnly bool

	postfix *lab.Postfix
	rspamd  *lab.Rspamd
	daemon  *demoDaemon
}

func runDemo(ctx context.Context, o demoOptions, w io.Writer) error {
	// A terminal or pipe that is gone ends the demo, too; nothing it started may be left.
	ctx, cancel := signal.NotifyContext(ctx, syscall.SIGHUP, syscall.SIGPIPE)
	defer cancel()
	// The private services run as users of their own and must be able to read their configuration.
	syscall.Umask(0o022)
	program, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	dir, err := openDemoDir(o.dir)
	if err != nil {
		return err
	}
	d := &demo{options: o, dir: dir, out: demoPrinter{w}, program: program}
	err = d.run(ctx)
	return errors.Join(err, d.stop(), dir.Close())
}

func (d *demo) run(ctx context.Context) error {
	d.out.text("MaiRust demo, in %s\n", d.dir.path)
	d.out.text("Starts MaiRust and a private Postfix on loopback, sends mail through them and reads it back.")
	d.out.text("Nothing is sent to the network, and the configuration of this machine is not touched.")
	d.out.text("")
	steps := []func(context.Context) error{
		d.takePorts, d.preparePostfix, d.startRspamd, d.writeConfig, d.setUp, d.startDaemon, d.startPostfix,
		d.login, d.showMail, d.showCalls,
	}
	for _, step := range steps {
		err := step(ctx)
		if ctx.Err() != nil {
			d.out.text("\nInterrupted.")
			return errSilent
		}
		if err != nil {
			return err
		}
	}
	if d.options.once {
		return nil
	}
	return d.wait(ctx)
}

// wait ends when the person does, or the daemon.
func (d *demo) wait(ctx context.Context) error {
	d.out.text("\nEverything goes on running. Ctrl-C stops everything.")
	select {
	case <-ctx.Done():
		return nil
	case <-d.daemon.ended:
		return fmt.Errorf("the daemon ended by itself; the end of %s:\n%s", d.dir.logFile(), d.dir.logTail())
	}
}

// stop ends what was started, senders first, so that no mail is on its way when its receiver goes.
func (d *demo) stop() error {
	if d.ports != nil {
		d.ports.release()
	}
	if d.postfix == nil && d.rspamd == nil && d.daemon == nil {
		return d.removeRunDir()
	}
	d.out.text("\nStopping ...")
	errs := []error{d.stopPostfix(), d.stopDaemon(), d.stopRspamd(), d.removeRunDir()}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("stop: %w", err)
	}
	d.out.text("Everything has stopped. The data stays in %s;", d.dir.path)
	d.out.text("to remove it:  %s demo --dir %s --reset", shellQuote(os.Args[0]), shellQuote(d.options.dir))
	return nil
}

// Command mairust is the daemon and its on-host commands; one file each.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/cmd/internal/command"
)

// version is set by the build (-ldflags "-X main.version=…").
var version string

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}

func main() { os.Exit(run(os.Args[1:])) }

// errSilent makes the process fail without another message: it was given already.
var errSilent = errors.New("failed")

// exitError makes the process end with another exit code than a failure's; errSilent in it says no more.
type exitError struct {
	code int
	error
}

func (e *exitError) Unwrap() error { return e.error }

// run is main with an exit code: 0, 1 for a failure, 2 for a wrong call; a command may have others.
func run(args []string) int {
	// What this process makes is for its user alone; what others need is opened up one by one.
	syscall.Umask(0o077)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := rootCommand()
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	var usage *command.UsageError
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "mairust: %v\n%s\n", err, usage.Hint)
		return usage.Exit
	case !errors.Is(err, errSilent):
		fmt.Fprintf(os.Stderr, "mairust: %v\n", err)
	}
	if errors.As(err, &exit) {
		return exit.code
	}
	return 1
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "mairust",
		Short: "Scans, stores and serves the mail of the Postfix beside it",
		Long: `MaiRust sits beside a Postfix that already runs. A milter scans what comes in, an LMTP agent stores it,
and a server lets people and programs read it.

Start with "mairust init", then "mairust run". "mairust demo" shows all of it in a folder of its own.`,
		Example: `  mairust demo
  mairust init --tenant example --domain example.jp --admin admin@example.jp --mailbox hanako@example.jp
  mairust check
  mairust run --config /etc/mairust/config.yaml`,
		Version:       buildVersion(),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.NoArgs,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.PersistentFlags().String("config", "", "configuration `FILE`; default: /etc/mairust/config.yaml, else ~/.config/mairust/config.yaml, else ./config.yaml, else embedded defaults")
	root.AddCommand(
		runCommand(), milterCommand(), lmtpCommand(), serveCommand(), workerCommand(),
		initCommand(), apiKeyCommand(), loginLinkCommand(), configCommand(), bouncesCommand(), migrateCommand(), migrateStorageCommand(), reloadCommand(), checkCommand(), fsckCommand(), keysCommand(), outboundCommand(), postfixCommand(), demoCommand(),
	)
	command.Strict(root)
	command.ShowExamples(root)
	return root
}

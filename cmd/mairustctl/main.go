// Command mairustctl administers MaiRust through its REST API: over HTTPS with an API key, or through the admin socket of
// the host. One file per noun.
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

	"github.com/mairust/mairust/api/client"
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

// The exit codes, as the help of the root command tells them.
const (
	exitFailed      = 1
	exitUsage       = 2
	exitNotFound    = 3
	exitRefused     = 4
	exitForbidden   = 5
	exitUnavailable = 6
	exitConflict    = 7
	exitKeptBack    = 8
)

const exitHelp = `Exit codes:
  0  done
  1  it failed for another reason
  2  wrong call: a flag, an argument or a file of it cannot be used
  3  there is no such thing, or it belongs to another tenant
  4  the server refused the values, or the account is not in a state for it
  5  not logged in, or the role does not allow it
  6  the server does not answer or is not available: try again later
  7  somebody else changed it meanwhile: look again
  8  "policy test": the message would be refused or held`

// errKeptBack ends "policy test" for a message that would not be sent. It has been told already.
var errKeptBack = errors.New("the message would not be sent")

// run is main with an exit code.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	cmd := rootCommand()
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(ctx)
	var usage *command.UsageError
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errKeptBack):
	case errors.As(err, &usage):
		fmt.Fprintf(os.Stderr, "mairustctl: %s\n%s\n", clean(err.Error()), usage.Hint)
	default:
		fmt.Fprintf(os.Stderr, "mairustctl: %s\n", clean(err.Error()))
		if hint := hintFor(err); hint != "" {
			fmt.Fprintln(os.Stderr, hint)
		}
	}
	return exitCode(err)
}

// hintFor says what to do about an admin socket that does not answer.
func hintFor(err error) string {
	var unreachable *client.UnreachableError
	if errors.As(err, &unreachable) && unreachable.Socket {
		return "Is the daemon running here, and are you root or its user? From elsewhere give --url and --api-key."
	}
	return ""
}

func exitCode(err error) int {
	var usage *command.UsageError
	var problem *client.Problem
	var unreachable *client.UnreachableError
	switch {
	case errors.Is(err, errKeptBack):
		return exitKeptBack
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &unreachable):
		return exitUnavailable
	case errors.As(err, &problem):
		return exitOfStatus(problem.Status)
	}
	return exitFailed
}

// exitOfStatus reads an HTTP status of an error.
func exitOfStatus(status int) int {
	switch status {
	case 404:
		return exitNotFound
	case 400, 413, 422:
		return exitRefused
	case 401, 403:
		return exitForbidden
	case 409:
		return exitConflict
	case 429, 502, 503, 504:
		return exitUnavailable
	}
	return exitFailed
}

func rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "mairustctl",
		Short: "Administers MaiRust: who may send, and why not; tenants and mailboxes",
		Long: `Administers MaiRust through its REST API.

On the host of the server nothing needs to be said: the admin socket is used, by root and by the user of the service.
From elsewhere give --url and --api-key, or MAIRUST_URL and MAIRUST_API_KEY; "mairust apikey create" makes a key.

` + exitHelp,
		Example: `  mairustctl suspension list
  mairustctl suspension explain tanaka@example.jp
  mairustctl suspension release tanaka@example.jp --reason "password changed" --ticket T-1024
  mairustctl --url https://mail.example.jp --api-key file:/etc/mairust/desk.key suspension list -o json`,
		Version: buildVersion(), SilenceErrors: true, SilenceUsage: true, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	addGlobalFlags(root)
	root.AddCommand(suspensionCommand(), accountCommand(), domainCommand(), tenantCommand(), mailboxCommand(), aliasCommand(), policyCommand(), profileCommand())
	command.Strict(root)
	command.ShowExamples(root)
	return root
}

// group is a command that only has others below it.
func group(use, short string, below ...*cobra.Command) *cobra.Command {
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(below...)
	return cmd
}

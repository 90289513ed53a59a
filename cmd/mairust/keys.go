package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/cmd/internal/command"
	"github.com/mairust/mairust/store/blob/crypt"
)

func keysCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "keys", Short: "Keys of client-side encryption: make, list, rotate, destroy, check", Args: cobra.NoArgs,
		Long: `With storage.options.encryption: client each tenant has a key pair of its own, to which its messages are encrypted. The private
half is kept encrypted to the operator, in the database and beside the objects. docs/encryption.md says how all of it is
got back with the age program alone.`,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(keysGenerateCommand(), keysListCommand(), keysRotateCommand(), keysDestroyCommand(), keysCheckCommand(), keysRewrapCommand())
	return cmd
}

func keysGenerateCommand() *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use: "generate", Short: "Make a key pair for the operator",
		Long: `Makes a key pair for the operator, as age-keygen does, writes the private key to a new file that its owner alone can read, and
prints the lines for the configuration. Who loses that file loses all mail: keep a copy where no backup of the mail is.`,
		Example: "  mairust keys generate --output /etc/mairust/operator.key", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if path == "" {
				return command.Misuse(cmd, errors.New("--output is required"))
			}
			file, recipient, err := crypt.NewOperator(time.Now())
			if err == nil {
				err = writeNewFile(path, file)
			}
			if err != nil {
				return fmt.Errorf("keys generate: %w", err)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), `storage:
  options:
    encryption: client
  encryption:
    operator_recipients: [%s]
    operator_identity: file:%s
`, recipient, path)
			return err
		},
	}
	cmd.Flags().StringVar(&path, "output", "", "`FILE` to write the private key to; it must not exist")
	return cmd
}

// writeNewFile writes a file that is not there yet, durably, for its owner alone.
func writeNewFile(path, content string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.WriteString(f, content)
	return errors.Join(err, f.Sync(), f.Close())
}

func keysListCommand() *cobra.Command {
	return keysAct(&cobra.Command{
		Use: "list", Short: "List the keys of tenants", Args: cobra.NoArgs,
		Example: "  mairust keys list\n  mairust keys list --tenant example -o json",
	}, keysRequest{Act: "list"}, nil)
}

func keysRotateCommand() *cobra.Command {
	return keysAct(&cobra.Command{
		Use: "rotate", Short: "Make a new key for a tenant", Args: cobra.NoArgs,
		Long: `Makes a new key for a tenant. New messages are encrypted to it; what is there stays as it is, and readable with the key that it
was encrypted to. Other processes use the new key within 30 seconds.`,
		Example: "  mairust keys rotate --tenant example",
	}, keysRequest{Act: "rotate"}, needsTenant)
}

func keysDestroyCommand() *cobra.Command {
	var confirm string
	cmd := keysAct(&cobra.Command{
		Use: "destroy", Short: "Destroy the keys of a tenant, and with them all its encrypted mail", Args: cobra.NoArgs,
		Long: `Destroys the private keys of a tenant in the database and beside the objects, so that nobody can read its encrypted messages any
more, and suspends the tenant: mail for it is deferred. It cannot be undone. Other processes forget the keys within 30 seconds.
Backups of the database or of the objects hold the keys still, encrypted to the operator: destroy those too, or the operator's
key. Messages from before encryption was turned on are not encrypted.

It asks for the tenant's name; --confirm gives it to scripts.`,
		Example: "  mairust keys destroy --tenant example --dry-run\n  mairust keys destroy --tenant example --confirm example",
	}, keysRequest{Act: "destroy"}, func(cmd *cobra.Command, q *keysRequest) error {
		if err := needsTenant(cmd, q); err != nil || q.DryRun {
			return err
		}
		return confirmDestroy(cmd, q.Tenant, confirm)
	})
	cmd.Flags().StringVar(&confirm, "confirm", "", "`NAME` of the tenant once more, instead of being asked for it")
	return cmd
}

func confirmDestroy(cmd *cobra.Command, tenant, confirm string) error {
	if confirm == "" {
		fmt.Fprintf(cmd.ErrOrStderr(), "All encrypted mail of the tenant %s will be lost for good. Type the tenant's name to go on: ", tenant)
		line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), 1000)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		confirm = strings.TrimSpace(line)
	}
	if confirm != tenant {
		return errors.New("not confirmed: nothing was destroyed")
	}
	return nil
}

func keysCheckCommand() *cobra.Command {
	return keysAct(&cobra.Command{
		Use: "check", Short: "Check that every key can be unwrapped, and is beside the objects too", Args: cobra.NoArgs,
		Long: `Checks each key of each tenant: that the operator's identity unwraps it, that it belongs to its public key, and that its copy beside
the objects is the same. --repair makes the two copies alike: the one in the database counts if it can be unwrapped, else the one
beside the objects. When neither can, nothing is changed. The exit code is 1 when something is wrong and not mended.

Keys that are beside the objects alone, as those of a tenant that a rebuilt database does not know, are checked too. All objects are
listed to find them, unless --tenant is given. Of each key it is also checked that it can be opened with the identity of one of
storage.encryption.operator_recipients as they are now; mairust keys rewrap mends that, not --repair.`,
		Example: "  mairust keys check\n  mairust keys check --repair",
	}, keysRequest{Act: "check"}, nil)
}

func keysRewrapCommand() *cobra.Command {
	return keysAct(&cobra.Command{
		Use: "rewrap", Short: "Encrypt the keys of tenants anew, to the operator's recipients of now", Args: cobra.NoArgs,
		Long: `Encrypts the keys of all tenants, or of one, to storage.encryption.operator_recipients as they are now: after that list has changed.
The identity that the keys are encrypted to must still be in storage.encryption.operator_identity, whose file may hold several, and
that of one of the recipients must be there already: else nothing is changed. No message is touched.

A key that goes to that list already, and to nobody else, stays as it is, where the identities of the whole list are there to see that: so a run
that was interrupted is gone on with. How far it is is told twice a minute.

Restart all processes that share the store with the new list first. From now on a process that has another one makes no key: mail for
a tenant that has none yet is deferred there. Run mairust keys check again before the old private key is destroyed.

So are keys that are beside the objects alone, as those of a tenant that a rebuilt database does not know. All objects are listed to
find them, unless --tenant is given.`,
		Example: "  mairust keys rewrap",
	}, keysRequest{Act: "rewrap"}, nil)
}

func needsTenant(cmd *cobra.Command, q *keysRequest) error {
	if q.Tenant == "" {
		return command.Misuse(cmd, errors.New("--tenant is required"))
	}
	return nil
}

// keysAct completes a command that does an act in the database.
func keysAct(cmd *cobra.Command, q keysRequest, before func(*cobra.Command, *keysRequest) error) *cobra.Command {
	var output string
	f := cmd.Flags()
	f.StringVar(&q.Tenant, "tenant", "", "`NAME` of the tenant")
	f.StringVarP(&output, "output", "o", "text", "`text` or json")
	switch q.Act {
	case "destroy":
		f.BoolVar(&q.DryRun, "dry-run", false, "change nothing, and say what would be destroyed")
	case "check":
		f.BoolVar(&q.Repair, "repair", false, "make the two copies of a key alike, by the one that can be unwrapped")
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if output != "text" && output != "json" {
			return command.Misuse(cmd, errors.New("--output must be text or json"))
		}
		if before != nil {
			if err := before(cmd, &q); err != nil {
				return err
			}
		}
		c, _, err := loadConfig(cmd)
		if err != nil {
			return err
		}
		answer, err := doKeys(cmd.Context(), c, cmd.ErrOrStderr(), q)
		if err != nil {
			return err
		}
		if err := printKeys(cmd.OutOrStdout(), answer, output); err != nil {
			return err
		}
		if answer.Wrong > 0 {
			return errSilent
		}
		return nil
	}
	return cmd
}

func printKeys(w io.Writer, a keysAnswer, output string) error {
	if output == "json" {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(a)
	}
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	if len(a.Keys) > 0 {
		fmt.Fprintln(table, "TENANT\tKEY\tMADE\tSTATE")
	}
	for _, k := range a.Keys {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", cmp.Or(k.Tenant, k.TenantID), k.ID, k.Created.Format(time.RFC3339), k.State)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintln(w, a.Summary)
	return err
}

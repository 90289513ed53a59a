package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/cmd/internal/command"
	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/store/sqldb"
)

func initCommand() *cobra.Command {
	var want wire.Setup
	var adminFile, mailboxFile, output string
	var aliasDomains, aliases []string
	cmd := &cobra.Command{
		Use: "init", Short: "Make a tenant, its domains, an admin, mailboxes and aliases",
		Long: `Makes what is missing: database and keyring, the tenant, its domains, a super_admin, mailboxes, aliases. What is there stays
as it is, so the command may be repeated, also while the daemon runs. On PostgreSQL it migrates an empty database.

Without --mailbox-password-file each new mailbox gets a random password of its own, and without --password-file so does
the admin. A random password is printed once, and nowhere kept.`,
		Example: `  mairust init --tenant example --domain example.test --admin admin@example.test --password-file admin.pw
  mairust init --tenant example --domain example.test --mailbox bob@example.test,alice@example.test
  mairust init --tenant example --domain example.test --alias-domain example.net=example.test --alias info@example.test=bob@example.test`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if want.Tenant == "" || len(want.Domains) == 0 {
				return command.Misuse(cmd, errors.New("--tenant and --domain are required"))
			}
			if output != "text" && output != "json" {
				return command.Misuse(cmd, errors.New("--output must be text or json"))
			}
			if adminFile != "" && want.Admin == "" {
				return command.Misuse(cmd, errors.New("--password-file needs --admin"))
			}
			if mailboxFile != "" && len(want.Mailboxes) == 0 {
				return command.Misuse(cmd, errors.New("--mailbox-password-file needs --mailbox"))
			}
			if err := addAliases(&want, aliasDomains, aliases); err != nil {
				return command.Misuse(cmd, err)
			}
			var err error
			if want.AdminPassword, err = readPassword(adminFile, cmd.InOrStdin()); err != nil {
				return err
			}
			if want.MailboxPassword, err = readPassword(mailboxFile, cmd.InOrStdin()); err != nil {
				return err
			}
			return setUp(cmd, want, output)
		},
	}
	f := cmd.Flags()
	f.StringVar(&want.Tenant, "tenant", "", "`NAME` of the tenant")
	f.StringSliceVar(&want.Domains, "domain", nil, "mail domain of the tenant; `NAME`[,…], may be repeated")
	f.StringSliceVar(&aliasDomains, "alias-domain", nil, "domain that stands for another one; `NAME=DOMAIN`[,…], may be repeated")
	f.StringVar(&want.Admin, "admin", "", "login of a super_admin, a mail `ADDRESS`")
	f.StringVar(&adminFile, "password-file", "", "`FILE` whose first line is the admin's password; - is standard input")
	f.StringSliceVar(&want.Mailboxes, "mailbox", nil, "mailbox to make; `ADDRESS`[,…], may be repeated")
	f.StringSliceVar(&aliases, "alias", nil, "address whose mail goes to another one; `ADDRESS=TARGET`[,…], may be repeated")
	f.StringVar(&mailboxFile, "mailbox-password-file", "", "`FILE` whose first line is the password of all new mailboxes")
	f.StringVarP(&output, "output", "o", "text", "`text` or json")
	return cmd
}

func addAliases(want *wire.Setup, domains, addresses []string) error {
	for _, text := range domains {
		name, of, ok := strings.Cut(text, "=")
		if !ok {
			return fmt.Errorf("--alias-domain is NAME=DOMAIN and not %q", text)
		}
		want.AliasDomains = append(want.AliasDomains, wire.AliasDomain{Domain: name, Of: of})
	}
	for _, text := range addresses {
		at := strings.LastIndexByte(text, '=') // the local part of an address may hold one
		if at < 0 {
			return fmt.Errorf("--alias is ADDRESS=TARGET and not %q", text)
		}
		want.Aliases = append(want.Aliases, wire.SetupAlias{Address: text[:at], AliasTarget: wire.AliasTarget{Target: text[at+1:]}})
	}
	return nil
}

func setUp(cmd *cobra.Command, want wire.Setup, output string) error {
	c, _, err := loadConfig(cmd)
	if err != nil {
		return err
	}
	if err := migrateFresh(cmd.Context(), c); err != nil {
		return err
	}
	return withOffice(cmd.Context(), c, cmd.ErrOrStderr(), func(o office) error {
		result, err := o.Setup(cmd.Context(), onHost(), want)
		// Also after an error: a password that was made must be seen.
		return errors.Join(printSetup(cmd.OutOrStdout(), result, output), err)
	})
}

// migrateFresh migrates a PostgreSQL database, so that the first command on an empty one works. It does nothing to
// one that is up to date.
func migrateFresh(ctx context.Context, c *config.Config) error {
	if c.Database.Backend != sqldb.Postgres {
		return nil
	}
	db, err := sqldb.Open(ctx, c.Database)
	if err != nil {
		return err
	}
	_, err = db.Migrate(ctx)
	return errors.Join(err, db.Close())
}

func printSetup(w io.Writer, result wire.SetupResult, output string) error {
	if output == "json" {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(result)
	}
	for _, m := range result.Things {
		state := "exists "
		if m.Created {
			state = "created"
		}
		line := fmt.Sprintf("%s  %-7s  %s", state, m.Kind, m.Name)
		if m.Password != "" {
			line += "  password: " + m.Password
		}
		if _, err := fmt.Fprintln(w, line); err != nil {
			return err
		}
	}
	return nil
}

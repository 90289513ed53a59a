package main

import (
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/cmd/internal/command"
	"github.com/mairust/mairust/internal/auth"
)

func apiKeyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "apikey", Short: "API keys", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(apiKeyCreateCommand())
	return cmd
}

// keyRoles are those that a key may have.
var keyRoles = []auth.Role{auth.SuperAdmin, auth.TenantAdmin, auth.Helpdesk, auth.Auditor, auth.Postfix}

func apiKeyCreateCommand() *cobra.Command {
	var want wire.NewAPIKey
	cmd := &cobra.Command{
		Use: "create", Short: "Make an API key and print it",
		Long: `Makes an API key and prints the key alone. It is shown this once: only its digest is stored.
The roles are super_admin (the whole installation), tenant_admin, helpdesk and auditor (one tenant), and postfix, for hosts that
report bounces and do nothing else (docs/bounces.md).`,
		Example: `  mairust apikey create --role super_admin
  KEY=$(mairust apikey create --role helpdesk --tenant example --expires-days 90 --name "helpdesk tool")`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if want.Role == "" {
				return command.Misuse(cmd, errors.New("--role is required"))
			}
			if !slices.Contains(keyRoles, auth.Role(want.Role)) {
				return command.Misuse(cmd, fmt.Errorf("--role is %q: use one of %q", want.Role, keyRoles))
			}
			if want.ExpiresDays < 0 {
				return command.Misuse(cmd, fmt.Errorf("--expires-days is %d: use 0 for never, or a number of days", want.ExpiresDays))
			}
			c, _, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			return withOffice(cmd.Context(), c, cmd.ErrOrStderr(), func(o office) error {
				key, err := o.CreateAPIKey(cmd.Context(), onHost(), want)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), key.Key)
				return err
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&want.Role, "role", "", "super_admin, tenant_admin, helpdesk, auditor, or postfix for a host that reports bounces (`ROLE`)")
	f.StringVar(&want.Tenant, "tenant", "", "`NAME` of the tenant; for every role but super_admin and postfix")
	f.StringVar(&want.Name, "name", "made on the host", "`NAME` to tell keys apart")
	f.IntVar(&want.ExpiresDays, "expires-days", 0, "end the key after so many `DAYS`; 0 = never")
	return cmd
}

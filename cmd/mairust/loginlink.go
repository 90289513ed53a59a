package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/cmd/internal/command"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/ui"
)

func loginLinkCommand() *cobra.Command {
	var want wire.NewLoginLink
	cmd := &cobra.Command{
		Use: "login-link", Short: "Print a link that logs a person in once",
		Long: `Makes a link to the Web UI that logs a person in without a password, and prints it. On the page that it opens, whoever
has forgotten the password can set a new one. The link works once, within 15 minutes, and whoever has it comes in: hand
it over like a password. Its making is written to the audit log, and so is a new password.`,
		Example: "  mairust login-link --user hanako@example.jp",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if want.Login == "" {
				return command.Misuse(cmd, errors.New("--user is required"))
			}
			c, _, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			public, err := auth.ParsePublicURL(c.HTTP.PublicURL)
			if err != nil {
				return err
			}
			return withOffice(cmd.Context(), c, cmd.ErrOrStderr(), func(o office) error {
				made, err := o.CreateLoginLink(cmd.Context(), onHost(), want)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(cmd.OutOrStdout(), ui.LoginLink(public, made.Token))
				return err
			})
		},
	}
	cmd.Flags().StringVar(&want.Login, "user", "", "`LOGIN` of the person")
	return cmd
}

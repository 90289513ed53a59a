package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/internal/config"
)

func configCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "config", Short: "Show the defaults, check a configuration file", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(&cobra.Command{
		Use: "defaults", Short: "Print the whole default configuration with comments",
		Example: "  mairust config defaults >/etc/mairust/config.yaml", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return config.Defaults(cmd.OutOrStdout()) },
	}, &cobra.Command{
		Use: "check", Short: "Check a configuration file",
		Long:    "Checks the configuration and names everything that is wrong, with file, line and column. Opens and changes nothing.",
		Example: "  mairust config check --config ./config.yaml", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, src, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			fmt.Fprintf(cmd.OutOrStdout(), "%s: OK\n", src)
			return nil
		},
	})
	return cmd
}

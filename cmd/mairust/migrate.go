package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/store/sqldb"
)

func migrateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "migrate", Short: "Bring the database to the schema of this binary",
		Long: `Brings the database to the schema of this binary, and says what it did. Several at once wait for each other; running it
again does nothing. SQLite is migrated at each start; PostgreSQL is migrated by this command and by init alone.`,
		Example: "  mairust migrate --config /etc/mairust/config.yaml", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, _, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			db, err := sqldb.Open(cmd.Context(), c.Database)
			if err != nil {
				return err
			}
			ran, err := db.Migrate(cmd.Context())
			for _, name := range ran {
				fmt.Fprintln(cmd.OutOrStdout(), "ran", name)
			}
			if err == nil && len(ran) == 0 {
				fmt.Fprintln(cmd.OutOrStdout(), "nothing to do")
			}
			return errors.Join(err, db.Close())
		},
	}
}

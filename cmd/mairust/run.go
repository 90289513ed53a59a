package main

import (
	"github.com/spf13/cobra"

	"github.com/mairust/mairust/cmd/internal/command"
	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/store/sqldb"
)

// role is a part of the daemon that can run in a process of its own.
type role string

const (
	roleMilter role = "milter"
	roleLMTP   role = "lmtp"
	roleServe  role = "serve"
	roleWorker role = "worker"
)

var allRoles = []role{roleMilter, roleLMTP, roleServe, roleWorker}

func runCommand() *cobra.Command {
	return roleCommand("run", "Run all roles in one process", `Runs milter, LMTP, recipient lookup, REST API, background work and health checks in one process, until it gets SIGTERM or SIGINT.
Without a configuration file it uses the embedded defaults: SQLite and files under the data directory.`,
		"  mairust run\n  mairust run --config /etc/mairust/config.yaml --log-format text", allRoles...)
}

func milterCommand() *cobra.Command {
	return roleCommand("milter", "Run the milter alone", `Runs the milter alone. It needs the keyring, and no database.`,
		"  mairust milter --config /etc/mairust/config.yaml", roleMilter)
}

func lmtpCommand() *cobra.Command {
	return roleCommand("lmtp", "Run LMTP and recipient lookup alone", `Runs the LMTP agent and the recipient lookup alone. Needs PostgreSQL: SQLite has one process, mairust run.`,
		"  mairust lmtp --config /etc/mairust/config.yaml", roleLMTP)
}

func serveCommand() *cobra.Command {
	return roleCommand("serve", "Run REST API, Web UI and IMAP alone", `Runs the REST API, the Web UI and IMAP alone. Needs PostgreSQL: SQLite has one process, mairust run.`,
		"  mairust serve --config /etc/mairust/config.yaml", roleServe)
}

func roleCommand(name, short, long, example string, roles ...role) *cobra.Command {
	var logFormat string
	cmd := &cobra.Command{
		Use: name, Short: short, Long: long, Example: example, Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, src, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			switch logFormat {
			case "":
			case "json", "text":
				c.Log.Format = logFormat
			default:
				return command.Misuse(cmd, errLogFormat)
			}
			if len(roles) == 1 && roles[0] != roleMilter && c.Database.Backend == sqldb.SQLite {
				return errSplitSQLite
			}
			d := &daemon{config: c, source: src, roles: roles, out: cmd.ErrOrStderr()}
			return d.run(cmd.Context())
		},
	}
	cmd.Flags().StringVar(&logFormat, "log-format", "", "`json` or text; default: log.format of the configuration")
	return cmd
}

// loadConfig reads the configuration that --config names.
func loadConfig(cmd *cobra.Command) (*config.Config, config.Source, error) {
	path, err := cmd.Flags().GetString("config")
	if err != nil {
		return nil, config.Source{}, err
	}
	return config.Load(path)
}

package main

import (
	"errors"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/api/client"
	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/cmd/internal/command"
)

func profileCommand() *cobra.Command {
	return group("profile", "Bulk senders: exempt from the plain limits up to a rate", profileListCommand(), profileSetCommand(), profileDeleteCommand())
}

func profileListCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List the bulk senders of the configuration and of the database", Args: cobra.NoArgs,
		Example: "  mairustctl profile list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := collect(cmd, s, limit, func(p client.Page) (wire.List[wire.OutboundProfile], error) {
				return s.Profiles(cmd.Context(), p)
			})
			if err != nil {
				return err
			}
			return s.show(list, func() error {
				return s.table([]string{"id", "max_rate", "accounts", "source", "description"}, rows(s, list.Data, func(p wire.OutboundProfile) []string {
					return []string{p.ID, p.MaxRate, strings.Join(p.Accounts, ","), s.header(p.Source), p.Description}
				}))
			})
		},
	}
	addLimit(cmd, &limit)
	return cmd
}

func profileSetCommand() *cobra.Command {
	var w wire.NewOutboundProfile
	cmd := &cobra.Command{
		Use: "set ID", Short: "Make a bulk sender, or replace it", Args: cobra.ExactArgs(1),
		Long: `Makes a bulk sender, or replaces the one of this id. Up to its rate, in recipients, its accounts are exempt from the limits per
user, domain and tenant, and do not use them up. They are never exempt from suspension.`,
		Example: `  mairustctl profile set newsletter --accounts news@example.jp --max-rate "5000 msgs/hour" --reason "monthly letter, agreed with sales"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			if len(w.Accounts) == 0 || w.MaxRate == "" {
				return command.Misuse(cmd, errors.New("--accounts and --max-rate are required"))
			}
			if err := checkAct(cmd, w.Reason); err != nil {
				return err
			}
			p, err := s.SetProfile(cmd.Context(), args[0], w)
			if err != nil {
				return err
			}
			return s.show(p, func() error { return s.line("%s: %s, %s", p.ID, p.MaxRate, strings.Join(p.Accounts, ", ")) })
		},
	}
	f := cmd.Flags()
	f.StringSliceVar(&w.Accounts, "accounts", nil, "`ACCOUNTS`, with commas between them; required")
	f.StringVar(&w.MaxRate, "max-rate", "", "`RATE` in recipients, such as \"5000 msgs/hour\" (minute, hour or day); required")
	f.StringVar(&w.Description, "description", "", "`TEXT` for people")
	f.StringVar(&w.Tenant, "tenant", "", "`NAME` or id of the tenant; default: that of the API key")
	f.BoolVar(&w.New, "new", false, "make it, and refuse when there is one of this id")
	f.Int64Var(&w.Revision, "revision", 0, "act only when the profile's revision is still `N`; 0 = whatever it is")
	actFlags(cmd, &w.Reason, &w.Ticket)
	return cmd
}

func profileDeleteCommand() *cobra.Command {
	var tenant string
	var w wire.OutboundAct
	var dryRun bool
	cmd := &cobra.Command{
		Use: "delete ID", Short: "Delete a bulk sender of the database", Args: cobra.ExactArgs(1),
		Long:    "Deletes a bulk sender. Those of the configuration are changed there only.",
		Example: "  mairustctl profile delete newsletter --dry-run\n  mairustctl profile delete newsletter --reason \"no letters any more\"",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			if dryRun {
				return wouldDelete(cmd, s, tenant, args[0])
			}
			if err := checkAct(cmd, w.Reason); err != nil {
				return err
			}
			if err := s.DeleteProfile(cmd.Context(), tenant, args[0], w); err != nil {
				return err
			}
			return s.show(struct{}{}, func() error { return s.line(s.say("%s: deleted", "%s: 削除しました"), args[0]) })
		},
	}
	cmd.Flags().StringVar(&tenant, "tenant", "", "`NAME` or id of the tenant; default: that of the API key")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be deleted, and delete nothing; it needs no reason")
	actFlags(cmd, &w.Reason, &w.Ticket)
	return cmd
}

// wouldDelete shows the profile that would be deleted.
func wouldDelete(cmd *cobra.Command, s *session, tenant, id string) error {
	p, err := s.Profile(cmd.Context(), tenant, id)
	if err != nil {
		return err
	}
	return s.show(p, func() error {
		return s.line(s.say("would delete the profile %s of the tenant %s", "プロファイル %s（テナント %s）を削除します（実行はしていません）"), p.ID, p.TenantID)
	})
}

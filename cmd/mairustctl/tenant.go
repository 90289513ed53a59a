package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/api/client"
	"github.com/mairust/mairust/api/wire"
)

func tenantCommand() *cobra.Command {
	return group("tenant", "Tenants: limit how much mail they hold, keep their mail back, let it in again",
		tenantListCommand(), tenantShowCommand(), tenantQuotaCommand(), tenantSuspendCommand(), tenantResumeCommand())
}

func tenantListCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List tenants by name, with what they hold and may hold", Args: cobra.NoArgs,
		Example: "  mairustctl tenant list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := collect(cmd, s, limit, func(p client.Page) (wire.List[wire.Tenant], error) {
				return s.Tenants(cmd.Context(), p)
			})
			if err != nil {
				return err
			}
			return s.show(list, func() error {
				headers := []string{"tenant", "state", "used", "quota", "full", "id"}
				return s.table(headers, rows(s, list.Data, func(t wire.Tenant) []string {
					return []string{t.Name, s.header("tenant_" + t.State), size(t.UsedBytes), s.quota(t.QuotaBytes), share(t.UsedBytes, t.QuotaBytes), t.ID}
				}))
			})
		},
	}
	addLimit(cmd, &limit)
	return cmd
}

func tenantShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show TENANT", Short: "Show a tenant, with what it holds and may hold", Args: cobra.ExactArgs(1),
		Example: "  mairustctl tenant show example",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			t, err := s.Tenant(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return s.show(t, func() error {
				return s.pairs([][2]string{
					{"tenant", t.Name}, {"state", s.header("tenant_" + t.State)}, {"used", size(t.UsedBytes)}, {"quota", s.quota(t.QuotaBytes)},
					{"full", share(t.UsedBytes, t.QuotaBytes)}, {"since", local(&t.CreatedAt)}, {"id", t.ID},
				})
			})
		},
	}
}

func tenantQuotaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "quota TENANT SIZE", Short: "Limit how much mail the mailboxes of a tenant may hold together", Args: cobra.ExactArgs(2),
		Long: quotaHelp("tenant") + `

On several nodes, mail that comes in at the same moment may exceed it by what each node takes in one transaction.`,
		Example: `  mairustctl tenant quota example 2TB
  mairustctl tenant quota example none`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, w, err := quotaCall(cmd, args[1])
			if err != nil {
				return err
			}
			t, err := s.SetTenantQuota(cmd.Context(), args[0], w)
			if err != nil {
				return err
			}
			return s.limited(t, t.Name, t.UsedBytes, t.QuotaBytes)
		},
	}
}

func tenantSuspendCommand() *cobra.Command {
	return tenantAct("suspend TENANT", "Defer all mail for a tenant",
		`All mail for a tenant is deferred (450 4.2.1) until it is resumed: Postfix keeps it in its queue, or has senders come again when it asks MaiRust for
recipients. Who waited for 5 days, by the usual settings, gives up. What the tenant's accounts send is not touched: see "mairustctl domain suspend".`,
		`  mairustctl tenant suspend example --reason "moves to another host tonight"`,
		func(ctx context.Context, s *session, name string, w wire.TenantAct) (wire.Tenant, error) {
			return s.SuspendTenant(ctx, name, w)
		})
}

func tenantResumeCommand() *cobra.Command {
	return tenantAct("resume TENANT", "Let mail for a tenant in again",
		`Ends a suspension. Postfix brings what waits in its queue when it tries next; "postqueue -f" has it try at once. It is refused for some minutes
after "mairust keys destroy".`,
		`  mairustctl tenant resume example --reason "moved" --ticket T-1024`,
		func(ctx context.Context, s *session, name string, w wire.TenantAct) (wire.Tenant, error) {
			return s.ResumeTenant(ctx, name, w)
		})
}

// tenantAct is a command that does something to a tenant for a reason.
func tenantAct(use, short, long, example string, act func(context.Context, *session, string, wire.TenantAct) (wire.Tenant, error)) *cobra.Command {
	var w wire.TenantAct
	cmd := &cobra.Command{
		Use: use, Short: short, Args: cobra.ExactArgs(1), Long: long, Example: example,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := connect(cmd)
			if err == nil {
				err = checkAct(cmd, w.Reason)
			}
			if err != nil {
				return err
			}
			t, err := act(cmd.Context(), s, args[0], w)
			if err != nil {
				return err
			}
			return s.show(t, func() error { return s.line("%s: %s", t.Name, s.header("tenant_"+t.State)) })
		},
	}
	cmd.Flags().StringVar(&w.Reason, "reason", "", "why (`TEXT`); required, it is kept in the audit log")
	cmd.Flags().StringVar(&w.Ticket, "ticket", "", "`NUMBER` of a ticket")
	return cmd
}

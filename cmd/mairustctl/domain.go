package main

import (
	"github.com/spf13/cobra"

	"github.com/mairust/mairust/api/client"
	"github.com/mairust/mairust/api/wire"
)

func domainCommand() *cobra.Command {
	return group("domain", "Stop and release the sending of whole domains", domainListCommand(), domainSuspendCommand(), domainReleaseCommand())
}

func domainListCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List the domains that are stopped, by name", Args: cobra.NoArgs,
		Example: "  mairustctl domain list",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := collect(cmd, s, limit, func(p client.Page) (wire.List[wire.OutboundDomain], error) {
				return s.StoppedDomains(cmd.Context(), p)
			})
			if err != nil {
				return err
			}
			return s.show(list, func() error {
				return s.table([]string{"domain", "since", "until", "by", "reason"}, rows(s, list.Data, func(d wire.OutboundDomain) []string {
					return []string{d.Domain, local(&d.Since), first(local(d.Until), s.header("never")), d.By, d.Reason}
				}))
			})
		},
	}
	addLimit(cmd, &limit)
	return cmd
}

func domainSuspendCommand() *cobra.Command {
	var w wire.OutboundDomainSuspend
	cmd := &cobra.Command{
		Use: "suspend DOMAIN", Short: "Stop the sending of all accounts of a domain", Args: cobra.ExactArgs(1),
		Long:    "Stops all accounts of a domain by hand. Repeated, it changes reason and end. It holds in every mode but off.",
		Example: `  mairustctl domain suspend example.jp --reason "the web server was broken into" --hours 12`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := connect(cmd)
			if err == nil {
				err = checkAct(cmd, w.Reason, w.Hours)
			}
			if err != nil {
				return err
			}
			d, err := s.SuspendDomain(cmd.Context(), args[0], w)
			if err != nil {
				return err
			}
			return s.show(d, func() error {
				return s.line(s.say("%s: STOPPED, until %s", "%s: 停止中、終了: %s"), d.Domain, first(local(d.Until), s.header("never")))
			})
		},
	}
	actFlags(cmd, &w.Reason, &w.Ticket)
	cmd.Flags().IntVar(&w.Hours, "hours", 0, "it ends by itself after so many `HOURS`; 0 = never")
	return cmd
}

func domainReleaseCommand() *cobra.Command {
	var w wire.OutboundDomainAct
	cmd := &cobra.Command{
		Use: "release DOMAIN", Short: "End the stop of a domain", Args: cobra.ExactArgs(1),
		Long:    "Ends the stop of a domain. Accounts that are stopped by themselves stay so.",
		Example: `  mairustctl domain release example.jp --reason "the web server is clean"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := connect(cmd)
			if err == nil {
				err = checkAct(cmd, w.Reason)
			}
			if err != nil {
				return err
			}
			if err := s.ReleaseDomain(cmd.Context(), args[0], w); err != nil {
				return err
			}
			return s.show(struct{}{}, func() error { return s.line(s.say("%s: released", "%s: 解除しました"), args[0]) })
		},
	}
	actFlags(cmd, &w.Reason, &w.Ticket)
	return cmd
}

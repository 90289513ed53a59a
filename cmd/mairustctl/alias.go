package main

import (
	"github.com/spf13/cobra"

	"github.com/mairust/mairust/api/client"
	"github.com/mairust/mairust/api/wire"
)

func aliasCommand() *cobra.Command {
	return group("alias", "Aliases: addresses whose mail goes to another one",
		aliasListCommand(), aliasShowCommand(), aliasSetCommand(), aliasRemoveCommand())
}

func aliasListCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List aliases by address, with where they lead", Args: cobra.NoArgs,
		Example: `  mairustctl alias list
  mairustctl alias list --limit 0 -o json | jq -r '.data[] | select(.target == "tanaka@example.jp") | .address'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := collect(cmd, s, limit, func(p client.Page) (wire.List[wire.Alias], error) {
				return s.Aliases(cmd.Context(), p)
			})
			if err != nil {
				return err
			}
			return s.show(list, func() error {
				return s.table([]string{"address", "target", "since", "tenant"}, rows(s, list.Data, func(a wire.Alias) []string {
					return []string{a.Address, a.Target, local(&a.CreatedAt), a.TenantID}
				}))
			})
		},
	}
	addLimit(cmd, &limit)
	return cmd
}

func aliasShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show ADDRESS", Short: "Show where an alias leads", Args: cobra.ExactArgs(1),
		Example: "  mairustctl alias show info@example.jp",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			a, err := s.Alias(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return s.show(a, func() error { return s.line("%s → %s", a.Address, a.Target) })
		},
	}
}

func aliasSetCommand() *cobra.Command {
	return &cobra.Command{
		Use: "set ADDRESS TARGET", Short: "Make an alias, or change where it leads", Args: cobra.ExactArgs(2),
		Long: `Mail for ADDRESS, in a domain of the tenant, goes to TARGET: a mailbox or another alias of the same tenant, or an address
elsewhere, to which Postfix sends it when it asks MaiRust for aliases (virtual_alias_maps). There is one target; several need a list server,
or Postfix's own maps. It holds from the next message on, and on all nodes within a second.`,
		Example: `  mairustctl alias set info@example.jp tanaka@example.jp
  mairustctl alias set old@example.jp new@elsewhere.example`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			a, err := s.SetAlias(cmd.Context(), args[0], wire.AliasTarget{Target: args[1]})
			if err != nil {
				return err
			}
			return s.show(a, func() error { return s.line("%s → %s", a.Address, a.Target) })
		},
	}
}

func aliasRemoveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "remove ADDRESS", Short: "Remove an alias", Args: cobra.ExactArgs(1),
		Long:    "Removes an alias. Mail for it is refused from then on (550 5.1.1), also for aliases that lead to it.",
		Example: "  mairustctl alias remove info@example.jp",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			if err := s.RemoveAlias(cmd.Context(), args[0]); err != nil {
				return err
			}
			return s.show(struct{}{}, func() error { return s.line(s.say("%s: removed", "%s: 削除しました"), args[0]) })
		},
	}
}

package main

import (
	"github.com/spf13/cobra"

	"github.com/mairust/mairust/api/client"
	"github.com/mairust/mairust/api/wire"
)

func mailboxCommand() *cobra.Command {
	return group("mailbox", "Mailboxes: see what they hold, limit how much that may be",
		mailboxListCommand(), mailboxShowCommand(), mailboxQuotaCommand())
}

func mailboxListCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List mailboxes by address, with what they hold and may hold", Args: cobra.NoArgs,
		Example: `  mairustctl mailbox list
  mairustctl mailbox list --limit 0 -o json | jq -r '.data[] | select(.quota_bytes > 0 and .used_bytes >= .quota_bytes) | .address'`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := collect(cmd, s, limit, func(p client.Page) (wire.List[wire.Mailbox], error) {
				return s.Mailboxes(cmd.Context(), p)
			})
			if err != nil {
				return err
			}
			return s.show(list, func() error {
				headers := []string{"address", "messages", "used", "quota", "full", "tenant"}
				return s.table(headers, rows(s, list.Data, func(m wire.Mailbox) []string {
					return []string{m.Address, count(m.Messages), size(m.UsedBytes), s.quota(m.QuotaBytes), share(m.UsedBytes, m.QuotaBytes), m.TenantID}
				}))
			})
		},
	}
	addLimit(cmd, &limit)
	return cmd
}

func mailboxShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show ADDRESS", Short: "Show a mailbox with its folders", Args: cobra.ExactArgs(1),
		Example: "  mairustctl mailbox show tanaka@example.jp",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			m, err := s.Mailbox(cmd.Context(), args[0])
			if err != nil {
				return err
			}
			return s.show(m, func() error { return s.mailbox(m) })
		},
	}
}

// mailbox prints a mailbox with its folders.
func (s *session) mailbox(m wire.Mailbox) error {
	err := s.pairs([][2]string{
		{"address", m.Address}, {"messages", count(m.Messages)}, {"used", size(m.UsedBytes)}, {"quota", s.quota(m.QuotaBytes)},
		{"full", share(m.UsedBytes, m.QuotaBytes)}, {"since", local(&m.CreatedAt)}, {"tenant", m.TenantID}, {"id", m.ID},
	})
	if err != nil {
		return err
	}
	if err := s.line(""); err != nil {
		return err
	}
	return s.table([]string{"folder", "messages"}, rows(s, m.Folders, func(f wire.Folder) []string { return []string{f.Name, count(f.Messages)} }))
}

func mailboxQuotaCommand() *cobra.Command {
	return &cobra.Command{
		Use: "quota ADDRESS SIZE", Short: "Limit how much mail a mailbox may hold", Args: cobra.ExactArgs(2),
		Long: quotaHelp("mailbox"),
		Example: `  mairustctl mailbox quota tanaka@example.jp 5GB
  mairustctl mailbox quota tanaka@example.jp none`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, w, err := quotaCall(cmd, args[1])
			if err != nil {
				return err
			}
			m, err := s.SetMailboxQuota(cmd.Context(), args[0], w)
			if err != nil {
				return err
			}
			return s.limited(m, m.Address, m.UsedBytes, m.QuotaBytes)
		},
	}
}

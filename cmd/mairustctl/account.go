package main

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/api/client"
	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/cmd/internal/command"
)

func accountCommand() *cobra.Command {
	return group("account", "Accounts that send: see what they did, limit them, set their mode, delete their data",
		accountListCommand(), accountShowCommand(), accountDecisionsCommand(), accountHistoryCommand(), accountLimitCommand(),
		accountModeCommand(), accountForgetCommand())
}

func accountListCommand() *cobra.Command {
	var f client.AccountFilter
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List the accounts that send, by tenant and name", Args: cobra.NoArgs,
		Example: `  mairustctl account list --prefix tanaka
  mairustctl account list --level soft_limit`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := collect(cmd, s, limit, func(p client.Page) (wire.List[wire.OutboundAccount], error) {
				return s.OutboundAccounts(cmd.Context(), f, p)
			})
			if err != nil {
				return err
			}
			return s.show(list, func() error {
				return s.table([]string{"account", "level", "mode", "sent", "tenant"}, rows(s, list.Data, func(a wire.OutboundAccount) []string {
					return []string{a.Account, s.header(a.Level), first(a.Mode, "-"), local(a.SentAt), a.TenantID}
				}))
			})
		},
	}
	cmd.Flags().StringVar(&f.Prefix, "prefix", "", "only those that begin with `TEXT`")
	cmd.Flags().StringVar(&f.Level, "level", "", "only those of this `LEVEL`: normal, soft_limit or hard_limit")
	addLimit(cmd, &limit)
	return cmd
}

func accountShowCommand() *cobra.Command {
	return oneAccount("show", "Show how an account stands and what it sent", "",
		"  mairustctl account show tanaka@example.jp",
		func(cmd *cobra.Command, s *session, account string) error {
			a, err := s.OutboundAccount(cmd.Context(), account)
			if err != nil {
				return err
			}
			return s.show(a, func() error {
				if err := s.pairs(s.standing(a)); err != nil {
					return err
				}
				if err := s.line(""); err != nil {
					return err
				}
				lines := [][]string{countCells(s.header("hour"), a.Hour), countCells(s.header("day"), a.Day)}
				for _, d := range a.Days {
					lines = append(lines, countCells(d.At.Format("2006-01-02"), d.OutboundCounts))
				}
				return s.table([]string{"window", "messages", "recipients", "new", "refused", "bounced", "limited", "stopped"}, lines)
			})
		})
}

func countCells(name string, c wire.OutboundCounts) []string {
	return []string{
		name, count(c.Messages), count(c.Recipients), count(c.NewRecipients), count(c.Refused), count(c.Bounced), count(c.Limited), count(c.Stopped),
	}
}

func accountDecisionsCommand() *cobra.Command {
	var limited bool
	var limit int
	cmd := oneAccount("decisions", "List the decisions about an account, newest first",
		"Each line is one decision with facts of the envelope; \"suspension explain --decision ID\" explains it.",
		`  mairustctl account decisions tanaka@example.jp --limit 20
  mairustctl account decisions tanaka@example.jp --limited`,
		func(cmd *cobra.Command, s *session, account string) error {
			list, err := collect(cmd, s, limit, func(p client.Page) (wire.List[wire.OutboundDecision], error) {
				return s.OutboundDecisions(cmd.Context(), account, limited, p)
			})
			if err != nil {
				return err
			}
			return s.show(list, func() error {
				headers := []string{"at", "action", "would", "score", "recipients", "new", "client", "queue_id", "from", "id"}
				return s.table(headers, rows(s, list.Data, func(d wire.OutboundDecision) []string {
					return []string{
						exact(d.At), s.outcome(d), s.header(first(d.Would, "-")), strconv.FormatFloat(d.Score, 'f', 2, 64), count(d.Recipients),
						count(d.NewRecipients), first(d.Client, "-"), first(d.QueueID, "-"), first(d.MailFrom, "<>"), d.ID,
					}
				}))
			})
		})
	cmd.Flags().BoolVar(&limited, "limited", false, "only those that kept mail back or changed the level, or would have in mode enforce")
	addLimit(cmd, &limit)
	return cmd
}

// outcome is what a decision did; one that let something go on has sent nothing yet, but at the end of a message.
func (p printer) outcome(d wire.OutboundDecision) string {
	if d.Action == "allow" && d.Messages == 0 {
		return p.header("passed")
	}
	return p.header(d.Action)
}

func accountHistoryCommand() *cobra.Command {
	var limit int
	cmd := oneAccount("history", "List what was done to an account, newest first", "",
		"  mairustctl account history tanaka@example.jp",
		func(cmd *cobra.Command, s *session, account string) error {
			list, err := collect(cmd, s, limit, func(p client.Page) (wire.List[wire.OutboundEvent], error) {
				return s.OutboundHistory(cmd.Context(), account, p)
			})
			if err != nil {
				return err
			}
			return s.show(list, func() error {
				return s.table([]string{"at", "act", "level", "by", "ticket", "reason"}, rows(s, list.Data, func(e wire.OutboundEvent) []string {
					by := e.By
					if e.Automatic {
						by = s.header("automatic")
					}
					return []string{exact(e.At), s.happened(e), s.header(e.LevelAfter), by, first(e.Ticket, "-"), e.Reason}
				}))
			})
		})
	addLimit(cmd, &limit)
	return cmd
}

func accountLimitCommand() *cobra.Command {
	var w wire.OutboundLimitAct
	cmd := oneAccount("limit", "Put an account under a soft limit", "",
		`  mairustctl account limit tanaka@example.jp --reason "under observation" --cap 20 --hours 24`,
		func(cmd *cobra.Command, s *session, account string) error {
			if err := checkAct(cmd, w.Reason, w.Hours); err != nil {
				return err
			}
			a, err := s.Limit(cmd.Context(), account, w)
			if err != nil {
				return err
			}
			return s.done(a)
		})
	actFlags(cmd, &w.Reason, &w.Ticket)
	cmd.Flags().IntVar(&w.Hours, "hours", 0, "it ends after so many `HOURS`; 0 = when somebody ends it, or the engine finds the account clean")
	cmd.Flags().Int64Var(&w.CapPerHour, "cap", 0, "`RECIPIENTS` an hour; 0 = as configured")
	cmd.Flags().Int64Var(&w.Revision, "revision", 0, "act only when the account's revision is still `N`; 0 = whatever it is")
	return cmd
}

func accountModeCommand() *cobra.Command {
	var w wire.OutboundMode
	cmd := oneAccount("mode", "Give an account a mode of its own",
		"In mode shadow automatic decisions are recorded and do nothing; in mode off nothing holds, not even a stop by hand.",
		`  mairustctl account mode printer@example.jp --set off --reason "the copier on the ground floor"
  mairustctl account mode printer@example.jp --set default --reason "replaced"`,
		func(cmd *cobra.Command, s *session, account string) error {
			if err := checkAct(cmd, w.Reason); err != nil {
				return err
			}
			if !isMode(w.Mode) {
				return command.Misuse(cmd, errors.New("--set is off, shadow, enforce or default"))
			}
			a, err := s.SetAccountMode(cmd.Context(), account, w)
			if err != nil {
				return err
			}
			return s.show(a, func() error {
				return s.line(s.say("%s: mode %s", "%s: モード %s"), a.Account, first(a.Mode, "default"))
			})
		})
	actFlags(cmd, &w.Reason, &w.Ticket)
	cmd.Flags().StringVar(&w.Mode, "set", "", "the `MODE`: off, shadow, enforce or default; required")
	return cmd
}

func isMode(text string) bool {
	switch text {
	case "off", "shadow", "enforce", "default":
		return true
	}
	return false
}

func accountForgetCommand() *cobra.Command {
	var reason string
	var dryRun bool
	cmd := oneAccount("forget", "Delete what is kept of an account's sending",
		`Deletes the decisions, sums and history of an account, and what the engine learned of it, for instance because the person asked
for it. A stop or limit stays, without its reason; the audit log stays. It cannot be undone.`,
		`  mairustctl account forget tanaka@example.jp --reason "asked for by the owner" --dry-run
  mairustctl account forget tanaka@example.jp --reason "asked for by the owner"`,
		func(cmd *cobra.Command, s *session, account string) error {
			if err := checkAct(cmd, reason); err != nil {
				return err
			}
			if dryRun {
				a, err := s.OutboundAccount(cmd.Context(), account)
				if err != nil {
					return err
				}
				return s.show(a, func() error {
					return s.line(s.say("would delete what is kept of %s (tenant %s, last sent %s)", "%s（テナント %s、最終送信 %s）の記録を削除します（実行はしていません）"),
						a.Account, a.TenantID, first(local(a.SentAt), "-"))
				})
			}
			done, err := s.ForgetOutbound(cmd.Context(), account, reason)
			if err != nil {
				return err
			}
			return s.show(done, func() error {
				return s.line("%s", fmt.Sprintf(s.say("deleted %d rows", "%d 行を削除しました"), done.Rows))
			})
		})
	cmd.Flags().StringVar(&reason, "reason", "", "why (`TEXT`); required, it is kept in the audit log")
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what would be deleted, and delete nothing")
	return cmd
}

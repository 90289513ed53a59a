package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/api/client"
	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/cmd/internal/command"
)

func suspensionCommand() *cobra.Command {
	return group("suspension", "Accounts whose sending is stopped: see, explain, release, stop",
		suspensionListCommand(), suspensionShowCommand(), suspensionExplainCommand(), suspensionReleaseCommand(),
		suspensionSuspendCommand(), suspensionExtendCommand())
}

func suspensionListCommand() *cobra.Command {
	var limited bool
	var limit int
	cmd := &cobra.Command{
		Use: "list", Short: "List the accounts that are stopped, those stopped last first", Args: cobra.NoArgs,
		Example: `  mairustctl suspension list
  mairustctl suspension list --limited -o json`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := collect(cmd, s, limit, func(p client.Page) (wire.List[wire.OutboundAccount], error) {
				return s.Suspensions(cmd.Context(), limited, p)
			})
			if err != nil {
				return err
			}
			return s.show(list, func() error {
				return s.table([]string{"account", "level", "since", "until", "by", "reason"}, rows(s, list.Data, func(a wire.OutboundAccount) []string {
					return []string{a.Account, s.header(a.Level), local(a.Since), s.until(a), s.by(a), a.Reason}
				}))
			})
		},
	}
	cmd.Flags().BoolVar(&limited, "limited", false, "also those under a soft limit")
	addLimit(cmd, &limit)
	return cmd
}

// until is when a level ends.
func (p printer) until(a wire.OutboundAccount) string {
	if a.Until == nil && a.Level != "normal" {
		return p.header("never")
	}
	return local(a.Until)
}

// by is who brought an account to its level.
func (p printer) by(a wire.OutboundAccount) string {
	if a.Automatic {
		return p.header("automatic")
	}
	return a.By
}

// oneAccount makes a command about an account: its name is completed from those that the server knows.
func oneAccount(use, short, long, example string, do func(cmd *cobra.Command, s *session, account string) error) *cobra.Command {
	return &cobra.Command{
		Use: use + " ACCOUNT", Short: short, Long: long, Example: example, Args: cobra.ExactArgs(1), ValidArgsFunction: completeAccount,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			return do(cmd, s, args[0])
		},
	}
}

func suspensionShowCommand() *cobra.Command {
	return oneAccount("show", "Show how an account was stopped or limited",
		"Shows since when, by whom and why an account is stopped or limited. It ends with exit code 3 when the account is neither.",
		"  mairustctl suspension show tanaka@example.jp",
		func(cmd *cobra.Command, s *session, account string) error {
			a, err := s.OutboundAccount(cmd.Context(), account)
			if err != nil {
				return err
			}
			if a.Level == "normal" && a.DomainStop == nil {
				return &client.Problem{Problem: wire.Problem{
					Status: 404, Code: "not_stopped", Detail: fmt.Sprintf(s.say("%s is neither stopped nor limited", "%s は停止も制限もされていません"), a.Account),
				}}
			}
			return s.show(a, func() error { return s.pairs(s.standing(a)) })
		})
}

// standing is how an account stands, as pairs.
func (p printer) standing(a wire.OutboundAccountDetail) [][2]string {
	pairs := [][2]string{
		{"account", a.Account}, {"tenant", a.TenantID}, {"level", p.header(a.Level)}, {"since", local(a.Since)},
		{"until", p.until(a.OutboundAccount)}, {"by", p.by(a.OutboundAccount)}, {"reason", a.Reason}, {"ticket", a.Ticket},
		{"cap", optionalCount(a.CapPerHour)}, {"mode", first(a.EffectiveMode, a.Mode)}, {"profile", a.Profile}, {"decision", a.DecisionID},
		{"sent", local(a.SentAt)}, {"reply", a.Reply},
	}
	if d := a.DomainStop; d != nil {
		pairs = append(pairs, [2]string{"domain_stop", d.Domain + " " + local(&d.Since) + " " + d.By + ": " + d.Reason})
	}
	return pairs
}

func suspensionExplainCommand() *cobra.Command {
	var decision, timezone string
	cmd := oneAccount("explain", "Why was this account stopped?",
		`Explains the last stop or limit of an account: the factors of the score with what was measured and what is usual, the messages
behind it as facts, grouped by text, what is not known, and what the sender saw. With --decision any decision is explained.`,
		`  mairustctl suspension explain tanaka@example.jp
  mairustctl suspension explain tanaka@example.jp --lang ja
  mairustctl suspension explain tanaka@example.jp -o json | jq .evidence`,
		func(cmd *cobra.Command, s *session, account string) error {
			x, err := s.ExplainOutbound(cmd.Context(), account, decision, first(timezone, hostTimezone()))
			if err != nil {
				return err
			}
			return s.show(x, func() error { return s.line("%s", strings.TrimRight(x.Text, "\n")) })
		})
	cmd.Flags().StringVar(&decision, "decision", "", "explain the decision of this `ID` (see: mairustctl account decisions)")
	cmd.Flags().StringVar(&timezone, "timezone", "", "`ZONE` of the times, such as Asia/Tokyo; default: that of this host")
	return cmd
}

// hostTimezone is the name of this host's zone; empty when it has none.
func hostTimezone() string {
	if zone, ok := os.LookupEnv("TZ"); ok {
		return strings.TrimPrefix(zone, ":")
	}
	target, err := filepath.EvalSymlinks("/etc/localtime")
	if err != nil {
		return ""
	}
	_, zone, _ := strings.Cut(target, "/zoneinfo/")
	return zone
}

// actFlags are the flags that every act by hand has.
func actFlags(cmd *cobra.Command, reason, ticket *string) {
	cmd.Flags().StringVar(reason, "reason", "", "why (`TEXT`); required, it is kept in the history and the audit log")
	cmd.Flags().StringVar(ticket, "ticket", "", "`NUMBER` of a ticket")
}

func checkAct(cmd *cobra.Command, reason string, hours ...int) error {
	if strings.TrimSpace(reason) == "" {
		return command.Misuse(cmd, errors.New("--reason is required"))
	}
	for _, h := range hours {
		if h < 0 || h > 8760 {
			return command.Misuse(cmd, errors.New("hours are 0 to 8760"))
		}
	}
	return nil
}

// done tells how an account stands after an act.
func (s *session) done(a wire.OutboundAccount) error {
	return s.show(a, func() error {
		text := a.Account + ": " + s.header(a.Level)
		if a.Level != "normal" {
			text += s.say(", until ", "、終了: ") + s.until(a)
		}
		if a.CapPerHour > 0 {
			text += fmt.Sprintf(s.say(", at most %d recipients an hour", "、1 時間に宛先 %d 件まで"), a.CapPerHour)
		}
		return s.line("%s", text)
	})
}

func suspensionReleaseCommand() *cobra.Command {
	var w wire.OutboundRelease
	var probation int
	cmd := oneAccount("release", "Let an account send again",
		`Ends a stop or a limit. What happened so far is forgiven once: the same campaign again stops the account again. For a
probation the account stays under a soft limit.`,
		`  mairustctl suspension release tanaka@example.jp --reason "password changed, mail client reinstalled" --ticket T-1024
  mairustctl suspension release news@example.jp --reason "a newsletter, agreed" --probation-hours 0
  mairustctl suspension release tanaka@example.jp --reason "checked" --probation-hours 48 --cap 20`,
		func(cmd *cobra.Command, s *session, account string) error {
			if err := checkAct(cmd, w.Reason, probation); err != nil {
				return err
			}
			w.ProbationHours = &probation
			a, err := s.Release(cmd.Context(), account, w)
			if err != nil {
				return err
			}
			return s.done(a)
		})
	actFlags(cmd, &w.Reason, &w.Ticket)
	cmd.Flags().IntVar(&probation, "probation-hours", 24, "`HOURS` under a soft limit; 0 = back to normal at once")
	cmd.Flags().Int64Var(&w.CapPerHour, "cap", 0, "`RECIPIENTS` an hour in that time; 0 = as configured")
	cmd.Flags().Int64Var(&w.Revision, "revision", 0, "act only when the account's revision is still `N`; 0 = whatever it is")
	return cmd
}

func suspensionSuspendCommand() *cobra.Command {
	var w wire.OutboundSuspend
	cmd := oneAccount("suspend", "Stop the sending of an account",
		`Stops an account by hand. Every later MAIL FROM is refused; receiving and reading go on. It holds in every mode but off.`,
		`  mairustctl suspension suspend tanaka@example.jp --reason "phishing reported by a customer" --ticket T-1024
  mairustctl suspension suspend tanaka@example.jp --reason "over the weekend" --hours 60`,
		func(cmd *cobra.Command, s *session, account string) error {
			if err := checkAct(cmd, w.Reason, w.Hours); err != nil {
				return err
			}
			a, err := s.Suspend(cmd.Context(), account, w)
			if err != nil {
				return err
			}
			return s.done(a)
		})
	actFlags(cmd, &w.Reason, &w.Ticket)
	cmd.Flags().IntVar(&w.Hours, "hours", 0, "after so many `HOURS` it becomes a soft limit; 0 = until somebody releases it")
	cmd.Flags().Int64Var(&w.Revision, "revision", 0, "act only when the account's revision is still `N`; 0 = whatever it is")
	return cmd
}

func suspensionExtendCommand() *cobra.Command {
	var w wire.OutboundExtend
	cmd := oneAccount("extend", "Change when a stop or a limit ends by itself", "",
		`  mairustctl suspension extend tanaka@example.jp --reason "waiting for the owner" --hours 48
  mairustctl suspension extend tanaka@example.jp --reason "until further notice" --hours 0`,
		func(cmd *cobra.Command, s *session, account string) error {
			if err := checkAct(cmd, w.Reason, w.Hours); err != nil {
				return err
			}
			if !cmd.Flag("hours").Changed {
				return command.Misuse(cmd, errors.New("--hours is required"))
			}
			a, err := s.Extend(cmd.Context(), account, w)
			if err != nil {
				return err
			}
			return s.done(a)
		})
	actFlags(cmd, &w.Reason, &w.Ticket)
	cmd.Flags().IntVar(&w.Hours, "hours", 0, "`HOURS` from now; 0 = until somebody releases it; required")
	cmd.Flags().Int64Var(&w.Revision, "revision", 0, "act only when the account's revision is still `N`; 0 = whatever it is")
	return cmd
}

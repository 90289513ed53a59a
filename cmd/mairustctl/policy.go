package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/mail"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/api/client"
	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/cmd/internal/command"
)

func policyCommand() *cobra.Command {
	return group("policy", "What is in force, and what it would do", policyShowCommand(), policyTestCommand(), policyModeCommand(), policyHistoryCommand())
}

func policyShowCommand() *cobra.Command {
	return &cobra.Command{
		Use: "show", Short: "Show the policy that is in force", Args: cobra.NoArgs,
		Long:    "Shows the section outbound of the configuration with its defaults, the modes of tenants, and the bulk senders.",
		Example: "  mairustctl policy show",
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			p, err := s.Policy(cmd.Context())
			if err != nil {
				return err
			}
			return s.show(p, func() error { return s.policy(p) })
		},
	}
}

func (p printer) policy(w wire.OutboundPolicy) error {
	if err := p.pairs([][2]string{{"hash", w.Hash}, {"mode", w.Mode}}); err != nil {
		return err
	}
	for _, m := range w.Modes {
		if err := p.line(p.say("mode %s for the tenant %s", "モード %s（テナント %s）"), m.Mode, m.TenantID); err != nil {
			return err
		}
	}
	for _, profile := range w.Profiles {
		if err := p.line("%s: %s, %s (%s)", profile.ID, profile.MaxRate, strings.Join(profile.Accounts, ", "), p.header(profile.Source)); err != nil {
			return err
		}
	}
	return p.line("\n%s", strings.TrimRight(w.Settings, "\n"))
}

func policyTestCommand() *cobra.Command {
	var w wire.OutboundTest
	cmd := &cobra.Command{
		Use: "test FILE.eml", Short: "Say what would happen to a message", Args: cobra.ExactArgs(1),
		Long: `Judges a message as if the account sent it now, and prints the explanation. Nothing is sent, counted or changed. A file named "-"
is standard input. Without --to the recipients are those of To, Cc and Bcc.

It ends with exit code 8 when the message would be refused or held.`,
		Example: `  mairustctl policy test letter.eml --as tanaka@example.jp
  mairustctl policy test letter.eml --as tanaka@example.jp --to a@example.org --to b@example.org --client 203.0.113.9`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			if w.Account == "" {
				return command.Misuse(cmd, errors.New("--as is required: the account that would send it"))
			}
			if err := readMessage(cmd, args[0], &w); err != nil {
				return command.Misuse(cmd, err)
			}
			w.Timezone = hostTimezone()
			r, err := s.TestPolicy(cmd.Context(), w)
			if err != nil {
				return err
			}
			if err := s.show(r, func() error { return s.trial(r) }); err != nil {
				return err
			}
			if r.Action != "allow" {
				return errKeptBack
			}
			return nil
		},
	}
	cmd.Flags().StringVar(&w.Account, "as", "", "`ACCOUNT` that would send it; required")
	cmd.Flags().StringSliceVar(&w.Recipients, "to", nil, "`ADDRESS` of a recipient; may be repeated")
	cmd.Flags().StringVar(&w.Client, "client", "", "`IP` address that it would come from; default: an unknown place")
	return cmd
}

func (p printer) trial(r wire.OutboundTestResult) error {
	would := ""
	if r.Would != r.Action {
		would = p.header(r.Would)
	}
	err := p.pairs([][2]string{{"account", r.Account}, {"mode", r.Mode}, {"action", p.header(r.Action)}, {"would", would}, {"reply", r.Reply}})
	if err != nil {
		return err
	}
	return p.line("\n%s", strings.TrimRight(r.Explanation.Text, "\n"))
}

// maxMessage is the largest message that is sent for a test, in bytes.
const maxMessage = 30 << 20

// readMessage reads the message, and its recipients unless they are given.
func readMessage(cmd *cobra.Command, path string, w *wire.OutboundTest) error {
	raw, err := readFile(cmd, path)
	switch {
	case err != nil:
		return err
	case len(raw) == 0:
		return fmt.Errorf("%s is empty", path)
	case len(raw) > maxMessage:
		return fmt.Errorf("%s has more than %d MiB", path, maxMessage>>20)
	}
	w.Message = raw
	if len(w.Recipients) == 0 {
		w.Recipients = recipientsOf(raw)
	}
	if len(w.Recipients) == 0 {
		return fmt.Errorf("%s has no recipient in To, Cc or Bcc that can be read: name them with --to", path)
	}
	return nil
}

// readFile reads a file, or standard input for "-", up to a byte more than may be sent.
func readFile(cmd *cobra.Command, path string) ([]byte, error) {
	in := cmd.InOrStdin()
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		defer func() { _ = f.Close() }() // it was only read
		in = f
	}
	return io.ReadAll(io.LimitReader(in, maxMessage+1))
}

// recipientsOf finds the recipients that a header names. What cannot be read is left out.
func recipientsOf(raw []byte) []string {
	m, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return nil
	}
	var found []string
	for _, field := range []string{"To", "Cc", "Bcc"} {
		list, err := m.Header.AddressList(field)
		if err != nil {
			continue
		}
		for _, a := range list {
			found = append(found, a.Address)
		}
	}
	return found
}

func policyModeCommand() *cobra.Command {
	var w wire.OutboundTenantModeAct
	cmd := &cobra.Command{
		Use: "mode TENANT", Short: "Give a tenant a mode of its own", Args: cobra.ExactArgs(1),
		Long:    "In mode shadow automatic decisions are recorded and do nothing; in mode off nothing holds, not even a stop by hand.",
		Example: `  mairustctl policy mode example --set enforce --reason "two weeks in shadow without a wrong stop"`,
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := connect(cmd)
			if err == nil {
				err = checkAct(cmd, w.Reason)
			}
			if err != nil {
				return err
			}
			if !isMode(w.Mode) {
				return command.Misuse(cmd, errors.New("--set is off, shadow, enforce or default"))
			}
			m, err := s.SetTenantMode(cmd.Context(), args[0], w)
			if err != nil {
				return err
			}
			return s.show(m, func() error {
				return s.line(s.say("%s: mode %s", "%s: モード %s"), args[0], first(m.Mode, "default"))
			})
		},
	}
	actFlags(cmd, &w.Reason, &w.Ticket)
	cmd.Flags().StringVar(&w.Mode, "set", "", "the `MODE`: off, shadow, enforce or default; required")
	return cmd
}

func policyHistoryCommand() *cobra.Command {
	var limit int
	cmd := &cobra.Command{
		Use: "history TENANT", Short: "List what was done to a tenant as a whole, newest first", Args: cobra.ExactArgs(1),
		Long:    "Lists changes of the tenant's mode, stops and releases of its domains, and changes of its bulk senders.",
		Example: "  mairustctl policy history example",
		RunE: func(cmd *cobra.Command, args []string) error {
			s, err := connect(cmd)
			if err != nil {
				return err
			}
			list, err := collect(cmd, s, limit, func(p client.Page) (wire.List[wire.OutboundEvent], error) {
				return s.OutboundTenantHistory(cmd.Context(), args[0], p)
			})
			if err != nil {
				return err
			}
			return s.show(list, func() error {
				return s.table([]string{"at", "what", "act", "by", "ticket", "reason"}, rows(s, list.Data, func(e wire.OutboundEvent) []string {
					name := e.Name
					if e.Noun == "tenant" {
						name = args[0]
					}
					return []string{exact(e.At), s.header("noun_"+e.Noun) + " " + name, s.happened(e), e.By, first(e.Ticket, "-"), e.Reason}
				}))
			})
		},
	}
	addLimit(cmd, &limit)
	return cmd
}

// happened is what an act did, with the mode, rate or profile that it is about.
func (p printer) happened(e wire.OutboundEvent) string {
	if e.Act == "mode" {
		return p.header("act_mode") + " " + first(e.Mode, "default")
	}
	return strings.TrimSpace(p.header(e.Act) + " " + e.Detail)
}

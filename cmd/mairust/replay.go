package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/cmd/internal/command"
	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
)

func outboundCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use: "outbound", Short: "Judge past outgoing mail again",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(replayCommand())
	return cmd
}

type replayOptions struct {
	from, to, file, account, output string
}

func replayCommand() *cobra.Command {
	var o replayOptions
	cmd := &cobra.Command{
		Use: "replay --from DATE", Short: "Decide the recorded events of outgoing mail again, under the same or another policy",
		Long: `Decides what was recorded of outgoing mail again, event by event, beginning with the state that each account had at the start of
the day DATE, and tells who was limited then and who would be limited now. Nothing is changed, and no mail is touched.

Without --policy the policy of the configuration is used. Decisions that were made under that very policy must come out bit for
bit the same; how many did is told. With --policy FILE the sections outbound and outbound_whitelist of that file are used,
which is a configuration file like any other. Bulk profiles of the database hold in both cases.

What a policy would have refused is counted whether it is in mode shadow or enforce. In mode enforce what it refuses does not count as
sent afterwards, as if the sender had gone on just the same; what was refused then, and would not be now, was never sent all the same.

The log reaches back 30 days unless retention is set to less. With SQLite the running daemon does the work.`,
		Example: `  mairust outbound replay --from 2026-11-01
  mairust outbound replay --from 2026-11-01 --policy new.yaml
  mairust outbound replay --from 2026-11-20 --to 2026-11-21 --account tanaka@example.com
  mairust outbound replay --from 2026-11-01 --policy new.yaml -o json | jq '.accounts[] | select(.new.hard_us) | .account'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q, err := o.request(time.Now)
			if err != nil {
				return command.Misuse(cmd, err)
			}
			c, _, err := loadConfig(cmd)
			if err != nil {
				return err
			}
			if err := q.take(c, o.file); err != nil {
				return err
			}
			p := newReplayPrinter(cmd.OutOrStdout(), cmd.ErrOrStderr(), o)
			if err := replayHere(cmd.Context(), c, q, p.tell); err != nil {
				p.endLine()
				return err
			}
			return p.end()
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.from, "from", "", "first `DATE` (UTC), as 2026-11-01")
	f.StringVar(&o.to, "to", "", "last `DATE`, included; default: today")
	f.StringVar(&o.file, "policy", "", "take the policy from this `FILE`")
	f.StringVar(&o.account, "account", "", "only this `ACCOUNT`")
	f.StringVarP(&o.output, "output", "o", "text", "`text` or json")
	return cmd
}

// replayRequest is what a replay works with; it goes to the daemon as JSON.
type replayRequest struct {
	From, Until time.Time
	Account     string
	Policy      policy.Options
	Profiles    []policy.Profile
}

func (o *replayOptions) request(now func() time.Time) (q replayRequest, err error) {
	if o.output != "text" && o.output != "json" {
		return q, errors.New("--output must be text or json")
	}
	if o.from == "" {
		return q, errors.New("--from DATE is needed, as --from 2026-11-01")
	}
	if q.From, err = time.Parse(time.DateOnly, o.from); err != nil {
		return q, fmt.Errorf("--from: %q is no date like 2026-11-01", o.from)
	}
	q.Until = now().UTC()
	if o.to != "" {
		last, err := time.Parse(time.DateOnly, o.to)
		if err != nil {
			return q, fmt.Errorf("--to: %q is no date like 2026-11-01", o.to)
		}
		q.Until = last.AddDate(0, 0, 1)
	}
	if !q.From.Before(q.Until) {
		return q, errors.New("--from is after the end")
	}
	const most = 366
	if q.Until.Sub(q.From) > most*24*time.Hour {
		return q, fmt.Errorf("--from is more than %d days before the end", most)
	}
	q.Account = string(policy.LoginAccount(o.account, ""))
	return q, nil
}

// take sets the policy: that of c, or of a file.
func (q *replayRequest) take(c *config.Config, file string) error {
	if file != "" {
		other, _, err := config.Load(file)
		if err != nil {
			return err
		}
		c = other
	}
	q.Policy, q.Profiles = c.Outbound.Options, c.OutboundWhitelist
	return nil
}

// replayHere replays in this process, or in the daemon that has the SQLite database open.
func replayHere(ctx context.Context, c *config.Config, q replayRequest, tell func(replayEvent)) error {
	db, err := openDatabase(ctx, c, slog.New(slog.DiscardHandler))
	if errors.Is(err, sqldb.ErrLocked) {
		return newSocketClient(c.AdminSocket()).replay(ctx, q, tell)
	}
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	return errors.Join(replay(ctx, store.New(store.Options{DB: db}), q, tell), db.Close())
}

// replayEvent is one thing that a replay tells: exactly one field is set.
type replayEvent struct {
	// Account is one account that is done.
	Account *replayedAccount `json:",omitempty"`
	// Accounts is how many are done.
	Accounts int64 `json:",omitempty"`
	// Error ends a replay in the daemon; Done says that it is complete.
	Error string `json:",omitempty"`
	Done  bool   `json:",omitempty"`
}

// replayedAccount is what came out for one account.
type replayedAccount struct {
	Tenant  string `json:"tenant_id"`
	Account string `json:"account"`
	policy.Comparison
}

// replayPage is how many rows one read gives.
const replayPage = 500

// replay decides again what the database has of each account, one account after the other.
func replay(ctx context.Context, s *store.Store, q replayRequest, tell func(replayEvent)) error {
	p, err := compileWithDatabase(ctx, s, q)
	if err != nil {
		return err
	}
	var done int64
	for after := (store.OutboundKey{}); ; {
		list, err := s.OutboundAccounts(ctx, store.Scope{All: true}, store.OutboundFilter{After: after, Limit: replayPage})
		if err != nil {
			return err
		}
		for i := range list {
			after = store.OutboundKey{Tenant: list[i].Tenant, Account: list[i].Account}
			if q.Account != "" && q.Account != after.Account {
				continue
			}
			if err := replayAccount(ctx, s, p, q, after, tell); err != nil {
				return fmt.Errorf("%s: %w", after.Account, err)
			}
			done++
			tell(replayEvent{Accounts: done})
		}
		if len(list) < replayPage {
			return nil
		}
	}
}

func compileWithDatabase(ctx context.Context, s *store.Store, q replayRequest) (*policy.Policy, error) {
	var profiles []policy.Profile
	for after := (store.OutboundProfile{}); ; {
		list, err := s.OutboundProfiles(ctx, store.Scope{All: true}, after.Tenant, after.ID, replayPage)
		if err != nil {
			return nil, err
		}
		for _, x := range list {
			profiles = append(profiles, policy.Profile{
				ID: x.ID, Accounts: x.Accounts, MaxRate: x.MaxRate, Description: x.Description, Tenant: string(x.Tenant),
			})
		}
		if len(list) < replayPage {
			break
		}
		after = list[len(list)-1]
	}
	usable, _ := policy.UsableProfiles(profiles) // the running engine leaves the others out too, and logs them
	return policy.Compile(q.Policy, slices.Concat(q.Profiles, usable))
}

// replayAccount decides the records of one account again.
func replayAccount(ctx context.Context, s *store.Store, p *policy.Policy, q replayRequest, key store.OutboundKey, tell func(replayEvent)) error {
	records, err := recordsOf(ctx, s, q, key)
	if err != nil || len(records) == 0 {
		return err
	}
	l := policy.Log{Account: policy.Account(key.Account), Tenant: string(key.Tenant), Records: records}
	if l.Start, err = startOf(ctx, s, q, key, records); err != nil {
		return err
	}
	if c := l.Compare(p); c.Decisions > 0 {
		tell(replayEvent{Account: &replayedAccount{Tenant: l.Tenant, Account: key.Account, Comparison: c}})
	}
	return nil
}

func recordsOf(ctx context.Context, s *store.Store, q replayRequest, key store.OutboundKey) (all []policy.Record, err error) {
	f := store.DecisionFilter{Account: key.Account, From: q.From, To: q.Until, Limit: replayPage}
	for {
		list, err := s.OutboundDecisions(ctx, store.Scope{Tenant: key.Tenant}, f)
		if err != nil {
			return nil, err
		}
		for i := range list {
			records, err := policy.ParseRecords(list[i].Event)
			if err != nil {
				return nil, fmt.Errorf("decision %s: %w", list[i].ID, err)
			}
			all = append(all, records...)
		}
		if len(list) < replayPage {
			return all, nil
		}
		f.Before = list[len(list)-1].LogKey
	}
}

// startOf is the state that the first day with mail began with: none for an account that only began then.
func startOf(ctx context.Context, s *store.Store, q replayRequest, key store.OutboundKey, records []policy.Record) (policy.State, error) {
	if slices.ContainsFunc(records, func(r policy.Record) bool { return r.Seq == 1 }) {
		return policy.State{}, nil
	}
	for day := store.Day(q.From); day <= store.Day(q.Until); day++ {
		st, err := s.OutboundState(ctx, key.Tenant, store.StateOfAccount, key.Account, day)
		if errors.Is(err, store.ErrNotFound) {
			continue
		}
		if err != nil {
			return policy.State{}, err
		}
		start, err := policy.ParseState(st.State)
		if err != nil {
			return start, fmt.Errorf("state of %s: %w", time.Unix(day*24*60*60, 0).UTC().Format(time.DateOnly), err)
		}
		return start, nil
	}
	return policy.State{}, nil
}

package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/mairust/mairust/policy"
)

// replayPrinter collects what came out, and tells on side how far the work has come.
type replayPrinter struct {
	out, side io.Writer
	options   replayOptions
	terminal  bool
	onLine    bool
	told      time.Time
	accounts  int64
	sum       policy.Comparison
	list      []replayedAccount
}

func newReplayPrinter(out, side io.Writer, o replayOptions) *replayPrinter {
	return &replayPrinter{out: out, side: side, options: o, terminal: isTerminal(side), told: time.Now(), list: []replayedAccount{}}
}

func (p *replayPrinter) tell(e replayEvent) {
	switch {
	case e.Account != nil:
		p.add(*e.Account)
	case e.Accounts > 0:
		p.progress(e.Accounts)
	}
}

// add keeps accounts that were limited under either policy, or that did not come out the same.
func (p *replayPrinter) add(a replayedAccount) {
	p.accounts++
	p.sum.Decisions += a.Decisions
	p.sum.Missing += a.Missing
	p.sum.Differ += a.Differ
	p.sum.Own += a.Own
	p.sum.Reproduced += a.Reproduced
	if a.Old.Limited() || a.New.Limited() || a.Differ > 0 || a.Reproduced < a.Own {
		p.list = append(p.list, a)
	}
}

func (p *replayPrinter) progress(accounts int64) {
	if every := time.Second / 4; p.terminal && time.Since(p.told) >= every {
		p.told, p.onLine = time.Now(), true
		fmt.Fprintf(p.side, "\r%d accounts, %d decisions", accounts, p.sum.Decisions)
	}
	if !p.terminal && time.Since(p.told) >= lineEvery {
		p.told = time.Now()
		fmt.Fprintf(p.side, "%d accounts, %d decisions\n", accounts, p.sum.Decisions)
	}
}

func (p *replayPrinter) endLine() {
	if p.onLine {
		fmt.Fprint(p.side, "\r\x1b[K")
		p.onLine = false
	}
}

// end prints the result, those first who were limited first.
func (p *replayPrinter) end() error {
	p.endLine()
	slices.SortStableFunc(p.list, func(a, b replayedAccount) int {
		return cmp.Or(cmp.Compare(a.first(), b.first()), cmp.Compare(a.Account, b.Account))
	})
	if p.options.output == "json" {
		out := json.NewEncoder(p.out)
		out.SetIndent("", "  ")
		return out.Encode(map[string]any{
			"accounts": p.list, "replayed": p.accounts, "decisions": p.sum.Decisions, "missing": p.sum.Missing, "differ": p.sum.Differ,
			"own": p.sum.Own, "reproduced": p.sum.Reproduced,
		})
	}
	return p.text()
}

func (p *replayPrinter) text() error {
	w := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	if len(p.list) > 0 {
		fmt.Fprintln(w, "ACCOUNT\tRECORDED\tREFUSED\tREPLAYED\tREFUSED\tDIFFER")
	}
	oldLimited, newLimited := 0, 0
	for _, a := range p.list {
		fmt.Fprintf(w, "%s\t%s\t%d\t%s\t%d\t%d\n", stripControls(a.Account), outcomeText(a.Old), a.Old.Refused, outcomeText(a.New), a.New.Refused, a.Differ)
		oldLimited += oneIf(a.Old.Limited())
		newLimited += oneIf(a.New.Limited())
	}
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(p.out, "%d accounts and %d decisions replayed: %d accounts were limited, %d would be; %d decisions differ\n",
		p.accounts, p.sum.Decisions, oldLimited, newLimited, p.sum.Differ)
	if p.sum.Own > 0 {
		fmt.Fprintf(p.out, "%d decisions were made under this very policy, %d of them came out the same\n", p.sum.Own, p.sum.Reproduced)
	}
	if p.sum.Missing > 0 {
		fmt.Fprintf(p.out, "%d decisions are missing from the log; what follows them may differ for that\n", p.sum.Missing)
	}
	return nil
}

func oneIf(b bool) int {
	if b {
		return 1
	}
	return 0
}

// first is the first time that either policy limited the account.
func (a *replayedAccount) first() int64 {
	least := int64(1) << 62
	for _, us := range []int64{a.Old.SoftUS, a.Old.HardUS, a.New.SoftUS, a.New.HardUS} {
		if us > 0 {
			least = min(least, us)
		}
	}
	return least
}

func outcomeText(o policy.Outcome) string {
	at := func(us int64) string { return time.UnixMicro(us).UTC().Format(time.RFC3339) }
	switch {
	case o.HardUS > 0:
		return "suspended " + at(o.HardUS)
	case o.SoftUS > 0:
		return "soft limit " + at(o.SoftUS)
	default:
		return "-"
	}
}

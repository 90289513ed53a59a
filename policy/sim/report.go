package sim

import (
	"fmt"
	"io"
	"math"
	"strings"
)

// Tables writes the tables of a result as Markdown.
func (r *Result) Tables(w io.Writer) error {
	var b strings.Builder
	r.targets(&b)
	r.attacks(&b)
	r.honest(&b)
	_, err := io.WriteString(w, b.String())
	return err
}

// yes and no as the tables write them.
var verdicts = map[bool]string{true: "met", false: "**missed**"}

func (r *Result) targets(b *strings.Builder) {
	fmt.Fprint(b, "| target | wanted | measured (95 % interval) | range over seeds | |\n| --- | --- | --- | --- | --- |\n")
	for _, t := range targets {
		m := t.of(r)
		fmt.Fprintf(b, "| %s | %s | %s | %s | %s |\n", t.name, t.wanted, m.text(t.format), r.spread(t), verdicts[t.met(m.value)])
	}
	days := r.SumHonest(everybody).Days
	fmt.Fprintf(b, "| account-days | ≥ 30,000 | %d | | %s |\n", days, verdicts[days >= 30_000])
	s, all := r.SumAttacks(isTargeted), r.SumAttacks(func(AttackRun) bool { return true })
	fmt.Fprintf(b, "\nIn %d of %d attacks (%.2f %%) nothing differs from the victim's own mail, and %d of these reach more than %d: who misses just them "+
		"contains %.1f %%. With the attacks beyond the targets, %s of all are contained.\n", s.Hidden, len(s.Leaked), percent(s.Hidden, len(s.Leaked)),
		s.HiddenPassed, Small, 100-percent(s.HiddenPassed, len(s.Leaked)), share(all.Contained, len(all.Leaked)).text("%.1f %%"))
}

func percent(k, n int) float64 { return 100 * float64(k) / float64(max(n, 1)) }

// spread is the least and the greatest figure of single seeds.
func (r *Result) spread(t target) string {
	if len(r.Parts) < 2 {
		return "–"
	}
	low, high := math.Inf(1), math.Inf(-1)
	for _, part := range r.Parts {
		v := t.of(part).value
		low, high = min(low, v), max(high, v)
	}
	return fmt.Sprintf(t.format+" – "+t.format, low, high)
}

func (r *Result) attacks(b *strings.Builder) {
	fmt.Fprint(b, "\nAttacks: recipients that left within 24 hours, the engine beside fixed limits.\n\n")
	fmt.Fprint(b, "| attack | n | median | p95 | max | contained | suspended | suspended, of those with a second kind of evidence | over 100 recipients (of these from the own network) | fixed limits: median | p95 |\n")
	fmt.Fprint(b, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, f := range Families {
		s := r.SumAttacks(func(a AttackRun) bool { return a.Family == f.Name })
		name := f.Name
		if f.Extra {
			name += " (beyond the targets)"
		}
		q := func(list []int, p float64) interval { return quantileOf(list, p, r.Options.Seed) }
		fmt.Fprintf(b, "| %s | %d | %s | %s | %.0f | %s | %s | %s | %d (%d) | %.0f | %.0f |\n", name, len(s.Leaked),
			q(s.Leaked, 0.5).text("%.0f"), q(s.Leaked, 0.95).text("%.0f"), q(s.Leaked, 1).value,
			share(s.Contained, len(s.Leaked)).text("%.1f %%"), share(s.Suspended, len(s.Leaked)).text("%.0f %%"),
			share(s.SecondSuspended, s.Second).text("%.0f %%"), s.Above, s.AboveOwn, q(s.Fixed, 0.5).value, q(s.Fixed, 0.95).value)
	}
}

func (r *Result) honest(b *strings.Builder) {
	fmt.Fprint(b, "\nHonest accounts: stops per 1,000 account-days, and days on which a plain limit refused something.\n\n")
	fmt.Fprint(b, "| behaviour | accounts | account-days | recipients a day | wrong soft limits | wrong suspensions | recipients refused of 100,000 | days with a plain limit met | days with fixed limits met |\n")
	fmt.Fprint(b, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	line := func(name string, s HonestSum) {
		if s.Days == 0 {
			return
		}
		per := 1000 / float64(s.Days)
		fmt.Fprintf(b, "| %s | %d | %d | %.1f | %s | %s | %.0f | %.2f | %.2f |\n", name, s.Accounts, s.Days,
			float64(s.Sent)/float64(s.Days), rate(s.Soft, s.Days).text("%.2f"), rate(s.Hard, s.Days).text("%.2f"),
			100_000*float64(s.Refused)/float64(max(s.Sent+s.Refused, 1)), float64(s.Plain)*per, float64(s.Fixed)*per)
	}
	for _, x := range Behaviours {
		line(x.Name, r.SumHonest(func(h HonestRun) bool { return h.Behaviour == x.Name }))
	}
	line("**all**", r.SumHonest(everybody))
}

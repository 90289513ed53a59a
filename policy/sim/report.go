package sim

import (
	"fmt"
	"io"
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

func (r *Result) targets(b *strings.Builder) {
	all := r.SumHonest(func(HonestRun) bool { return true })
	blasts := r.SumAttacks(func(a AttackRun) bool { return Blast(a.Family) })
	slow := r.SumAttacks(func(a AttackRun) bool { return !Blast(a.Family) })
	any := r.SumAttacks(func(AttackRun) bool { return true })
	soft, hard := rate(all.Soft, all.Days), rate(all.Hard, all.Days)
	q := func(list []int, p float64) interval { return quantileOf(list, p, r.Options.Seed) }
	fmt.Fprint(b, "| target | wanted | measured (95 % interval) | |\n| --- | --- | --- | --- |\n")
	line := func(name, wanted string, i interval, format string, met bool) {
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", name, wanted, i.text(format), map[bool]string{true: "met", false: "**missed**"}[met])
	}
	m := q(blasts.Leaked, 0.5)
	line("blasts: leaked recipients, median", "≤ 20", m, "%.0f", m.value <= 20)
	m = q(blasts.Leaked, 0.95)
	line("blasts: leaked recipients, p95", "≤ 50", m, "%.0f", m.value <= 50)
	m = q(slow.Leaked, 0.95)
	line("slow attacks and mixtures: leaked recipients, p95", "≤ 100", m, "%.0f", m.value <= 100)
	m = share(any.Contained, len(any.Leaked))
	line("contained, of all attacks", "≥ 99 %", m, "%.1f %%", m.value >= 99)
	m = share(blasts.SecondSuspended, blasts.Second)
	line("suspended, of blasts with a second kind of evidence", "≥ 95 %", m, "%.1f %%", m.value >= 95)
	m = share(slow.SecondSuspended, slow.Second)
	line("suspended, of slow attacks with a second kind of evidence", "≥ 95 %", m, "%.1f %%", m.value >= 95)
	line("wrong suspensions per 1,000 account-days", "≤ 0.1", hard, "%.2f", hard.value <= 0.1)
	line("wrong soft limits per 1,000 account-days", "≤ 1", soft, "%.2f", soft.value <= 1)
	fmt.Fprintf(b, "| account-days | ≥ 30,000 | %d | %s |\n", all.Days, map[bool]string{true: "met", false: "**missed**"}[all.Days >= 30_000])
}

func (r *Result) attacks(b *strings.Builder) {
	fmt.Fprint(b, "\nAttacks: recipients that left within 24 hours, the engine beside fixed limits.\n\n")
	fmt.Fprint(b, "| attack | n | median | p95 | max | contained | suspended | suspended, of those with a second kind of evidence | over 100 recipients (of these from the own network) | fixed limits: median | p95 |\n")
	fmt.Fprint(b, "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, f := range Families {
		s := r.SumAttacks(func(a AttackRun) bool { return a.Family == f.Name })
		q := func(list []int, p float64) interval { return quantileOf(list, p, r.Options.Seed) }
		fmt.Fprintf(b, "| %s | %d | %s | %s | %.0f | %s | %s | %s | %d (%d) | %.0f | %.0f |\n", f.Name, len(s.Leaked),
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
	line("**all**", r.SumHonest(func(HonestRun) bool { return true }))
}

// Command detection measures the outbound engine with the traffic of package sim and writes docs/detection.md.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"time"

	"github.com/mairust/mairust/policy/sim"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "detection:", err)
		os.Exit(1)
	}
}

func run() error {
	var o sim.Options
	flag.Uint64Var(&o.Seed, "seed", 20261201, "first seed of the traffic")
	seeds := flag.Int("seeds", 3, "how many seeds, from seed on")
	flag.IntVar(&o.Accounts, "accounts", 1200, "honest accounts of each seed")
	flag.IntVar(&o.Days, "days", 30, "days that each is watched")
	flag.IntVar(&o.Attacks, "attacks", 300, "attacks of each family and seed")
	out := flag.String("out", "docs/detection.md", "the file, whose part between the marks is rewritten")
	date := flag.String("date", time.Now().UTC().Format(time.DateOnly), "date of the report")
	flag.Parse()
	if *seeds < 1 {
		return fmt.Errorf("seeds: %d is less than 1", *seeds)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	text, err := os.ReadFile(*out)
	if err != nil {
		return err
	}
	var b strings.Builder
	for _, part := range []struct {
		title string
		blind bool
	}{{"With a database of countries", false}, {"Without one: places are networks", true}} {
		o.NoCountries = part.blind
		fmt.Fprintf(os.Stderr, "%s: %d seeds, each %d accounts for %d days, %d attacks of each of %d families\n",
			part.title, *seeds, o.Accounts, o.Days, o.Attacks, len(sim.Families))
		began := time.Now()
		r, err := sim.RunSeeds(ctx, o, *seeds)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "  took %s\n", time.Since(began).Round(time.Second))
		if b.Len() == 0 {
			fmt.Fprintf(&b, "Measured on %s by `make detection`, %d seeds from %d, policy %s (the defaults).\n", *date, *seeds, o.Seed, r.Policy)
		}
		fmt.Fprintf(&b, "\n### %s\n\n", part.title)
		if err := r.Tables(&b); err != nil {
			return err
		}
	}
	fresh, err := between(string(text), b.String())
	if err != nil {
		return fmt.Errorf("%s: %w", *out, err)
	}
	return os.WriteFile(*out, []byte(fresh), 0o644) //nolint:gosec // a document
}

// The marks in the document.
const (
	begin = "<!-- measured: begin -->\n"
	end   = "<!-- measured: end -->"
)

// between replaces what stands between the marks.
func between(text, fresh string) (string, error) {
	before, rest, ok := strings.Cut(text, begin)
	_, after, found := strings.Cut(rest, end)
	if !ok || !found {
		return "", fmt.Errorf("has no %q and %q", strings.TrimSpace(begin), end)
	}
	return before + begin + fresh + end + after, nil
}

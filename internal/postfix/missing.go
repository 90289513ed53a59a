package postfix

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
)

const (
	// maxAsked bounds how many addresses MaiRust is asked for.
	maxAsked = 5000
	// maxNamed bounds how many of them a warning names.
	maxNamed = 10
)

// knows asks MaiRust for a mailbox. While it is not certain who has none, what is not known counts as missing: root's mail then stays on
// this host, and nobody is refused anyway.
func (p *planner) knows(ctx context.Context, address string) (bool, error) {
	known, err := p.o.Directory.Mailbox(ctx, address)
	if !errors.Is(err, ErrUncertain) {
		return known, err
	}
	if !p.uncertain {
		p.uncertain = true
		p.warn(ErrUncertain.Error()+"; mail for unknown recipients is put off until it is",
			"mairust init --mailbox makes the first, or mairust fsck --repair if there were some; then apply again")
	}
	return false, nil
}

// warnMissing names the recipients that the site knows and MaiRust does not: from now on they would be refused.
func (p *planner) warnMissing(ctx context.Context, addresses []string) error {
	if p.o.Directory == nil {
		return nil
	}
	var missing []string
	addresses = slices.Sorted(slices.Values(addresses)) // tables list theirs in another order each time
	for _, a := range addresses[:min(len(addresses), maxAsked)] {
		known, err := p.knows(ctx, a)
		if err != nil {
			return err
		}
		if !known {
			missing = append(missing, a)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	p.warn("recipients that exist now and not in MaiRust will be refused: "+named(missing), "mairust init --mailbox makes them; or begin with --mode pilot")
	return nil
}

// named names some of a list, and how many more there are.
func named(list []string) string {
	names := strings.Join(list[:min(len(list), maxNamed)], ", ")
	if more := len(list) - maxNamed; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return names
}

// listed are the addresses in the domains that the tables of a parameter have as keys, as far as its tables can be listed.
func (p *planner) listed(ctx context.Context, parameter string, domains []string) []string {
	var out []string
	for _, t := range Fields(p.site.Value(parameter)) {
		t = strings.TrimPrefix(t, "proxy:")
		if kind, _, _ := strings.Cut(t, ":"); !listable[kind] {
			continue
		}
		keys, err := run(ctx, nil, "postmap", "-c", p.site.Host.Dir, "-s", t)
		if err != nil {
			p.warn(fmt.Sprintf("%s cannot be listed: %v", parameter, err), "postmap "+t)
			continue
		}
		for line := range strings.Lines(keys) {
			key := strings.ToLower(Fields(line)[0])
			if local, domain, ok := strings.Cut(key, "@"); ok && local != "" && slices.Contains(domains, domain) {
				out = append(out, key)
			}
		}
	}
	return out
}

// The ids of people, as Debian and others give them out.
const (
	firstPerson = 1000
	lastPerson  = 59999
)

// localAddresses are the people in the host's password file, in the chosen domains.
func (p *planner) localAddresses() []string {
	f, err := os.Open("/etc/passwd")
	if err != nil || !strings.Contains(p.raw("local_recipient_maps"), "passwd") {
		return nil
	}
	defer f.Close() //nolint:errcheck // only read
	var out []string
	for lines := bufio.NewScanner(f); lines.Scan(); {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 3 {
			continue
		}
		if uid, err := strconv.Atoi(fields[2]); err != nil || uid < firstPerson || uid > lastPerson {
			continue
		}
		for _, d := range p.local {
			out = append(out, fields[0]+"@"+d)
		}
	}
	return out
}

package postfix

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode"
)

// Recipient is an address of a pilot and the line it stands on.
type Recipient struct {
	Address string
	Line    int
}

const (
	// maxRecipients bounds a pilot's list.
	maxRecipients = 100_000
	maxLine       = 1024
)

// ReadRecipients reads a list of addresses, one on a line; empty lines and what follows a # are left out. The error
// names every line that is wrong.
func ReadRecipients(r io.Reader) ([]Recipient, error) {
	var list []Recipient
	var errs []error
	seen := map[string]int{}
	lines := bufio.NewScanner(r)
	lines.Buffer(make([]byte, 0, maxLine), maxLine)
	n := 0
	for lines.Scan() {
		n++
		text, _, _ := strings.Cut(lines.Text(), "#")
		if text = strings.ToLower(strings.TrimSpace(text)); text == "" {
			continue
		}
		if err := checkAddress(text); err != nil {
			errs = append(errs, fmt.Errorf("line %d: %w", n, err))
			continue
		}
		if first := seen[text]; first > 0 {
			errs = append(errs, fmt.Errorf("line %d: %s stands on line %d already", n, text, first))
			continue
		}
		seen[text] = n
		list = append(list, Recipient{text, n})
	}
	if err := lines.Err(); err != nil {
		errs = append(errs, fmt.Errorf("line %d: %w", n+1, err))
	}
	switch {
	case len(errs) == 0 && len(list) == 0:
		errs = append(errs, errors.New("it has no address"))
	case len(list) > maxRecipients:
		errs = append(errs, fmt.Errorf("more than %d addresses: switch a domain with mode replace", maxRecipients))
	}
	return list, errors.Join(errs...)
}

// checkAddress takes what a transport table can hold as a key.
func checkAddress(s string) error {
	local, domain, ok := strings.Cut(s, "@")
	switch {
	case !ok || local == "" || domain == "":
		return fmt.Errorf("%q is not an address: write user@domain", s)
	case strings.Contains(domain, "@"):
		return fmt.Errorf("%q has more than one @: write one address on a line", s)
	case strings.ContainsAny(s, ",;<>\"'") || strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }):
		return fmt.Errorf("%q: write one bare address on a line", s)
	}
	return nil
}

// pilot routes single recipients to MaiRust.
func (p *planner) pilot(ctx context.Context) error {
	if len(p.o.Recipients) == 0 {
		return errors.New("mode pilot needs a list of recipients")
	}
	var errs []error
	for _, r := range p.o.Recipients {
		errs = append(errs, p.pilotOne(ctx, r))
		p.transport = append(p.transport, r.Address+"\t"+p.lmtp())
		p.Recipients = append(p.Recipients, r.Address)
	}
	return errors.Join(errs...)
}

// pilotOne says what would keep mail for a recipient from arriving.
func (p *planner) pilotOne(ctx context.Context, r Recipient) error {
	local, domain, _ := strings.Cut(r.Address, "@")
	if p.o.Directory != nil {
		known, err := p.o.Directory.Mailbox(ctx, r.Address)
		switch {
		case errors.Is(err, ErrUncertain):
			return fmt.Errorf("line %d: MaiRust knows no mailbox %s, but %w: make it first (mairust init --mailbox %s), or, if there were mailboxes, run mairust fsck --repair",
				r.Line, r.Address, err, r.Address)
		case err != nil:
			return err
		case !known:
			return fmt.Errorf("line %d: MaiRust has no mailbox %s: make it first: mairust init --mailbox %s", r.Line, r.Address, r.Address)
		}
	}
	if target, found, err := p.site.find(ctx, "virtual_alias_maps", r.Address); err == nil && found && target != r.Address {
		p.warn(fmt.Sprintf("line %d: virtual_alias_maps sends %s to %s, before any transport", r.Line, r.Address, target), "list that address instead")
	}
	if isLocal, err := p.site.hasDomain(ctx, "mydestination", domain); err != nil {
		return err
	} else if isLocal {
		if target, found, err := p.site.find(ctx, "alias_maps", local); err == nil && found {
			p.warn(fmt.Sprintf("line %d: %s is an alias for %s, which does not apply to it any more", r.Line, local, target), "take it off the list, if that is not meant")
		}
		return nil
	}
	if isVirtual, err := p.site.hasDomain(ctx, "virtual_mailbox_domains", domain); err != nil || isVirtual {
		return err
	}
	return fmt.Errorf("line %d: Postfix delivers no mail for %s here: it is in neither mydestination nor virtual_mailbox_domains", r.Line, domain)
}

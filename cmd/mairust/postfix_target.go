package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/mairust/mairust/api/wire"
)

// target is where the probe goes, and the mailbox that it must arrive in. They differ for an alias and for an address with detail.
type target struct{ address, mailbox string }

// String is the mailbox, and how mail came there.
func (t target) String() string {
	if t.direct() {
		return t.mailbox
	}
	return t.mailbox + " by " + t.address
}

func (t target) direct() bool { return strings.EqualFold(t.address, t.mailbox) }

// chooseTarget is the first address that the wiring reaches, unless one was named.
func (k *wiringCheck) chooseTarget(ctx context.Context) (target, error) {
	s := k.base.State
	switch {
	case k.mailbox != "":
		return k.resolve(ctx, strings.ToLower(k.mailbox))
	case len(s.Recipients) > 0:
		return k.choosePilot(ctx, s.Recipients)
	}
	for cursor := ""; ; {
		var page wire.List[wire.Mailbox]
		if err := k.daemon.call(ctx, http.MethodGet, "/api/v1/mailboxes?limit=100&cursor="+url.QueryEscape(cursor), nil, &page); err != nil {
			return target{}, err
		}
		for _, m := range page.Data {
			if slices.Contains(s.Domains, domainOf(m.Address)) {
				return target{m.Address, m.Address}, nil
			}
		}
		if !page.Pagination.HasMore {
			return target{}, fmt.Errorf("MaiRust has no mailbox in %s", strings.Join(s.Domains, ", "))
		}
		cursor = page.Pagination.Cursor
	}
}

// maxTried bounds how many of a pilot's recipients are looked at.
const maxTried = 100

// choosePilot is the first recipient of a pilot that is a mailbox, or else the first that leads to one.
func (k *wiringCheck) choosePilot(ctx context.Context, recipients []string) (target, error) {
	var first target
	for _, r := range recipients[:min(len(recipients), maxTried)] {
		to, err := k.resolve(ctx, r)
		switch {
		case err != nil: // it left MaiRust since
		case to.direct():
			return to, nil
		case first.address == "":
			first = to
		}
	}
	if first.address == "" {
		return first, errors.New("MaiRust has no mailbox for the recipients of the pilot")
	}
	return first, nil
}

// resolve finds the mailbox of an address by asking what Postfix asks. Where that gives no answer the address is taken for a
// mailbox's own: what is wrong is said when the probe is sent.
func (k *wiringCheck) resolve(ctx context.Context, address string) (target, error) {
	mailbox, found, err := k.lookup.Target(ctx, address)
	if err == nil && !found {
		return target{}, fmt.Errorf("MaiRust has no mailbox for %s", address)
	}
	return target{address, cmp.Or(mailbox, address)}, nil
}

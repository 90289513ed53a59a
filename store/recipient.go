package store

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/mairust/mairust/internal/mail"
)

// Target is the mailbox that takes mail for a recipient.
type Target struct {
	Tenant  TenantID
	Mailbox MailboxID
	// Address is the mailbox's own, whatever alias led to it.
	Address mail.Address
	// Detail is what followed the recipient delimiter, empty without one.
	Detail string
}

// maxAliasSteps bounds chains of aliases, and with them loops.
const maxAliasSteps = 8

// Resolve finds the mailbox that takes mail for rcpt: the exact address, as mailbox, alias or in an alias
// domain, then the same without its detail. Aliases are followed up to 8 deep, each in the same way. delimiters is as in
// Postfix's recipient_delimiter; empty means that there are no details.
//
// What was found is remembered, what was not found never; a change on another node is seen within a second. Deliver checks again.
// Errors: ErrNotFound, ErrSuspended, ErrQuota; any other is a fault of the database.
func (s *Store) Resolve(ctx context.Context, rcpt mail.Address, delimiters string) (Target, error) {
	key := delimiters + "\x00" + rcpt.Fold().String()
	if target, ok := s.recipients.get(ctx, key); ok {
		return target, nil
	}
	asOf := s.recipients.asOf()
	target, err := s.follow(ctx, rcpt, delimiters, maxAliasSteps, s.step)
	if err != nil {
		return Target{}, err
	}
	if len(key) <= longestRemembered {
		target.Detail = strings.Clone(target.Detail) // not all of the address, which may be a part of a longer text
		s.recipients.put(key, target, asOf)
	}
	return target, nil
}

// step finds a mailbox, or the next address of an alias. rcpt is folded.
type step func(ctx context.Context, rcpt mail.Address) (target Target, next mail.Address, err error)

// follow follows aliases, so many steps at most. At each step the address as it stands comes first, then the same without its detail;
// the first detail that was taken off is the recipient's.
func (s *Store) follow(ctx context.Context, rcpt mail.Address, delimiters string, steps int, take step) (Target, error) {
	detail := ""
	for range steps {
		target, next, err := take(ctx, rcpt.Fold())
		if errors.Is(err, ErrNotFound) && delimiters != "" {
			if base, off, ok := rcpt.Detail(delimiters); ok {
				target, next, err = take(ctx, base.Fold())
				if detail == "" {
					detail = off
				}
			}
		}
		if err != nil {
			return target, err
		}
		if next.IsZero() {
			target.Detail = detail
			return target, nil
		}
		rcpt = next
	}
	s.log.WarnContext(ctx, "alias chain is too long or a loop", "address", rcpt.String())
	return Target{}, ErrNotFound
}

// step finds a mailbox, or the next address of an alias.
func (s *Store) step(ctx context.Context, rcpt mail.Address) (target Target, next mail.Address, err error) {
	target, err = s.mailboxFor(ctx, rcpt)
	if errors.Is(err, ErrNotFound) {
		next, err = s.AliasTarget(ctx, rcpt)
	}
	return target, next, err
}

const selectMailboxFor = `SELECT m.id, m.tenant_id, m.address, t.state,
	m.quota_bytes, m.used_bytes, t.quota_bytes, t.used_bytes
	FROM mailboxes m JOIN tenants t ON t.id = m.tenant_id WHERE m.address_fold = $1`

// mailboxFor finds the mailbox of an address, also beside ErrSuspended and ErrQuota.
func (s *Store) mailboxFor(ctx context.Context, rcpt mail.Address) (Target, error) {
	var target Target
	var address, state string
	var quota, used, tenantQuota, tenantUsed int64
	err := s.get(ctx, selectMailboxFor, []any{mail.Clean(rcpt.String(), maxAddress)},
		&target.Mailbox, &target.Tenant, &address, &state, &quota, &used, &tenantQuota, &tenantUsed)
	if err != nil {
		return Target{}, err
	}
	if target.Address, err = mail.ParseUnquoted(address); err != nil {
		return Target{}, fmt.Errorf("mailbox %s: stored address: %w", target.Mailbox, err)
	}
	switch {
	case state != tenantActive:
		return target, ErrSuspended
	case isOver(used, 0, quota) || isOver(tenantUsed, 0, tenantQuota):
		return target, ErrQuota
	}
	return target, nil
}

// isOver says whether size more bytes do not fit; with size 0, whether nothing fits any more.
func isOver(used, size, quota int64) bool {
	if quota <= 0 {
		return false
	}
	if size == 0 {
		return used >= quota
	}
	return used+size > quota
}

const (
	selectAlias = `SELECT target FROM aliases WHERE address_fold = $1`

	selectAliasDomain = `SELECT target.name FROM domains alias JOIN domains target ON target.id = alias.alias_of
		WHERE alias.name = $1`
)

// AliasTarget follows one step: an alias, else the same local part in the domain that an alias domain
// stands for. ErrNotFound when addr is neither.
func (s *Store) AliasTarget(ctx context.Context, addr mail.Address) (mail.Address, error) {
	addr = addr.Fold()
	var target string
	err := s.get(ctx, selectAlias, []any{mail.Clean(addr.String(), maxAddress)}, &target)
	if err == nil {
		to, err := mail.ParseUnquoted(target)
		if err != nil {
			return mail.Address{}, fmt.Errorf("alias %s: stored target: %w", addr, err)
		}
		return to.Fold(), nil
	}
	if !errors.Is(err, ErrNotFound) {
		return mail.Address{}, err
	}
	var domain string
	if err := s.get(ctx, selectAliasDomain, []any{mail.Clean(addr.Domain, maxAddress)}, &domain); err != nil {
		return mail.Address{}, err
	}
	return mail.Address{Local: addr.Local, Domain: domain}, nil
}

// HasDomain says whether mail for the domain, in lower-case A-label form, is delivered here.
func (s *Store) HasDomain(ctx context.Context, domain string) (bool, error) {
	var id string
	err := s.get(ctx, `SELECT id FROM domains WHERE name = $1`, []any{mail.Clean(domain, maxAddress)}, &id)
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

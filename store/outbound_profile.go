package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store/sqldb"
)

// OutboundProfile is a bulk sender that is kept in the database, beside those of the configuration.
type OutboundProfile struct {
	Tenant TenantID
	// ID is chosen by people and unique in the tenant.
	ID string
	// Accounts are lower-case logins or client addresses.
	Accounts []string
	// MaxRate is as in the configuration, such as "5000 msgs/hour".
	MaxRate, Description string
	// Actor is who set it last, at Changed.
	Actor   string
	Changed time.Time
	// Revision rises with every change.
	Revision int64
}

// MaxProfileAccounts bounds the list of one profile.
const MaxProfileAccounts = 1000

// OutboundProfileChange is what a profile becomes.
type OutboundProfileChange struct {
	// Profile has everything but Actor, Changed and Revision, which the store sets.
	Profile OutboundProfile
	OutboundBy
	// New wants that there is none of this name yet. Revision, when not 0, is that of the profile as it was seen.
	New      bool
	Revision int64
	// Beside says what is to be written in the same transaction: was is nil for a new profile. It may be called again and may
	// be nil.
	Beside func(was, is *OutboundProfile) (Beside, error)
}

// SetOutboundProfile makes a profile or replaces the one of its name, writes the history of profile and accounts and tells
// other processes, all or nothing. created tells which. ErrExists for a New one that is there, ErrConflict when the
// revision is another one by now.
func (s *Store) SetOutboundProfile(ctx context.Context, c OutboundProfileChange) (is *OutboundProfile, created bool, err error) {
	p, err := c.profile()
	if err != nil {
		return nil, false, err
	}
	err = s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		was, err := lockProfile(ctx, tx, p.Tenant, p.ID)
		if err != nil {
			return err
		}
		switch {
		case c.New && was != nil:
			return ErrExists
		case c.Revision != 0 && (was == nil || was.Revision != c.Revision):
			return ErrConflict
		}
		created, p.Revision = was == nil, micros(s.now())
		if was != nil {
			p.Revision = max(p.Revision, was.Revision+1)
		}
		p.Changed = fromMicros(p.Revision)
		if err := putProfile(tx, p, created); err != nil {
			return err
		}
		return s.noteProfile(tx, c.OutboundBy, was, &p, c.Beside)
	})
	if errors.Is(err, sqldb.ErrConflict) { // two made it at once
		err = ErrConflict
	}
	if err != nil {
		return nil, false, err
	}
	return &p, created, nil
}

// profile is the row to be.
func (c *OutboundProfileChange) profile() (OutboundProfile, error) {
	p := c.Profile
	if len(p.Accounts) > MaxProfileAccounts {
		return p, fmt.Errorf("profile of %d accounts: more than %d", len(p.Accounts), MaxProfileAccounts)
	}
	accounts := make([]string, 0, len(p.Accounts))
	for _, a := range p.Accounts {
		accounts = append(accounts, cleanKey(a))
	}
	p.ID, p.Accounts, p.MaxRate = mail.Clean(p.ID, maxWord), accounts, mail.Clean(p.MaxRate, maxWord)
	p.Description, p.Actor = mail.Clean(p.Description, maxReason), cleanKey(c.Actor)
	return p, nil
}

// putProfile writes a row that is locked, or a new one, of which the second of two at once fails.
func putProfile(tx *sqldb.Tx, p OutboundProfile, created bool) error {
	query := `UPDATE outbound_profiles SET accounts = $3, max_rate = $4, description = $5, actor = $6, changed_us = $7 WHERE tenant_id = $1 AND id = $2`
	if created {
		query = `INSERT INTO outbound_profiles (tenant_id, id, accounts, max_rate, description, actor, changed_us) VALUES ($1, $2, $3, $4, $5, $6, $7)`
	}
	raw, err := json.Marshal(p.Accounts)
	if err != nil {
		return fmt.Errorf("encode accounts: %w", err)
	}
	tx.Queue(query, string(p.Tenant), p.ID, string(raw), p.MaxRate, p.Description, p.Actor, p.Revision)
	return nil
}

// DeleteOutboundProfile removes the profile of a tenant that c.Profile names by Tenant and ID, with its traces as SetOutboundProfile
// has them; Beside gets a nil profile as what it is. ErrNotFound, or ErrConflict when the revision is another one by now.
func (s *Store) DeleteOutboundProfile(ctx context.Context, c OutboundProfileChange) error {
	id := mail.Clean(c.Profile.ID, maxWord)
	return s.write(ctx, func(ctx context.Context, tx *sqldb.Tx) error {
		was, err := lockProfile(ctx, tx, c.Profile.Tenant, id)
		switch {
		case err != nil:
			return err
		case was == nil:
			return ErrNotFound
		case c.Revision != 0 && was.Revision != c.Revision:
			return ErrConflict
		}
		tx.Queue(`DELETE FROM outbound_profiles WHERE tenant_id = $1 AND id = $2`, string(was.Tenant), id)
		return s.noteProfile(tx, c.OutboundBy, was, nil, c.Beside)
	})
}

// lockProfile reads a profile that is to be changed; nil when there is none.
func lockProfile(ctx context.Context, tx *sqldb.Tx, tenant TenantID, id string) (found *OutboundProfile, err error) {
	query := selectProfiles + `tenant_id = $1 AND id = $2` + tx.ForUpdate()
	err = tx.Each(ctx, query, []any{string(tenant), id}, func(scan sqldb.Scan) error {
		p, err := scanProfile(scan)
		found = &p
		return err
	})
	return found, err
}

// noteProfile writes the history of a profile and of the accounts that it matters to, and what is to be written beside. was or
// is may be nil.
func (s *Store) noteProfile(tx *sqldb.Tx, by OutboundBy, was, is *OutboundProfile, beside func(was, is *OutboundProfile) (Beside, error)) error {
	now, act := s.now(), "set"
	p, before, after := is, OutboundProfile{}, OutboundProfile{}
	if was != nil {
		before = *was
	}
	if is != nil {
		after = *is
	} else {
		p, act = was, "delete"
	}
	h := by.event(LogKey{At: now, ID: newID()}, p.Tenant, "profile", p.ID, act)
	h.Detail = after.MaxRate
	h.queue(tx)
	note := func(accounts []string, act string, but []string) {
		for _, a := range accounts {
			if !slices.Contains(but, a) {
				h := by.event(LogKey{At: now, ID: newID()}, p.Tenant, "account", a, act)
				h.Detail = p.ID
				h.queue(tx)
			}
		}
	}
	note(before.Accounts, "profile_leave", after.Accounts)
	note(after.Accounts, "profile_join", before.Accounts)
	if was != nil && is != nil && was.MaxRate != is.MaxRate {
		joined := slices.DeleteFunc(slices.Clone(after.Accounts), func(a string) bool { return slices.Contains(before.Accounts, a) })
		note(after.Accounts, "profile_rate", joined)
	}
	s.noteChanged(tx, p.Tenant, ChangedProfile, p.ID)
	if beside == nil {
		return nil
	}
	more, err := beside(was, is)
	more.queue(tx, now)
	return err
}

const selectProfiles = `SELECT tenant_id, id, accounts, max_rate, description, actor, changed_us FROM outbound_profiles WHERE `

// OutboundProfile reads a profile in scope. A scope with a user sees none. ErrNotFound.
func (s *Store) OutboundProfile(ctx context.Context, sc Scope, tenant TenantID, id string) (*OutboundProfile, error) {
	const query = selectProfiles + `($1 = 1 OR tenant_id = $2) AND $3 = '' AND tenant_id = $4 AND id = $5`
	list, err := s.profiles(ctx, query, append(sc.args(), string(tenant), mail.Clean(id, maxWord)))
	if err == nil && len(list) == 0 {
		err = ErrNotFound
	}
	if err != nil {
		return nil, err
	}
	return &list[0], nil
}

// OutboundProfiles lists the profiles in scope by tenant and id: at most limit of those after the given tenant and id.
// A scope with a user sees none.
func (s *Store) OutboundProfiles(ctx context.Context, sc Scope, tenant TenantID, after string, limit int) ([]OutboundProfile, error) {
	const query = selectProfiles + `($1 = 1 OR tenant_id = $2) AND $3 = '' AND (tenant_id, id) > ($4, $5) ORDER BY tenant_id, id LIMIT $6`
	return s.profiles(ctx, query, append(sc.args(), string(tenant), mail.Clean(after, maxWord), limit))
}

func (s *Store) profiles(ctx context.Context, query string, args []any) ([]OutboundProfile, error) {
	var list []OutboundProfile
	err := s.each(ctx, query, args, func(scan sqldb.Scan) error {
		p, err := scanProfile(scan)
		list = append(list, p)
		return err
	})
	return list, err
}

func scanProfile(scan sqldb.Scan) (p OutboundProfile, err error) {
	var accounts string
	if err := scan(&p.Tenant, &p.ID, &accounts, &p.MaxRate, &p.Description, &p.Actor, &p.Revision); err != nil {
		return p, err
	}
	p.Changed = fromMicros(p.Revision)
	return p, json.Unmarshal([]byte(accounts), &p.Accounts)
}

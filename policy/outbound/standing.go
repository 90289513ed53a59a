package outbound

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/store"
)

// standing is what the database says of accounts, domains and tenants, as one unchanging copy. It is kept in a file too.
type standing struct {
	// Accounts are those that are not like others, by tenant and name: a domain that moved has rows in several.
	Accounts map[string]store.OutboundAccount
	// Domains are the stopped ones, by tenant and name.
	Domains map[string]store.DomainStop
	// Modes are those of tenants.
	Modes map[store.TenantID]string
	// Profiles are the bulk senders of the database.
	Profiles []store.OutboundProfile
	// TenantDomains and TenantNames tell the tenant of a sender.
	TenantDomains, TenantNames map[string]store.TenantID
}

// unread says that it is neither from the database nor from a file.
func (st *standing) unread() bool { return st.Accounts == nil }

// standingKey is an account or a domain of a tenant.
func standingKey(tenant store.TenantID, name string) string { return string(tenant) + "\x00" + name }

// row is the account's row in its tenant.
func (st *standing) row(s sender) (store.OutboundAccount, bool) {
	row, ok := st.Accounts[standingKey(s.tenant, string(s.account))]
	return row, ok
}

func (st *standing) mode(s sender) policy.Mode {
	if row, ok := st.row(s); ok && row.Mode != "" {
		return policy.Mode(row.Mode)
	}
	return policy.Mode(st.Modes[s.tenant])
}

// domainStopped tells whether all of the account's domain is stopped at a time.
func (st *standing) domainStopped(s sender, now time.Time) bool {
	stop, ok := st.Domains[standingKey(s.tenant, s.account.Domain())]
	return ok && (stop.Until.IsZero() || now.Before(stop.Until))
}

// compile makes the policy of options and bulk senders, with those of the database. Tenants that options name become their
// ids. Profiles of the database that cannot be used are left out and logged.
func (st *standing) compile(o policy.Options, whitelist []policy.Profile, log *slog.Logger) (*policy.Policy, error) {
	o.Modes = slices.Clone(o.Modes)
	for i := range o.Modes {
		if id, ok := st.TenantNames[strings.ToLower(o.Modes[i].Tenant)]; ok {
			o.Modes[i].Tenant = string(id)
		}
	}
	profiles, err := policy.UsableProfiles(st.profiles())
	if err != nil { // one that the engine would refuse must not take the others with it
		log.Error("bulk profiles of the database are not in force", "err", err)
	}
	return policy.Compile(o, slices.Concat(whitelist, profiles))
}

// profiles gives those of the database for the engine.
func (st *standing) profiles() []policy.Profile {
	list := make([]policy.Profile, 0, len(st.Profiles))
	for _, p := range st.Profiles {
		list = append(list, policy.Profile{ID: p.ID, Accounts: p.Accounts, MaxRate: p.MaxRate, Description: p.Description, Tenant: string(p.Tenant)})
	}
	return list
}

// page is how many rows one read of the database gives.
const page = 1000

// loadStanding reads everything. It is a few short reads: only accounts that are not like others are in it.
func loadStanding(ctx context.Context, db *store.Store) (*standing, error) {
	st := &standing{Accounts: map[string]store.OutboundAccount{}, Domains: map[string]store.DomainStop{}}
	var after store.OutboundKey
	err := eachPage(func() (int, error) {
		list, err := db.SpecialAccounts(ctx, after, page)
		for _, a := range list {
			st.Accounts[standingKey(a.Tenant, a.Account)] = a
			after = store.OutboundKey{Tenant: a.Tenant, Account: a.Account}
		}
		return len(list), err
	})
	domain := ""
	err = errors.Join(err, eachPage(func() (int, error) {
		list, err := db.StoppedDomains(ctx, store.System, domain, page)
		for _, d := range list {
			st.Domains[standingKey(d.Tenant, d.Domain)] = d
			domain = d.Domain
		}
		return len(list), err
	}))
	var profile store.OutboundProfile
	err = errors.Join(err, eachPage(func() (int, error) {
		list, err := db.OutboundProfiles(ctx, store.System, profile.Tenant, profile.ID, page)
		st.Profiles = append(st.Profiles, list...)
		if len(list) > 0 {
			profile = list[len(list)-1]
		}
		return len(list), err
	}))
	var err2 error
	st.Modes, err2 = db.OutboundModes(ctx, store.System)
	err = errors.Join(err, err2)
	st.TenantDomains, st.TenantNames, err2 = db.TenantsOfSenders(ctx)
	return st, errors.Join(err, err2)
}

func eachPage(read func() (int, error)) error {
	for {
		if n, err := read(); err != nil || n < page {
			return err
		}
	}
}

// refreshStanding reads what the database says and puts it in force.
func (g *Gate) refreshStanding(ctx context.Context, db *store.Store) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	st, err := loadStanding(ctx, db)
	if err != nil {
		return fmt.Errorf("read accounts, domains and profiles: %w", err)
	}
	g.settings.Lock()
	defer g.settings.Unlock()
	p, err := st.compile(g.options, g.profiles, g.log)
	if err != nil {
		return fmt.Errorf("profiles of the database: %w", err)
	}
	g.standing.Store(st)
	g.policy.Store(p)
	raw, err := json.Marshal(st)
	if err == nil {
		err = writeFile(g.file("standing"), raw)
	}
	if err != nil { // it is in force all the same
		g.log.Error("stopped accounts not kept in the file", "err", err)
	}
	return nil
}

// restoreStanding puts in force what the file says, until the database has been read.
func (g *Gate) restoreStanding() error {
	raw, err := readFile(g.file("standing"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, errDamaged):
		g.log.Error("file of stopped accounts is damaged: they are read from the database", "err", err)
		return nil
	case err != nil:
		return err
	}
	st := &standing{}
	if err := json.Unmarshal(raw, st); err != nil {
		return fmt.Errorf("read %s: %w", g.file("standing"), err)
	}
	g.standing.Store(st)
	return nil
}

package store_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func TestAliasesAreSetChangedListedAndRemoved(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		one := storetest.NewSite(t, s, "one", "one.test", "bob", "ann")
		two := storetest.NewSite(t, s, "two", "two.test", "eve")
		set := func(from, to string) error {
			return s.SetAlias(ctx, one.Tenant.ID, address(t, from), address(t, to), store.Beside{})
		}
		names := func(sc store.Scope, after string, limit int) (names []string) {
			list, err := s.Aliases(ctx, sc, after, limit)
			require.NoError(t, err)
			for _, a := range list {
				names = append(names, a.Address+" "+a.Target)
			}
			return names
		}
		leads := func(rcpt string) string {
			target, err := s.Resolve(ctx, address(t, rcpt), "+")
			if err != nil {
				return err.Error()
			}
			return target.Address.String()
		}
		require.NoError(t, set("Info@one.test", "Bob@one.test"))
		require.NoError(t, set("sales@one.test", "info@one.test"))
		require.NoError(t, s.SetAlias(ctx, two.Tenant.ID, address(t, "x@two.test"), address(t, "eve@two.test"), store.Beside{}))
		require.Equal(t, "bob@one.test", leads("sales+x@one.test"))
		require.NoError(t, set("INFO@one.test", "ann@one.test"), "it is changed")
		require.Equal(t, "ann@one.test", leads("sales@one.test"))
		require.NoError(t, set("info@one.test", "ann@one.test"), "as it is")

		mine := store.Scope{Tenant: one.Tenant.ID}
		require.Equal(t, []string{"Info@one.test ann@one.test", "sales@one.test info@one.test"}, names(mine, "", 10))
		require.Equal(t, []string{"sales@one.test info@one.test"}, names(mine, "info@one.test", 1))
		require.Len(t, names(store.System, "", 10), 3)
		require.Empty(t, names(store.Scope{Tenant: one.Tenant.ID, User: one.Users["bob"].ID}, "", 10))
		_, err := s.Alias(ctx, mine, address(t, "x@two.test"))
		require.ErrorIs(t, err, store.ErrNotFound)

		require.ErrorIs(t, set("bob@one.test", "ann@one.test"), store.ErrTaken)
		require.ErrorIs(t, set("x@two.test", "ann@one.test"), store.ErrNotFound)
		require.ErrorIs(t, set("y@one.test", "eve@two.test"), store.ErrExists)
		require.ErrorIs(t, s.RemoveAlias(ctx, one.Tenant.ID, address(t, "x@two.test"), store.Beside{}), store.ErrNotFound)
		require.ErrorIs(t, s.RemoveAlias(ctx, one.Tenant.ID, address(t, "bob@one.test"), store.Beside{}), store.ErrNotFound)
		require.NoError(t, s.RemoveAlias(ctx, one.Tenant.ID, address(t, "iNfo@one.test"), store.Beside{}))
		require.Equal(t, "not found", leads("info@one.test"))
		require.Equal(t, "not found", leads("sales@one.test"))
	})
}

func TestWhereAnAliasWouldLead(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		one := storetest.NewSite(t, s, "one", "one.test", "bob")
		storetest.NewSite(t, s, "two", "two.test", "eve")
		_, _, err := s.EnsureDomain(ctx, one.Tenant.ID, "alias.test", one.Domain.ID)
		require.NoError(t, err)
		for from, to := range map[string]string{"a@one.test": "b@one.test", "out@one.test": "x@elsewhere.test", "b@one.test": "bob@one.test"} {
			require.NoError(t, s.SetAlias(ctx, one.Tenant.ID, address(t, from), address(t, to), store.Beside{}))
		}
		for i := range 6 { // six steps to bob from c0
			to := fmt.Sprintf("c%d@one.test", i+1)
			if i == 5 {
				to = "bob@one.test"
			}
			require.NoError(t, s.SetAlias(ctx, one.Tenant.ID, address(t, fmt.Sprintf("c%d@one.test", i)), address(t, to), store.Beside{}))
		}
		for _, row := range []struct {
			from, to string
			here     bool
			err      error
		}{
			{"n@one.test", "bob@one.test", true, nil},
			{"n@one.test", "bob+lists@one.test", true, nil},
			{"n@one.test", "bob@alias.test", true, nil},
			{"n@one.test", "a@one.test", true, nil},
			{"n@one.test", "out@one.test", false, nil},
			{"n@one.test", "x@elsewhere.test", false, nil},
			{"n@one.test", "c1@one.test", true, nil},
			{"n@one.test", "c0@one.test", false, store.ErrNotFound}, // too long, with its own and an alias domain
			{"n@one.test", "nobody@one.test", false, store.ErrNotFound},
			{"n@one.test", "nobody@alias.test", false, store.ErrNotFound},
			{"n@one.test", "N@one.test", false, store.ErrLoop},
			{"n@one.test", "n+x@one.test", false, store.ErrLoop},
			{"b@one.test", "a@one.test", false, store.ErrLoop},
			{"n@one.test", "n@alias.test", false, store.ErrLoop},
			{"b@one.test", "bob@one.test", true, nil},
		} {
			end, here, err := s.LeadsTo(ctx, address(t, row.from), address(t, row.to), "+")
			require.ErrorIs(t, err, row.err, "%s to %s", row.from, row.to)
			require.Equal(t, row.here, here, "%s to %s", row.from, row.to)
			if row.here {
				require.Equal(t, "bob@one.test", end.Address.String())
			}
		}
	})
}

func TestOneAddressIsNotAliasOfTwoTargets(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		ctx := t.Context()
		one := storetest.NewSite(t, s, "one", "one.test", "bob", "ann")
		var group sync.WaitGroup
		for _, target := range []string{"bob@one.test", "ann@one.test", "bob@one.test", "ann@one.test"} {
			to := address(t, target)
			group.Go(func() {
				for range 20 {
					if err := s.SetAlias(ctx, one.Tenant.ID, address(t, "info@one.test"), to, store.Beside{}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		list, err := s.Aliases(ctx, store.System, "", 10)
		require.NoError(t, err)
		require.Len(t, list, 1)
	})
}

// addressRounds is how often a race for an address is run: without a lock two win in many of the rounds, but not in each.
const addressRounds = 20

// race runs all at one moment and gives what each returns.
func race(all ...func() error) []error {
	errs := make([]error, len(all))
	start := make(chan struct{})
	var group sync.WaitGroup
	for i, run := range all {
		group.Go(func() {
			<-start
			errs[i] = run()
		})
	}
	close(start)
	group.Wait()
	return errs
}

func TestOfTwoWhoMakeAnAliasOneHasMadeIt(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "one", "one.test", "bob", "ann")
		targets := []string{"bob@one.test", "ann@one.test", "bob@one.test", "ann@one.test"}
		for round := range addressRounds {
			alias := address(t, fmt.Sprintf("a%d@one.test", round))
			made := make([]bool, len(targets))
			var all []func() error
			for i, target := range targets {
				to := address(t, target)
				all = append(all, func() (err error) {
					made[i], err = s.EnsureAlias(t.Context(), site.Tenant.ID, alias, to)
					return err
				})
			}
			errs := race(all...)
			has, err := s.Alias(t.Context(), store.System, alias)
			require.NoError(t, err)
			makers := 0
			for i, target := range targets {
				if made[i] {
					makers++
					assert.Equal(t, target, has.Target, "the maker's")
				}
				if target == has.Target {
					assert.NoError(t, errs[i])
				} else {
					assert.ErrorIs(t, errs[i], store.ErrConflict)
				}
			}
			assert.Equal(t, 1, makers, alias)
		}
	})
}

func TestOneAddressIsNotAliasAndMailbox(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "one", "one.test", "bob")
		bob := address(t, "bob@one.test")
		for name, makeAlias := range map[string]func(mail.Address) error{
			"set":      func(a mail.Address) error { return s.SetAlias(t.Context(), site.Tenant.ID, a, bob, store.Beside{}) },
			"ensured":  func(a mail.Address) error { _, err := s.EnsureAlias(t.Context(), site.Tenant.ID, a, bob); return err },
			"restored": func(a mail.Address) error { return restoreAlias(t, s, site, a, bob) },
		} {
			for round := range addressRounds {
				a := address(t, fmt.Sprintf("%s%d@one.test", name, round))
				errs := race(
					func() error { return makeAlias(a) },
					func() error { _, _, err := s.EnsureMailbox(t.Context(), site.Tenant.ID, a, ""); return err },
					func() error { return makeAlias(a) },
					func() error { return restoreMailbox(t, s, site, a) },
				)
				_, errAlias := s.Alias(t.Context(), store.System, a)
				_, errMailbox := s.MailboxByAddress(t.Context(), store.System, a.String())
				if errAlias == nil {
					assert.ErrorIs(t, errMailbox, store.ErrNotFound, "%s is both", a)
					assert.NoError(t, errors.Join(errs[0], errs[2]))
					assert.ErrorIs(t, errs[1], store.ErrExists)
					assert.ErrorIs(t, errs[3], store.ErrExists)
					continue
				}
				assert.ErrorIs(t, errAlias, store.ErrNotFound)
				assert.NoError(t, errMailbox)
				assert.NoError(t, errs[1], "one that is there is found")
				assert.ErrorIs(t, errs[0], store.ErrExists)
				assert.ErrorIs(t, errs[2], store.ErrExists)
			}
		}
	})
}

// restoreAlias is store.ErrExists when the alias cannot be made.
func restoreAlias(t *testing.T, s *store.Store, site *storetest.Site, from, to mail.Address) error {
	d := store.TenantDescription{Tenant: *site.Tenant, Aliases: []store.Alias{{Address: from.String(), Target: to.String()}}}
	_, left, err := s.RestoreTenant(t.Context(), d, true)
	if err == nil && len(left) > 0 {
		err = store.ErrExists
	}
	return err
}

func restoreMailbox(t *testing.T, s *store.Store, site *storetest.Site, a mail.Address) error {
	return s.RestoreMailbox(t.Context(), store.MailboxDescription{
		Tenant: site.Tenant.ID, TenantName: site.Tenant.Name, Mailbox: store.MailboxID(store.NewMessageID()), Address: a.String(),
	})
}

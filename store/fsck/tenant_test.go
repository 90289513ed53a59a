package fsck_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/storetest"
)

func (r *rig) alias(tenant store.TenantID, from, to string) {
	r.t.Helper()
	require.NoError(r.t, r.store.SetAlias(r.t.Context(), tenant, r.address(from), r.address(to), store.Beside{}))
}

func (r *rig) address(text string) mail.Address {
	r.t.Helper()
	a, err := mail.ParseAddress(text)
	require.NoError(r.t, err)
	return a
}

// leads is the address of the mailbox that takes mail, empty when none does.
func (r *rig) leads(rcpt string) string {
	r.t.Helper()
	target, err := r.store.Resolve(r.t.Context(), r.address(rcpt), "+")
	if errors.Is(err, store.ErrNotFound) {
		return ""
	}
	if errors.Is(err, store.ErrSuspended) {
		return "suspended"
	}
	require.NoError(r.t, err)
	return target.Address.String()
}

// A rebuild must not refuse mail that was taken before: by alias, in an alias domain, in a domain without mailboxes, for a tenant that is
// suspended.
func TestRebuildBringsBackWhereMailGoes(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		site := storetest.NewSite(t, r.store, "営業 株式会社", "one.test", "bob", "ab..c")
		_, _, err := r.store.EnsureDomain(ctx, site.Tenant.ID, "alias.test", site.Domain.ID)
		require.NoError(t, err)
		_, _, err = r.store.EnsureDomain(ctx, site.Tenant.ID, "empty.test", "")
		require.NoError(t, err)
		r.alias(site.Tenant.ID, "Info@one.test", "sales@one.test")
		r.alias(site.Tenant.ID, "sales@one.test", `"ab..c"@one.test`)
		r.alias(site.Tenant.ID, `"o..o"@empty.test`, "bob@one.test")
		r.alias(site.Tenant.ID, "away@one.test", "bob@elsewhere.test")
		require.NoError(t, r.store.SetTenantQuota(ctx, site.Tenant.ID, 1<<40, store.Beside{}))
		other := storetest.NewSite(t, r.store, "two", "two.test", "eve")
		require.NoError(t, r.store.SuspendTenant(ctx, other.Tenant.ID, true, store.Beside{}))
		l := r.write(site.Target("bob"), "kept", "Q1", "")
		r.deliver(l)
		require.NoError(t, r.fsck().DescribeAll(ctx))
		require.NoError(t, r.fsck().Watch(ctx))
		before, err := r.store.DescribeTenant(ctx, site.Tenant.ID)
		require.NoError(t, err)

		r.anew()
		report, problems := r.check(fsck.Request{Rebuild: true, MinAge: -1})
		require.Zero(t, report.Left, "%v", problems)
		require.Contains(t, problems, fsck.Problem{
			Kind: fsck.KindTenant, Key: string(site.Tenant.ID) + "/tenant.json", What: "alias Info@one.test of 営業 株式会社 is described, but not in the database",
			Mended: true, Done: "made again",
		})
		after, err := r.store.DescribeTenant(ctx, site.Tenant.ID)
		require.NoError(t, err)
		require.Equal(t, before.Domains, after.Domains)
		require.Equal(t, before.Aliases, after.Aliases)
		require.Equal(t, before.QuotaBytes, after.QuotaBytes)
		require.Equal(t, before.Created, after.Created)
		for rcpt, want := range map[string]string{
			"info@one.test": "ab..c@one.test", "sales+x@alias.test": "ab..c@one.test", "bob@alias.test": "bob@one.test",
			`"o..o"@empty.test`: "bob@one.test", "nobody@empty.test": "", "eve@two.test": "suspended",
		} {
			require.Equal(t, want, r.leads(rcpt), rcpt)
		}
		to, err := r.store.AliasTarget(ctx, r.address("away@one.test"))
		require.NoError(t, err)
		require.Equal(t, "bob@elsewhere.test", to.String())
		r.mustSweep()
		r.requireClean()
	})
}

func TestAliasesThatAnOldDumpDoesNotKnowAreMadeAgain(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob", "alice")
		r.alias(site.Tenant.ID, "old@one.test", "bob@one.test")
		require.NoError(t, r.fsck().DescribeAll(ctx))
		require.NoError(t, r.fsck().Watch(ctx))
		restore := r.dump()
		f := r.fsck()
		describe := f.DescribeChanged()
		require.NoError(t, describe(ctx), "the first call only begins")
		r.alias(site.Tenant.ID, "new@one.test", "bob@one.test")
		r.alias(site.Tenant.ID, "old@one.test", "alice@one.test")
		require.NoError(t, describe(ctx))
		require.Contains(t, r.object(string(site.Tenant.ID)+"/tenant.json"), "new@one.test")
		require.NoError(t, r.fsck().Watch(ctx))

		restore()
		require.ErrorIs(t, r.fsck().Watch(ctx), fsck.ErrStopped)
		require.NoError(t, r.fsck().DescribeAll(ctx), "as a daemon does that starts on it")
		require.Contains(t, r.object(string(site.Tenant.ID)+"/tenant.json"), "new@one.test", "what is newer is not written over")
		_, told := r.check(fsck.Request{MinAge: -1})
		require.Contains(t, told, fsck.Problem{
			Kind: fsck.KindTenant, Key: string(site.Tenant.ID) + "/tenant.json", What: "alias new@one.test of one is described, but not in the database",
		})
		require.Empty(t, r.leads("new@one.test"), "a check makes nothing")

		report, problems := r.check(fsck.Request{Repair: true, MinAge: -1})
		require.Zero(t, report.Left, "%v", problems)
		require.Equal(t, "bob@one.test", r.leads("new@one.test"))
		require.Equal(t, "bob@one.test", r.leads("old@one.test"), "what the database has stays")
		r.mustSweep()
		r.requireClean()
	})
}

// A repair of a sweep that stopped for something else, or of objects that were set back, must not bring back what an administrator removed.
func TestWhatWasRemovedStaysRemovedWhereTheDatabaseIsTheNewerOne(t *testing.T) {
	for name, stop := range map[string]func(r *rig){
		"stopped for something else": func(r *rig) {
			_, err := r.store.StopSweep(r.t.Context(), "too many objects have no row")
			require.NoError(r.t, err)
		},
		"objects set back": func(r *rig) {
			require.NoError(r.t, r.objects.Delete(r.t.Context(), "installation/database.json"))
			require.ErrorIs(r.t, r.fsck().Watch(r.t.Context()), fsck.ErrStopped)
		},
	} {
		t.Run(name, func(t *testing.T) {
			onEach(t, func(t *testing.T, r *rig) {
				ctx := t.Context()
				site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
				r.alias(site.Tenant.ID, "boss@one.test", "bob@one.test")
				require.NoError(t, r.fsck().DescribeAll(ctx))
				for range 2 {
					require.NoError(t, r.fsck().Watch(ctx))
				}
				stop(r)
				require.NoError(t, r.store.RemoveAlias(ctx, site.Tenant.ID, r.address("boss@one.test"), store.Beside{}))
				report, problems := r.check(fsck.Request{Repair: true, MinAge: -1})
				require.Zero(t, report.Left, "%v", problems)
				require.Empty(t, r.leads("boss@one.test"))
				require.NotContains(t, r.object(string(site.Tenant.ID)+"/tenant.json"), "boss@")
			})
		})
	}
}

// What a repair cannot make again it names, and goes on.
func TestWhatOthersHaveMeanwhileIsNamed(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		r.alias(site.Tenant.ID, "info@one.test", "bob@one.test")
		r.alias(site.Tenant.ID, "sales@one.test", "bob@one.test")
		require.NoError(t, r.fsck().DescribeAll(ctx))
		require.NoError(t, r.fsck().Watch(ctx))
		r.putKey(string(site.Mailboxes["bob"].ID)+"/tenant.json", "{}") // of a tenant that there never was

		r.anew()
		made, _, err := r.store.EnsureTenant(ctx, "one")
		require.NoError(t, err)
		require.NotEqual(t, site.Tenant.ID, made.ID)
		report, problems := r.check(fsck.Request{Rebuild: true, MinAge: -1})
		require.Positive(t, report.Left)
		require.Contains(t, problems, fsck.Problem{
			Kind: fsck.KindTenant, Key: string(site.Tenant.ID) + "/tenant.json", What: "of one is described, but cannot be made again: tenant one",
		})
		require.NotContains(t, r.leads("info@one.test"), "bob")
	})
}

// requireLacking holds the database not to be accepted for so many addresses.
func (r *rig) requireLacking(q fsck.Request, addresses int) {
	r.t.Helper()
	_, problems := r.check(q)
	last := problems[len(problems)-1]
	require.Equal(r.t, fsck.KindDatabase, last.Kind)
	require.False(r.t, last.Mended)
	require.Contains(r.t, last.Done, fmt.Sprintf("%d addresses are described and cannot be made again", addresses))
	require.ErrorIs(r.t, r.fsck().Certain(r.t.Context()), fsck.ErrAnother, "what it does not know is not refused")
}

// A tenant of the name was made in the empty database before the others were brought back: what belongs to the old one would be refused as unknown.
func TestADatabaseThatLacksDescribedAddressesIsNotAccepted(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob", "empty")
		storetest.NewSite(t, r.store, "two", "two.test", "eve")
		r.alias(site.Tenant.ID, "info@one.test", "bob@one.test")
		r.alias(site.Tenant.ID, "away@one.test", "bob@elsewhere.test")
		_, _, err := r.store.EnsureDomain(ctx, site.Tenant.ID, "alias.test", site.Domain.ID)
		require.NoError(t, err)
		r.deliver(r.write(site.Target("bob"), "kept", "Q1", ""))
		require.NoError(t, r.fsck().DescribeAll(ctx))
		require.NoError(t, r.fsck().Watch(ctx))

		r.anew()
		made, _, err := r.store.EnsureTenant(ctx, "one")
		require.NoError(t, err)
		r.requireLacking(fsck.Request{Rebuild: true, MinAge: -1}, 5)
		require.Equal(t, "eve@two.test", r.leads("eve@two.test"))
		require.Contains(t, r.object(string(site.Tenant.ID)+"/tenant.json"), "info@one.test")

		own, _, err := r.store.EnsureDomain(ctx, made.ID, "one.test", "")
		require.NoError(t, err)
		_, _, err = r.store.EnsureDomain(ctx, made.ID, "alias.test", own.ID)
		require.NoError(t, err)
		for _, name := range []string{"bob", "empty"} {
			_, _, err = r.store.EnsureMailbox(ctx, made.ID, r.address(name+"@one.test"), "")
			require.NoError(t, err)
		}
		r.requireLacking(fsck.Request{Repair: true, MinAge: -1}, 2)
		r.alias(made.ID, "info@one.test", "bob@one.test")
		r.alias(made.ID, "away@one.test", "bob@elsewhere.test")
		r.check(fsck.Request{Repair: true, MinAge: -1})
		require.NoError(t, r.fsck().Certain(ctx))
	})
}

// What is an alias domain now leads to addresses that nobody has.
func TestAddressesOfADomainThatIsAnAliasNowAreLacking(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		storetest.NewSite(t, r.store, "one", "one.test", "bob", "hana")
		require.NoError(t, r.fsck().DescribeAll(ctx))
		require.NoError(t, r.fsck().Watch(ctx))
		r.anew()
		made, _, err := r.store.EnsureTenant(ctx, "one")
		require.NoError(t, err)
		own, _, err := r.store.EnsureDomain(ctx, made.ID, "main.test", "")
		require.NoError(t, err)
		_, _, err = r.store.EnsureDomain(ctx, made.ID, "one.test", own.ID)
		require.NoError(t, err)
		r.requireLacking(fsck.Request{Rebuild: true, MinAge: -1}, 2)
		_, _, err = r.store.EnsureMailbox(ctx, made.ID, r.address("bob@main.test"), "")
		require.NoError(t, err)
		r.requireLacking(fsck.Request{Repair: true, MinAge: -1}, 1)
		r.alias(made.ID, "hana@main.test", "hana@elsewhere.test")
		r.check(fsck.Request{Repair: true, MinAge: -1})
		require.NoError(t, r.fsck().Certain(ctx))
	})
}

func TestAliasesThatCannotBeMadeAgainStayDescribed(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		other := storetest.NewSite(t, r.store, "two", "two.test", "eve")
		require.NoError(t, r.fsck().DescribeAll(ctx))
		require.NoError(t, r.fsck().Watch(ctx))
		restore := r.dump()
		_, _, err := r.store.EnsureDomain(ctx, site.Tenant.ID, "late.test", "")
		require.NoError(t, err)
		r.alias(site.Tenant.ID, "info@late.test", "bob@one.test")
		require.NoError(t, r.fsck().DescribeAll(ctx))
		require.NoError(t, r.fsck().Watch(ctx))
		restore()
		_, _, err = r.store.EnsureDomain(ctx, other.Tenant.ID, "late.test", "")
		require.NoError(t, err)
		require.ErrorIs(t, r.fsck().Watch(ctx), fsck.ErrStopped)
		for range 2 {
			r.requireLacking(fsck.Request{Repair: true, MinAge: -1}, 1)
			require.Contains(t, r.object(string(site.Tenant.ID)+"/tenant.json"), "info@late.test")
		}
		r.alias(other.Tenant.ID, "info@late.test", "eve@two.test")
		r.check(fsck.Request{Repair: true, MinAge: -1})
		require.NoError(t, r.fsck().Certain(ctx))
	})
}

// It may be whole for all that, and is neither believed to be lost nor written over.
func TestATenantFileThatIsTooLargeIsNotTakenForLost(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		for i := range 9 {
			r.alias(site.Tenant.ID, fmt.Sprintf("info%d@one.test", i), "bob@one.test")
		}
		require.NoError(t, r.fsck().DescribeAll(ctx))
		require.NoError(t, r.fsck().Watch(ctx))
		key := string(site.Tenant.ID) + "/tenant.json"
		is := r.object(key)
		bounded := r.fsck()
		fsck.MaxDocument(bounded, int64(len(is))-1)
		require.ErrorContains(t, bounded.DescribeAll(ctx), "the document is too large")
		require.Equal(t, is, r.object(key))

		r.anew()
		bounded = r.fsck()
		fsck.MaxDocument(bounded, int64(len(is))-1)
		_, err := bounded.Check(ctx, fsck.Request{Rebuild: true, MinAge: -1}, func(fsck.Event) {})
		require.NoError(t, err)
		require.ErrorIs(t, r.fsck().Certain(ctx), fsck.ErrAnother)
		report, problems := r.check(fsck.Request{Repair: true, MinAge: -1})
		require.Zero(t, report.Left, "%v", problems)
		require.Equal(t, "bob@one.test", r.leads("info8@one.test"))
	})
}

func TestATenantFileThatIsMissingOrOldIsToldAndWritten(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		r.mustSweep()
		require.NoError(t, r.fsck().Watch(t.Context()))
		r.requireClean()
		require.NoError(t, r.objects.Delete(t.Context(), string(site.Tenant.ID)+"/tenant.json"))
		report, problems := r.check(fsck.Request{MinAge: -1})
		require.Equal(t, int64(1), report.Left, "%v", problems)
		require.Equal(t, "the description of the tenant one is missing or old", problems[0].What)
		report, _ = r.check(fsck.Request{Repair: true, MinAge: -1})
		require.Equal(t, int64(1), report.Mended)
		r.requireClean()
	})
}

// once fails to read one object a number of times.
type once struct {
	fsck.Bucket
	suffix string
	left   atomic.Int32
}

func (o *once) Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error) {
	if strings.HasSuffix(key, o.suffix) && o.left.Add(-1) >= 0 {
		return nil, blob.Info{}, errors.New("timeout")
	}
	return o.Bucket.Get(ctx, key, offset, n)
}

// What cannot be read at the moment must not be written over by what an old database has.
func TestARepairThatCannotReadATenantFileIsRunAgain(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		require.NoError(t, r.fsck().DescribeAll(ctx))
		require.NoError(t, r.fsck().Watch(ctx))
		restore := r.dump()
		f := r.fsck()
		describe := f.DescribeChanged()
		require.NoError(t, describe(ctx))
		r.alias(site.Tenant.ID, "new@one.test", "bob@one.test")
		require.NoError(t, describe(ctx))
		require.NoError(t, r.fsck().Watch(ctx))
		restore()
		require.ErrorIs(t, r.fsck().Watch(ctx), fsck.ErrStopped)

		flaky := &once{Bucket: r.through, suffix: "/tenant.json"}
		flaky.left.Store(1)
		r.through = flaky
		report, problems := r.check(fsck.Request{Repair: true, MinAge: -1})
		require.EqualValues(t, 2, report.Left, "%v", problems)
		require.Contains(t, problems[len(problems)-1].Done, "timeout")
		require.ErrorIs(t, r.fsck().Watch(ctx), fsck.ErrStopped)
		require.Contains(t, r.object(string(site.Tenant.ID)+"/tenant.json"), "new@one.test")
		report, problems = r.check(fsck.Request{Repair: true, MinAge: -1})
		require.Zero(t, report.Left, "%v", problems)
		require.Equal(t, "bob@one.test", r.leads("new@one.test"))
	})
}

// What keeps one tenant from being described has the others described once, not every few seconds.
func TestOnlyTheTenantThatFailedIsDescribedAgain(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		sites := []*storetest.Site{
			storetest.NewSite(t, r.store, "one", "one.test", "bob"), storetest.NewSite(t, r.store, "two", "two.test", "bob"), storetest.NewSite(t, r.store, "three", "three.test", "bob"),
		}
		key := func(i int) string { return string(sites[i].Tenant.ID) + "/tenant.json" }
		require.NoError(t, r.fsck().DescribeAll(ctx))
		require.NoError(t, r.fsck().Watch(ctx))
		failing := &once{Bucket: r.through, suffix: key(1)}
		objects := &readBucket{Bucket: failing}
		r.through = objects
		describe := r.fsck().DescribeChanged()
		require.NoError(t, describe(ctx))

		for _, site := range sites {
			r.alias(site.Tenant.ID, "new@"+site.Tenant.Name+".test", "bob@"+site.Tenant.Name+".test")
		}
		failing.left.Store(3)
		for range 3 {
			require.ErrorContains(t, describe(ctx), "timeout")
		}
		require.NoError(t, describe(ctx))
		for i, times := range []int{1, 4, 1} {
			again := slices.DeleteFunc(slices.Clone(objects.reads), func(read string) bool { return read != key(i) })
			require.Len(t, again, times, sites[i].Tenant.Name)
			require.Contains(t, r.object(key(i)), "new@")
		}
	})
}

func TestATenantFileThatIsLostKeepsNothingFromBeingMended(t *testing.T) {
	onEach(t, func(t *testing.T, r *rig) {
		ctx := t.Context()
		site := storetest.NewSite(t, r.store, "one", "one.test", "bob")
		l := r.write(site.Target("bob"), "kept", "Q1", "")
		r.deliver(l)
		require.NoError(t, r.fsck().DescribeAll(ctx))
		require.NoError(t, r.fsck().Watch(ctx))
		r.damage(string(site.Tenant.ID)+"/tenant.json", func([]byte) []byte { return []byte("{") })
		r.anew()
		report, problems := r.check(fsck.Request{Rebuild: true, MinAge: -1})
		require.Equal(t, int64(1), report.Left, "%v", problems)
		require.NotNil(t, r.message(l))
		r.requireClean()
	})
}

package ui_test

import (
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/alert"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
)

// parts are those of an installation, each of which works until it is told to fail.
type parts struct {
	mu   sync.Mutex
	list []alert.State
}

func newParts() *parts {
	p := &parts{}
	for _, name := range []string{"database", "storage", "mounts", "disk", "listeners", "clock", "certificate"} {
		p.list = append(p.list, alert.State{Part: name, Essential: name == "database" || name == "storage"})
	}
	return p
}

// States implements ui.Watch.
func (p *parts) States() []alert.State {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.list)
}

// fail makes a part fail; with no error it works again, and is watched.
func (p *parts) fail(name, err string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i := range p.list {
		if s := &p.list[i]; s.Part == name {
			s.Active, s.Err, s.Since = true, err, time.Date(2026, 11, 25, 9, 30, 0, 0, time.UTC)
			if err != "" {
				s.Cause = err
			}
		}
	}
}

func (r *rig) superAdmin(t testing.TB) store.UserID {
	t.Helper()
	u, _, err := r.store.EnsureUser(t.Context(), store.User{Tenant: r.site.Tenant.ID, Login: "root@example.test", Role: string(auth.SuperAdmin)})
	require.NoError(t, err)
	return u.ID
}

func TestAdministratorsSeeWhatFails(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		const cause = "/var/lib/mairust: 3 % free <b>"
		super := r.as(t, r.superAdmin(t))
		admin := r.as(t, r.person(t, "admin@example.test", auth.TenantAdmin))
		require.NotContains(t, super.page(t, "/mailboxes"), "needs your attention")
		all := words(super.page(t, "/system", "Accept-Language", "en"))
		require.Contains(t, all, "Database Working")
		require.NotContains(t, all, "Needs attention")

		r.watch.fail("disk", cause)
		page := super.page(t, "/system", "Accept-Language", "en")
		require.Contains(t, words(page), "Disk space Needs attention 25 Nov 2026 09:30 Make space before new mail is deferred. "+cause)
		require.Contains(t, page, "&lt;b&gt;")
		require.Contains(t, words(super.page(t, "/mailboxes", "Accept-Language", "en")), "Something needs your attention: Disk space System health")
		require.Contains(t, words(super.page(t, "/mailboxes", "Accept-Language", "ja")), "確認が必要な問題があります: ディスクの空き容量 システムの状態を表示")

		page = words(admin.page(t, "/system", "Accept-Language", "en"))
		require.Contains(t, page, "Disk space Needs attention")
		require.NotContains(t, page, "/var/lib", "paths and hosts are for those who run the installation")

		r.watch.fail("disk", "")
		require.Contains(t, words(super.page(t, "/system", "Accept-Language", "en")), "Disk space Working again, being watched")
	})
}

func TestOthersAreNotToldHowTheInstallationIs(t *testing.T) {
	onStores(t, func(t *testing.T, r *rig) {
		r.watch.fail("disk", "/var/lib/mairust: full")
		for _, person := range []*browser{
			r.hanako(t), r.as(t, r.person(t, "help@example.test", auth.Helpdesk)), r.as(t, r.person(t, "audit@example.test", auth.Auditor)),
		} {
			require.Equal(t, http.StatusNotFound, person.get(t, "/system").StatusCode)
			page := person.page(t, "/settings", "Accept-Language", "en")
			require.NotContains(t, page, "needs your attention")
			require.NotContains(t, page, "/system")
		}
		require.Equal(t, http.StatusSeeOther, r.as(t, "").get(t, "/system").StatusCode, "nobody is signed in")
	})
}

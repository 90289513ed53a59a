package imap_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/imap"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// moment is how often logins are looked at in these tests.
const moment = 20 * time.Millisecond

// household is a site whose users have real passwords: bob's is password, and he has the app passwords phone and laptop. He reads
// the mailbox info too.
type household struct {
	*site
	db            *sqldb.DB
	phone, laptop store.AppPassword
	secrets       map[string]string
}

func newHousehold(t *testing.T, backend string, objects blob.Bucket) *household {
	t.Helper()
	db := storetest.OpenDB(t, storetest.Options(t, backend))
	s := store.New(store.Options{DB: db})
	h := &household{site: newSiteOn(t, s, objects, "bob", "info"), db: db, secrets: map[string]string{"password": password}}
	h.setPassword(t, password)
	h.phone, h.laptop = h.appPassword(t, "phone"), h.appPassword(t, "laptop")
	_, _, err := s.EnsureMailbox(t.Context(), h.Tenant.ID, h.Target("info").Address, h.Users["bob"].ID)
	require.NoError(t, err)
	h.deliver(t, "bob", store.Inbox, plainMail)
	h.deliver(t, "info", store.Inbox, plainMail)
	logins, err := auth.New(auth.Options{Store: s})
	require.NoError(t, err)
	h.logins = logins
	return h
}

func (h *household) setPassword(t *testing.T, word string) {
	t.Helper()
	hash, err := auth.HashPassword(word)
	require.NoError(t, err)
	require.NoError(t, h.store.SetPassword(t.Context(), h.Users["bob"].ID, hash))
}

func (h *household) appPassword(t *testing.T, name string) store.AppPassword {
	t.Helper()
	made := auth.NewAppPassword()
	h.secrets[name] = made.Secret
	p, err := h.store.CreateAppPassword(t.Context(), store.AppPassword{
		Tenant: h.Tenant.ID, User: h.Users["bob"].ID, Name: name, Hash: made.Hash, Created: time.Now(),
	})
	require.NoError(t, err)
	return p
}

// come logs bob in with one of his secrets and opens a folder.
func (h *household) come(t *testing.T, secret, folder string) *wire {
	t.Helper()
	w := dial(t, h.addr)
	w.ok(`LOGIN bob@acme.test "%s"`, h.secrets[secret])
	w.ok(`SELECT "%s"`, folder)
	return w
}

func (w *wire) idle() {
	w.t.Helper()
	w.send("i IDLE\r\n")
	require.Equal(w.t, "+ idling", w.line())
}

const infoInbox = "Other Users/info@acme.test/INBOX"

func TestConnectionsEndWithWhatLetThemIn(t *testing.T) {
	t.Parallel()
	const loginEnded, accessEnded = "* BYE [AUTHENTICATIONFAILED] ", "* BYE [NOPERM] "
	for name, row := range map[string]struct {
		happens func(t *testing.T, h *household)
		// ends are the connections that end, by what they logged in with and the folder that they have open; the others stay.
		ends map[string]string
	}{
		"password changed": {func(t *testing.T, h *household) { h.setPassword(t, "another horse") }, map[string]string{"password INBOX": loginEnded}},
		"app password deleted": {
			func(t *testing.T, h *household) {
				require.NoError(t, h.store.DeleteAppPassword(t.Context(), h.Users["bob"].ID, h.phone.ID))
			}, map[string]string{"phone INBOX": loginEnded},
		},
		"user disabled": {
			func(t *testing.T, h *household) {
				execute(t, h.db, `UPDATE users SET disabled_us = 1 WHERE id = $1`, string(h.Users["bob"].ID))
			}, map[string]string{"password INBOX": loginEnded, "phone INBOX": loginEnded, "laptop " + infoInbox: loginEnded},
		},
		"access taken away": {
			func(t *testing.T, h *household) {
				execute(t, h.db, `DELETE FROM mailbox_access WHERE user_id = $1 AND mailbox_id = $2`,
					string(h.Users["bob"].ID), string(h.Mailboxes["info"].ID))
			}, map[string]string{"laptop " + infoInbox: accessEnded},
		},
		"tenant suspended": { // its users read what they have
			func(t *testing.T, h *household) {
				require.NoError(t, h.store.SuspendTenant(t.Context(), h.Tenant.ID, true, store.Beside{}))
			}, nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, backend := range storetest.Backends() {
				t.Run(backend, func(t *testing.T) {
					h := newHousehold(t, backend, blob.NewMemory())
					h.serveWithin(t, imap.Timeouts{Recheck: moment}, nil, imap.Options{}, imap.Security{PlainLogin: true})
					conns := map[string]*wire{}
					for _, who := range [][2]string{{"password", "INBOX"}, {"phone", "INBOX"}, {"laptop", infoInbox}} {
						conns[who[0]+" "+who[1]] = h.come(t, who[0], who[1])
					}
					conns["phone INBOX"].idle()
					conns["laptop "+infoInbox].idle()
					row.happens(t, h)
					for who, bye := range row.ends {
						require.Contains(t, conns[who].line(), bye, who)
						requireEnd(t, conns[who])
						delete(conns, who)
					}
					h.rechecked(t)
					for who, w := range conns {
						if who == "password INBOX" {
							w.ok("NOOP")
							continue
						}
						w.send("DONE\r\n")
						require.Equal(t, "i OK IDLE completed", w.line(), who)
					}
				})
			}
		})
	}
}

// rechecked waits until the logins were looked at twice from here on: of one who has just come and gone again.
func (h *household) rechecked(t *testing.T) {
	t.Helper()
	w := dial(t, h.addr)
	made := h.user(t)
	w.ok(`LOGIN eve@acme.test "%s"`, made)
	w.ok("NOOP")
	execute(t, h.db, `UPDATE users SET disabled_us = 1 WHERE login = 'eve@acme.test'`)
	require.Contains(t, w.line(), "* BYE")
}

// user makes eve, and gives an app password of hers.
func (h *household) user(t *testing.T) string {
	t.Helper()
	u, _, err := h.store.EnsureUser(t.Context(), store.User{Tenant: h.Tenant.ID, Login: "eve@acme.test", Role: "user"})
	require.NoError(t, err)
	made := auth.NewAppPassword()
	_, err = h.store.CreateAppPassword(t.Context(), store.AppPassword{Tenant: h.Tenant.ID, User: u.ID, Name: "x", Hash: made.Hash, Created: time.Now()})
	require.NoError(t, err)
	return made.Secret
}

func TestCommandUnderWayEndsWithItsLogin(t *testing.T) {
	t.Parallel()
	for name, command := range map[string]string{"search": "SEARCH BODY line", "fetch": "FETCH 1 BODY[]"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			objects := newWatchedObjects()
			h := newHousehold(t, "sqlite", objects)
			h.serveWithin(t, imap.Timeouts{Recheck: moment}, nil, imap.Options{}, imap.Security{PlainLogin: true})
			w := h.come(t, "phone", "INBOX")
			objects.slow.Store(true)
			w.send("s %s\r\n", command)
			<-objects.asked
			require.NoError(t, h.store.DeleteAppPassword(t.Context(), h.Users["bob"].ID, h.phone.ID))
			untagged, tagged := w.until("s")
			require.Empty(t, untagged)
			require.Contains(t, tagged, "NO [UNAVAILABLE]")
			require.Contains(t, w.line(), "* BYE [AUTHENTICATIONFAILED]")
			h.requireConnections(t, 0)
		})
	}
}

// absent are logins of a database that is away for as long as it says.
type absent struct {
	imap.Logins
	away  atomic.Bool
	asked atomic.Int32
}

func (a *absent) Ended(ctx context.Context, list []auth.Credential) ([]auth.Credential, error) {
	defer a.asked.Add(1)
	if a.away.Load() {
		return list, errors.New("the database restarts")
	}
	return a.Logins.Ended(ctx, list)
}

// locked is an index of which the access to mailboxes cannot be read.
type locked struct{ imap.Index }

func (locked) AccessGiven(context.Context, []store.Access) ([]store.Access, error) {
	return nil, errors.New("the database restarts")
}

func TestDatabaseThatIsAwayEndsNobody(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, "sqlite", blob.NewMemory())
	logins := &absent{Logins: h.logins}
	h.logins, h.index = logins, locked{h.store}
	h.serveWithin(t, imap.Timeouts{Recheck: moment}, nil, imap.Options{}, imap.Security{PlainLogin: true})
	w := h.come(t, "phone", "INBOX")
	w.idle()
	for _, away := range []bool{true, false} { // first all of it, then the access to mailboxes alone
		logins.away.Store(away)
		before := logins.asked.Load()
		require.Eventually(t, func() bool { return logins.asked.Load() >= before+5 }, patience, moment)
	}
	w.send("DONE\r\n")
	require.Equal(t, "i OK IDLE completed", w.line())
}

func TestShutdownWaitsForNoRecheck(t *testing.T) {
	t.Parallel()
	h := newHousehold(t, "sqlite", blob.NewMemory())
	h.serveWithin(t, imap.Timeouts{Recheck: time.Hour}, nil, imap.Options{}, imap.Security{PlainLogin: true})
	w := h.come(t, "phone", "INBOX")
	require.NoError(t, h.server.Shutdown(within(t, patience)))
	require.Contains(t, w.line(), "* BYE MaiRust is shutting down")
}

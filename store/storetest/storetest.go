// Package storetest runs a test on every database. It is for tests only.
package storetest

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
)

// Backends are the databases that Run uses.
func Backends() []string { return []string{sqldb.SQLite, sqldb.Postgres} }

// Run runs a test on a fresh, migrated database of each backend.
func Run(t *testing.T, test func(t *testing.T, s *store.Store)) {
	t.Helper()
	for _, backend := range Backends() {
		t.Run(backend, func(t *testing.T) {
			db := OpenDB(t, Options(t, backend))
			test(t, store.New(store.Options{DB: db}))
		})
	}
}

// Options name a fresh database of the backend.
func Options(t testing.TB, backend string) sqldb.Options {
	t.Helper()
	if backend == sqldb.Postgres {
		return sqldb.Options{Backend: backend, URL: labtest.Postgres(t).URL()}
	}
	return sqldb.Options{Backend: backend, Path: filepath.Join(t.TempDir(), "mairust.db")}
}

// OpenDB opens and migrates a database, and closes it after the test.
func OpenDB(t testing.TB, o sqldb.Options) *sqldb.DB {
	t.Helper()
	db, err := sqldb.Open(t.Context(), o)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	_, err = db.Migrate(t.Context())
	require.NoError(t, err)
	return db
}

// Site is a tenant with a domain and mailboxes.
type Site struct {
	Tenant    *store.Tenant
	Domain    *store.Domain
	Mailboxes map[string]*store.Mailbox
	Users     map[string]*store.User
}

// NewSite makes a tenant with a domain, and a mailbox with a user of its own for each local part.
func NewSite(t testing.TB, s *store.Store, tenant, domain string, locals ...string) *Site {
	t.Helper()
	ctx := t.Context()
	made, _, err := s.EnsureTenant(ctx, tenant)
	require.NoError(t, err)
	d, _, err := s.EnsureDomain(ctx, made.ID, domain, "")
	require.NoError(t, err)
	site := &Site{Tenant: made, Domain: d, Mailboxes: map[string]*store.Mailbox{}, Users: map[string]*store.User{}}
	for _, local := range locals {
		address := mail.Address{Local: local, Domain: domain}
		u, _, err := s.EnsureUser(ctx, store.User{Tenant: made.ID, Login: address.String(), Role: "user"})
		require.NoError(t, err)
		m, _, err := s.EnsureMailbox(ctx, made.ID, address, u.ID)
		require.NoError(t, err)
		site.Mailboxes[local], site.Users[local] = m, u
	}
	return site
}

// Target is the delivery target of a mailbox.
func (s *Site) Target(local string) store.Target {
	return store.Target{
		Tenant: s.Tenant.ID, Mailbox: s.Mailboxes[local].ID,
		Address: mail.Address{Local: local, Domain: s.Domain.Name},
	}
}

// NewCopy is a small message for a target, ready for Deliver; its object does not exist.
func NewCopy(t testing.TB, target store.Target, subject string) store.Copy {
	t.Helper()
	raw := fmt.Sprintf("Return-Path: <a@sender.test>\r\nFrom: \"A\" <a@sender.test>\r\nTo: %s\r\nSubject: %s\r\n\r\nhello\r\n",
		target.Address, subject)
	summary, err := mail.Summarize(strings.NewReader(raw), mail.Limits{})
	require.NoError(t, err)
	id := store.NewMessageID()
	return store.Copy{
		ID: id, Target: target, Rcpt: target.Address, Folder: store.Inbox,
		Key: store.ObjectKey(target.Tenant, target.Mailbox, id),
		Content: &store.Content{
			From: mail.Address{Local: "a", Domain: "sender.test"}, Summary: summary,
			SizeBytes: int64(len(raw)), Received: time.Now(),
		},
	}
}

// Deliver stores copies and requires that each is stored.
func Deliver(t testing.TB, s *store.Store, copies ...store.Copy) []store.Result {
	t.Helper()
	results := s.Deliver(context.Background(), copies)
	for _, r := range results {
		require.NoError(t, r.Err)
	}
	return results
}

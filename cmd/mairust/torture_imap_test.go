package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/store"
)

// makeAppPasswords gives each of the torture tests' users an app password, which is checked faster than the other
// kind. The daemon must not run.
func (s *testSite) makeAppPasswords(t testing.TB) {
	t.Helper()
	c, _, err := config.Load(s.configFile)
	require.NoError(t, err)
	open, err := openSite(t.Context(), c, openOptions{log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	defer func() { require.NoError(t, open.Close()) }()
	s.appPasswords = map[string]string{}
	for _, local := range tortureMailboxes {
		u, err := open.store.UserByLogin(t.Context(), local+"@example.test")
		require.NoError(t, err)
		p := auth.NewAppPassword()
		_, err = open.store.CreateAppPassword(t.Context(), store.AppPassword{
			Tenant: u.Tenant, User: u.ID, Name: "torture", Hash: p.Hash, Created: time.Now(),
		})
		require.NoError(t, err)
		s.appPasswords[u.Login] = p.Secret
	}
}

// imapPatience is longer than the daemon takes to show a mailbox.
const imapPatience = 10 * time.Minute

// fetchIMAP fetches BODY[] of every message of a user's INBOX, and gives the digests in hex by UID.
func (s *testSite) fetchIMAP(login string) (digests map[uint32]string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), imapPatience)
	defer cancel()
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", filepath.Join(s.dir, "run", "imap.sock"))
	if err != nil {
		return nil, err
	}
	c := imapclient.New(conn, nil)
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.Login(login, s.appPasswords[login]).Wait(); err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	folder, err := c.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
	if err != nil || folder.NumMessages == 0 {
		return nil, err
	}
	var all imap.SeqSet
	all.AddRange(1, folder.NumMessages)
	digests = map[uint32]string{}
	fetch := c.Fetch(all, &imap.FetchOptions{UID: true, BodySection: []*imap.FetchItemBodySection{{Peek: true}}})
	for m := fetch.Next(); m != nil; m = fetch.Next() {
		uid, digest, err := digestOf(m)
		if err != nil {
			return nil, errors.Join(err, fetch.Close())
		}
		digests[uid] = digest
	}
	return digests, fetch.Close()
}

// digestOf reads one message of a FETCH.
func digestOf(m *imapclient.FetchMessageData) (uid uint32, digest string, err error) {
	for item := m.Next(); item != nil; item = m.Next() {
		switch item := item.(type) {
		case imapclient.FetchItemDataUID:
			uid = uint32(item.UID)
		case imapclient.FetchItemDataBodySection:
			h := sha256.New()
			if _, err := io.Copy(h, item.Literal); err != nil {
				return 0, "", err
			}
			digest = fmt.Sprintf("%x", h.Sum(nil))
		}
	}
	return uid, digest, nil
}

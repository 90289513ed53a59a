package main

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/sqldb"
)

// TestAProcessThatIsStillPlainTakesNothingEncryptedForDamaged has a process that was started before encryption was turned on look at what
// another one has encrypted meanwhile.
func TestAProcessThatIsStillPlainTakesNothingEncryptedForDamaged(t *testing.T) {
	here := newTestSite(t, siteOptions{Backend: sqldb.Postgres, Mailboxes: []string{"bob"}})
	gone := here.deliverOne(t, "Q1")
	c, _, err := config.Load(here.configFile)
	require.NoError(t, err)
	var log bytes.Buffer
	plain, err := openSite(t.Context(), c, openOptions{log: slog.New(slog.NewTextHandler(&log, nil))})
	require.NoError(t, err)
	defer func() { require.NoError(t, plain.Close()) }()
	require.NotContains(t, log.String(), "identity", "nothing is encrypted yet")
	_, err = plain.actOnKeys(t.Context(), onHost(), keysRequest{Act: "list"}, &keysMeter{})
	require.ErrorIs(t, err, errNoKeys)

	here.turnEncryptionOn(t)
	encrypted := here.deliverOne(t, "Q2")
	path := filepath.Join(here.dir, "data", "mail", encrypted.Key)
	sealed, err := os.ReadFile(path)
	require.NoError(t, err)
	require.NotContains(t, string(sealed), secretWords)

	want := blob.Want{Key: encrypted.Key, SizeBytes: encrypted.SizeBytes, Digest: encrypted.Digest}
	for _, part := range [][2]int64{{0, -1}, {0, 10}, {20, 10}} {
		_, err := blob.NewVerifier(plain.objects).Open(t.Context(), want, part[0], part[1])
		require.ErrorIs(t, err, blob.ErrKeyLocked)
		_, _, err = plain.objects.Get(t.Context(), encrypted.Key, part[0], part[1])
		require.ErrorIs(t, err, blob.ErrKeyLocked)
	}

	f, err := fsck.New(c.Storage.Sweep, fsck.Deps{
		Store: plain.store, Objects: plain.objects, Verify: func(string, ...string) error { return nil },
		Now: func() time.Time { return time.Now().Add(2 * time.Hour) },
	})
	require.NoError(t, err)
	require.NoError(t, plain.objects.Delete(t.Context(), gone.Key))
	ctx, stop := context.WithCancel(t.Context())
	var group sync.WaitGroup
	group.Go(func() { f.Examine(ctx) })
	f.Suspect(encrypted.ID, blob.ErrDamaged)
	f.Suspect(gone.ID, blob.ErrNotFound) // looked at after it
	waitFor(t, "the mark of the other one", func() bool { return plain.isMarked(t, gone.ID) })
	stop()
	group.Wait()
	require.False(t, plain.isMarked(t, encrypted.ID))

	again := store.ObjectKey(encrypted.Tenant, encrypted.Mailbox, store.NewMessageID())
	raw := append([]byte("Return-Path: <alice@sender.test>\r\n"), queuedMessage("Q2")...)
	require.NoError(t, plain.objects.Put(t.Context(), again, bytes.NewReader(raw), int64(len(raw))))
	swept, err := f.Sweep(t.Context())
	require.NoError(t, err)
	require.Zero(t, swept.Damaged)
	require.Equal(t, map[string]int64{"kept": 1}, swept.Orphans, "the same message as it was delivered again")
	_, err = f.Check(t.Context(), fsck.Request{MinAge: -1}, func(fsck.Event) {})
	require.NoError(t, err)
	require.False(t, plain.isMarked(t, encrypted.ID))
	now, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, sealed, now, "nothing was mended with plain bytes")
}

func (s *site) isMarked(t *testing.T, id store.MessageID) bool {
	rows, err := s.store.ObjectStates(t.Context(), []store.MessageID{id})
	require.NoError(t, err)
	return !rows[id].Damaged.IsZero()
}

// queuedMessage is a message as Postfix would send it again if our answer was lost.
func queuedMessage(queueID string) []byte {
	return append([]byte("Received: from x (x [192.0.2.1])\r\n\tby mx.example.test (Postfix) with ESMTP id "+queueID+
		";\r\n\tWed, 25 Nov 2026 12:00:00 +0000\r\n"), secretMessage(queueID)...)
}

// deliverOne delivers a message to bob, by a daemon with the configuration of now.
func (s *testSite) deliverOne(t *testing.T, queueID string) (row store.Message) {
	t.Helper()
	daemon := s.start(t)
	replies, err := s.lmtp(t.Context(), "alice@sender.test", []string{"bob@example.test"}, queuedMessage(queueID))
	require.NoError(t, err)
	require.True(t, replies.Accepted(), "%+v", replies)
	id := daemon.messages(t, "bob@example.test", store.Inbox)[0].ID
	require.NoError(t, daemon.terminate(t))
	s.open(t, func(open *site) {
		m, err := open.store.Message(t.Context(), store.System, store.MessageID(id))
		require.NoError(t, err)
		row = *m
	})
	return row
}

// turnEncryptionOn gives the configuration a key.
func (s *testSite) turnEncryptionOn(t *testing.T) {
	t.Helper()
	file, recipient, err := crypt.NewOperator(time.Now())
	require.NoError(t, err)
	path := filepath.Join(s.dir, "operator.key")
	require.NoError(t, os.WriteFile(path, []byte(file), 0o600))
	before, err := os.ReadFile(s.configFile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.configFile, fmt.Appendf(before,
		"storage: {options: {encryption: client}, encryption: {operator_recipients: [%s], operator_identity: %q}}\n", recipient, "file:"+path), 0o600))
}

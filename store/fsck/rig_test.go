package fsck_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// rig is an installation: a database, objects in files, a keyring, and a clock that is two hours ahead, so that what was
// stored just now is old enough to be missed.
type rig struct {
	t       testing.TB
	options sqldb.Options
	db      *sqldb.DB
	store   *store.Store
	base    string
	objects *blob.FS
	// through is what the index's side sees of the objects; the same unless they are encrypted.
	through fsck.Bucket
	ring    *keyring.Ring
	log     *logBuffer
	ahead   time.Duration
	sweep   fsck.Options
}

type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// onEach runs a test with a rig on each database.
func onEach(t *testing.T, test func(t *testing.T, r *rig)) {
	t.Helper()
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) { test(t, newRig(t, backend)) })
	}
}

func newRig(t testing.TB, backend string) *rig {
	t.Helper()
	dir := t.TempDir()
	r := &rig{t: t, base: filepath.Join(dir, "mail"), log: &logBuffer{}, ahead: 2 * time.Hour}
	var err error
	r.ring, _, err = keyring.OpenOrCreate("file:" + filepath.Join(dir, "keyring"))
	require.NoError(t, err)
	r.objects, err = blob.NewFS(r.base, blob.FSOptions{})
	require.NoError(t, err)
	r.through = r.objects
	t.Cleanup(func() { require.NoError(t, r.objects.Close()) })
	r.open(storetest.Options(t, backend))
	t.Cleanup(func() { require.NoError(t, r.db.Close()) })
	return r
}

// open opens a database, which may be a fresh one.
func (r *rig) open(o sqldb.Options) {
	r.t.Helper()
	var err error
	r.options = o
	// A program that another test starts this moment has the lock of the database that was closed for as long as it is no program yet.
	require.Eventually(r.t, func() bool {
		r.db, err = sqldb.Open(context.Background(), o)
		return !errors.Is(err, sqldb.ErrLocked)
	}, time.Minute, 10*time.Millisecond)
	require.NoError(r.t, err)
	_, err = r.db.Migrate(context.Background())
	require.NoError(r.t, err)
	r.store = store.New(store.Options{DB: r.db})
	_, err = r.store.Claim(context.Background(), r.ring.CheckValue())
	require.NoError(r.t, err)
}

// anew replaces the database by an empty one.
func (r *rig) anew() {
	r.t.Helper()
	require.NoError(r.t, r.db.Close())
	r.open(storetest.Options(r.t, r.options.Backend))
}

// fsck makes a fresh one, as a process that starts would.
func (r *rig) fsck() *fsck.Fsck {
	r.t.Helper()
	f, err := fsck.New(r.sweep, fsck.Deps{
		Store: r.store, Objects: r.through, Log: slog.New(slog.NewTextHandler(r.log, nil)), Registerer: prometheus.NewRegistry(),
		Verify: func(mac string, fields ...string) error { return r.ring.Verify(keyring.Scan, mac, fields...) },
		Now:    func() time.Time { return time.Now().Add(r.ahead) },
	})
	require.NoError(r.t, err)
	return f
}

// later moves the clock on, while there were sweeps each day.
func (r *rig) later(d time.Duration) {
	r.ahead += d
	r.swept(24 * time.Hour)
}

// swept has the last complete sweep have been some time ago.
func (r *rig) swept(ago time.Duration) {
	r.exec(`UPDATE sweep_state SET swept_us = $1 WHERE id = 1`, time.Now().Add(r.ahead-ago).UnixMicro())
}

func (r *rig) mustSweep() fsck.Swept {
	r.t.Helper()
	swept, err := r.fsck().Sweep(r.t.Context())
	require.NoError(r.t, err)
	return swept
}

// check runs a check and gives its problems beside the report.
func (r *rig) check(q fsck.Request) (fsck.Report, []fsck.Problem) {
	r.t.Helper()
	var problems []fsck.Problem
	report, err := r.fsck().Check(r.t.Context(), q, func(e fsck.Event) {
		if e.Problem != nil {
			problems = append(problems, *e.Problem)
		}
	})
	require.NoError(r.t, err)
	require.Equal(r.t, int64(len(problems)), report.Found)
	return report, problems
}

// requireClean holds objects and index to be at one, every byte of them.
func (r *rig) requireClean() {
	r.t.Helper()
	report, problems := r.check(fsck.Request{VerifyContent: true, Restart: true, MinAge: -1})
	require.Empty(r.t, problems)
	require.Zero(r.t, report.Found)
}

// exec runs SQL behind the store's back.
func (r *rig) exec(query string, args ...any) {
	r.t.Helper()
	require.NoError(r.t, r.db.Write(context.Background(), func(tx *sqldb.Tx) error {
		_, err := tx.Exec(context.Background(), query, args...)
		return err
	}))
}

// letter is one message for one mailbox.
type letter struct {
	copy store.Copy
	raw  string
}

// write makes a message as LMTP would have stored it; queueID may be empty, and action "" leaves it unscanned.
func (r *rig) write(target store.Target, subject, queueID, action string) letter {
	r.t.Helper()
	from := mail.Address{Local: "a", Domain: "sender.test"}
	body := "hello, " + subject + "\r\n"
	var head string
	tags, folder, verdict := []string{"unscanned"}, store.Inbox, mail.Verdict{}
	if action != "" {
		hash := mail.NewBodyHash()
		_, _ = hash.Write([]byte(body))
		a, err := mail.ParseAction(action)
		require.NoError(r.t, err)
		scan := mail.Scan{Time: time.Now(), Host: "mx.test", QueueID: queueID, Action: a, Tags: []string{"spam"}, Score: 7.5, SenderDigest: mail.DigestSender(from), Body: hash.Sum()}
		head = mail.ScanField + ": " + scan.Value(func(f ...string) string { return r.ring.MAC(keyring.Scan, f...) }) + "\r\n"
		tags, verdict = []string{"spam"}, mail.Verdict{Action: a, Tags: []string{"spam"}, Score: 7.5}
		if a >= mail.Quarantine {
			folder = store.Quarantine
		}
	}
	if queueID != "" {
		head += "Received: from x (x [192.0.2.1])\r\n\tby mx.test (Postfix) with ESMTP id " + queueID + ";\r\n\tWed, 25 Nov 2026 12:00:00 +0000\r\n"
	}
	raw := "Return-Path: <a@sender.test>\r\n" + head + "From: \"A\" <a@sender.test>\r\nTo: " + target.Address.String() +
		"\r\nSubject: " + subject + "\r\n\r\n" + body
	summary, err := mail.Summarize(strings.NewReader(raw), mail.Limits{})
	require.NoError(r.t, err)
	id := store.NewMessageID()
	c := store.Copy{
		ID: id, Target: target, Rcpt: target.Address, Folder: folder, Tags: tags, Key: store.ObjectKey(target.Tenant, target.Mailbox, id),
		Content: &store.Content{
			From: from, Summary: summary, SizeBytes: int64(len(raw)), Digest: sha256.Sum256([]byte(raw)), Received: time.Now(),
			QueueID: summary.Top.ID, Host: summary.Top.By, Scan: verdict,
		},
	}
	if queueID != "" {
		c.DeliveryID = store.DeliveryID(target.Mailbox, summary.Top, c.Content.Digest)
	}
	return letter{c, raw}
}

func (r *rig) put(l letter) letter {
	r.t.Helper()
	r.putKey(l.copy.Key, l.raw)
	return l
}

func (r *rig) putKey(key, content string) {
	r.t.Helper()
	require.NoError(r.t, r.through.Put(context.Background(), key, strings.NewReader(content), int64(len(content))))
}

// deliver stores object and row.
func (r *rig) deliver(letters ...letter) {
	r.t.Helper()
	for _, l := range letters {
		r.put(l)
		for _, result := range r.store.Deliver(context.Background(), []store.Copy{l.copy}) {
			require.NoError(r.t, result.Err)
			require.Equal(r.t, l.copy.ID, result.ID)
		}
	}
}

// message reads a row; nil when there is none.
func (r *rig) message(l letter) *store.Message {
	r.t.Helper()
	m, err := r.store.Message(context.Background(), store.System, l.copy.ID)
	if err != nil {
		require.ErrorIs(r.t, err, store.ErrNotFound)
		return nil
	}
	return m
}

// object reads an object; empty when there is none.
func (r *rig) object(key string) string {
	r.t.Helper()
	rc, _, err := r.through.Get(context.Background(), key, 0, -1)
	if err != nil {
		require.ErrorIs(r.t, err, blob.ErrNotFound)
		return ""
	}
	defer rc.Close()
	raw, err := io.ReadAll(rc)
	require.NoError(r.t, err)
	return string(raw)
}

func (r *rig) keys(prefix string) []string {
	r.t.Helper()
	keys := []string{}
	for info, err := range r.objects.List(context.Background(), prefix) {
		require.NoError(r.t, err)
		keys = append(keys, info.Key)
	}
	return keys
}

func (r *rig) folder(mailbox store.MailboxID, name string) store.Folder {
	r.t.Helper()
	d, err := r.store.MailboxDescription(context.Background(), mailbox)
	require.NoError(r.t, err)
	for _, f := range d.Folders {
		if f.Name == name {
			return f
		}
	}
	r.t.Fatalf("no folder %s", name)
	return store.Folder{}
}

// forget removes the row of a message, as if the database had never seen it.
func (r *rig) forget(letters ...letter) {
	r.t.Helper()
	for _, l := range letters {
		size := l.copy.Content.SizeBytes
		r.exec(`UPDATE folders SET messages = messages - 1 WHERE id = (SELECT folder_id FROM messages WHERE id = $1)`, string(l.copy.ID))
		r.exec(`UPDATE mailboxes SET messages = messages - 1, used_bytes = used_bytes - $1 WHERE id = $2`, size, string(l.copy.Target.Mailbox))
		r.exec(`UPDATE tenants SET used_bytes = used_bytes - $1 WHERE id = $2`, size, string(l.copy.Target.Tenant))
		r.exec(`DELETE FROM messages WHERE id = $1`, string(l.copy.ID))
	}
}

// dump takes a dump of the database, and gives what restores it.
func (r *rig) dump() (restore func()) {
	r.t.Helper()
	file := filepath.Join(r.t.TempDir(), "dump")
	if r.options.Backend == sqldb.Postgres {
		run(r.t, "pg_dump", "-Fc", "-f", file, r.options.URL)
		return func() {
			require.NoError(r.t, r.db.Close())
			run(r.t, "pg_restore", "--clean", "--if-exists", "-d", r.options.URL, file)
			r.open(r.options)
		}
	}
	copyFiles := func(from, to string) {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			raw, err := os.ReadFile(from + suffix)
			if os.IsNotExist(err) {
				_ = os.Remove(to + suffix)
				continue
			}
			require.NoError(r.t, err)
			require.NoError(r.t, os.WriteFile(to+suffix, raw, 0o600))
		}
	}
	require.NoError(r.t, r.db.Close())
	copyFiles(r.options.Path, file)
	r.open(r.options)
	return func() {
		require.NoError(r.t, r.db.Close())
		copyFiles(file, r.options.Path)
		r.open(r.options)
	}
}

func run(t testing.TB, program string, args ...string) {
	t.Helper()
	out, err := exec.Command(program, args...).CombinedOutput()
	require.NoError(t, err, "%s: %s", program, out)
}

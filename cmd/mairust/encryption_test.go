package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-imap/v2"
	"github.com/emersion/go-imap/v2/imapclient"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/api/wire"
	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// encryptedSite is a testSite with client-side encryption.
type encryptedSite struct {
	*testSite
	operatorFile string
}

func newEncryptedSite(t *testing.T, backend string, mailboxes ...string) *encryptedSite {
	t.Helper()
	file, recipient, err := crypt.NewOperator(time.Now())
	require.NoError(t, err)
	s := &encryptedSite{operatorFile: filepath.Join(t.TempDir(), "operator.key")}
	require.NoError(t, os.WriteFile(s.operatorFile, []byte(file), 0o600))
	s.testSite = newTestSite(t, siteOptions{Backend: backend, Mailboxes: mailboxes, Extra: fmt.Sprintf(
		"storage: {options: {encryption: client}, encryption: {operator_recipients: [%s], operator_identity: %q}}\n", recipient, "file:"+s.operatorFile)})
	return s
}

// objects gives the paths of stored messages and copies, by what their names end in.
func (s *encryptedSite) objects(t *testing.T, part string) []string {
	t.Helper()
	var list []string
	err := filepath.WalkDir(filepath.Join(s.dir, "data", "mail"), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && strings.Contains(path, part) {
			list = append(list, path)
		}
		return err
	})
	require.NoError(t, err)
	slices.Sort(list)
	return list
}

// requireNowhere looks for words in every file below a directory.
func requireNowhere(t *testing.T, dir string, words ...string) {
	t.Helper()
	files := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		raw, err := os.ReadFile(path)
		for _, word := range words {
			assert.False(t, bytes.Contains(raw, []byte(word)), "%q is in %s", word, path)
		}
		return err
	})
	require.NoError(t, err)
	require.Positive(t, files)
}

const secretWords = "merger-of-the-two-houses"

func secretMessage(subject string) []byte {
	return fmt.Appendf(nil, "From: Alice <alice@sender.test>\r\nTo: bob@example.test\r\nSubject: %s\r\nMIME-Version: 1.0\r\n"+
		"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nthe words are %s\r\n"+
		"--b\r\nContent-Type: application/pdf; name=x\r\nContent-Disposition: attachment; filename*=utf-8''%%E5%%A5%%91%%E7%%B4%%84%s.pdf\r\n"+
		"Content-Transfer-Encoding: base64\r\n\r\n%s\r\n--b--\r\n", subject, secretWords, secretWords,
		base64.StdEncoding.EncodeToString([]byte(secretWords+" attached")))
}

func TestEncryptedMailIsReadByItsOwnersAndLiesNowherePlain(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			site := newEncryptedSite(t, backend, "bob", "hanako")
			daemon := site.start(t)
			sent := secretMessage("subject " + secretWords)
			replies, err := site.lmtp(t.Context(), "alice@sender.test", []string{"bob@example.test", "hanako@example.test"}, sent)
			require.NoError(t, err)
			require.True(t, replies.Accepted(), "%+v", replies)

			want := append([]byte("Return-Path: <alice@sender.test>\r\n"), sent...)
			var id string
			for _, mailbox := range []string{"bob@example.test", "hanako@example.test"} {
				list := daemon.messages(t, mailbox, "INBOX")
				require.Len(t, list, 1)
				id = list[0].ID
				assert.Equal(t, "subject "+secretWords, list[0].Subject, "read from the object")
				assert.Empty(t, list[0].Preview)
				assert.Equal(t, len(want), int(list[0].SizeBytes))
				assert.Equal(t, string(want), string(daemon.raw(t, id)))
			}
			stored := site.objects(t, ".eml")
			require.Len(t, stored, 2)
			one, err := os.Stat(stored[0])
			require.NoError(t, err)
			two, err := os.Stat(stored[1])
			require.NoError(t, err)
			assert.True(t, os.SameFile(one, two), "recipients of a tenant share bytes")

			detail := daemon.detail(t, id)
			assert.Contains(t, detail.Text, secretWords)
			require.Len(t, detail.Attachments, 1)
			assert.Equal(t, "契約"+secretWords+".pdf", detail.Attachments[0].Name)
			path := "/api/v1/messages/" + id + "/attachments/" + detail.Attachments[0].ID
			body, err := daemon.getOK(path)
			require.NoError(t, err)
			assert.Equal(t, secretWords+" attached", string(body))
			waitFor(t, "the decoded copy", func() bool { return len(site.objects(t, "/attachments/")) == 1 })
			body, err = daemon.getOK(path)
			require.NoError(t, err)
			assert.Equal(t, secretWords+" attached", string(body))
			session := daemon.login(t, "hanako@example.test")
			for path, want := range map[string]string{
				"/mail/hanako@example.test":                            "subject " + secretWords,
				"/message/" + id:                                       "契約" + secretWords + ".pdf",
				"/message/" + id + "?view=text":                        "the words are " + secretWords,
				"/message/" + id + "/part/" + detail.Attachments[0].ID: secretWords + " attached",
			} {
				code, header, page, err := daemon.ask(path, session)
				require.NoError(t, err)
				assert.Equal(t, http.StatusOK, code, path)
				assert.Contains(t, page, want, path)
				assert.Equal(t, "nosniff", header.Get("X-Content-Type-Options"))
			}
			assert.Equal(t, "subject "+secretWords, site.envelopeSubject(t, "hanako@example.test"))

			fsckOut := site.run(t, "fsck", "--verify-content", "--min-age", "0s")
			assert.Contains(t, fsckOut, "all is well")
			assert.Contains(t, site.run(t, "keys", "check"), "1 keys checked, 0 mended, 0 wrong")
			require.NoError(t, daemon.terminate(t))

			encoded := base64.StdEncoding.EncodeToString([]byte(secretWords + " attached"))
			requireNowhere(t, filepath.Join(site.dir, "data"), secretWords, encoded, "alice@sender.test>\r\nTo")
			if backend == sqldb.Postgres {
				requireNoWordsInDatabase(t, site.testSite, secretWords)
			}
		})
	}
}

// detail reads a message with its text.
func (p *process) detail(t *testing.T, id string) wire.MessageDetail {
	t.Helper()
	body, err := p.getOK("/api/v1/messages/" + id)
	require.NoError(t, err)
	var m wire.MessageDetail
	require.NoError(t, json.Unmarshal(body, &m))
	return m
}

// envelopeSubject asks by IMAP.
func (s *testSite) envelopeSubject(t *testing.T, login string) string {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "unix", filepath.Join(s.dir, "run", "imap.sock"))
	require.NoError(t, err)
	c := imapclient.New(conn, nil)
	defer func() { _ = c.Close() }()
	require.NoError(t, c.Login(login, "mailbox password").Wait())
	_, err = c.Select("INBOX", &imap.SelectOptions{ReadOnly: true}).Wait()
	require.NoError(t, err)
	list, err := c.Fetch(imap.SeqSetNum(1), &imap.FetchOptions{Envelope: true}).Collect()
	require.NoError(t, err)
	require.Len(t, list, 1)
	found, err := c.Search(&imap.SearchCriteria{Header: []imap.SearchCriteriaHeaderField{{Key: "Subject", Value: secretWords}}}, nil).Wait()
	require.NoError(t, err)
	assert.Equal(t, []uint32{1}, found.AllSeqNums(), "SEARCH reads headers where the index has no subjects")
	return list[0].Envelope.Subject
}

func requireNoWordsInDatabase(t *testing.T, s *testSite, word string) {
	t.Helper()
	s.open(t, func(open *site) {
		var all strings.Builder
		err := open.db.Each(t.Context(), `SELECT subject, preview, summary, from_name FROM messages`, nil, func(scan sqldb.Scan) error {
			var a, b, c, d string
			err := scan(&a, &b, &c, &d)
			all.WriteString(a + b + c + d)
			return err
		})
		require.NoError(t, err)
		require.NotEmpty(t, all.String())
		require.NotContains(t, all.String(), word)
	})
}

// open opens the site in this process, while no daemon runs.
func (s *testSite) open(t *testing.T, do func(*site)) {
	t.Helper()
	c, _, err := config.Load(s.configFile)
	require.NoError(t, err)
	open, err := openSite(t.Context(), c, openOptions{log: slog.New(slog.DiscardHandler)})
	require.NoError(t, err)
	do(open)
	require.NoError(t, open.Close())
}

func TestKeysAreRotatedAndDestroyedWhileMailFlows(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			site := newEncryptedSite(t, backend, "bob")
			daemon := site.start(t)
			deliver := func(subject string) int {
				replies, err := site.lmtp(t.Context(), "alice@sender.test", []string{"bob@example.test"}, secretMessage(subject))
				require.NoError(t, err)
				for _, reply := range append(replies.Rcpts, replies.Final...) {
					if !reply.OK() {
						return reply.Code
					}
				}
				return 250
			}
			require.Equal(t, 250, deliver("first"))
			site.run(t, "keys", "rotate", "--tenant", "example")
			require.Equal(t, 250, deliver("second"))
			list := daemon.messages(t, "bob@example.test", "")
			require.Len(t, list, 2)
			assert.Equal(t, []string{"second", "first"}, []string{list[0].Subject, list[1].Subject})

			// Altered on the disk: never served, and said so; all else goes on.
			path := site.objectOf(t, list[0].ID)
			raw, err := os.ReadFile(path)
			require.NoError(t, err)
			bad := bytes.Clone(raw)
			bad[len(bad)-20] ^= 1
			require.NoError(t, os.WriteFile(path, bad, 0o600))
			requireNotServed(t, daemon, list[0].ID)
			require.NoError(t, os.WriteFile(path, raw[:len(raw)-1], 0o600))
			requireNotServed(t, daemon, list[0].ID)
			require.NoError(t, os.WriteFile(path, raw, 0o600))
			daemon.raw(t, list[0].ID)

			out := site.run(t, "keys", "destroy", "--tenant", "example", "--dry-run")
			assert.Contains(t, out, "nothing was destroyed")
			daemon.raw(t, list[1].ID)
			site.run(t, "keys", "destroy", "--tenant", "example", "--confirm", "example")
			if backend == sqldb.Postgres { // the command ran beside the daemon, which has the keys in memory for a while
				daemon.kill()
				daemon = site.start(t)
			}
			for _, m := range daemon.messages(t, "bob@example.test", "") {
				assert.Empty(t, m.Subject)
				requireNotServed(t, daemon, m.ID)
			}
			waitFor(t, "the suspension", func() bool { return deliver("third") == 450 })
			daemon.kill()

			// Resumed without a new key, mail waits in the queue.
			resume(t, site.testSite)
			daemon = site.start(t)
			require.Equal(t, 451, deliver("fourth"))
			site.run(t, "keys", "rotate", "--tenant", "example")
			if backend == sqldb.Postgres {
				daemon.kill()
				daemon = site.start(t)
			}
			require.Equal(t, 250, deliver("fifth"))
			assert.Equal(t, "fifth", daemon.messages(t, "bob@example.test", "")[0].Subject)
		})
	}
}

// resume lets mail for the tenant in again, whose keys were destroyed a moment ago: the moment is made a long while.
func resume(t *testing.T, s *testSite) {
	t.Helper()
	s.open(t, func(open *site) {
		tenant, err := open.store.TenantByName(t.Context(), "example")
		require.NoError(t, err)
		require.ErrorIs(t, open.store.SuspendTenant(t.Context(), tenant.ID, false, store.Beside{}), store.ErrShredded)
		require.NoError(t, open.db.Write(t.Context(), func(tx *sqldb.Tx) error {
			_, err := tx.Exec(t.Context(), `UPDATE tenant_keys SET destroyed_us = destroyed_us - 3600000000 WHERE tenant_id = $1`, string(tenant.ID))
			return err
		}))
		require.NoError(t, open.store.SuspendTenant(t.Context(), tenant.ID, false, store.Beside{}))
	})
}

func (s *encryptedSite) objectOf(t *testing.T, id string) string {
	t.Helper()
	list := s.objects(t, id+".eml")
	require.Len(t, list, 1)
	return list[0]
}

// requireNotServed asks for a message in each way.
func requireNotServed(t *testing.T, p *process, id string) {
	t.Helper()
	code, body, err := p.get("/api/v1/messages/" + id + "/raw")
	if err == nil { // else the connection was cut before the last piece
		assert.Equal(t, http.StatusServiceUnavailable, code)
		assert.NotContains(t, string(body), secretWords)
	}
	detail := p.detail(t, id)
	require.NotNil(t, detail.BodyError)
	assert.Contains(t, detail.BodyError.Message, "cannot be retrieved")
	assert.Empty(t, detail.Text)
	for _, a := range detail.Attachments {
		code, body, err := p.get("/api/v1/messages/" + id + "/attachments/" + a.ID)
		if err == nil {
			assert.Equal(t, http.StatusServiceUnavailable, code)
			assert.NotContains(t, string(body), secretWords)
		}
	}
}

func TestWithAnotherOperatorsKeyMailIsTakenInAndWaits(t *testing.T) {
	site := newEncryptedSite(t, sqldb.SQLite, "bob")
	right, err := os.ReadFile(site.operatorFile)
	require.NoError(t, err)
	other, _, err := crypt.NewOperator(time.Now())
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(site.operatorFile, []byte(other), 0o600))
	daemon := site.start(t)
	replies, err := site.lmtp(t.Context(), "alice@sender.test", []string{"bob@example.test"}, secretMessage("sealed"))
	require.NoError(t, err)
	require.True(t, replies.Accepted(), "%+v", replies)
	list := daemon.messages(t, "bob@example.test", "")
	require.Len(t, list, 1)
	requireNotServed(t, daemon, list[0].ID)
	require.NoError(t, daemon.terminate(t))

	require.NoError(t, os.WriteFile(site.operatorFile, right, 0o600))
	daemon = site.start(t)
	assert.Equal(t, "sealed", daemon.messages(t, "bob@example.test", "")[0].Subject)
	assert.Contains(t, string(daemon.raw(t, list[0].ID)), secretWords)
}

func TestAnIndexIsRebuiltFromEncryptedObjects(t *testing.T) {
	site := newEncryptedSite(t, sqldb.SQLite, "bob")
	daemon := site.start(t)
	replies, err := site.lmtp(t.Context(), "alice@sender.test", []string{"bob@example.test"}, secretMessage("lost and found"))
	require.NoError(t, err)
	require.True(t, replies.Accepted())
	require.NoError(t, daemon.terminate(t))
	for _, file := range []string{"mairust.db", "mairust.db-wal", "mairust.db-shm"} {
		_ = os.Remove(filepath.Join(site.dir, "data", file)) // some are not there after a clean end
	}
	cmd := site.command(t.Context(), "fsck", "--rebuild", "--min-age", "0s")
	out, _ := cmd.CombinedOutput()
	assert.Equal(t, fsckMended, cmd.ProcessState.ExitCode(), "%s", out)
	site.key = strings.TrimSpace(site.run(t, "apikey", "create", "--role", "super_admin"))
	daemon = site.start(t)
	list := daemon.messages(t, "bob@example.test", "")
	require.Len(t, list, 1)
	assert.Equal(t, "lost and found", list[0].Subject)
	assert.Contains(t, string(daemon.raw(t, list[0].ID)), secretWords)
	assert.Contains(t, site.run(t, "keys", "check"), "1 keys checked, 0 mended, 0 wrong")
}

func TestTurningEncryptionOnAndOffLeavesOldMailReadable(t *testing.T) {
	site := newEncryptedSite(t, sqldb.SQLite, "bob")
	on, err := os.ReadFile(site.configFile)
	require.NoError(t, err)
	off := bytes.Replace(on, []byte("encryption: client"), []byte("encryption: none"), 1)
	for i, conf := range [][]byte{off, on, off} {
		require.NoError(t, os.WriteFile(site.configFile, conf, 0o600))
		daemon := site.start(t)
		replies, err := site.lmtp(t.Context(), "alice@sender.test", []string{"bob@example.test"}, secretMessage(fmt.Sprint("number ", i)))
		require.NoError(t, err)
		require.True(t, replies.Accepted())
		list := daemon.messages(t, "bob@example.test", "")
		require.Len(t, list, i+1)
		for n, m := range list {
			assert.Equal(t, fmt.Sprint("number ", i-n), m.Subject)
			assert.Contains(t, string(daemon.raw(t, m.ID)), secretWords)
		}
		assert.Contains(t, site.run(t, "fsck", "--verify-content", "--min-age", "0s"), "all is well")
		require.NoError(t, daemon.terminate(t))
	}
	encrypted := 0
	for _, path := range site.objects(t, ".eml") {
		raw, err := os.ReadFile(path)
		require.NoError(t, err)
		if !bytes.Contains(raw, []byte(secretWords)) {
			encrypted++
		}
	}
	assert.Equal(t, 1, encrypted)

	// Without the operator's identity the encrypted one waits, and is no damaged one.
	without := bytes.Replace(off, fmt.Appendf(nil, ", operator_identity: %q", "file:"+site.operatorFile), nil, 1)
	require.NotEqual(t, off, without)
	require.NoError(t, os.WriteFile(site.configFile, without, 0o600))
	cmd := site.command(t.Context(), "fsck", "--verify-content", "--min-age", "0s")
	out, _ := cmd.CombinedOutput()
	assert.Contains(t, string(out), "unreadable")
	assert.NotContains(t, string(out), "its bytes are not those")
	assert.NotContains(t, string(out), "bytes instead of")
}

func TestEagerCopiesAreMadeRightAfterDelivery(t *testing.T) {
	site := newTestSite(t, siteOptions{Backend: sqldb.SQLite, Mailboxes: []string{"bob"}, Extra: "storage: {options: {attachments: eager}}\n"})
	daemon := site.start(t)
	replies, err := site.lmtp(t.Context(), "alice@sender.test", []string{"bob@example.test"}, secretMessage("eager"))
	require.NoError(t, err)
	require.True(t, replies.Accepted())
	id := daemon.messages(t, "bob@example.test", "")[0].ID
	copies := &encryptedSite{testSite: site}
	waitFor(t, "the copy", func() bool { return len(copies.objects(t, id+"/attachments/2")) == 1 })
	raw, err := os.ReadFile(copies.objects(t, id+"/attachments/2")[0])
	require.NoError(t, err)
	require.Equal(t, secretWords+" attached", string(raw))
}

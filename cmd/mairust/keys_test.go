package main

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// TestOldDumpAfterTheOperatorsKeyChanged changes the key as docs/encryption.md says, and brings the database's keys of before back.
func TestOldDumpAfterTheOperatorsKeyChanged(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			here := newEncryptedSite(t, backend, "bob")
			daemon := here.start(t)
			replies, err := here.lmtp(t.Context(), "alice@sender.test", []string{"bob@example.test"}, secretMessage("before"))
			require.NoError(t, err)
			require.True(t, replies.Accepted())
			require.NoError(t, daemon.terminate(t))
			var dump []store.TenantKey
			here.open(t, func(s *site) { dump, err = s.store.AllTenantKeys(t.Context()) })
			require.NoError(t, err)
			require.Len(t, dump, 1)

			old, next := here.changeOperator(t)
			refused, err := here.command(t.Context(), "keys", "rewrap").CombinedOutput()
			var exit *exec.ExitError
			require.ErrorAs(t, err, &exit)
			require.Contains(t, string(refused), "nothing was changed", "the new private key is not there")
			require.NoError(t, os.WriteFile(here.operatorFile, append(old, next...), 0o600))
			require.Contains(t, here.run(t, "keys", "rewrap"), "1 keys encrypted anew")
			require.NoError(t, os.WriteFile(here.operatorFile, []byte(next), 0o600))

			here.open(t, func(s *site) {
				require.NoError(t, s.store.RewrapTenantKey(t.Context(), dump[0].Tenant, dump[0].ID, dump[0].Wrapped, store.Beside{}))
			})
			daemon = here.start(t)
			list := daemon.messages(t, "bob@example.test", store.Inbox)
			require.Len(t, list, 1)
			require.Contains(t, string(daemon.raw(t, list[0].ID)), secretWords, "the copy beside the objects is enough")
			require.NoError(t, daemon.terminate(t))
			require.Contains(t, here.run(t, "keys", "check", "--repair"), "1 keys checked, 1 mended, 0 wrong")
			require.Contains(t, here.run(t, "keys", "check"), "1 keys checked, 0 mended, 0 wrong")
		})
	}
}

// changeOperator makes a new pair, puts its public half into the configuration in the place of the old one, and gives the files of the private
// halves.
func (s *encryptedSite) changeOperator(t *testing.T) (old []byte, next string) {
	t.Helper()
	old, err := os.ReadFile(s.operatorFile)
	require.NoError(t, err)
	next, recipient, err := crypt.NewOperator(time.Now())
	require.NoError(t, err)
	s.change(t, s.recipients(t), recipient)
	return old, next
}

// recipients are the operator's, as the configuration has them.
func (s *encryptedSite) recipients(t *testing.T) string {
	t.Helper()
	config, err := os.ReadFile(s.configFile)
	require.NoError(t, err)
	_, after, found := strings.Cut(string(config), "operator_recipients: [")
	require.True(t, found)
	list, _, found := strings.Cut(after, "]")
	require.True(t, found)
	return list
}

// TestTheOperatorsKeyIsChangedForMailThatTheDatabaseDoesNotKnow changes the key as docs/encryption.md says, on a database that was made anew and knows
// nothing of a tenant whose objects are there.
func TestTheOperatorsKeyIsChangedForMailThatTheDatabaseDoesNotKnow(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			had := newEncryptedSite(t, sqldb.SQLite, "bob")
			message := had.deliverOne(t, "Q1")
			here := newEncryptedSite(t, backend, "carol")
			mail := filepath.Join(here.dir, "data", "mail")
			require.NoError(t, os.Rename(filepath.Join(had.dir, "data", "mail", string(message.Tenant)), filepath.Join(mail, string(message.Tenant))))
			aside := filepath.Join(mail, "orphan", message.Key)
			require.NoError(t, os.MkdirAll(filepath.Dir(aside), 0o700))
			require.NoError(t, os.Rename(filepath.Join(mail, message.Key), aside), "as the sweep does")

			of, err := os.ReadFile(had.operatorFile)
			require.NoError(t, err)
			own, next := here.changeOperator(t)
			require.NoError(t, os.WriteFile(here.operatorFile, append(append(own, of...), next...), 0o600))

			wrong, err := here.command(t.Context(), "keys", "check").CombinedOutput()
			require.Error(t, err)
			require.Contains(t, string(wrong), "2 keys checked, 0 mended, 2 wrong; 1 of them beside the objects alone")
			require.Contains(t, string(wrong), string(message.Tenant))
			out := here.run(t, "keys", "rewrap")
			require.Contains(t, out, "2 keys encrypted anew, 0 failed; 1 of them beside the objects alone")
			require.NoError(t, os.WriteFile(here.operatorFile, []byte(next), 0o600))
			require.Contains(t, here.run(t, "keys", "check"), "2 keys checked, 0 mended, 0 wrong; 1 of them")
			here.open(t, func(s *site) {
				r, _, err := s.objects.Get(t.Context(), "orphan/"+message.Key, 0, -1)
				require.NoError(t, err, "the new key alone opens it")
				raw, err := io.ReadAll(r)
				require.NoError(t, errors.Join(err, r.Close()))
				require.Contains(t, string(raw), secretWords)
			})
		})
	}
}

// TestWhoRunsWithTheOperatorsRecipientsOfBeforeIsTold changes the key and forgets to restart.
func TestWhoRunsWithTheOperatorsRecipientsOfBeforeIsTold(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			here := newEncryptedSite(t, backend, "bob")
			daemon := here.start(t)
			require.True(t, here.take(t, "bob@example.test").Accepted())
			require.Contains(t, here.run(t, "check"), "PASS  encryption")
			before, err := os.ReadFile(here.configFile)
			require.NoError(t, err)

			old, next := here.changeOperator(t)
			require.NoError(t, os.WriteFile(here.operatorFile, append(old, next...), 0o600))
			require.Contains(t, here.failing(t, "check"), "FAIL  encryption     the operator's recipients: the daemon")
			if backend == sqldb.SQLite { // the daemon would do it, with the recipients of before
				require.Contains(t, here.failing(t, "keys", "rewrap"), "restart it first")
				require.Contains(t, here.failing(t, "keys", "check"), "restart it first")
				require.NoError(t, daemon.terminate(t))
			}
			require.Contains(t, here.run(t, "keys", "rewrap"), "1 keys encrypted anew, 0 failed")
			here.with(t, before, func() {
				if backend == sqldb.SQLite {
					require.Contains(t, here.failing(t, "check"), "FAIL  encryption     the operator's recipients: storage.encryption")
					daemon = here.start(t)
				}
				require.Contains(t, here.failing(t, "check"), "FAIL  encryption     the operator's recipients: storage.encryption")
				here.addMailbox(t, "two", "carol@two.test")
				replies := here.take(t, "carol@two.test")
				require.Equal(t, 451, replies.Final[0].Code, "%+v", replies)
				require.Contains(t, daemon.tail(60), "operator_recipients are not those")
				require.True(t, here.take(t, "bob@example.test").Accepted(), "whose tenant has a key")
			})
			require.NoError(t, daemon.terminate(t))
			daemon = here.start(t)
			require.True(t, here.take(t, "carol@two.test").Accepted())
			require.NoError(t, os.WriteFile(here.operatorFile, []byte(next), 0o600))
			require.NoError(t, daemon.terminate(t))
			here.start(t)
			require.Contains(t, here.run(t, "check"), "PASS  encryption")
			require.Contains(t, here.run(t, "keys", "check"), "2 keys checked, 0 mended, 0 wrong")
		})
	}
}

// docs/encryption.md, Turning it on: the configuration is checked before the daemon is restarted.
func TestCheckPassesBeforeEncryptionIsTurnedOn(t *testing.T) {
	here := newEncryptedSite(t, sqldb.SQLite, "bob")
	on, err := os.ReadFile(here.configFile)
	require.NoError(t, err)
	off := bytes.Replace(on, []byte("encryption: client"), []byte("encryption: none"), 1)
	require.NotEqual(t, on, off)
	require.NoError(t, os.WriteFile(here.configFile, off, 0o600))
	here.start(t)
	require.NoError(t, os.WriteFile(here.configFile, on, 0o600))
	require.Contains(t, here.run(t, "check"), "PASS  encryption")
}

// take delivers a message.
func (s *testSite) take(t *testing.T, to string) *lab.Replies {
	t.Helper()
	replies, err := s.lmtp(t.Context(), "alice@sender.test", []string{to}, secretMessage("x"))
	require.NoError(t, err)
	return replies
}

// failing runs a command that must fail, and gives what it says.
func (s *testSite) failing(t *testing.T, args ...string) string {
	t.Helper()
	out, err := s.command(t.Context(), args...).CombinedOutput()
	require.Error(t, err, string(out))
	return string(out)
}

// with does something while the configuration is another one.
func (s *testSite) with(t *testing.T, config []byte, do func()) {
	t.Helper()
	now, err := os.ReadFile(s.configFile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.configFile, config, 0o600))
	do()
	require.NoError(t, os.WriteFile(s.configFile, now, 0o600))
}

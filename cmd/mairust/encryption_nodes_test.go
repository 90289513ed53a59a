package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// secondNode is another node on the database and the objects of this one, with a key pair of its own of the operator.
func (s *encryptedSite) secondNode(t *testing.T) *encryptedSite {
	t.Helper()
	dir := labtest.ShortDir(t)
	node := &encryptedSite{
		testSite:     &testSite{dir: dir, configFile: filepath.Join(dir, "config.yaml"), key: s.key},
		operatorFile: filepath.Join(dir, "operator.key"),
	}
	config, err := os.ReadFile(s.configFile)
	require.NoError(t, err)
	text := strings.NewReplacer(s.operatorFile, node.operatorFile, s.dir, dir).Replace(string(config))
	shared := strings.Replace(text, "encryption: client", "encryption: client, base_path: "+filepath.Join(s.dir, "data", "mail"), 1)
	require.NotEqual(t, text, shared)
	shared += "secrets: {keyring: \"file:" + filepath.Join(s.dir, "data", "keyring") + "\"}\n"
	require.NoError(t, os.WriteFile(node.configFile, []byte(shared), 0o600))
	require.NoError(t, os.WriteFile(node.operatorFile, nil, 0o600))
	_, own := node.changeOperator(t)
	require.NoError(t, os.WriteFile(node.operatorFile, []byte(own), 0o600))
	return node
}

// mairust keys generate was run on each of two nodes.
func TestANodeWithAnotherOperatorThanTheFirstKeyGoesToMakesNone(t *testing.T) {
	a := newEncryptedSite(t, sqldb.Postgres, "bob") // which made the first key, for what describes the mailbox
	b := a.secondNode(t)
	first, other := a.start(t), b.start(t)
	require.Contains(t, other.tail(60), "no key is made here")
	require.True(t, a.take(t, "bob@example.test").Accepted())

	b.addMailbox(t, "two", "carol@two.test")
	refused := b.take(t, "carol@two.test")
	require.Equal(t, 451, refused.Final[0].Code, "what nobody could read without this node is not acknowledged: %+v", refused)
	require.Contains(t, other.tail(60), "operator_recipients are not those")
	require.Contains(t, b.failing(t, "check"), "FAIL  encryption     the operator's recipients: storage.encryption")
	require.Contains(t, a.run(t, "check"), "PASS  encryption")
	require.True(t, a.take(t, "carol@two.test").Accepted())
	require.True(t, b.take(t, "carol@two.test").Accepted(), "to the key that is there now")

	// The operator gives both the same pair.
	require.NoError(t, other.terminate(t))
	b.change(t, b.recipients(t), a.recipients(t))
	identity, err := os.ReadFile(a.operatorFile)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(b.operatorFile, identity, 0o600))
	other = b.start(t)
	require.NoError(t, first.terminate(t)) // it is retired
	require.Contains(t, b.run(t, "check"), "PASS  encryption")
	for _, mailbox := range []string{"bob@example.test", "carol@two.test"} {
		list := other.messages(t, mailbox, store.Inbox)
		require.NotEmpty(t, list)
		for _, m := range list {
			require.Contains(t, string(other.raw(t, m.ID)), secretWords)
		}
	}
}

// addMailbox adds a mailbox, and its tenant if need be.
func (s *testSite) addMailbox(t *testing.T, tenant, address string) {
	t.Helper()
	password := filepath.Join(s.dir, "pw")
	require.NoError(t, os.WriteFile(password, []byte("mailbox password\n"), 0o600))
	_, domain, _ := strings.Cut(address, "@")
	s.run(t, "init", "--tenant", tenant, "--domain", domain, "--admin", "admin@"+domain, "--mailbox", address,
		"--password-file", password, "--mailbox-password-file", password)
}

// The keys were made by a version that recorded nothing with them.
func TestAtTheFirstStartTheOperatorOfAnInstallationIsNoted(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			here := newEncryptedSite(t, backend, "bob")
			here.deliverOne(t, "Q1")
			here.open(t, func(s *site) {
				require.NoError(t, s.db.Write(t.Context(), func(tx *sqldb.Tx) error {
					_, err := tx.Exec(t.Context(), `UPDATE installation SET operator_check = ''`)
					return err
				}))
				require.NoError(t, s.store.CheckOperator(t.Context(), "another"))
			})
			daemon := here.start(t)
			require.Contains(t, here.run(t, "check"), "PASS  encryption")
			require.True(t, here.take(t, "bob@example.test").Accepted())
			require.NoError(t, daemon.terminate(t))
			here.open(t, func(s *site) { require.ErrorIs(t, s.store.CheckOperator(t.Context(), "another"), store.ErrOperator) })
			here.start(t)
			require.Contains(t, here.run(t, "check"), "PASS  encryption")
		})
	}
}

package imap_test

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"math/big"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/imap"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

func certificate(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"localhost"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}} // #nosec G402 -- of a test
}

func sqliteSite(t testing.TB, locals ...string) *site {
	t.Helper()
	return newSite(t, store.New(store.Options{DB: storetest.OpenDB(t, storetest.Options(t, "sqlite"))}), locals...)
}

func TestPasswordsAreNotTakenWithoutTLS(t *testing.T) {
	t.Parallel()
	x := sqliteSite(t, "bob")
	x.serve(t, imap.Options{}, imap.Security{StartTLS: certificate(t)})
	w := dial(t, x.addr)
	require.Contains(t, w.ok("CAPABILITY")[0], "STARTTLS LOGINDISABLED")
	w.refused("NO [PRIVACYREQUIRED]", "LOGIN bob@acme.test \"%s\"", password)
	w.refused("NO [PRIVACYREQUIRED]", "AUTHENTICATE PLAIN AGJvYgB4")
	w.ok("STARTTLS")
	tc := tls.Client(w.Conn, &tls.Config{InsecureSkipVerify: true}) // #nosec G402 -- a certificate of our own
	w.Conn, w.r = tc, bufio.NewReader(tc)
	require.Contains(t, w.ok("CAPABILITY")[0], "AUTH=PLAIN")
	w.ok("LOGIN bob@acme.test \"%s\"", password)
	w.ok("SELECT INBOX")
}

func TestCommandsBeforeTLSAreNotTakenInto(t *testing.T) {
	t.Parallel()
	x := sqliteSite(t, "bob")
	x.serve(t, imap.Options{}, imap.Security{StartTLS: certificate(t)})
	w := dial(t, x.addr)
	w.send("a STARTTLS\r\nb NOOP\r\n")
	require.Contains(t, w.line(), "a OK")
	_, err := w.r.ReadString('\n')
	require.Error(t, err, "the connection is closed, not one of TLS with a command from outside it")
}

func TestStrangersAreBounded(t *testing.T) {
	t.Parallel()
	x := sqliteSite(t, "bob")
	w := dial(t, x.addr)
	w.send("a LOGIN %s", strings.Repeat("x", 20_000))
	require.Contains(t, w.line(), "* BYE [TOOBIG]")
	w = dial(t, x.addr)
	w.send("a LOGIN {100000+}\r\n")
	require.Contains(t, w.line(), "* BYE [TOOBIG]")
	w = dial(t, x.addr)
	for range 9 {
		w.refused("BAD", "nonsense")
	}
	w.send("z nonsense\r\n")
	require.Contains(t, w.line(), "z BAD")
	require.Contains(t, w.line(), "* BYE")
	w = x.login(t, "bob")
	w.ok("SELECT INBOX")
	w.refused("BAD", "SEARCH %sALL", strings.Repeat("NOT ", 5000))
	w.refused("BAD", "SEARCH %s", strings.Repeat("(", 5000))
	w.refused("BAD", "FETCH 1:%s FLAGS", strings.Repeat("9", 5000))
	w.ok(`LIST "" %s`, strings.Repeat("*%", 2000))
}

func TestOthersMailboxesAreUnderTheirAddress(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		x := newSite(t, s, "bob", "info", "eve")
		_, _, err := s.EnsureMailbox(t.Context(), x.Tenant.ID, x.Target("info").Address, x.Users["bob"].ID)
		require.NoError(t, err)
		x.deliver(t, "info", store.Inbox, plainMail)
		x.deliver(t, "eve", store.Inbox, plainMail)
		w := x.login(t, "bob")
		require.Equal(t, []string{`* NAMESPACE (("" "/")) (("Other Users/" "/")) NIL`}, w.ok("NAMESPACE"))
		list := strings.Join(w.ok(`LIST "" *`), "\n")
		require.Contains(t, list, `* LIST (\HasNoChildren) "/" "Other Users/info@acme.test/INBOX"`)
		require.NotContains(t, list, "eve")
		require.Equal(t, []string{`* LIST (\Noselect \HasChildren) "/" "Other Users"`}, w.ok(`LIST "" "O%%"`))
		require.Equal(t, []string{`* LIST (\HasNoChildren \Trash \Subscribed) "/" "Trash"`, `* STATUS "Trash" (MESSAGES 0 UNSEEN 0 SIZE 0)`},
			w.ok(`LIST (SUBSCRIBED) "" (Trash) RETURN (SPECIAL-USE CHILDREN STATUS (MESSAGES UNSEEN SIZE))`))
		require.Len(t, w.ok(`LSUB "" %%`), 4)
		untagged := w.ok(`SELECT "Other Users/info@acme.test/inbox"`)
		require.Contains(t, untagged, "* 1 EXISTS")
		w.refused("NO [NONEXISTENT]", `SELECT "Other Users/eve@acme.test/INBOX"`)
	})
}

func TestIdleConnectionsTakeLittleMemory(t *testing.T) {
	x := sqliteSite(t, "bob")
	x.deliver(t, "bob", store.Inbox, wellFormed(300)...)
	x.serve(t, imap.Options{}, imap.Security{PlainLogin: true})
	const connections = 500
	before := memory()
	for range connections {
		w := x.login(t, "bob")
		w.ok("SELECT INBOX")
		w.ok("FETCH 1:* (UID FLAGS ENVELOPE)")
		w.send("i IDLE\r\n")
		require.Equal(t, "+ idling", w.line())
	}
	each := (memory() - before) / connections
	t.Logf("%d kB for each idle connection, both ends of it", each/1024)
	require.Less(t, each, int64(200<<10))
}

func memory() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapInuse + m.StackInuse)
}

func TestShutdownSaysByeToIdleClients(t *testing.T) {
	t.Parallel()
	x := sqliteSite(t, "bob")
	waiting, idling := x.login(t, "bob"), x.login(t, "bob")
	idling.ok("SELECT INBOX")
	idling.send("i IDLE\r\n")
	require.Equal(t, "+ idling", idling.line())
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	require.NoError(t, x.server.Shutdown(ctx))
	require.Contains(t, waiting.line(), "* BYE")
	require.Contains(t, idling.line(), "* BYE")
}

package lmtp_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/lmtp"
	"github.com/mairust/mairust/store"
)

func certificate(t *testing.T) (server, client *tls.Config) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"store.example.test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	require.NoError(t, err)
	leaf, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: pool, ServerName: "store.example.test"}
}

func TestStartTLS(t *testing.T) {
	server, trust := certificate(t)
	r := newRig(t, server)
	c := r.dial()
	c.send("LHLO mx.example.test\r\n")
	require.Contains(t, c.lines(), "250-STARTTLS")
	c.envelope("a@sender.test", "bob@example.test")
	c.send("starttls\r\n")
	c.expect("220 2.0.0 Ready to start TLS")
	secured := tls.Client(c.conn, trust)
	require.NoError(t, secured.Handshake())

	c = newClient(t, secured)
	c.send("MAIL FROM:<a@sender.test>\r\n") // what was said in the clear is forgotten
	c.expect("502 5.5.1 Please introduce yourself first.")
	c.send("LHLO mx.example.test\r\n")
	require.NotContains(t, c.lines(), "250-STARTTLS")
	c.send("STARTTLS\r\n")
	c.expect("502 5.5.1 TLS not supported")
	requireStored(t, c.deliver("a@sender.test", "x\r\r\n.y\r\n", "bob@example.test")...)
	r.requireLast(t, "x\r\r\n.y\r\n")
	one := func() bool { return r.metric("mairust_lmtp_connections") == 1 } // the former wire ends by itself
	require.Eventually(t, one, patience, time.Millisecond)
}

func TestCommandsSentBeforeTheHandshakeAreNotTaken(t *testing.T) {
	server, _ := certificate(t)
	r := newRig(t, server)
	c := r.hello()
	c.send("STARTTLS\r\nLHLO attacker\r\nMAIL FROM:<a@sender.test>\r\n")
	c.expect("421 4.4.0 Connection error, sorry")
	c.expectEnd()
}

func TestImplicitTLS(t *testing.T) {
	server, trust := certificate(t)
	r := newRig(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- r.server.Serve(context.Background(), tls.NewListener(l, server), nil) }()
	conn, err := tls.Dial("tcp", l.Addr().String(), trust)
	require.NoError(t, err)
	c := newClient(t, conn)
	c.lines()
	c.send("LHLO mx.example.test\r\n")
	require.NotContains(t, c.lines(), "250-STARTTLS")
	requireStored(t, c.deliver("a@sender.test", "x: y\r\n", "bob@example.test")...)
	c.send("QUIT\r\n")
	c.line()
	require.NoError(t, r.server.Shutdown(within(t)))
	require.NoError(t, <-served)
}

func TestShutdownClosesIdleConnectionsAndLetsTransactionsEnd(t *testing.T) {
	r := newRig(t, nil)
	silent, idle, busy, data := r.dial(), r.hello(), r.hello(), r.hello()
	busy.envelope("a@sender.test", "bob@example.test")
	data.envelope("a@sender.test", "bob@example.test")
	data.send("DATA\r\n")
	data.line()

	done := make(chan error, 1)
	go func() { done <- r.server.Shutdown(within(t)) }()
	for _, c := range []*client{silent, idle} {
		c.expect("421 4.3.2 Server is shutting down")
		c.expectEnd()
	}
	_, err := net.Dial("tcp", r.addr)
	require.Error(t, err)

	data.send("Subject: x\r\n.\r\n")
	requireStored(t, data.line())
	data.expect("421 4.3.2 Server is shutting down")
	data.expectEnd()
	busy.send("RCPT TO:<carol@example.test>\r\n")
	busy.line()
	busy.data("Subject: y\r\n")
	requireStored(t, busy.line(), busy.line())
	busy.expect("421 4.3.2 Server is shutting down")
	require.NoError(t, <-done)
	require.NoError(t, r.server.Shutdown(within(t)))
	require.Zero(t, r.metric("mairust_lmtp_connections"))
}

func TestEndOfTheContextIsAShutdown(t *testing.T) {
	s, err := lmtp.New(lmtp.Options{}, lmtp.Deps{
		Index: newFakeIndex(), Objects: newFaultBucket(), Verify: func(string, ...string) error { return nil },
	})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx, l, nil) }()
	conn, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	c := newClient(t, conn)
	c.expect("220 localhost LMTP Service Ready")
	cancel()
	c.expect("421 4.3.2 Server is shutting down")
	require.NoError(t, <-served)
	require.NoError(t, s.Serve(context.Background(), l, nil), "after the end there is nothing to serve")
}

func TestListenerThatFailsIsAnError(t *testing.T) {
	r := newRig(t, nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	require.ErrorIs(t, r.server.Serve(context.Background(), l, nil), net.ErrClosed)
	requireStored(t, r.hello().deliver("a@sender.test", "x: y\r\n", "bob@example.test")...)
}

func TestShutdownOutOfPatienceAborts(t *testing.T) {
	r := newRig(t, nil)
	entered := make(chan struct{})
	release := make(chan struct{})
	r.index.onDeliver = func([]store.Copy) []store.Result {
		close(entered)
		<-release
		return nil
	}
	half, stuck := r.hello(), r.hello()
	half.envelope("a@sender.test", "bob@example.test")
	half.send("DATA\r\n")
	half.line()
	stuck.envelope("a@sender.test", "bob@example.test")
	stuck.data("x: y\r\n")
	<-entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, r.server.Shutdown(ctx), context.Canceled)
	half.expectEnd()
	stuck.expectEnd()
	close(release)
	require.NoError(t, r.server.Shutdown(within(t)))
}

func TestSlowClientsAreCutOff(t *testing.T) {
	const short = 50 * time.Millisecond
	const cut = "451 4.4.2 <bob@example.test> Message was not received to its end"
	t.Run("no command", func(t *testing.T) {
		r := newRig(t, nil, func(o *lmtp.Options, _ *lmtp.Deps) { o.CommandTimeout = short })
		c := r.dial()
		c.expect("421 4.4.2 Idle timeout, bye bye")
		c.expectEnd()
	})
	t.Run("silence in a message", func(t *testing.T) {
		r := newRig(t, nil, func(o *lmtp.Options, _ *lmtp.Deps) { o.DataTimeout = short })
		c := r.hello()
		c.envelope("a@sender.test", "bob@example.test")
		c.send("DATA\r\nSubject: x\r\n")
		c.line()
		c.expect(cut, "421 4.4.2 Idle timeout, bye bye")
		c.expectEnd()
		require.Empty(t, r.index.stored())
	})
	t.Run("a message that drips", func(t *testing.T) {
		r := newRig(t, nil, func(o *lmtp.Options, _ *lmtp.Deps) { o.MessageTimeout = short })
		c := r.hello()
		c.envelope("a@sender.test", "bob@example.test")
		c.send("DATA\r\n")
		c.line()
		c.drip()
		c.expect(cut)
		require.Empty(t, r.index.stored())
	})
	t.Run("a refused chunk that drips", func(t *testing.T) {
		r := newRig(t, nil, func(o *lmtp.Options, _ *lmtp.Deps) { o.MessageTimeout = short })
		c := r.hello()
		c.send("BDAT 4294967295\r\n")
		c.drip()
		c.expect("502 5.5.1 Missing RCPT TO command.", "421 4.4.2 Idle timeout, bye bye")
		c.expectEnd()
	})
	t.Run("chunks that do not come", func(t *testing.T) {
		r := newRig(t, nil, func(o *lmtp.Options, _ *lmtp.Deps) { o.MessageTimeout = short })
		c := r.hello()
		c.envelope("a@sender.test", "bob@example.test")
		c.send(chunk("Subject: x\r\n", ""))
		c.expect("250 2.0.0 Continue", cut)
		c.line()
		c.expectEnd()
	})
}

// drip sends line after line until the client is cut off.
func (c *client) drip() {
	go func() {
		for {
			if _, err := c.conn.Write([]byte("drip\r\n")); err != nil {
				return
			}
		}
	}()
}

func TestTimeOfARefusedChunkEndsWithIt(t *testing.T) {
	const short = time.Millisecond
	r := newRig(t, nil, func(o *lmtp.Options, _ *lmtp.Deps) { o.MessageTimeout = short })
	c := r.hello()
	c.send("BDAT 6\r\nQUIT\r\n") // which is there at once
	c.expect("502 5.5.1 Missing RCPT TO command.")
	time.Sleep(10 * short)
	c.send("NOOP\r\n")
	c.expect("250 2.0.0 I have successfully done nothing")
}

func TestShutdownDoesNotWaitForARefusedChunk(t *testing.T) {
	r := newRig(t, nil)
	first, second := r.hello(), r.hello()
	second.envelope("a@sender.test")
	for _, c := range []*client{first, second} {
		c.send("BDAT 4294967295\r\nQUIT\r\n")
		c.expect("502 5.5.1 Missing RCPT TO command.")
	}
	require.NoError(t, r.server.Shutdown(within(t)))
	for _, c := range []*client{first, second} {
		c.expect("421 4.3.2 Server is shutting down")
		c.expectEnd()
	}
}

// A client that sends commands and reads no reply fills the buffers of the network, and then would be waited for.
func TestClientThatReadsNoReplyIsCut(t *testing.T) {
	r := newRig(t, nil, func(o *lmtp.Options, _ *lmtp.Deps) { o.ReplyTimeout = 2 * time.Second })
	deaf := r.dial()
	var err error
	for err == nil {
		_, err = io.WriteString(deaf.conn, strings.Repeat("NOOP\r\n", 1000))
	}
	require.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the server goes on waiting")
	require.Eventually(t, func() bool { return r.metric("mairust_lmtp_connections") == 0 }, patience, time.Millisecond)
	requireStored(t, r.hello().deliver("a@sender.test", "x: y\r\n", "bob@example.test")...)
}

func TestSpoolThatCannotBeWrittenIsTemporary(t *testing.T) {
	r := newRig(t, nil, func(o *lmtp.Options, d *lmtp.Deps) {
		o.SpoolMemoryBytes, d.SpoolDir = 100, d.SpoolDir+"/gone"
	})
	c := r.hello()
	require.Equal(t, []string{"451 4.3.0 <bob@example.test> Mail store is unavailable, try again later"},
		c.deliver("a@sender.test", strings.Repeat("x: y\r\n", 10_000), "bob@example.test"))
	require.ErrorContains(t, r.server.Check(t.Context()), "spool")
	requireStored(t, c.deliver("a@sender.test", "x: y\r\n", "bob@example.test")...)
}

func TestOptionsThatCannotBe(t *testing.T) {
	deps := lmtp.Deps{Index: newFakeIndex(), Objects: newFaultBucket(), Verify: func(string, ...string) error { return nil }}
	for name, o := range map[string]lmtp.Options{
		"max_message_bytes":  {MaxMessageBytes: -1},
		"max_recipients":     {MaxRecipients: -1},
		"spool_memory_bytes": {SpoolMemoryBytes: -1},
		"timeout":            {DataTimeout: -1},
		"a timeout":          {ReplyTimeout: -1},
	} {
		_, err := lmtp.New(o, deps)
		require.ErrorContains(t, err, name)
	}
	_, err := lmtp.New(lmtp.Options{}, lmtp.Deps{})
	require.ErrorContains(t, err, "an index is required")
}

func TestRecipientDelimiterCanBeSwitchedOff(t *testing.T) {
	r := newRig(t, nil, func(o *lmtp.Options, _ *lmtp.Deps) { o.RecipientDelimiter = "none" })
	c := r.hello()
	c.envelope("a@sender.test")
	c.send("RCPT TO:<bob+x@example.test>\r\n")
	c.expect("550 5.1.1 No such mailbox")
}

func TestMessageThatCannotBeSummarisedIsStoredAllTheSame(t *testing.T) {
	r := newRig(t, nil, func(_ *lmtp.Options, d *lmtp.Deps) {
		d.Summarize = func(io.Reader, mail.Limits) (*mail.Summary, error) { panic("a bug") }
	})
	c := r.hello()
	c.envelope("a@sender.test", "bob@example.test")
	c.send("DATA\r\n")
	c.lines()
	c.send("Subject: x\r\n\r\nx\r\n.\r\n")
	require.True(t, strings.HasPrefix(c.line(), "250 2.1.5 "))
	r.requireLast(t, "Subject: x\r\n\r\nx\r\n")
	require.EqualValues(t, 1, r.metric("mairust_lmtp_panics_total"))
}

package imap_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/imap"
	"github.com/mairust/mairust/store"
)

// patience bounds every wait of a test; nothing waits for it to pass.
const patience = 20 * time.Second

// strangers are clients that never log in.
var strangers = map[string]struct {
	implicit bool
	do       func(nc net.Conn)
}{
	"silence before TLS": {implicit: true, do: func(net.Conn) {}},
	"drips before TLS":   {implicit: true, do: func(nc net.Conn) { drip(nc, longHello, "\x00") }},
	"silence after TLS": {implicit: true, do: func(nc net.Conn) {
		_ = tls.Client(nc, &tls.Config{InsecureSkipVerify: true}).Handshake() // #nosec G402 -- of a test, in which the time may be over
	}},
	"silence after STARTTLS": {do: func(nc net.Conn) { beginTLS(nc) }},
	"drips after STARTTLS": {do: func(nc net.Conn) {
		beginTLS(nc)
		drip(nc, longHello, "\x00")
	}},
	"silence":                {do: func(net.Conn) {}},
	"half a command":         {do: func(nc net.Conn) { drip(nc, "a LOGIN bob", "") }},
	"a command that drips":   {do: func(nc net.Conn) { drip(nc, "a LOGIN ", "x") }},
	"one command for ever":   {do: func(nc net.Conn) { drip(nc, "", "a NOOP\r\n") }},
	"a login in many pieces": {do: func(nc net.Conn) { drip(nc, "a AUTHENTICATE PLAIN\r\n", "x") }},
}

// longHello is the beginning of a ClientHello of 16 KiB (RFC 8446, 4).
const longHello = "\x16\x03\x01\x40\x00\x01\x00\x3f\xfc"

// beginTLS asks for STARTTLS and waits until it may begin, or the connection ends, which the test sees.
func beginTLS(nc net.Conn) {
	_, _ = nc.Write([]byte("a STARTTLS\r\n"))
	for lines := bufio.NewScanner(nc); lines.Scan() && !strings.HasPrefix(lines.Text(), "a OK"); {
	}
}

// drip sends first at once, and then next again and again until the connection ends.
func drip(nc net.Conn, first, next string) {
	if _, err := nc.Write([]byte(first)); err != nil || next == "" {
		return // the test sees the end
	}
	go func() {
		for {
			time.Sleep(20 * time.Millisecond)
			if _, err := nc.Write([]byte(next)); err != nil {
				return
			}
		}
	}()
}

// stranger connects to a new server as a stranger does.
func (x *site) stranger(t *testing.T, name string, timeouts imap.Timeouts) net.Conn {
	t.Helper()
	var implicit *tls.Config
	security := imap.Security{PlainLogin: true, StartTLS: certificate(t)}
	if strangers[name].implicit {
		implicit, security.StartTLS = security.StartTLS, nil
	}
	x.serveWithin(t, timeouts, implicit, imap.Options{}, security)
	nc, err := net.Dial("tcp", x.addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	require.NoError(t, nc.SetDeadline(time.Now().Add(patience)))
	strangers[name].do(nc)
	return nc
}

// requireEnd reads until the server closes.
func requireEnd(t *testing.T, nc net.Conn) {
	t.Helper()
	buffer := make([]byte, 64<<10)
	for {
		_, err := nc.Read(buffer)
		var timeout net.Error
		require.False(t, errors.As(err, &timeout) && timeout.Timeout(), "the connection was not closed")
		if err != nil {
			return
		}
	}
}

func (x *site) requireConnections(t *testing.T, want float64) {
	t.Helper()
	require.Eventually(t, func() bool { return x.connections(t) == want }, patience, 5*time.Millisecond, "not %v connections", want)
}

func (x *site) connections(t *testing.T) float64 {
	families, err := x.metrics.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() == "mairust_imap_connections" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	return -1
}

func TestStrangersHaveOneTimeForAllBeforeTheLogin(t *testing.T) {
	t.Parallel()
	for name := range strangers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := sqliteSite(t, "bob")
			requireEnd(t, x.stranger(t, name, imap.Timeouts{Login: 300 * time.Millisecond}))
			x.requireConnections(t, 0)
		})
	}
}

func TestShutdownDoesNotWaitForStrangers(t *testing.T) {
	t.Parallel()
	for name := range strangers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := sqliteSite(t, "bob")
			nc := x.stranger(t, name, imap.Timeouts{Login: time.Hour, Command: time.Hour})
			x.requireConnections(t, 1)
			require.NoError(t, x.server.Shutdown(within(t, 10*time.Second)))
			requireEnd(t, nc)
		})
	}
}

func within(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

func TestTimeOfTheLoginEndsWithIt(t *testing.T) {
	t.Parallel()
	const login = 5 * time.Second
	x := sqliteSite(t, "bob")
	x.serveWithin(t, imap.Timeouts{Login: login}, nil, imap.Options{}, imap.Security{PlainLogin: true})
	began := time.Now()
	w := x.login(t, "bob")
	time.Sleep(time.Until(began.Add(login + 100*time.Millisecond)))
	w.ok("NOOP")
	w.ok("SELECT INBOX")
}

// bigMail is of a size that, some times over, no socket takes.
var bigMail = plainMail + strings.Repeat("All work and no play makes Jack a dull boy, and that is not good.\r\n", 60_000)

const bigMails = 8

// fetching is a client in whose mailbox there is much, and that has asked for it and read the first line of it.
func (x *site) fetching(t *testing.T, timeouts imap.Timeouts, implicit *tls.Config) *wire {
	t.Helper()
	for range bigMails {
		x.deliver(t, "bob", store.Inbox, bigMail)
	}
	x.serveWithin(t, timeouts, implicit, imap.Options{}, imap.Security{PlainLogin: true})
	nc, err := net.Dial("tcp", x.addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	if implicit != nil {
		nc = tls.Client(nc, &tls.Config{InsecureSkipVerify: true}) // #nosec G402 -- a certificate of our own
	}
	w := newWire(t, nc)
	w.ok("LOGIN bob@acme.test \"%s\"", password)
	w.ok("SELECT INBOX")
	w.send("f FETCH 1:* BODY[]\r\n")
	require.Contains(t, w.line(), "FETCH (BODY[] {")
	return w
}

func TestShutdownDoesNotWaitForWhoTakesNothing(t *testing.T) {
	t.Parallel()
	for name, implicit := range map[string]*tls.Config{"clear": nil, "TLS": certificate(t)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := sqliteSite(t, "bob")
			x.fetching(t, imap.Timeouts{Stop: 100 * time.Millisecond}, implicit)
			require.NoError(t, x.server.Shutdown(within(t, 10*time.Second)))
		})
	}
}

func TestShutdownLetsAnAnswerEnd(t *testing.T) {
	t.Parallel()
	x := sqliteSite(t, "bob")
	w := x.fetching(t, imap.Timeouts{Stop: patience}, nil)
	done := make(chan error, 1)
	go func() { done <- x.server.Shutdown(within(t, patience)) }()
	require.Eventually(t, func() bool { return refusesConnections(x.addr) }, patience, 5*time.Millisecond)
	untagged, tagged := w.until("f")
	require.Equal(t, "OK FETCH completed", tagged)
	require.GreaterOrEqual(t, len(untagged), bigMails-1)
	require.Contains(t, w.line(), "* BYE MaiRust is shutting down")
	require.NoError(t, <-done)
}

func refusesConnections(addr string) bool {
	nc, err := net.Dial("tcp", addr)
	if err == nil {
		_ = nc.Close()
	}
	return err != nil
}

func TestShutdownDoesNotWaitForTheRestOfACommand(t *testing.T) {
	t.Parallel()
	x := sqliteSite(t, "bob")
	x.serveWithin(t, imap.Timeouts{Command: time.Hour, Stop: 100 * time.Millisecond}, nil, imap.Options{}, imap.Security{PlainLogin: true})
	half, appending := x.login(t, "bob"), x.login(t, "bob")
	half.send("h NO")
	appending.send("a APPEND INBOX {100000000}\r\n")
	require.Equal(t, "+ OK", appending.line())
	drip(appending, "", "x")
	require.NoError(t, x.server.Shutdown(within(t, 10*time.Second)))
	require.Contains(t, half.line(), "* BYE MaiRust is shutting down")
}

func TestWhoTakesNothingIsCut(t *testing.T) {
	t.Parallel()
	x := sqliteSite(t, "bob")
	w := x.fetching(t, imap.Timeouts{Write: 300 * time.Millisecond}, nil)
	x.requireConnections(t, 0)
	require.NoError(t, w.SetReadDeadline(time.Now().Add(patience)))
	rest, _ := io.ReadAll(w.r) // however the connection ended
	require.NotContains(t, string(rest), "BYE", "it would stand within the message")
}

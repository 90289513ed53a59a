package lookup_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/lmtp/lookup"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

const patience = 30 * time.Second

// rig is a lookup server on loopback.
type rig struct {
	server *lookup.Server
	addr   string
	served chan error
}

func newRig(t testing.TB, x lookup.Index, o lookup.Options, d lookup.Deps) *rig {
	t.Helper()
	d.Index = x
	server, err := lookup.New(o, d)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &rig{server: server, addr: l.Addr().String(), served: make(chan error, 1)}
	go func() { r.served <- server.Serve(context.Background(), l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		require.NoError(t, server.Shutdown(ctx))
		require.NoError(t, <-r.served)
	})
	return r
}

// client asks as Postfix does.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func (r *rig) dial(t testing.TB) *client {
	t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return &client{t: t, conn: conn, r: bufio.NewReader(conn)}
}

func netstring(s string) string { return fmt.Sprintf("%d:%s,", len(s), s) }

func (c *client) send(s string) {
	c.t.Helper()
	_, err := io.WriteString(c.conn, s)
	require.NoError(c.t, err)
}

// reply reads one netstring.
func (c *client) reply() string {
	c.t.Helper()
	length, err := c.r.ReadString(':')
	require.NoError(c.t, err)
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	require.NoError(c.t, err)
	b := make([]byte, n+1)
	_, err = io.ReadFull(c.r, b)
	require.NoError(c.t, err)
	require.Equal(c.t, byte(','), b[n])
	return string(b[:n])
}

func (c *client) ask(request string) string {
	c.t.Helper()
	c.send(netstring(request))
	return c.reply()
}

func (c *client) expectEnd() {
	c.t.Helper()
	_, err := c.r.ReadByte()
	require.Error(c.t, err)
	var timeout net.Error
	require.False(c.t, errors.As(err, &timeout) && timeout.Timeout(), "the connection was not closed")
}

func TestMapsOfARealStore(t *testing.T) {
	storetest.Run(t, func(t *testing.T, s *store.Store) {
		site := storetest.NewSite(t, s, "t1", "example.test", "bob", "abc..def", "full")
		ctx := t.Context()
		_, _, err := s.EnsureDomain(ctx, site.Tenant.ID, "alias.test", site.Domain.ID)
		require.NoError(t, err)
		_, err = s.EnsureAlias(ctx, site.Tenant.ID, mail.Address{Local: "robert", Domain: "example.test"},
			mail.Address{Local: "abc..def", Domain: "example.test"})
		require.NoError(t, err)
		for from, to := range map[string]string{"away": "bob@elsewhere.test", "far": "away@example.test", "lost": "gone@example.test"} {
			target, err := mail.ParseAddress(to)
			require.NoError(t, err)
			require.NoError(t, s.SetAlias(ctx, site.Tenant.ID, mail.Address{Local: from, Domain: "example.test"}, target, store.Beside{}))
		}
		var uncertain, another atomic.Bool
		c := newRig(t, s, lookup.Options{}, lookup.Deps{RecipientDelimiter: "+", Uncertain: func(_ context.Context, known bool) (bool, error) {
			return uncertain.Load() && known || another.Load(), nil
		}}).dial(t)
		for request, reply := range map[string]string{
			"domains example.test":              "OK example.test",
			"domains EXAMPLE.test":              "OK example.test",
			"domains alias.test":                "OK alias.test",
			"domains other.test":                "NOTFOUND ",
			"domains .example.test":             "NOTFOUND ",
			"domains ":                          "NOTFOUND ",
			"mailboxes bob@example.test":        "OK bob@example.test",
			"mailboxes Bob@Example.Test":        "OK bob@example.test",
			"mailboxes bob+x@example.test":      "OK bob@example.test",
			"mailboxes bob@alias.test":          "OK bob@example.test",
			`mailboxes abc..def@example.test`:   `OK "abc..def"@example.test`,
			`mailboxes "abc..def"@example.test`: `OK "abc..def"@example.test`,
			"mailboxes nobody@example.test":     "NOTFOUND ",
			"mailboxes nobody@nowhere.test":     "NOTFOUND ",
			"mailboxes bob":                     "NOTFOUND ",
			"mailboxes @example.test":           "NOTFOUND ",
			"mailboxes ":                        "NOTFOUND ",
			"mailboxes two words@example.test":  "NOTFOUND ",
			"mailboxes b\x00b@example.test":     "NOTFOUND ",
			"mailboxes b\xffb@example.test":     "NOTFOUND ",
			"aliases robert@example.test":       `OK "abc..def"@example.test`,
			"aliases bob@alias.test":            "OK bob@example.test",
			"aliases bob@example.test":          "NOTFOUND ",
			"aliases bob+x@example.test":        "NOTFOUND ",
			"aliases bob+x@alias.test":          "OK bob+x@example.test",
			"aliases nobody@alias.test":         "NOTFOUND ",
			"aliases @alias.test":               "NOTFOUND ",
			"aliases away@example.test":         "OK bob@elsewhere.test",
			"aliases AWAY@alias.test":           "OK away@example.test",
			"aliases far@example.test":          "OK away@example.test",
			"aliases lost@example.test":         "NOTFOUND ",
			"aliases away+x@example.test":       "OK bob@elsewhere.test",
			"aliases away+x@alias.test":         "OK away+x@example.test",
			"aliases lost+x@example.test":       "NOTFOUND ",
			"aliases +x@example.test":           "NOTFOUND ",
			"aliases x@elsewhere.test":          "NOTFOUND ",
			"mailboxes away@example.test":       "NOTFOUND ",
			"passwords bob@example.test":        "PERM no such map; there are domains, mailboxes, aliases",
			"mailboxes":                         "PERM a request is a map name, a space and a key",
			"":                                  "PERM a request is a map name, a space and a key",
		} {
			require.Equal(t, reply, c.ask(request), request)
		}

		uncertain.Store(true)
		for request, reply := range map[string]string{
			"mailboxes bob@example.test": "OK bob@example.test", "mailboxes nobody@example.test": "TEMP the database may be another or an old one",
			"mailboxes nobody@nowhere.test": "NOTFOUND ", "aliases nobody@example.test": "TEMP the database may be another or an old one",
			"aliases x@elsewhere.test": "NOTFOUND ", "aliases away@example.test": "OK bob@elsewhere.test", "aliases bob@example.test": "NOTFOUND ",
			"domains nowhere.test": "NOTFOUND ",
		} {
			require.Equal(t, reply, c.ask(request), request)
		}
		another.Store(true)
		require.Equal(t, "TEMP the database may be another or an old one", c.ask("mailboxes nobody@nowhere.test"), "Postfix asks this map for domains that it holds to be its own")
		require.Equal(t, "NOTFOUND ", c.ask("aliases x@elsewhere.test"), "and this one for all")
		another.Store(false)
		uncertain.Store(false)

		require.NoError(t, s.SetMailboxQuota(ctx, site.Tenant.ID, site.Mailboxes["full"].ID, 1, store.Beside{}))
		stored := storetest.NewCopy(t, site.Target("full"), "x")
		stored.Content.SizeBytes = 1
		storetest.Deliver(t, s, stored)
		require.Equal(t, "TEMP the mailbox is full", c.ask("mailboxes full@example.test"))
		require.NoError(t, s.SetAlias(ctx, site.Tenant.ID, mail.Address{Local: "tofull", Domain: "example.test"}, mail.Address{Local: "full", Domain: "example.test"}, store.Beside{}))
		require.Equal(t, "TEMP the mailbox is full", c.ask("aliases tofull@example.test"))
		require.Equal(t, "NOTFOUND ", c.ask("aliases full@example.test"), "it is no alias, and cleanup(8) would keep the message for all its recipients")
		require.NoError(t, s.SuspendTenant(ctx, site.Tenant.ID, true, store.Beside{}))
		require.Equal(t, "TEMP the tenant is suspended", c.ask("mailboxes full@example.test"))
		require.Equal(t, "NOTFOUND ", c.ask("aliases full@example.test"))

		_, _, err = s.EnsureMailbox(ctx, site.Tenant.ID, mail.Address{Local: "new", Domain: "example.test"}, site.Users["bob"].ID)
		require.NoError(t, err)
		require.NotEqual(t, "NOTFOUND ", c.ask("mailboxes new@example.test"))
	})
}

// broken is an index whose every answer is the error.
type broken struct {
	mu  sync.Mutex
	err error
}

func (b *broken) get() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

func (b *broken) Resolve(context.Context, mail.Address, string) (store.Target, error) {
	return store.Target{}, b.get()
}
func (b *broken) LeadsTo(context.Context, mail.Address, mail.Address, string) (store.Target, bool, error) {
	return store.Target{}, false, b.get()
}
func (b *broken) HasDomain(context.Context, string) (bool, error) { return false, b.get() }
func (b *broken) AliasTarget(context.Context, mail.Address) (mail.Address, error) {
	return mail.Address{}, b.get()
}

func TestErrorsOfTheIndexAreTemporary(t *testing.T) {
	x := &broken{}
	registry := prometheus.NewRegistry()
	c := newRig(t, x, lookup.Options{}, lookup.Deps{Registerer: registry}).dial(t)
	for _, request := range []string{"domains example.test", "mailboxes a@example.test", "aliases a@example.test"} {
		for err, reply := range map[error]string{
			errors.New("password for user x"):                 "TEMP the index is unavailable",
			fmt.Errorf("query: %w", store.ErrUnavailable):     "TEMP the index is unavailable",
			fmt.Errorf("query: %w", context.DeadlineExceeded): "TIMEOUT ",
		} {
			x.mu.Lock()
			x.err = err
			x.mu.Unlock()
			require.Equal(t, reply, c.ask(request))
		}
	}
	n, err := testutil.GatherAndCount(registry, "mairust_lookup_requests_total")
	require.NoError(t, err)
	require.Equal(t, 6, n)
}

// stuck is an index that panics, or waits for its context.
type stuck struct {
	broken
	entered chan struct{}
}

func (s *stuck) Resolve(ctx context.Context, rcpt mail.Address, _ string) (store.Target, error) {
	if rcpt.Local == "panic" {
		panic("resolve")
	}
	s.entered <- struct{}{}
	<-ctx.Done()
	return store.Target{}, ctx.Err()
}

func TestLookupThatTakesTooLong(t *testing.T) {
	x := &stuck{entered: make(chan struct{}, 1)}
	c := newRig(t, x, lookup.Options{RequestTimeout: 50 * time.Millisecond}, lookup.Deps{}).dial(t)
	require.Equal(t, "TIMEOUT ", c.ask("mailboxes a@example.test"))
	<-x.entered
	require.Equal(t, "TIMEOUT ", c.ask("mailboxes a@example.test"))
}

func TestPanicEndsTheConnectionOnly(t *testing.T) {
	r := newRig(t, &stuck{}, lookup.Options{}, lookup.Deps{})
	c := r.dial(t)
	c.send(netstring("mailboxes panic@example.test"))
	c.expectEnd()
	require.Equal(t, "NOTFOUND ", r.dial(t).ask("domains a.test"))
}

func TestRequestsThatAreNoNetstrings(t *testing.T) {
	r := newRig(t, &broken{err: store.ErrNotFound}, lookup.Options{}, lookup.Deps{})
	for request, reply := range map[string]string{
		"hello":                            `PERM malformed netstring: 'h' in its length`,
		":":                                `PERM malformed netstring: ':' in its length`,
		"01:x,":                            `PERM malformed netstring: leading zero`,
		"-1:x,":                            `PERM malformed netstring: '-' in its length`,
		"3:abcd":                           `PERM malformed netstring: no comma after 3 bytes`,
		"4097:" + strings.Repeat("x", 10):  `PERM malformed netstring: longer than 4096 bytes`,
		"99999999999999999999999999999999": `PERM malformed netstring: longer than 4096 bytes`,
	} {
		c := r.dial(t)
		c.send(request)
		require.Equal(t, reply, c.reply(), request)
		c.expectEnd()
	}
	c := r.dial(t)
	c.send("20:domains")
	require.NoError(t, c.conn.(*net.TCPConn).CloseWrite())
	c.expectEnd()
}

func TestManyRequestsOnOneConnection(t *testing.T) {
	c := newRig(t, &broken{err: store.ErrNotFound}, lookup.Options{}, lookup.Deps{}).dial(t)
	c.send(strings.Repeat(netstring("domains example.test"), 500) + netstring(""))
	for range 500 {
		require.Equal(t, "NOTFOUND ", c.reply())
	}
	require.Contains(t, c.reply(), "PERM ")
	c.send("20:domains exam") // in pieces
	c.send("ple.test,")
	require.Equal(t, "NOTFOUND ", c.reply())
}

func TestSilentConnectionsAreClosed(t *testing.T) {
	const short = 50 * time.Millisecond
	x := &broken{err: store.ErrNotFound}
	c := newRig(t, x, lookup.Options{IdleTimeout: short}, lookup.Deps{}).dial(t)
	c.expectEnd()
	c = newRig(t, x, lookup.Options{RequestTimeout: short}, lookup.Deps{}).dial(t)
	c.send("20:doma")
	c.expectEnd()
}

func TestShutdownClosesIdleConnections(t *testing.T) {
	r := newRig(t, &broken{err: store.ErrNotFound}, lookup.Options{}, lookup.Deps{})
	c := r.dial(t)
	require.Equal(t, "NOTFOUND ", c.ask("domains a.test"))
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	require.NoError(t, r.server.Shutdown(ctx))
	c.expectEnd()
	_, err := net.Dial("tcp", r.addr)
	require.Error(t, err)
	require.NoError(t, r.server.Serve(ctx, &net.TCPListener{}), "after the end there is nothing to serve")
}

func TestShutdownOutOfPatience(t *testing.T) {
	x := &stuck{entered: make(chan struct{}, 1)}
	r := newRig(t, x, lookup.Options{RequestTimeout: time.Second}, lookup.Deps{})
	c := r.dial(t)
	c.send(netstring("mailboxes a@example.test"))
	<-x.entered
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	require.ErrorIs(t, r.server.Shutdown(ctx), context.Canceled)
	c.expectEnd()
}

func TestEndOfTheContextEndsServing(t *testing.T) {
	server, err := lookup.New(lookup.Options{}, lookup.Deps{Index: &broken{}})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- server.Serve(ctx, l) }()
	cancel()
	require.NoError(t, <-served)
}

func TestAnIndexIsRequired(t *testing.T) {
	_, err := lookup.New(lookup.Options{}, lookup.Deps{})
	require.ErrorContains(t, err, "an index is required")
}

// FuzzSocketmap feeds a connection with whatever comes. The server must answer in netstrings, and end.
func FuzzSocketmap(f *testing.F) {
	for _, seed := range []string{
		netstring("mailboxes bob@example.test"), netstring("domains example.test") + netstring("aliases @x"), "0:,", "00:,", "5:abc",
		"9999999999999999999999:", netstring(`mailboxes "a b\"@"@example.test`), netstring("mailboxes \x00\xff@\xe3\x81\x82.test"), ":,", "",
	} {
		f.Add([]byte(seed))
	}
	r := newRig(f, &broken{err: store.ErrNotFound}, lookup.Options{}, lookup.Deps{RecipientDelimiter: "+"})
	f.Fuzz(func(t *testing.T, input []byte) {
		c := r.dial(t)
		go func() {
			_, _ = c.conn.Write(input) // the server may have had enough
			_ = c.conn.(*net.TCPConn).CloseWrite()
		}()
		replies, _ := io.ReadAll(c.r) // a reset, when the server closed on unread input
		for rest := string(replies); rest != ""; {
			length, after, found := strings.Cut(rest, ":")
			n, err := strconv.Atoi(length)
			require.True(t, found && err == nil && n < len(after) && after[n] == ',', "reply %q", replies)
			word, _, _ := strings.Cut(after[:n], " ")
			require.Contains(t, []string{"OK", "NOTFOUND", "TEMP", "TIMEOUT", "PERM"}, word)
			rest = after[n+1:]
		}
	})
}

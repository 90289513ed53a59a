package imap_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/imap"
	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
	"github.com/mairust/mairust/store/storetest"
)

const password = "correct horse"

// site is a MaiRust with mailboxes and an IMAP server on loopback.
type site struct {
	*storetest.Site
	store *store.Store
	// index is what the server reads: the store, unless a test puts something before it.
	index imap.Index
	// logins let everybody in who knows the password, unless a test puts others.
	logins  imap.Logins
	objects blob.Bucket
	server  *imap.Server
	metrics *prometheus.Registry
	addr    string
	// suspects are what readers could not read.
	suspects storetest.Suspects
}

// passwords lets everybody in who knows the password.
type passwords struct{ store *store.Store }

func (p passwords) CheckLogin(ctx context.Context, login, word string, _ netip.Addr) (auth.Principal, error) {
	u, err := p.store.UserByLogin(ctx, login)
	if err != nil || word != password {
		return auth.Principal{}, auth.ErrCredentials
	}
	return auth.Principal{
		Kind: auth.KindUser, Login: u.Login, Tenant: u.Tenant, Role: auth.Role(u.Role), User: u.ID, Credential: auth.Credential{User: u.ID},
	}, nil
}

func (p passwords) Ended(context.Context, []auth.Credential) ([]auth.Credential, error) {
	return nil, nil
}

func newSite(t testing.TB, s *store.Store, locals ...string) *site {
	t.Helper()
	return newSiteOn(t, s, blob.NewMemory(), locals...)
}

func newSiteOn(t testing.TB, s *store.Store, objects blob.Bucket, locals ...string) *site {
	t.Helper()
	x := &site{Site: storetest.NewSite(t, s, "acme", "acme.test", locals...), store: s, index: s, logins: passwords{s}, objects: objects}
	x.serve(t, imap.Options{}, imap.Security{PlainLogin: true})
	return x
}

func (x *site) serve(t testing.TB, o imap.Options, security imap.Security) {
	t.Helper()
	x.serveWithin(t, imap.Timeouts{}, nil, o, security)
}

// serveWithin serves with other timeouts and, unless it is nil, implicit TLS.
func (x *site) serveWithin(t testing.TB, timeouts imap.Timeouts, implicit *tls.Config, o imap.Options, security imap.Security) {
	t.Helper()
	x.metrics = prometheus.NewRegistry()
	server, err := imap.New(o, imap.Deps{
		Index: x.index, Objects: x.objects, Logins: x.logins, Version: "test", Suspect: x.suspects.Suspect,
		Log:        slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelInfo})),
		Registerer: x.metrics, Timeouts: timeouts,
	})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	if implicit != nil {
		l = tls.NewListener(l, implicit)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(context.Background(), l, security) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		require.NoError(t, server.Shutdown(ctx))
		require.NoError(t, <-done)
	})
	x.server, x.addr = server, l.Addr().String()
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Log(strings.TrimSpace(string(b)))
	return len(b), nil
}

// deliver stores raw messages in a folder of a mailbox, as LMTP would, and gives their ids.
func (x *site) deliver(t testing.TB, local, folder string, raws ...string) []store.MessageID {
	t.Helper()
	var copies []store.Copy
	var ids []store.MessageID
	flush := func() {
		storetest.Deliver(t, x.store, copies...)
		copies = nil
	}
	for _, raw := range raws {
		c := x.put(t, local, folder, raw)
		copies, ids = append(copies, c), append(ids, c.ID)
		if len(copies) == 100 {
			flush()
		}
	}
	flush()
	return ids
}

func (x *site) put(t testing.TB, local, folder, raw string) store.Copy {
	t.Helper()
	target := x.Target(local)
	summary, err := mail.Summarize(strings.NewReader(raw), mail.Limits{})
	require.NoError(t, err)
	d := blob.NewDigester()
	_, _ = d.Write([]byte(raw)) // it never fails
	id := store.NewMessageID()
	c := store.Copy{
		ID: id, Target: target, Rcpt: target.Address, Folder: folder, Key: store.ObjectKey(target.Tenant, target.Mailbox, id),
		Content: &store.Content{
			From: mail.Address{Local: "a", Domain: "sender.test"}, Summary: summary, SizeBytes: int64(len(raw)),
			Digest: d.Sum(), Pieces: d.Pieces(), Received: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC),
		},
	}
	if quick, ok := x.objects.(interface{ write(key, raw string) error }); ok {
		require.NoError(t, quick.write(c.Key, raw))
		return c
	}
	require.NoError(t, x.objects.Put(t.Context(), c.Key, bytes.NewReader([]byte(raw)), int64(len(raw))))
	return c
}

// wire is a raw conversation.
type wire struct {
	t testing.TB
	net.Conn
	r *bufio.Reader
	n int
}

func dial(t testing.TB, addr string) *wire {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = nc.Close() })
	return newWire(t, nc)
}

// newWire reads the greeting.
func newWire(t testing.TB, nc net.Conn) *wire {
	t.Helper()
	w := &wire{t: t, Conn: nc, r: bufio.NewReader(nc)}
	require.Contains(t, w.line(), "* OK [CAPABILITY IMAP4rev1 ")
	return w
}

// login dials and logs in.
func (x *site) login(t testing.TB, local string) *wire {
	t.Helper()
	w := dial(t, x.addr)
	w.ok("LOGIN %s@acme.test \"%s\"", local, password)
	return w
}

func (w *wire) line() string {
	w.t.Helper()
	require.NoError(w.t, w.SetReadDeadline(time.Now().Add(20*time.Second)))
	line, err := w.r.ReadString('\n')
	require.NoError(w.t, err)
	return strings.TrimRight(line, "\r\n")
}

func (w *wire) send(format string, args ...any) {
	w.t.Helper()
	_, err := fmt.Fprintf(w, format, args...)
	require.NoError(w.t, err)
}

// response is a line with its literals, each in its place after "{n}".
func (w *wire) response() string {
	w.t.Helper()
	text := w.line()
	for {
		var n int
		open := strings.LastIndex(text, "{")
		if open < 0 || !strings.HasSuffix(text, "}") {
			return text
		}
		if _, err := fmt.Sscanf(text[open:], "{%d}", &n); err != nil {
			return text
		}
		b := make([]byte, n)
		_, err := io.ReadFull(w.r, b)
		require.NoError(w.t, err)
		text += "\r\n" + string(b) + w.line()
	}
}

// do sends a command and gives its untagged responses and its tagged one, without the tag.
func (w *wire) do(format string, args ...any) (untagged []string, tagged string) {
	w.t.Helper()
	w.n++
	tag := fmt.Sprintf("t%d", w.n)
	w.send("%s", tag+" "+fmt.Sprintf(format, args...)+"\r\n")
	return w.until(tag)
}

func (w *wire) until(tag string) (untagged []string, tagged string) {
	w.t.Helper()
	for {
		text := w.response()
		if rest, found := strings.CutPrefix(text, tag+" "); found {
			return untagged, rest
		}
		untagged = append(untagged, text)
	}
}

// ok wants a command to succeed, and gives its untagged responses.
func (w *wire) ok(format string, args ...any) []string {
	w.t.Helper()
	untagged, tagged := w.do(format, args...)
	require.Regexp(w.t, "^OK ", tagged, fmt.Sprintf(format, args...))
	return untagged
}

// refused wants a command to be answered with this beginning.
func (w *wire) refused(want, format string, args ...any) {
	w.t.Helper()
	_, tagged := w.do(format, args...)
	require.True(w.t, strings.HasPrefix(tagged, want), "%s: %s", fmt.Sprintf(format, args...), tagged)
}

package lmtp_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/textproto"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/lmtp"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// patience bounds every wait of a test; nothing waits for it to pass.
const patience = 30 * time.Second

// epoch is the time of the servers under test.
var epoch = time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC)

// rig is a server on loopback over an index and a bucket that can be told to fail.
type rig struct {
	t        testing.TB
	server   *lmtp.Server
	addr     string
	index    *fakeIndex
	objects  *faultBucket
	registry *prometheus.Registry
	log      *lockedBuffer
	spool    string
	served   chan error
}

// setup changes a server before it starts.
type setup func(o *lmtp.Options, d *lmtp.Deps)

func newRig(t testing.TB, tlsConfig *tls.Config, setups ...setup) *rig {
	t.Helper()
	r := &rig{
		t: t, index: newFakeIndex(), objects: newFaultBucket(), registry: prometheus.NewRegistry(),
		log: &lockedBuffer{}, spool: t.TempDir(), served: make(chan error, 1),
	}
	o := lmtp.Options{}
	d := lmtp.Deps{
		Index: r.index, Objects: r.objects, Registerer: r.registry, SpoolDir: r.spool, Hostname: "store.example.test",
		Verify: func(string, ...string) error { return errors.New("wrong mac") },
		Log:    slog.New(slog.NewTextHandler(r.log, nil)), Now: func() time.Time { return epoch }, SoonBytes: 64 << 10,
	}
	for _, s := range setups {
		s(&o, &d)
	}
	var err error
	r.server, err = lmtp.New(o, d)
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r.addr = l.Addr().String()
	go func() { r.served <- r.server.Serve(context.Background(), l, tlsConfig) }()
	t.Cleanup(r.stop)
	return r
}

// stop ends the server, cutting what is still open, and waits for it.
func (r *rig) stop() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = r.server.Shutdown(ctx)
	require.NoError(r.t, r.server.Shutdown(within(r.t)))
	if r.served != nil {
		require.NoError(r.t, <-r.served)
		r.served = nil
	}
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// with is the same server for another test.
func (r *rig) with(t testing.TB) *rig {
	t.Helper()
	c := *r
	c.t = t
	return &c
}

// metric is the value of a counter or gauge, with its labels as "name=value".
func (r *rig) metric(name string, labels ...string) float64 {
	families, err := r.registry.Gather()
	require.NoError(r.t, err)
	for _, f := range families {
		for _, m := range f.GetMetric() {
			var have []string
			for _, l := range m.GetLabel() {
				have = append(have, l.GetName()+"="+l.GetValue())
			}
			if f.GetName() == name && slices.Equal(have, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return 0
}

// client is one side of a conversation, byte by byte.
type client struct {
	t    testing.TB
	conn net.Conn
	text *textproto.Reader
}

func (r *rig) dial() *client {
	conn, err := net.Dial("tcp", r.addr)
	require.NoError(r.t, err)
	c := newClient(r.t, conn)
	c.expect("220 store.example.test LMTP Service Ready")
	return c
}

func newClient(t testing.TB, conn net.Conn) *client {
	t.Helper()
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(patience)))
	return &client{t: t, conn: conn, text: textproto.NewReader(bufio.NewReader(conn))}
}

// hello is a client that said LHLO as our MTA.
func (r *rig) hello() *client {
	c := r.dial()
	c.send("LHLO mx.example.test\r\n")
	c.lines()
	return c
}

func (c *client) send(s string) {
	c.t.Helper()
	_, err := io.WriteString(c.conn, s)
	require.NoError(c.t, err)
}

// expect reads one line for each of want.
func (c *client) expect(want ...string) {
	c.t.Helper()
	for _, w := range want {
		line, err := c.text.ReadLine()
		require.NoError(c.t, err, "waiting for %q", w)
		require.Equal(c.t, w, line)
	}
}

// line reads one line.
func (c *client) line() string {
	c.t.Helper()
	line, err := c.text.ReadLine()
	require.NoError(c.t, err)
	return line
}

// lines reads the lines of one reply.
func (c *client) lines() []string {
	c.t.Helper()
	var lines []string
	for {
		lines = append(lines, c.line())
		if last := lines[len(lines)-1]; last[3] == ' ' {
			return lines
		}
	}
}

// expectEnd waits until the server closes.
func (c *client) expectEnd() {
	c.t.Helper()
	_, err := c.text.ReadLine()
	require.Error(c.t, err)
	var timeout net.Error
	require.False(c.t, errors.As(err, &timeout) && timeout.Timeout(), "the connection was not closed")
}

// envelope says MAIL and RCPTs, which must be accepted.
func (c *client) envelope(from string, rcpts ...string) {
	c.t.Helper()
	c.send("MAIL FROM:<" + from + ">\r\n")
	require.True(c.t, strings.HasPrefix(c.line(), "250 2."))
	for _, r := range rcpts {
		c.send("RCPT TO:<" + r + ">\r\n")
		require.True(c.t, strings.HasPrefix(c.line(), "250 2."))
	}
}

// data sends a message with DATA.
func (c *client) data(message string) {
	c.t.Helper()
	c.send("DATA\r\n")
	c.expect("354 Go ahead. End your data with <CR><LF>.<CR><LF>")
	c.send(stuff(message))
}

// stuff is message for DATA: dots doubled after CRLF, CRLF added at the end when it is missing, and the dot.
func stuff(message string) string {
	if !strings.HasSuffix(message, "\r\n") && message != "" {
		message += "\r\n"
	}
	if strings.HasPrefix(message, ".") {
		message = "." + message
	}
	return strings.ReplaceAll(message, "\r\n.", "\r\n..") + ".\r\n"
}

// deliver sends a message in a transaction of its own and returns the replies.
func (c *client) deliver(from, message string, rcpts ...string) []string {
	c.t.Helper()
	c.envelope(from, rcpts...)
	c.data(message)
	replies := make([]string, len(rcpts))
	for i := range replies {
		replies[i] = c.line()
	}
	return replies
}

// requireStored requires "250 2.1.5" replies.
func requireStored(t testing.TB, replies ...string) {
	t.Helper()
	for _, r := range replies {
		require.True(t, strings.HasPrefix(r, "250 2.1.5 <"), r)
	}
}

// fakeIndex is an index in memory.
type fakeIndex struct {
	mu      sync.Mutex
	targets map[string]store.Target
	copies  []store.Copy
	byID    map[string]store.MessageID
	// onResolve and onDeliver, when set, come first; the latter decides unless it gives nil.
	onResolve func(rcpt mail.Address) error
	onDeliver func(copies []store.Copy) []store.Result
}

func newFakeIndex() *fakeIndex {
	x := &fakeIndex{targets: map[string]store.Target{}, byID: map[string]store.MessageID{}}
	for _, local := range []string{"bob", "carol", "dave", "abc..def", "abc.", ".abc", "a b", `q"\x`, "ユーザ"} {
		x.add("t1", local, "example.test")
	}
	x.add("t2", "erin", "other.test")
	x.targets["robert@example.test"] = x.targets["bob@example.test"]
	return x
}

func (x *fakeIndex) add(tenant, local, domain string) {
	a := mail.Address{Local: local, Domain: domain}
	x.targets[a.String()] = store.Target{
		Tenant: store.TenantID(tenant), Mailbox: store.MailboxID("m-" + tenant + "-" + tokenOf(local)), Address: a,
	}
}

// tokenOf makes a local part fit for an object key.
func tokenOf(local string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r == '.' {
			return r
		}
		return '_'
	}, local) + "x"
}

func (x *fakeIndex) Resolve(_ context.Context, rcpt mail.Address, delimiter string) (store.Target, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.onResolve != nil {
		if err := x.onResolve(rcpt); err != nil {
			return store.Target{}, err
		}
	}
	t, ok := x.targets[rcpt.Fold().String()]
	if base, detail, has := rcpt.Detail(delimiter); !ok && has {
		t, ok = x.targets[base.Fold().String()]
		t.Detail = detail
	}
	if !ok {
		return t, store.ErrNotFound
	}
	return t, nil
}

func (x *fakeIndex) Deliver(_ context.Context, copies []store.Copy) []store.Result {
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.onDeliver != nil {
		if results := x.onDeliver(copies); results != nil {
			return results
		}
	}
	results := make([]store.Result, len(copies))
	for i, c := range copies {
		results[i].ID = c.ID
		if id, ok := x.byID[c.DeliveryID]; ok && c.DeliveryID != "" {
			results[i] = store.Result{ID: id, Duplicate: true}
			continue
		}
		x.byID[c.DeliveryID] = c.ID
		x.copies = append(x.copies, c)
	}
	return results
}

func (x *fakeIndex) DeliverWhile(ctx context.Context, c store.Copy, put func() error) (store.Result, error) {
	if err := put(); err != nil {
		return store.Result{}, err
	}
	results := x.Deliver(ctx, []store.Copy{c})
	if len(results) == 0 {
		return store.Result{Err: errors.New("no result")}, nil
	}
	return results[0], nil
}

// forget makes room, and gives what was stored.
func (x *fakeIndex) forget() []store.Copy {
	x.mu.Lock()
	defer x.mu.Unlock()
	c := x.copies
	x.copies, x.byID = nil, map[string]store.MessageID{}
	return c
}

func (x *fakeIndex) stored() []store.Copy {
	x.mu.Lock()
	defer x.mu.Unlock()
	return slices.Clone(x.copies)
}

// faultBucket is a bucket that can be told to fail, and that counts what is done.
type faultBucket struct {
	blob.Bucket
	mu    sync.Mutex
	calls []string
	// deadlines are those of the deletions.
	deadlines []time.Time
	// onPut, when set, comes first, for each key.
	onPut func(key string) error
}

func newFaultBucket() *faultBucket { return &faultBucket{Bucket: blob.NewMemory()} }

func (b *faultBucket) Put(ctx context.Context, key string, r io.ReadSeeker, size int64) error {
	return b.PutAll(ctx, []string{key}, r, size)
}

func (b *faultBucket) PutAll(ctx context.Context, keys []string, r io.ReadSeeker, size int64) error {
	b.note(fmt.Sprintf("put %d", len(keys)))
	for _, key := range keys {
		if b.onPut == nil {
			break
		}
		if err := b.onPut(key); err != nil {
			return err
		}
	}
	return b.Bucket.PutAll(ctx, keys, r, size)
}

func (b *faultBucket) Delete(ctx context.Context, key string) error {
	b.note("delete")
	deadline, _ := ctx.Deadline()
	b.mu.Lock()
	b.deadlines = append(b.deadlines, deadline)
	b.mu.Unlock()
	return b.Bucket.Delete(ctx, key)
}

func (b *faultBucket) note(call string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls = append(b.calls, call)
}

// done is what was done, in order.
func (b *faultBucket) done() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.calls)
}

// object is the one under key.
func (r *rig) object(key string) string { return objectOf(r.t, r.objects, key) }

func objectOf(t testing.TB, b blob.Bucket, key string) string {
	t.Helper()
	o, _, err := b.Get(within(t), key, 0, -1)
	require.NoError(t, err)
	defer func() { require.NoError(t, o.Close()) }()
	bytes, err := io.ReadAll(o)
	require.NoError(t, err)
	return string(bytes)
}

// keysOf lists a bucket.
func keysOf(t testing.TB, b blob.Bucket) []string {
	t.Helper()
	var keys []string
	for info, err := range b.List(within(t), "") {
		require.NoError(t, err)
		keys = append(keys, info.Key)
	}
	return keys
}

// lockedBuffer is a log that may be read while it is written.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

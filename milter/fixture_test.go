package milter_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/milter"
)

// patience bounds every wait of these tests; no test depends on how long anything takes below it.
const patience = 60 * time.Second

// check is a milter.Check made of a function.
type check struct {
	name string
	f    func(ctx context.Context, m *mail.Message) (mail.Verdict, error)
}

func (c check) Name() string { return c.name }
func (c check) Check(ctx context.Context, m *mail.Message) (mail.Verdict, error) {
	return c.f(ctx, m)
}

// says is a source with one verdict for every message.
func says(v mail.Verdict) milter.Source {
	return milter.Source{Check: check{"fixed", func(context.Context, *mail.Message) (mail.Verdict, error) { return v, nil }}}
}

// seen is a message as a check saw it.
type seen struct {
	mail.Message
	raw string
}

// recorder is a source that allows everything and remembers it.
type recorder struct {
	mu   sync.Mutex
	list []seen
}

func (r *recorder) source() milter.Source {
	return milter.Source{Check: check{"recorder", func(_ context.Context, m *mail.Message) (mail.Verdict, error) {
		rd, err := m.Open()
		if err != nil {
			return mail.Verdict{}, err
		}
		raw, err := io.ReadAll(rd)
		if err := errors.Join(err, rd.Close()); err != nil {
			return mail.Verdict{}, err
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.list = append(r.list, seen{*m, string(raw)})
		return mail.Verdict{}, nil
	}}}
}

func (r *recorder) all() []seen {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]seen(nil), r.list...)
}

// last gives the newest message.
func (r *recorder) last(t *testing.T) seen {
	t.Helper()
	all := r.all()
	require.NotEmpty(t, all)
	return all[len(all)-1]
}

// testMAC stands in for the installation's key.
func testMAC(fields ...string) string {
	h := hmac.New(sha256.New, []byte("test key"))
	for _, f := range fields {
		fmt.Fprintf(h, "%d:%s", len(f), f)
	}
	return "v1.test." + hex.EncodeToString(h.Sum(nil))
}

func verifyMAC(mac string, fields ...string) error {
	if mac != testMAC(fields...) {
		return errors.New("wrong mac")
	}
	return nil
}

// served is a milter with its sockets.
type served struct {
	*milter.Server
	metrics        *prometheus.Registry
	log            *syncBuffer
	socket, local  string
	spool          string
	stopped        chan error
	shutdownCalled sync.Once
}

// serve starts a milter on two unix sockets, for smtpd and for sendmail.
func serve(t testing.TB, o milter.Options, sources ...milter.Source) *served {
	t.Helper()
	dir := labtest.ShortDir(t)
	return serveIn(t, dir, o, sources...)
}

func serveIn(t testing.TB, dir string, o milter.Options, sources ...milter.Source) *served {
	t.Helper()
	s := &served{
		metrics: prometheus.NewRegistry(),
		log:     &syncBuffer{},
		socket:  filepath.Join(dir, "m.sock"),
		local:   filepath.Join(dir, "l.sock"),
		spool:   t.TempDir(),
		stopped: make(chan error, 2),
	}
	var err error
	s.Server, err = milter.New(o, milter.Deps{
		Sources:    sources,
		MAC:        testMAC,
		Log:        slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
		Registerer: s.metrics,
		SpoolDir:   s.spool,
	})
	require.NoError(t, err)
	for path, role := range map[string]string{s.socket: milter.RoleAuto, s.local: milter.RoleLocal} {
		ln := listenUnix(t, path)
		go func() { s.stopped <- s.Serve(context.Background(), ln, role) }()
	}
	t.Cleanup(func() {
		s.stop(t)
		if t.Failed() {
			t.Logf("milter log:\n%s", s.log)
		}
	})
	return s
}

// stop ends the milter, with little patience for connections that are still at work.
func (s *served) stop(t testing.TB) {
	t.Helper()
	s.shutdownCalled.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		require.NoError(t, s.Shutdown(ctx))
		require.NoError(t, <-s.stopped)
		require.NoError(t, <-s.stopped)
	})
}

func listenUnix(t testing.TB, path string) net.Listener {
	t.Helper()
	ln, err := net.Listen("unix", path)
	require.NoError(t, err)
	require.NoError(t, os.Chmod(path, 0o777))
	return ln
}

// metric sums the samples of a metric.
func (s *served) metric(t testing.TB, name string) float64 {
	t.Helper()
	families, err := s.metrics.Gather()
	require.NoError(t, err)
	sum := 0.0
	for _, f := range families {
		if f.GetName() == name {
			for _, m := range f.GetMetric() {
				sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	return sum
}

// site is a Postfix with a milter before it and an LMTP sink behind it.
type site struct {
	*served
	pf   *lab.Postfix
	sink *lab.LMTPSink
}

// newSite starts all three. Mail for example.test goes to the sink.
func newSite(t testing.TB, m *served, o lab.PostfixOptions) *site {
	t.Helper()
	s := &site{served: m, sink: labtest.LMTPSink(t, "")}
	o.Milter, o.LocalMilter = "unix:"+m.socket, "unix:"+m.local
	o.VirtualTransport = s.sink.Transport()
	extra := map[string]string{"lmtp_line_length_limit": "0"}
	maps.Copy(extra, o.ExtraMain) // which several sites may share
	o.ExtraMain = extra
	s.pf = labtest.Postfix(t, o)
	return s
}

func waiting(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// send sends one message from a stranger and gives all replies.
func (s *site) send(t testing.TB, from, to, msg string) *lab.Replies {
	t.Helper()
	return s.sendWith(t, from, []string{to}, msg, lab.SendOptions{})
}

func (s *site) sendWith(t testing.TB, from string, to []string, msg string, o lab.SendOptions) *lab.Replies {
	t.Helper()
	r, err := lab.SMTPSend(waiting(t), s.pf.SMTPAddr, from, to, []byte(msg), o)
	require.NoError(t, err)
	return r
}

// accepted sends one message that must be taken.
func (s *site) accepted(t testing.TB, msg string) {
	t.Helper()
	r := s.send(t, "alice@sender.test", "bob@example.test", msg)
	require.True(t, r.Accepted(), "%v", r)
}

// delivered waits for the n-th message at the sink.
func (s *site) delivered(t testing.TB, n int) delivery {
	t.Helper()
	got, err := s.sink.Wait(waiting(t), n)
	require.NoError(t, err)
	return delivery{Transaction: got[n-1], t: t}
}

// dial begins a conversation with Postfix, past EHLO.
func (s *site) dial(t testing.TB) *lab.SMTPConn {
	t.Helper()
	c, err := lab.DialSMTP(waiting(t), s.pf.SMTPAddr)
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	cmd(t, c, "EHLO client.example.test", 250)
	return c
}

func cmd(t testing.TB, c *lab.SMTPConn, line string, code int) lab.Reply {
	t.Helper()
	r, err := c.Cmd(line)
	require.NoError(t, err)
	require.Equal(t, code, r.Code, "%s: %s", line, r)
	return r
}

// transaction says MAIL, RCPT and DATA and sends the message; it gives the final reply.
func transaction(t testing.TB, c *lab.SMTPConn, from, to, msg string) lab.Reply {
	t.Helper()
	cmd(t, c, "MAIL FROM:<"+from+">", 250)
	cmd(t, c, "RCPT TO:<"+to+">", 250)
	cmd(t, c, "DATA", 354)
	r, err := c.Body([]byte(msg), 1)
	require.NoError(t, err)
	return r[0]
}

// delivery is a message as LMTP received it.
type delivery struct {
	lab.Transaction
	t testing.TB
}

// fields splits the header.
func (d delivery) fields() []string {
	header, _, found := strings.Cut(string(d.Data), "\r\n\r\n")
	if !found {
		header = strings.TrimSuffix(string(d.Data), "\r\n")
	}
	var fields []string
	for _, line := range strings.Split(header, "\r\n") {
		if len(fields) > 0 && (strings.HasPrefix(line, " ") || strings.HasPrefix(line, "\t")) {
			fields[len(fields)-1] += "\r\n" + line
			continue
		}
		fields = append(fields, line)
	}
	return fields
}

// scan checks the scan header as LMTP does, and that it is the first field of all and the only one.
func (d delivery) scan() mail.Scan {
	d.t.Helper()
	fields := d.fields()
	name, value, _ := strings.Cut(fields[0], ":")
	require.Equal(d.t, mail.ScanField, name, "%q", fields)
	for _, f := range fields[1:] {
		require.False(d.t, strings.HasPrefix(strings.ToLower(f), "x-mairust-"), "%q", f)
	}
	from := mail.ReadPath(d.From)
	body := mail.NewMessageBodyHash()
	_, _ = body.Write(d.Data)
	scan, err := mail.ParseScan(value, from, body.Sum(), verifyMAC)
	require.NoError(d.t, err, "%q", value)
	summary, err := mail.Summarize(bytes.NewReader(d.Data), mail.Limits{})
	require.NoError(d.t, err)
	require.Equal(d.t, summary.Top.ID, scan.QueueID, "LMTP would not believe it")
	return scan
}

// original is the message without what Postfix and we put on top: the scan header, results of checks, Received.
func (d delivery) original() string {
	d.t.Helper()
	fields, n := d.fields(), 1
	for strings.HasPrefix(fields[n], "Authentication-Results:") {
		n++
	}
	require.True(d.t, strings.HasPrefix(fields[n], "Received:"), "%q", fields[n])
	return strings.TrimPrefix(string(d.Data), strings.Join(fields[:n+1], "\r\n")+"\r\n")
}

// syncBuffer is a buffer for a log that is written and read at once.
type syncBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

// message builds a message with CRLF line ends from lines.
func message(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n" }

var plain = message("From: Alice <alice@sender.test>", "To: bob@example.test", "Subject: hello", "Date: Sun, 01 Feb 2026 10:00:00 +0000", "Message-ID: <1@sender.test>", "", "Hello,", ".dotted", "world")

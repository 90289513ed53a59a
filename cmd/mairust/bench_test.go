package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
	"github.com/mairust/mairust/store/storetest"
)

// benchMailboxes are spread over by every load.
const benchMailboxes = 50

// benchSeconds is how long each load lasts; MAIRUST_BENCH_SECONDS changes it.
func benchSeconds() time.Duration {
	if n, err := strconv.Atoi(os.Getenv("MAIRUST_BENCH_SECONDS")); err == nil && n > 0 {
		return time.Duration(n) * time.Second
	}
	return 10 * time.Second
}

// BenchmarkDeliveryBesideDovecot delivers by LMTP to MaiRust on each database and to Dovecot (sdbox), one after the
// other in the same run, and reports messages per second, the 99th percentile, CPU per message, and MaiRust's rate
// as a multiple of Dovecot's.
func BenchmarkDeliveryBesideDovecot(b *testing.B) {
	for _, load := range []lmtpLoad{
		{connections: 32, size: 4 << 10}, {connections: 1, size: 4 << 10}, {connections: 32, size: 4 << 10, reconnect: true},
		{connections: 32, size: 50 << 10}, {connections: 8, size: 1 << 20},
	} {
		b.Run(load.String(), func(b *testing.B) {
			var peer loadResult
			b.Run("dovecot", func(b *testing.B) {
				d := labtest.Dovecot(b, lab.DovecotOptions{Settings: "service lmtp {\n  process_min_avail = 8\n}"})
				peer = load.run(b, d.LMTPAddr, d.Pid())
				peer.report(b, peer)
			})
			for _, backend := range storetest.Backends() {
				b.Run(backend, func(b *testing.B) {
					site := newTestSite(b, siteOptions{Backend: backend, Mailboxes: benchLocals()})
					daemon := site.start(b)
					load.run(b, site.socket("lmtp"), daemon.cmd.Process.Pid).report(b, peer)
				})
			}
		})
	}
}

func benchLocals() []string {
	var locals []string
	for i := range benchMailboxes {
		locals = append(locals, fmt.Sprintf("u%d", i))
	}
	return locals
}

// lmtpLoad is a number of clients that send as fast as they are answered.
type lmtpLoad struct {
	connections, size int
	// reconnect makes a new session for each message.
	reconnect bool
}

func (l lmtpLoad) String() string {
	kind := "kept"
	if l.reconnect {
		kind = "new"
	}
	return fmt.Sprintf("%d_%s_connections/%d_KB", l.connections, kind, l.size>>10)
}

// loadResult is what a load has measured.
type loadResult struct {
	messages int
	elapsed  time.Duration
	cpu      time.Duration
	took     []time.Duration
}

func (r loadResult) rate() float64 { return float64(r.messages) / r.elapsed.Seconds() }

func (r loadResult) p99() time.Duration { return r.took[len(r.took)*99/100] }

func (r loadResult) cpuPerMessage() float64 {
	return float64(r.cpu.Microseconds()) / float64(r.messages)
}

func (r loadResult) report(b *testing.B, peer loadResult) {
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(r.rate(), "msgs/s")
	b.ReportMetric(float64(r.p99().Microseconds())/1000, "p99-ms")
	b.ReportMetric(r.cpuPerMessage(), "cpu-µs/msg")
	if peer.messages > 0 {
		b.ReportMetric(r.rate()/peer.rate(), "x-dovecot")
		b.ReportMetric(r.cpuPerMessage()/peer.cpuPerMessage(), "cpu-of-dovecot")
		b.ReportMetric(float64(r.p99())/float64(peer.p99()), "p99-of-dovecot")
	}
}

// run sends for benchSeconds; pid is the server, whose CPU time is counted with that of its children.
func (l lmtpLoad) run(b *testing.B, addr string, pid int) loadResult {
	b.Helper()
	body := benchMessage(l.size)
	// Every mailbox exists before the clock starts: Dovecot makes them at the first message, not well at once.
	warm, err := dialBench(addr)
	require.NoError(b, err)
	for _, local := range benchLocals() {
		require.NoError(b, warm.send(local+"@example.test", body))
	}
	require.NoError(b, warm.conn.Close())
	before, start := processCPU(b, pid), time.Now()
	ctx, cancel := context.WithDeadline(b.Context(), start.Add(benchSeconds()))
	defer cancel()
	took := make([][]time.Duration, l.connections)
	errs := make([]error, l.connections)
	var clients sync.WaitGroup
	for i := range l.connections {
		clients.Go(func() { took[i], errs[i] = l.client(ctx, addr, i, body) })
	}
	clients.Wait()
	r := loadResult{elapsed: time.Since(start), cpu: processCPU(b, pid) - before}
	for i := range took {
		require.NoError(b, errs[i])
		r.took = append(r.took, took[i]...)
	}
	r.messages = len(r.took)
	require.NotZero(b, r.messages)
	slices.Sort(r.took)
	return r
}

// client sends message after message and returns how long each took.
func (l lmtpLoad) client(ctx context.Context, addr string, n int, body []byte) ([]time.Duration, error) {
	var took []time.Duration
	var c *benchConn
	var err error
	mine := bytes.Clone(body)
	queueID := bytes.Index(mine, []byte("QUEUEIDQUEUE"))
	for i := n; ctx.Err() == nil; i++ {
		start := time.Now()
		if c == nil {
			if c, err = dialBench(addr); err != nil {
				return took, err
			}
		}
		copy(mine[queueID:], fmt.Sprintf("%04X%08X", n, i)) // each message is a new one
		if err := c.send(fmt.Sprintf("u%d@example.test", i%benchMailboxes), mine); err != nil {
			return took, err
		}
		if l.reconnect {
			if err := c.conn.Close(); err != nil {
				return took, err
			}
			c = nil
		}
		took = append(took, time.Since(start))
	}
	if c != nil {
		return took, c.conn.Close()
	}
	return took, nil
}

// benchConn is an LMTP client that costs little and pipelines as Postfix does (RFC 2920).
type benchConn struct {
	conn net.Conn
	r    *bufio.Reader
}

func dialBench(addr string) (*benchConn, error) {
	network, address := "tcp", addr
	if path, ok := strings.CutPrefix(addr, "unix:"); ok {
		network, address = "unix", path
	}
	conn, err := net.Dial(network, address)
	if err != nil {
		return nil, err
	}
	c := &benchConn{conn: conn, r: bufio.NewReader(conn)}
	if err := c.expect("220"); err != nil {
		return nil, err
	}
	if _, err := conn.Write([]byte("LHLO mx.example.test\r\n")); err != nil {
		return nil, err
	}
	return c, c.expect("250")
}

func (c *benchConn) send(rcpt string, body []byte) error {
	if _, err := c.conn.Write([]byte("MAIL FROM:<a@sender.test>\r\nRCPT TO:<" + rcpt + ">\r\nDATA\r\n")); err != nil {
		return err
	}
	for _, code := range []string{"250", "250", "354"} {
		if err := c.expect(code); err != nil {
			return err
		}
	}
	if _, err := c.conn.Write(body); err != nil {
		return err
	}
	return c.expect("250")
}

// expect reads a reply of any number of lines.
func (c *benchConn) expect(code string) error {
	for {
		line, err := c.r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if len(line) < 4 || string(line[:3]) != code {
			return fmt.Errorf("want %s, got %q", code, line)
		}
		if line[3] == ' ' {
			return nil
		}
	}
}

// benchMessage is a message of about size bytes as it goes over the wire, with headers as mail has them.
func benchMessage(size int) []byte {
	var b bytes.Buffer
	b.WriteString("Received: from client.sender.test (client.sender.test [192.0.2.25])\r\n\tby mx.example.test (Postfix) with ESMTP id QUEUEIDQUEUE\r\n" +
		"\tfor <u@example.test>; Sun, 22 Nov 2026 10:00:00 +0900 (JST)\r\nFrom: =?UTF-8?B?5bGx55Sw?= <yamada@sender.test>\r\n" +
		"To: u@example.test\r\nSubject: =?UTF-8?B?5Lya6K2w44Gu44GK55+l44KJ44Gb?=\r\nMessage-ID: <bench@sender.test>\r\n" +
		"Date: Sun, 22 Nov 2026 10:00:00 +0900\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n")
	for b.Len() < size-5 {
		b.WriteString("0123456789 abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ\r\n")
	}
	b.WriteString(".\r\n")
	return b.Bytes()
}

// processCPU is the CPU time that a process and all below it have used, those that have ended included.
func processCPU(b *testing.B, pid int) time.Duration {
	b.Helper()
	const ticksPerSecond = 100 // USER_HZ on every Linux that Go runs on
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	require.NoError(b, err)
	parent, own := map[int]int{}, map[int]int{}
	for _, path := range stats {
		raw, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		id, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		require.NoError(b, err)
		fields := strings.Fields(string(raw[bytes.LastIndexByte(raw, ')')+2:]))
		parent[id], err = strconv.Atoi(fields[1])
		require.NoError(b, err)
		for _, field := range fields[11:15] { // utime, stime, cutime, cstime: proc(5)
			n, err := strconv.Atoi(field)
			require.NoError(b, err)
			own[id] += n
		}
	}
	ticks := 0
	for id := range own {
		for at := id; at > 1; at = parent[at] {
			if at == pid {
				ticks += own[id]
				break
			}
		}
	}
	return time.Duration(ticks) * time.Second / ticksPerSecond
}

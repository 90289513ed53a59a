package main

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/store/storetest"
)

// maxMemory is what the process may use at most while 32 messages of 25 MB come in at once. The race detector needs
// several times as much, so the program is built without.
const maxMemory = 200_000_000

func TestManyBigMessagesAtOnceFitIntoLittleMemory(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) { sendBigMessagesAtOnce(t, backend) })
	}
}

func sendBigMessagesAtOnce(t *testing.T, backend string) {
	site := newTestSite(t, siteOptions{Backend: backend, Mailboxes: []string{"bob", "eve"}, Program: buildMutant(t, "")})
	daemon := site.start(t)
	message := withAttachment(25 << 20)
	small := withAttachment(900 << 10)
	var senders sync.WaitGroup
	var taken, refused sync.Map
	for n := range 32 {
		senders.Go(func() {
			replies, err := site.lmtp(t.Context(), "a@sender.test", []string{"bob@example.test", "eve@example.test"}, message)
			if assert.NoError(t, err) && replies.Accepted() {
				taken.Store(n, true)
			} else {
				refused.Store(n, replies)
			}
		})
	}
	senders.Wait()
	big := daemon.peakMemory(t)
	// Messages that each fit into memory, together do not.
	for range 64 {
		senders.Go(func() {
			_, err := site.lmtp(t.Context(), "a@sender.test", []string{"bob@example.test"}, small)
			assert.NoError(t, err)
		})
	}
	senders.Wait()
	refused.Range(func(_, replies any) bool { t.Errorf("not taken: %+v", replies); return true })
	peak := daemon.peakMemory(t)
	t.Logf("VmHWM: %.1f MB after 32 messages of 25 MB, %.1f MB after 64 of 900 KB", float64(big)/1e6, float64(peak)/1e6)
	assert.Less(t, peak, int64(maxMemory))
	for _, m := range daemon.messages(t, "bob@example.test", "")[:3] {
		assert.Contains(t, string(daemon.raw(t, m.ID)), string(small[len(small)-1000:]))
	}
}

// withAttachment is a message of about size bytes, most of them an attachment in base64.
func withAttachment(size int) []byte {
	var b bytes.Buffer
	b.WriteString("Subject: attachment\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n" +
		"--b\r\nContent-Type: text/plain\r\n\r\nsee there\r\n--b\r\n" +
		"Content-Type: application/octet-stream\r\nContent-Disposition: attachment; filename=big.bin\r\nContent-Transfer-Encoding: base64\r\n\r\n")
	line := strings.Repeat("QUJD", 19) + "\r\n"
	for b.Len() < size {
		b.WriteString(line)
	}
	b.WriteString("--b--\r\n")
	return b.Bytes()
}

var highWater = regexp.MustCompile(`VmHWM:\s+(\d+) kB`)

// peakMemory is the most that the process ever had in memory, in bytes (proc(5)).
func (p *process) peakMemory(t *testing.T) int64 {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	require.NoError(t, err)
	found := highWater.FindSubmatch(text)
	require.NotNil(t, found)
	kilobytes, err := strconv.ParseInt(string(found[1]), 10, 64)
	require.NoError(t, err)
	return kilobytes << 10
}

func TestSlowBigMessagesDoNotHoldSmallOnes(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) { trickleBigMessages(t, backend) })
	}
}

func trickleBigMessages(t *testing.T, backend string) {
	site := newTestSite(t, siteOptions{Backend: backend, Mailboxes: []string{"bob", "eve"}})
	site.start(t)
	alone := median(t, site)
	done := make(chan struct{})
	var trickle sync.WaitGroup
	big := lab.DotStuff(withAttachment(25 << 20))
	for range 8 {
		c := beginMessage(t, site)
		trickle.Go(func() {
			for rest := big; len(rest) > 0; rest = rest[min(len(rest), 32<<10):] {
				select {
				case <-done:
					return
				case <-time.After(5 * time.Millisecond): // how slow the client is
				}
				if !assert.NoError(t, c.Write(rest[:min(len(rest), 32<<10)])) {
					return
				}
			}
		})
	}
	beside := median(t, site)
	close(done)
	trickle.Wait()
	t.Logf("median time of a small message: %s alone, %s beside 8 slow big ones", alone, beside)
	assert.Less(t, beside, 5*alone+50*time.Millisecond)
}

// median sends small messages one after the other, and gives the time that half of them took at most.
func median(t *testing.T, s *testSite) time.Duration {
	t.Helper()
	var took []time.Duration
	for range 41 {
		began := time.Now()
		replies, err := s.lmtp(t.Context(), "a@sender.test", []string{"eve@example.test"}, hello)
		require.NoError(t, err)
		require.True(t, replies.Accepted())
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// slowSite has short deadlines and few connections.
func slowSite(t *testing.T) *testSite {
	t.Helper()
	site := newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"bob"}})
	site.change(t, "lmtp:\n", "lmtp:\n  max_connections: 6\n  command_timeout: 2s\n  data_timeout: 1s\n  message_timeout: 3s\n  reply_timeout: 1s\n")
	return site
}

func TestSlowClientsAreCut(t *testing.T) {
	const envelope = "LHLO mx.test\r\nMAIL FROM:<a@sender.test>\r\nRCPT TO:<bob@example.test>\r\nDATA\r\n"
	site := slowSite(t)
	daemon := site.start(t)
	for name, c := range map[string]struct {
		say, drip string
		most      time.Duration
	}{
		"silent from the start":       {most: 2 * time.Second},
		"silent after MAIL":           {say: "LHLO mx.test\r\nMAIL FROM:<a@sender.test>\r\n", most: 2 * time.Second},
		"silent in DATA":              {say: envelope + "Subject: x\r\n", most: time.Second},
		"a byte at a time in DATA":    {say: envelope, drip: "x", most: 3 * time.Second},
		"a byte at a time in command": {drip: "N", most: 2 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			began := time.Now()
			conn, err := net.Dial("unix", strings.TrimPrefix(site.socket("lmtp"), "unix:"))
			require.NoError(t, err)
			defer conn.Close()
			_, err = io.WriteString(conn, c.say)
			require.NoError(t, err)
			ended := make(chan struct{})
			go func() {
				defer close(ended)
				_, _ = io.Copy(io.Discard, conn) // until the daemon hangs up
			}()
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for open := true; open; {
				select {
				case <-ended:
					open = false
				case <-tick.C:
					_, _ = io.WriteString(conn, c.drip) // fails when the daemon has hung up
				case <-time.After(30 * time.Second):
					t.Fatal("still connected")
				}
			}
			assert.Greater(t, time.Since(began), c.most/2)
			assert.Less(t, time.Since(began), c.most+5*time.Second)
		})
	}
	t.Cleanup(func() { assert.Empty(t, daemon.messages(t, "bob@example.test", ""), "nothing of them is stored") })
}

func TestClientsThatReadNoRepliesAreCut(t *testing.T) {
	site := slowSite(t)
	daemon := site.start(t)
	var deaf sync.WaitGroup
	for range 6 { // all connections that there are
		c, err := lab.DialSMTP(t.Context(), site.socket("lmtp"))
		require.NoError(t, err)
		require.Equal(t, 220, c.Greeting.Code)
		defer c.Close()
		deaf.Go(func() {
			var err error
			for err == nil {
				err = c.Write(bytes.Repeat([]byte("NOOP\r\n"), 1000))
			}
			assert.NotErrorIs(t, err, os.ErrDeadlineExceeded, "the daemon goes on waiting")
		})
	}
	deaf.Wait()
	waitFor(t, "a place", func() bool {
		replies, err := site.lmtp(t.Context(), "a@sender.test", []string{"bob@example.test"}, hello)
		return err == nil && replies.Accepted()
	})
	assert.Len(t, daemon.messages(t, "bob@example.test", ""), 1)
}

func TestIdleConnectionsDoNotKeepOthersOutForLong(t *testing.T) {
	site := slowSite(t)
	daemon := site.start(t)
	for range 6 {
		c, err := lab.DialSMTP(t.Context(), site.socket("lmtp"))
		require.NoError(t, err)
		require.Equal(t, 220, c.Greeting.Code)
		t.Cleanup(func() { _ = c.Close() })
	}
	c, err := lab.DialSMTP(t.Context(), site.socket("lmtp"))
	require.NoError(t, err)
	defer c.Close()
	assert.Equal(t, 421, c.Greeting.Code, "told, not left waiting: %s", c.Greeting)
	waitFor(t, "a place", func() bool {
		replies, err := site.lmtp(t.Context(), "a@sender.test", []string{"bob@example.test"}, hello)
		return err == nil && replies.Accepted()
	})
	assert.Len(t, daemon.messages(t, "bob@example.test", ""), 1)
}

func TestClientOverItsCapIsTold421(t *testing.T) {
	site := newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"bob"}})
	port := freeAddress(t)
	site.change(t, "lmtp:\n  listeners: [", "lmtp:\n  max_per_client: 3\n  listeners: [{address: \"inet:"+port+"\"}, ")
	site.start(t)
	for range 3 {
		c, err := lab.DialSMTP(t.Context(), port)
		require.NoError(t, err)
		require.Equal(t, 220, c.Greeting.Code)
		defer c.Close()
	}
	c, err := lab.DialSMTP(t.Context(), port)
	require.NoError(t, err)
	defer c.Close()
	assert.Equal(t, "421 4.3.2 Too many connections, try again later", c.Greeting.String())
	replies, err := site.lmtp(t.Context(), "a@sender.test", []string{"bob@example.test"}, hello)
	require.NoError(t, err)
	assert.True(t, replies.Accepted(), "others are let in")
}

// freeAddress is an address of this host that nobody has.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

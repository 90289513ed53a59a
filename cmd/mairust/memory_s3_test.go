package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab/labtest"
)

// TestLargeMailToS3TakesLittleMemory sends 25 MB over 32 connections at once.
func TestLargeMailToS3TakesLittleMemory(t *testing.T) {
	const connections = 32
	b := newBucketSite(t, labtest.MinIO(t))
	o := b.site("sqlite", "")
	o.Mailboxes, o.Program = []string{"bob"}, buildMutant(t, "")
	site := newTestSite(t, o)
	daemon := site.start(t)
	body := bytes.Repeat([]byte("0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcd\r\n"), 25<<20/64)
	var senders sync.WaitGroup
	for n := range connections {
		senders.Go(func() {
			message := append(fmt.Appendf(nil, "Subject: large-%d\r\n\r\n", n), body...)
			replies, err := site.lmtp(t.Context(), "a@sender.test", []string{"bob@example.test"}, message)
			if assert.NoError(t, err) {
				assert.True(t, replies.Accepted(), "%+v", replies)
			}
		})
	}
	senders.Wait()
	peak := peakMemory(t, daemon.cmd.Process.Pid)
	t.Logf("%d connections of 25 MB: at most %d MB resident", connections, peak>>20)
	require.Less(t, peak, int64(maxMemory))
	require.Len(t, b.messages(t), connections)
}

// peakMemory is the largest resident set that a process has had.
func peakMemory(t *testing.T, pid int) int64 {
	t.Helper()
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	require.NoError(t, err)
	_, rest, found := strings.Cut(string(raw), "VmHWM:")
	require.True(t, found)
	kb, err := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
	require.NoError(t, err)
	return kb << 10
}

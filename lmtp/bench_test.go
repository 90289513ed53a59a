package lmtp_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/storetest"
)

// BenchmarkDeliver measures messages of 8 KiB, durably stored, over connections that are kept open.
func BenchmarkDeliver(b *testing.B) {
	for _, backend := range storetest.Backends() {
		for _, connections := range []int{1, 8, 32} {
			b.Run(fmt.Sprintf("%s/%d", backend, connections), func(b *testing.B) {
				st := store.New(store.Options{DB: storetest.OpenDB(b, storetest.Options(b, backend))})
				storetest.NewSite(b, st, "t1", "example.test", "bob", "carol", "dave", "erin")
				benchmarkDeliver(b, newReal(b, st), connections)
			})
		}
	}
}

func benchmarkDeliver(b *testing.B, r *real, connections int) {
	body := "Subject: hello\r\n\r\n" + strings.Repeat("It is a line of an ordinary message, not too long.\r\n", 160)
	clients := make([]*quickClient, connections)
	for i := range clients {
		c, err := smtpDial(r.addr)
		require.NoError(b, err)
		defer c.close()
		clients[i] = c
	}
	var next atomic.Int64
	failed := make(chan error, connections)
	b.SetBytes(int64(len(body)))
	b.ResetTimer()
	for _, c := range clients {
		go func() { failed <- c.work(&next, int64(b.N), body) }()
	}
	for range clients {
		require.NoError(b, <-failed)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "messages/s")
}

// work sends messages until there are n in all.
func (c *quickClient) work(next *atomic.Int64, n int64, body string) error {
	rcpts := []string{"bob@example.test", "carol@example.test", "dave@example.test", "erin@example.test"}
	for i := next.Add(1); i <= n; i = next.Add(1) {
		replies, err := c.message("a@sender.test", body, rcpts[i%4])
		if err != nil {
			return err
		}
		if !strings.HasPrefix(replies[0], "250 ") {
			return fmt.Errorf("reply %q", replies[0])
		}
	}
	return nil
}

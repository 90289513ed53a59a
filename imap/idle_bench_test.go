package imap_test

import (
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/imap"
	"github.com/mairust/mairust/store"
)

// BenchmarkIdleConnections holds many connections in IDLE (IMAP_IDLE, default 1,000; 10,000 is what a node is meant to
// hold), spread over 50 mailboxes, and reports the memory of both ends of each, and how long it takes from a delivery to
// every mailbox until the last connection was told. The time of the polls is in it.
func BenchmarkIdleConnections(b *testing.B) {
	connections := 1000
	if n, err := strconv.Atoi(os.Getenv("IMAP_IDLE")); err == nil && n > 0 {
		connections = n
	}
	var limit syscall.Rlimit
	require.NoError(b, syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit))
	if need := uint64(2*connections + 500); limit.Cur < need {
		limit.Cur, limit.Max = need, max(limit.Max, need)
		if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
			b.Skipf("SKIPPED: %d connections need %d descriptors: %v", connections, need, err)
		}
	}
	var locals []string
	for i := range 50 {
		locals = append(locals, fmt.Sprintf("u%d", i))
	}
	x := sqliteSite(b, locals...)
	for _, local := range locals {
		x.deliver(b, local, store.Inbox, wellFormed(20)...)
	}
	x.serve(b, imap.Options{MaxConnections: connections + 10, MaxPerClient: connections + 10}, imap.Security{PlainLogin: true})
	before := memory()
	clients := make([]*wire, connections)
	for i := range clients {
		clients[i] = x.login(b, locals[i%len(locals)])
		clients[i].ok("SELECT INBOX")
		clients[i].send("i IDLE\r\n")
		require.Equal(b, "+ idling", clients[i].line())
	}
	each := float64(memory()-before) / float64(connections) / 1024
	for b.Loop() {
		began := time.Now()
		for _, local := range locals {
			x.deliver(b, local, store.Inbox, plainMail)
		}
		var told sync.WaitGroup
		for _, c := range clients {
			told.Go(func() { c.line() })
		}
		told.Wait()
		b.ReportMetric(time.Since(began).Seconds(), "s-until-all-told")
	}
	b.ReportMetric(each, "kB/connection")
	b.ReportMetric(float64(connections), "connections")
	runtime.KeepAlive(clients)
}

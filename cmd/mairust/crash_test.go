package main

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// crashRounds is how often each daemon is killed; over both databases it is more than 100.
var crashRounds = map[string]int{sqldb.SQLite: 70, sqldb.Postgres: 35}

// crashSenders send at once.
const crashSenders = 4

func TestNothingAcknowledgedIsLostByKill(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			site := newTestSite(t, siteOptions{Backend: backend, Mailboxes: []string{"u0", "u1", "u2", "u3"}})
			ledger := &ledger{objects: map[string]string{}}
			seed := rand.Uint64()
			t.Logf("seed %d", seed)
			random := rand.New(rand.NewPCG(seed, 0))
			var daemon *process
			for round := range crashRounds[backend] {
				daemon = site.start(t)
				loadThenKill(t, daemon, ledger, round, time.Duration(random.IntN(120))*time.Millisecond)
			}
			daemon = site.start(t)
			checkLedger(t, daemon, ledger)
			checkObjects(t, site, ledger)
			t.Logf("%d rounds: %d sent, %d acknowledged; lost 0, corrupt 0", crashRounds[backend], len(ledger.sent), len(ledger.acked))
		})
	}
}

// ledger knows what was sent and what was acknowledged.
type ledger struct {
	mu sync.Mutex
	// sent and acked hold subjects with their mailbox.
	sent, acked []letter
	// objects maps each subject to what its object must be.
	objects map[string]string
}

type letter struct{ subject, mailbox string }

func (l *ledger) send(s letter, object string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sent = append(l.sent, s)
	l.objects[s.subject] = object
}

func (l *ledger) ack(s letter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.acked = append(l.acked, s)
}

// loadThenKill keeps the daemon busy and kills it after a while.
func loadThenKill(t *testing.T, p *process, l *ledger, round int, after time.Duration) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var senders sync.WaitGroup
	for sender := range crashSenders {
		senders.Go(func() { sendUntilRefused(ctx, p.site, l, round, sender) })
	}
	time.Sleep(after) // the moment of the kill is what the test varies
	p.kill()
	senders.Wait()
}

// sendUntilRefused sends messages of all sizes over one connection, until that breaks.
func sendUntilRefused(ctx context.Context, s *testSite, l *ledger, round, sender int) {
	c, err := lab.DialSMTP(ctx, s.socket("lmtp"))
	if err != nil {
		return
	}
	defer c.Close()
	if _, err := c.Cmd("LHLO mx.example.test"); err != nil {
		return
	}
	for n := 0; ctx.Err() == nil; n++ {
		mine := letter{fmt.Sprintf("crash-%d-%d-%d", round, sender, n), fmt.Sprintf("u%d@example.test", n%4)}
		message := "Subject: " + mine.subject + "\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", (n*n*37)%4000)
		l.send(mine, "Return-Path: <a@sender.test>\r\n"+message)
		for _, line := range []string{"MAIL FROM:<a@sender.test>", "RCPT TO:<" + mine.mailbox + ">", "DATA"} {
			if r, err := c.Cmd(line); err != nil || !r.OK() {
				return
			}
		}
		replies, err := c.Body([]byte(message), 1)
		if err != nil {
			return
		}
		if replies[0].Code == 250 {
			l.ack(mine)
		}
	}
}

// checkLedger asks the API: everything acknowledged is there, once, and everything there is whole.
func checkLedger(t *testing.T, p *process, l *ledger) {
	t.Helper()
	found := map[letter]string{}
	for n := range 4 {
		mailbox := fmt.Sprintf("u%d@example.test", n)
		for _, m := range p.messages(t, mailbox, "") {
			key := letter{m.Subject, mailbox}
			require.Empty(t, found[key], "%v is there twice", key)
			found[key] = m.ID
			require.Equal(t, fmt.Sprintf("%x", sha256.Sum256([]byte(l.objects[m.Subject]))), m.SHA256, "%v", key)
			require.Equal(t, l.objects[m.Subject], string(p.raw(t, m.ID)), "%v", key)
		}
	}
	for _, a := range l.acked {
		require.NotEmpty(t, found[a], "LOST: %v was acknowledged", a)
	}
}

// checkObjects looks at the files themselves: under its own name an object is whole.
func checkObjects(t *testing.T, s *testSite, l *ledger) {
	t.Helper()
	whole := map[string]bool{}
	for _, object := range l.objects {
		whole[object] = true
	}
	count := 0
	require.NoError(t, filepath.WalkDir(filepath.Join(s.dir, "data", "mail"), func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".eml") {
			return err
		}
		raw, err := os.ReadFile(path)
		require.True(t, whole[string(raw)], "CORRUPT: %s", path)
		count++
		return err
	}))
	require.GreaterOrEqual(t, count, len(l.acked))
}

package main

import (
	"bytes"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
)

var hello = []byte("Subject: hello\r\n\r\nhello\r\n")

func TestDatabaseGoneIsTemporaryAndComesBackByItself(t *testing.T) {
	server := labtest.OwnPostgres(t, lab.PostgresOptions{})
	site := newTestSite(t, siteOptions{Database: "backend: postgres, url: '" + server.URL() + "'", Mailboxes: []string{"bob"}})
	daemon := site.start(t)
	bob := []string{"bob@example.test"}
	replies, err := site.lmtp(t.Context(), "a@sender.test", bob, hello)
	require.NoError(t, err)
	require.True(t, replies.Accepted())
	stored := daemon.messages(t, "bob@example.test", "")[0]

	server.Stop(lab.StopImmediate)
	for range 3 {
		replies, err = site.lmtp(t.Context(), "a@sender.test", []string{"bob@example.test", "nobody@example.test"}, hello)
		require.NoError(t, err)
		require.False(t, replies.Accepted())
		for _, r := range append(replies.Rcpts[1:], replies.Final...) {
			assert.Equal(t, 451, r.Code, "nobody is refused for good while it cannot be known: %s", r)
		}
		status, body, err := daemon.get("/api/v1/messages/" + stored.ID)
		require.NoError(t, err)
		assert.Equal(t, http.StatusServiceUnavailable, status, "%s", body)
	}
	waitFor(t, "health to tell", func() bool { return status(t, daemon.ops+"/health/ready") == http.StatusServiceUnavailable })
	assert.Equal(t, http.StatusOK, status(t, daemon.ops+"/health/live"))

	require.NoError(t, server.Start(t.Context()))
	waitFor(t, "deliveries to work again", func() bool {
		replies, err := site.lmtp(t.Context(), "a@sender.test", bob, hello)
		return err == nil && replies.Accepted()
	})
	waitFor(t, "health", func() bool { return status(t, daemon.ops+"/health/ready") == http.StatusOK })
	assert.Len(t, daemon.messages(t, "bob@example.test", ""), 2)
	assert.Equal(t, "Return-Path: <a@sender.test>\r\n"+string(hello), string(daemon.raw(t, stored.ID)))
}

func TestFullDiskIsTemporaryAndComesBackByItself(t *testing.T) {
	site := newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"bob"}})
	// The whole data directory lies on a small file system: objects, database and spool share its end.
	data := filepath.Join(site.dir, "data")
	mountSmall(t, data, "24m")
	daemon := site.start(t)
	bob := []string{"bob@example.test"}
	big := []byte("Subject: big\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 100_000))
	acked := 0
	var refused lab.Reply
	for range 40 {
		replies, err := site.lmtp(t.Context(), "a@sender.test", bob, big)
		require.NoError(t, err)
		if !replies.Accepted() {
			refused = append(replies.Rcpts, replies.Final...)[len(replies.Rcpts)+len(replies.Final)-1]
			break
		}
		acked++
	}
	require.NotZero(t, acked)
	assert.Equal(t, 452, refused.Code, "%s", refused)
	assert.True(t, strings.HasPrefix(refused.Text, "4.3.1"), "%s", refused)
	require.Len(t, daemon.messages(t, "bob@example.test", ""), acked, "reading goes on")

	require.NoError(t, unix.Mount("tmpfs", data, "tmpfs", unix.MS_REMOUNT, "size=128m"))
	waitFor(t, "deliveries to work again", func() bool {
		replies, err := site.lmtp(t.Context(), "a@sender.test", bob, big)
		return err == nil && replies.Accepted()
	})
	for _, m := range daemon.messages(t, "bob@example.test", "") {
		assert.Len(t, daemon.raw(t, m.ID), len(big)+len("Return-Path: <a@sender.test>\r\n"))
	}
}

// mountSmall moves a directory to a tmpfs of this size, mounted in its place until the end of the test.
func mountSmall(t *testing.T, dir, size string) {
	t.Helper()
	if os.Geteuid() != 0 && os.Getenv("CI") != "true" {
		t.Skip("SKIPPED: mounting a small file system needs root")
	}
	moved := dir + ".moved"
	require.NoError(t, os.Rename(dir, moved))
	require.NoError(t, os.Mkdir(dir, 0o711))
	require.NoError(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size="+size))
	t.Cleanup(func() { require.NoError(t, unix.Unmount(dir, unix.MNT_DETACH)) })
	require.NoError(t, os.CopyFS(dir, os.DirFS(moved)))
	require.NoError(t, os.Chmod(filepath.Join(dir, "keyring"), 0o600))
}

func TestTerminationLetsSessionsEndAndTakesNoNewOnes(t *testing.T) {
	site := newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"bob"}})
	daemon := site.start(t)
	c, err := lab.DialSMTP(t.Context(), site.socket("lmtp"))
	require.NoError(t, err)
	defer c.Close()
	for _, line := range []string{"LHLO mx.example.test", "MAIL FROM:<a@sender.test>", "RCPT TO:<bob@example.test>", "DATA"} {
		r, err := c.Cmd(line)
		require.NoError(t, err)
		require.True(t, r.OK(), "%s: %s", line, r)
	}
	ended := make(chan error, 1)
	go func() { ended <- daemon.terminate(t) }()
	waitFor(t, "the daemon to stop accepting", func() bool {
		c, err := lab.DialSMTP(t.Context(), site.socket("lmtp"))
		if err == nil {
			_ = c.Close()
		}
		return err != nil
	})
	replies, err := c.Body(hello, 1)
	require.NoError(t, err)
	require.Equal(t, 250, replies[0].Code, "the message under way is taken")
	require.NoError(t, <-ended)
	assert.Len(t, site.start(t).messages(t, "bob@example.test", ""), 1)
}

func TestTerminationDoesNotWaitForEver(t *testing.T) {
	site := newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"bob"}})
	daemon := site.start(t)
	c, err := lab.DialSMTP(t.Context(), site.socket("lmtp")) // says nothing more
	require.NoError(t, err)
	defer c.Close()
	ended := make(chan struct{})
	go func() { _ = daemon.terminate(t); close(ended) }()
	select {
	case <-ended:
	case <-time.After(40 * time.Second): // shutdown.timeout_seconds is 5
		t.Fatal("still running")
	}
}

func TestSecondDaemonOnTheSameSQLiteIsRefused(t *testing.T) {
	site := newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"bob"}})
	site.start(t)
	var stderr bytes.Buffer
	second := site.command(t.Context(), "run")
	second.Stderr = &stderr
	require.Error(t, second.Run())
	assert.Contains(t, stderr.String(), "another MaiRust process has this database open")
}

func TestBrokenReloadChangesNothing(t *testing.T) {
	site := newTestSite(t, siteOptions{Backend: "sqlite", Mailboxes: []string{"bob"}})
	daemon := site.start(t)
	good, err := os.ReadFile(site.configFile)
	require.NoError(t, err)
	assert.Contains(t, site.run(t, "reload"), "nothing has changed")

	require.NoError(t, os.WriteFile(site.configFile, append(good, []byte("log: {level: debug}\nlookup_typo: 1\n")...), 0o600))
	var stderr bytes.Buffer
	cmd := site.command(t.Context(), "reload")
	cmd.Stderr = &stderr
	require.Error(t, cmd.Run())
	assert.Contains(t, stderr.String(), "lookup_typo")

	absent := append(bytes.Clone(good), []byte("outbound: {geoip: /not/there.mmdb}\n")...)
	require.NoError(t, os.WriteFile(site.configFile, absent, 0o600))
	require.NoError(t, daemon.cmd.Process.Signal(syscall.SIGHUP))
	waitFor(t, "the log to say why", func() bool { return strings.Contains(daemon.tail(5), "outbound.geoip: open /not/there.mmdb") })

	changed := append(bytes.Replace(good, []byte("timeout_seconds: 5"), []byte("timeout_seconds: 6"), 1), []byte("log: {level: debug}\n")...)
	require.NoError(t, os.WriteFile(site.configFile, changed, 0o600))
	out := site.run(t, "reload")
	assert.Contains(t, out, "applied: log.level")
	assert.Contains(t, out, "needs a restart: shutdown.timeout_seconds")
}

func status(t *testing.T, url string) int {
	t.Helper()
	resp, err := http.Get(url)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return resp.StatusCode
}

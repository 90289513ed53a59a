package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/storetest"
)

// fsck runs the command and gives its standard output and its exit code.
func (s *testSite) fsck(t testing.TB, args ...string) (string, int) {
	t.Helper()
	out, err := s.command(t.Context(), append([]string{"fsck"}, args...)...).Output()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if exit != nil {
		return string(out), exit.ExitCode()
	}
	return string(out), 0
}

// objectOf is the file of a message, found by its id.
func (s *testSite) objectOf(t testing.TB, id string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(s.dir, "data", "mail", "*", "*", id+".eml"))
	require.NoError(t, err)
	require.Len(t, found, 1)
	return found[0]
}

// With SQLite the daemon does the work; with PostgreSQL the command, beside the daemon.
func TestFsckWhileTheDaemonRuns(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			site := newTestSite(t, siteOptions{Backend: backend, Mailboxes: []string{"bob"}, Extra: quickAlerts})
			daemon := site.start(t)
			for i := range 3 {
				message := fmt.Sprintf("Subject: m%d\r\n\r\nhello\r\n", i)
				replies, err := site.lmtp(t.Context(), "a@sender.test", []string{"bob@example.test"}, []byte(message))
				require.NoError(t, err)
				require.True(t, replies.Accepted())
			}
			out, code := site.fsck(t, "--verify-content")
			require.Zero(t, code, out)
			require.Contains(t, out, "3 messages compared, 3 read whole")
			require.Contains(t, out, "all is well")

			list := daemon.messages(t, "bob@example.test", "")
			altered, gone := site.objectOf(t, list[0].ID), site.objectOf(t, list[1].ID)
			raw, err := os.ReadFile(altered)
			require.NoError(t, err)
			lost, err := os.ReadFile(gone)
			require.NoError(t, err)
			bad := []byte(strings.Replace(string(raw), "hello", "hallo", 1))
			require.NoError(t, os.WriteFile(altered, bad, 0o600))
			require.NoError(t, os.Remove(gone))

			out, code = site.fsck(t, "--verify-content", "--repair", "-o", "json")
			require.Equal(t, 2, code, out)
			var report struct {
				Left     int
				Exit     int
				Problems []fsck.Problem
			}
			require.NoError(t, json.Unmarshal([]byte(out), &report), out)
			require.Equal(t, 2, report.Left)
			require.Equal(t, 2, report.Exit)
			kinds := map[string]string{}
			for _, p := range report.Problems {
				kinds[p.Message] = p.Kind
			}
			require.Equal(t, map[string]string{list[0].ID: fsck.KindContent, list[1].ID: fsck.KindMissing}, kinds)
			for _, m := range list[:2] {
				status, body, err := daemon.get("/api/v1/messages/" + m.ID + "/raw")
				require.NoError(t, err)
				require.Equal(t, http.StatusServiceUnavailable, status)
				require.Contains(t, string(body), "body_unavailable")
			}
			waitFor(t, "the alert", func() bool { return daemon.failing("sweep") })
			require.NoError(t, os.WriteFile(altered, raw, 0o600))
			require.NoError(t, os.WriteFile(gone, lost, 0o600))
			out, code = site.fsck(t)
			require.Zero(t, code, out)
			require.Equal(t, string(raw), string(daemon.raw(t, list[0].ID)))
			waitFor(t, "the end of the alert", func() bool { return !daemon.failing("sweep") })
			require.NoError(t, daemon.terminate(t))
		})
	}
}

// With SQLite a process that died cannot have been another node.
func TestWhatOpensSQLiteWaitsForNoLeaseOfTheDead(t *testing.T) {
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			place := newTestSite(t, siteOptions{Backend: backend, Mailboxes: []string{"bob"}})
			takes := func(holder string) (ok bool) {
				place.open(t, func(open *site) {
					var err error
					ok, err = open.store.TakeSweep(t.Context(), holder, time.Hour)
					require.NoError(t, err)
				})
				return ok
			}
			require.True(t, takes("one that died"))
			require.Equal(t, backend == sqldb.SQLite, takes("the next"))
		})
	}
}

// No fsck and no sweep has to run before somebody is told that mail cannot be read.
func TestDamageThatAReaderMeetsIsAnAlert(t *testing.T) {
	site := newTestSite(t, siteOptions{Backend: sqldb.SQLite, Mailboxes: []string{"bob"}, Extra: quickAlerts})
	daemon := site.start(t)
	replies, err := site.lmtp(t.Context(), "a@sender.test", []string{"bob@example.test"}, []byte("Subject: here\r\n\r\nhello\r\n"))
	require.NoError(t, err)
	require.True(t, replies.Accepted())
	id := daemon.messages(t, "bob@example.test", "")[0].ID
	raw := daemon.raw(t, id)
	mailbox := filepath.Dir(site.objectOf(t, id))
	require.NoError(t, os.Rename(mailbox, site.dir+"/gone"))
	for range 3 {
		status, _, err := daemon.get("/api/v1/messages/" + id + "/raw")
		require.NoError(t, err)
		require.Equal(t, http.StatusServiceUnavailable, status)
	}
	waitFor(t, "the alert", func() bool { return daemon.failing("sweep") })
	require.Equal(t, 1, strings.Count(daemon.tail(1000), "object damaged"))
	require.NoError(t, os.Rename(site.dir+"/gone", mailbox)) // it was not made again
	out, code := site.fsck(t)
	require.Zero(t, code, out)
	require.Equal(t, string(raw), string(daemon.raw(t, id)))
	waitFor(t, "the end of the alert", func() bool { return !daemon.failing("sweep") })
}

// The daemon notices at its start that the database is an old one, and a repair while it runs brings everything back.
func TestOldDatabaseIsNoticedAtTheStart(t *testing.T) {
	site := newTestSite(t, siteOptions{Backend: sqldb.SQLite, Mailboxes: []string{"bob"}})
	send := func(subject string) {
		replies, err := site.lmtp(t.Context(), "a@sender.test", []string{"bob@example.test"}, []byte("Subject: "+subject+"\r\n\r\nx\r\n"))
		require.NoError(t, err)
		require.True(t, replies.Accepted())
	}
	_, code := site.fsck(t) // opens and closes the database
	require.Zero(t, code)
	database := filepath.Join(site.dir, "data", "mairust.db")
	dump, err := os.ReadFile(database)
	require.NoError(t, err)

	daemon := site.start(t)
	for i := range 20 {
		send(fmt.Sprint("lost ", i))
	}
	witness := filepath.Join(site.dir, "data", "mail", "installation", "database.json")
	require.NoError(t, daemon.terminate(t))
	require.FileExists(t, witness, "the daemon watches from its start")
	require.NoError(t, os.WriteFile(database, dump, 0o600))
	for _, suffix := range []string{"-wal", "-shm"} {
		_ = os.Remove(database + suffix) // there may be none
	}
	daemon = site.start(t)
	require.Contains(t, daemon.tail(100), "sweep stopped")
	send("goes on")
	require.Len(t, daemon.messages(t, "bob@example.test", ""), 1)
	out, code := site.fsck(t, "--repair")
	require.Equal(t, 1, code, out)
	require.Len(t, daemon.messages(t, "bob@example.test", ""), 21)
	out, code = site.fsck(t, "--verify-content")
	require.Zero(t, code, out)
}

func TestInterruptedFsckGoesOn(t *testing.T) {
	for _, daemonRuns := range []bool{false, true} {
		site := newTestSite(t, siteOptions{Backend: sqldb.SQLite, Mailboxes: []string{"bob"}})
		daemon := site.start(t)
		big := []byte("Subject: big\r\n\r\n" + strings.Repeat("0123456789abcdef\r\n", 60_000))
		_, err := site.lmtp(t.Context(), "a@sender.test", []string{"bob@example.test"}, big)
		require.NoError(t, err)
		if !daemonRuns {
			require.NoError(t, daemon.terminate(t))
		}
		cmd := site.command(t.Context(), "fsck", "--verify-content", "--rate", "0.1")
		var out strings.Builder
		cmd.Stdout, cmd.Stderr = &out, &out
		require.NoError(t, cmd.Start())
		time.Sleep(time.Second) // it takes ten; when in it the signal comes does not matter
		require.NoError(t, cmd.Process.Signal(os.Interrupt))
		var exit *exec.ExitError
		require.ErrorAs(t, cmd.Wait(), &exit)
		require.Equal(t, 3, exit.ExitCode(), out.String())
		require.Contains(t, out.String(), "interrupted")
		text, code := site.fsck(t, "--verify-content")
		require.Zero(t, code, text)
	}
}

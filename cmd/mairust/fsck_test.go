package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

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

// A run that is interrupted notes how far it was by pages of 512 messages.
func TestInterruptedFsckGoesOn(t *testing.T) {
	const page, small, long = 512, 520, 300
	for _, backend := range storetest.Backends() {
		t.Run(backend, func(t *testing.T) {
			site := newTestSite(t, siteOptions{Backend: backend, Mailboxes: []string{"eve"}})
			daemon := site.start(t)
			site.sendAtOnce(t, hello, small)
			site.sendAtOnce(t, withAttachment(34_000), long)
			for _, daemonRuns := range []bool{true, false} {
				if !daemonRuns {
					require.NoError(t, daemon.terminate(t))
				}
				site.interruptFsck(t, page, small+long)
				report := site.verifyContent(t)
				require.Equal(t, []int64{small + long, small + long - page}, []int64{report.Messages, report.Verified}, "only what is left is read")
				require.NotZero(t, report.VerifyBegan)
				report = site.verifyContent(t)
				require.Equal(t, []int64{small + long, small + long}, []int64{report.Messages, report.Verified}, "the next one begins anew")
				require.Zero(t, report.VerifyBegan)
			}
		})
	}
}

// verifyContent reads all, which must be well.
func (s *testSite) verifyContent(t *testing.T) (report fsck.Report) {
	t.Helper()
	out, code := s.fsck(t, "--verify-content", "-o", "json")
	require.Zero(t, code, out)
	require.NoError(t, json.Unmarshal([]byte(out), &report))
	return report
}

// contentProgress is the line that tells how far the reading is.
var contentProgress = regexp.MustCompile(`content: \d+ %, (\d+) of about (\d+), \d+ of (\d+) MB`)

// interruptFsck reads so slowly that it takes a minute and a half, and interrupts it when more than so many of all messages were read.
func (s *testSite) interruptFsck(t *testing.T, read, all int) {
	t.Helper()
	terminal, side := newTerminal(t)
	cmd := s.command(t.Context(), "fsck", "--verify-content", "--rate", "0.1")
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, side
	require.NoError(t, cmd.Start())
	require.NoError(t, side.Close())
	lines := bufio.NewScanner(terminal)
	lines.Split(splitTerminal)
	done := -1
	for lines.Scan() { // until the command has let go of the terminal
		found := contentProgress.FindStringSubmatch(lines.Text())
		if found == nil {
			continue
		}
		require.Equal(t, []string{strconv.Itoa(all), "10"}, found[2:], lines.Text())
		before := done
		done, _ = strconv.Atoi(found[1])
		require.GreaterOrEqual(t, done, before)
		if before <= read && done > read {
			require.NoError(t, cmd.Process.Signal(os.Interrupt))
		}
	}
	var exit *exec.ExitError
	require.ErrorAs(t, cmd.Wait(), &exit)
	require.Equal(t, 3, exit.ExitCode(), out.String())
	require.Contains(t, out.String(), "interrupted")
	require.Greater(t, done, read)
	require.Less(t, done, all)
}

// newTerminal is a pseudoterminal (pts(4)), and the side that a command has of it.
func newTerminal(t *testing.T) (terminal, side *os.File) {
	t.Helper()
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	t.Cleanup(func() { _ = terminal.Close() })
	require.NoError(t, unix.IoctlSetPointerInt(int(terminal.Fd()), unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(int(terminal.Fd()), unix.TIOCGPTN)
	require.NoError(t, err)
	side, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0)
	require.NoError(t, err)
	return terminal, side
}

// splitTerminal gives each line that was written over another one.
func splitTerminal(data []byte, atEOF bool) (advance int, token []byte, err error) {
	if i := bytes.IndexByte(data, '\r'); i >= 0 {
		return i + 1, data[:i], nil
	}
	if atEOF && len(data) > 0 {
		return len(data), data, nil
	}
	return 0, nil, nil
}

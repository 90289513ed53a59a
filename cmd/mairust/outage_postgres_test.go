package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sys/unix"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/lab/labtest"
)

// The ways to say no for now, as (code, enhanced code).
const (
	unavailable = "4.3.0" // with 451
	fullDisk    = "4.3.1" // with 452
)

// ownDatabase is a server with a role that is no superuser, so that limits count for it.
func ownDatabase(t *testing.T) (server *lab.Postgres, site siteOptions) {
	t.Helper()
	server = labtest.OwnPostgres(t, lab.PostgresOptions{})
	runSQL(t, server, "CREATE ROLE mairust LOGIN; ALTER DATABASE postgres OWNER TO mairust; GRANT ALL ON SCHEMA public TO mairust")
	url := strings.Replace(server.URL(), "postgres@", "mairust@", 1)
	return server, siteOptions{Database: "backend: postgres, url: '" + url + "'"}
}

func runSQL(t *testing.T, server *lab.Postgres, sql string) string {
	t.Helper()
	out, err := server.Exec(t.Context(), sql)
	require.NoError(t, err)
	return strings.TrimSpace(out)
}

// closeDatabase lets nobody in and ends all sessions, those too that were on their way in when the role lost its right.
func closeDatabase(t *testing.T, server *lab.Postgres) {
	t.Helper()
	runSQL(t, server, "ALTER ROLE mairust CONNECTION LIMIT 0"+endSessions)
	waitFor(t, "the end of the last session", func() bool {
		left, err := server.Exec(t.Context(), "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'mairust'")
		return err == nil && strings.TrimSpace(left) == "0"
	})
}

const endSessions = "; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mairust'"

func TestPostgresStopped(t *testing.T) {
	t.Parallel()
	server, site := ownDatabase(t)
	outage{
		site: site, part: "database", code: 451, enhanced: unavailable,
		begin: func(t *testing.T, _ *process, _ *acknowledged) func() {
			server.Stop(lab.StopFast)
			return func() { assert.NoError(t, server.Start(t.Context())) }
		},
	}.run(t)
}

func TestPostgresWithoutConnectionsLeft(t *testing.T) {
	t.Parallel()
	server, site := ownDatabase(t)
	outage{
		site: site, part: "database", code: 451, enhanced: unavailable,
		begin: func(t *testing.T, _ *process, _ *acknowledged) func() {
			closeDatabase(t, server)
			return func() { runSQL(t, server, "ALTER ROLE mairust CONNECTION LIMIT -1") }
		},
	}.run(t)
}

func TestPostgresReadOnlyAsAStandbyIs(t *testing.T) {
	t.Parallel()
	server, site := ownDatabase(t)
	outage{
		site: site, part: "database", code: 451, enhanced: unavailable, lists: true, bodies: true,
		begin: func(t *testing.T, _ *process, _ *acknowledged) func() {
			runSQL(t, server, "ALTER ROLE mairust SET default_transaction_read_only = on"+endSessions)
			return func() { runSQL(t, server, "ALTER ROLE mairust RESET default_transaction_read_only"+endSessions) }
		},
	}.run(t)
}

func TestPostgresHanging(t *testing.T) {
	t.Parallel()
	server, site := ownDatabase(t)
	var onTheWay sync.WaitGroup
	outage{
		site: site, part: "database", code: 451, enhanced: unavailable,
		before: func(t *testing.T, s *testSite) { s.change(t, "lmtp:\n", "lmtp:\n  resolve_timeout: 2s\n") },
		begin: func(t *testing.T, p *process, acked *acknowledged) func() {
			c := beginMessage(t, p.site)
			require.NoError(t, server.Freeze())
			onTheWay.Go(func() { // decided when the database is back, or given up before: never lost
				message := []byte("Subject: on the way\r\n\r\n")
				replies, err := c.Body(message, 1)
				if assert.NoError(t, err) {
					assert.Contains(t, []int{250, 451}, replies[0].Code)
					acked.note(letter{"on the way", "bob@example.test"}, message, replies[0].Code == 250)
				}
			})
			return func() {
				assert.NoError(t, server.Thaw())
				onTheWay.Wait()
			}
		},
	}.run(t)
}

// beginMessage opens a connection on which a message for bob may be sent.
func beginMessage(t *testing.T, s *testSite) *lab.SMTPConn {
	t.Helper()
	c, err := lab.DialSMTP(t.Context(), s.socket("lmtp"))
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	for _, line := range []string{"LHLO mx.example.test", "MAIL FROM:<a@sender.test>", "RCPT TO:<bob@example.test>", "DATA"} {
		r, err := c.Cmd(line)
		require.NoError(t, err)
		require.True(t, r.OK(), "%s: %s", line, r)
	}
	return c
}

func TestPostgresDiskFull(t *testing.T) {
	t.Parallel()
	server := labtest.OwnPostgres(t, lab.PostgresOptions{})
	// A file system of its own for the database's files: the log and the rest of the server have room.
	space := filepath.Join(server.Dir(), "space")
	mountNew(t, space, "32m")
	require.NoError(t, chownLike(space, filepath.Join(server.Dir(), "data")))
	runSQL(t, server, "CREATE TABLESPACE small LOCATION '"+space+"'")
	runSQL(t, server, "CREATE DATABASE mairust TEMPLATE template0 TABLESPACE small")
	url := strings.Replace(server.URL(), "/postgres?", "/mairust?", 1)
	outage{
		site: siteOptions{Database: "backend: postgres, url: '" + url + "'"},
		part: "database", code: 452, enhanced: fullDisk, lists: true, bodies: true, room: true, quiet: true,
		begin: func(t *testing.T, p *process, acked *acknowledged) func() {
			free := fill(t, space)
			// What is free within the pages that are there is used up first.
			waitFor(t, "the first refusal", func() bool { return !acked.send(t, p.site, "eve", longHeader()).Accepted() })
			return free
		},
	}.run(t)
}

// The disk of the write-ahead log has no room for its next segment: the server panics, and cannot come back before there is.
func TestPostgresWhoseLogHasNoRoom(t *testing.T) {
	t.Parallel()
	server := labtest.OwnPostgres(t, lab.PostgresOptions{})
	server.Stop(lab.StopFast)
	data, space := filepath.Join(server.Dir(), "data"), filepath.Join(server.Dir(), "space")
	mountNew(t, space, "64m")
	require.NoError(t, os.CopyFS(space, os.DirFS(filepath.Join(data, "pg_wal"))))
	require.NoError(t, filepath.WalkDir(space, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, chownLike(path, data))
	}))
	require.NoError(t, os.RemoveAll(filepath.Join(data, "pg_wal")))
	require.NoError(t, os.Symlink(space, filepath.Join(data, "pg_wal")))
	require.NoError(t, server.Start(t.Context()))
	outage{
		site: siteOptions{Database: "backend: postgres, url: '" + server.URL() + "'"}, part: "database", code: 451, enhanced: unavailable,
		begin: func(t *testing.T, _ *process, _ *acknowledged) func() {
			free := fill(t, space)
			waitFor(t, "the panic", func() bool {
				_, err := server.Exec(t.Context(), "CREATE TABLE one (); DROP TABLE one; SELECT pg_switch_wal()")
				return err != nil && strings.Contains(server.Log(), "PANIC")
			})
			return func() {
				free()
				server.Stop(lab.StopImmediate)
				assert.NoError(t, server.Start(t.Context()))
			}
		},
	}.run(t)
}

// The file system of the whole server fails, as after an I/O error, and is mounted anew.
func TestPostgresWhoseDiskFails(t *testing.T) {
	t.Parallel()
	disk := newTortureDisk(t, filepath.Join(labtest.ShortDir(t), "disk"), 512<<20)
	server := labtest.OwnPostgres(t, lab.PostgresOptions{Dir: disk.dir})
	require.NoError(t, unix.Syncfs(int(disk.root.Fd())), "the configuration of the server, which nobody flushes")
	outage{
		site: siteOptions{Database: "backend: postgres, url: '" + server.URL() + "'"}, part: "database", code: 451, enhanced: unavailable,
		begin: func(t *testing.T, _ *process, _ *acknowledged) func() {
			disk.cut()
			return func() {
				server.Stop(lab.StopImmediate)
				disk.restore()
				assert.NoError(t, server.Start(t.Context()))
			}
		},
	}.run(t)
}

// longHeader makes the summary, and so the row, of a message long.
func longHeader() []byte {
	return []byte(strings.Repeat("word ", 2000) + "\r\n")
}

func TestSessionsOfPostgresEndedUnderLoad(t *testing.T) {
	t.Parallel()
	server, options := ownDatabase(t)
	options.Mailboxes = []string{"bob", "eve"}
	site := newTestSite(t, options)
	daemon := site.start(t)
	acked := &acknowledged{}
	done := make(chan struct{})
	var senders sync.WaitGroup
	for n := range 8 {
		senders.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					replies := acked.send(t, site, []string{"bob", "eve"}[n%2], nil)
					list := append(slices.Clone(replies.Rcpts), replies.Final...)
					assert.NotEmpty(t, list, "the daemon hung up")
					for _, r := range list {
						assert.Contains(t, []int{250, 451}, r.Code, "%s", r)
					}
				}
			}
		})
	}
	for range 40 {
		runSQL(t, server, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'mairust'")
		time.Sleep(20 * time.Millisecond) // when a session ends is what varies
	}
	close(done)
	senders.Wait()
	waitFor(t, "deliveries to work again", func() bool { return acked.send(t, site, "bob", nil).Accepted() })
	acked.check(t, daemon, "bob", "eve")
	t.Logf("%d sent, %d acknowledged", acked.n, len(acked.list))
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"syscall"
	"time"

	"github.com/mairust/mairust/internal/lab"
	"github.com/mairust/mairust/internal/mail"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/sqldb"
)

// server is a running mail store.
type server struct {
	// addr is its LMTP, "unix:…".
	addr string
	// pid is its main process; database that of the database server, mta that of the Postfix in front of it, or 0.
	pid, database, mta int
	close              func() error
	// fsck says how many objects a second it compares; nil for other programs.
	fsck func(ctx context.Context) (float64, error)
}

// kind is a mail store that can be measured.
type kind struct {
	name string
	// start starts it with everything that it writes below dir.
	start func(ctx context.Context, dir string) (*server, error)
	// mailboxes and domain are whom loads are sent to; default mailboxCount and defaultDomain.
	mailboxes int
	domain    string
	// check measures fsck too.
	check bool
}

// dovecotSettings let Dovecot do its best: a process for each connection from the start (one process serves one
// connection at a time), and the socket that MaiRust has too. All else is its default, mail_fsync as well.
const dovecotSettings = `service lmtp {
  process_min_avail = 32
  unix_listener lmtp {
    mode = 0666
  }
}`

var dovecot = kind{name: "Dovecot", start: func(ctx context.Context, dir string) (*server, error) {
	d, err := lab.StartDovecot(ctx, lab.DovecotOptions{Dir: dir, Settings: dovecotSettings})
	if err != nil {
		return nil, err
	}
	return &server{addr: "unix:" + d.LMTPSocket, pid: d.Pid(), close: d.Close}, nil
}}

// names are those of MaiRust on each database.
var names = map[string]string{sqldb.SQLite: "MaiRust, SQLite", sqldb.Postgres: "MaiRust, PostgreSQL"}

// mairust is the daemon as it ships, program, on a database, with mailboxCount mailboxes.
func mairust(program, backend string) kind {
	return kind{name: names[backend], start: installed(program, backend, makeMailboxes)}
}

// filling puts into a fresh installation what shall be there before the daemon runs.
type filling func(ctx context.Context, s *site, db *sqldb.DB) error

// installed starts an installation of the program.
func installed(program, backend string, fill filling) func(ctx context.Context, dir string) (*server, error) {
	return func(ctx context.Context, dir string) (*server, error) {
		s := &site{program: program, dir: filepath.Join(dir, "site"), database: sqldb.Options{Backend: backend}}
		if backend == sqldb.Postgres {
			// Its own defaults, durability too, and its unix socket, as packages have it for programs on the same host.
			pg, err := lab.StartPostgres(ctx, lab.PostgresOptions{Dir: dir})
			if err != nil {
				return nil, err
			}
			s.postgres, s.database.URL = pg, pg.SocketURL()
		}
		started, err := s.start(ctx, fill)
		if err != nil {
			return nil, errors.Join(err, s.Close())
		}
		return started, nil
	}
}

// site is an installation of MaiRust.
type site struct {
	program, dir string
	database     sqldb.Options
	postgres     *lab.Postgres // nil with SQLite
	daemon       *exec.Cmd     // nil until it runs
}

// siteConfig has listeners that nobody else has.
const siteConfig = `data_dir: %[1]s/data
run_dir: %[1]s/run
database: {backend: %[2]s, url: %[3]q}
milter: {listeners: [{address: "unix:%[1]s/run/milter.sock"}]}
lmtp: {listeners: [{address: "unix:%[1]s/run/lmtp.sock", socket_mode: "0666"}]}
lookup: {listeners: [{address: "unix:%[1]s/run/lookup.sock"}]}
imap: {listeners: [{address: "unix:%[1]s/run/imap.sock"}]}
http: {listeners: [{address: "inet:127.0.0.1:0"}]}
ops: {listeners: [{address: "inet:127.0.0.1:0"}]}
`

func (s *site) start(ctx context.Context, fill filling) (*server, error) {
	if err := os.Mkdir(s.dir, 0o755); err != nil { // #nosec G301 -- Postfix passes through to the socket
		return nil, err
	}
	config := fmt.Sprintf(siteConfig, s.dir, s.database.Backend, s.database.URL)
	if err := os.WriteFile(s.config(), []byte(config), 0o600); err != nil {
		return nil, err
	}
	if _, err := tool(ctx, s.program, "init", "--config", s.config(), "--tenant", "example", "--domain", "example.test"); err != nil {
		return nil, err
	}
	if err := s.fill(ctx, fill); err != nil {
		return nil, err
	}
	if err := s.run(ctx); err != nil {
		return nil, err
	}
	started := &server{addr: s.socket(), pid: s.daemon.Process.Pid, close: s.Close, fsck: s.fsck}
	if s.postgres != nil {
		started.database = s.postgres.Pid()
	}
	return started, nil
}

func (s *site) config() string { return filepath.Join(s.dir, "config.yaml") }

func (s *site) socket() string { return "unix:" + filepath.Join(s.dir, "run", "lmtp.sock") }

// fill opens the database for a filling.
func (s *site) fill(ctx context.Context, fill filling) error {
	s.database.Path = filepath.Join(s.data(), "mairust.db")
	db, err := sqldb.Open(ctx, s.database)
	if err != nil {
		return err
	}
	return errors.Join(fill(ctx, s, db), db.Close())
}

func (s *site) data() string { return filepath.Join(s.dir, "data") }

// makeMailboxes makes them without users, whose passwords would cost more than all the rest.
func makeMailboxes(ctx context.Context, _ *site, db *sqldb.DB) error {
	st := store.New(store.Options{DB: db})
	tenant, _, err := st.EnsureTenant(ctx, "example")
	for i := 0; i < mailboxCount && err == nil; i++ {
		var address mail.Address
		if address, err = mail.ParseAddress(mailbox(i, defaultDomain)); err == nil {
			_, _, err = st.EnsureMailbox(ctx, tenant.ID, address, "")
		}
	}
	return err
}

// run starts the daemon and waits until it greets.
func (s *site) run(ctx context.Context) error {
	logPath := filepath.Join(s.dir, "daemon.log")
	log, err := os.Create(logPath) // #nosec G304 -- ours
	if err != nil {
		return err
	}
	s.daemon = exec.Command(s.program, "run", "--config", s.config()) //nolint:noctx,gosec // Close ends it
	s.daemon.Stderr = log
	s.daemon.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = s.daemon.Start()
	if err := errors.Join(err, log.Close()); err != nil {
		s.daemon = nil
		return err
	}
	err = lab.Eventually(ctx, func(ctx context.Context) error {
		c, err := lab.DialSMTP(ctx, s.socket())
		if err != nil {
			return err
		}
		return c.Close()
	})
	if err != nil {
		said, errRead := os.ReadFile(logPath) // #nosec G304 -- ours
		return errors.Join(fmt.Errorf("daemon: %w\n%s", err, said), errRead)
	}
	return nil
}

// killAfter is how long the daemon may take to end.
const killAfter = 20 * time.Second

// Close ends the daemon and its database.
func (s *site) Close() error {
	var err error
	if s.daemon != nil {
		err = s.daemon.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(killAfter, func() { _ = s.daemon.Process.Kill() })
		_ = s.daemon.Wait() // how it ended doesn't matter
		timer.Stop()
		s.daemon = nil
	}
	if s.postgres != nil {
		err = errors.Join(err, s.postgres.Close())
	}
	return err
}

// only keeps the kinds whose names match.
func only(kinds []kind, names *regexp.Regexp) []kind {
	return slices.DeleteFunc(kinds, func(k kind) bool { return !names.MatchString(k.name) })
}

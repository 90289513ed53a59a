package lab

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"syscall"
)

// PostgresOptions describe a private PostgreSQL cluster. The zero value is a good default.
type PostgresOptions struct {
	// Settings are added to postgresql.conf, for example "max_connections": "20". Durability settings stay
	// PostgreSQL's own (on) unless they are changed here.
	Settings map[string]string
	// Dir is where the cluster's directory is made; default the system's place for temporary files. Close leaves
	// what is in a Dir, for the caller to remove as a whole.
	Dir string
}

// Postgres is one database of a private PostgreSQL cluster: UTF-8, C.UTF-8 locale, the superuser "postgres"
// without a password over loopback. Several Postgres values can share a cluster (see NewDatabase); Stop,
// Start and Close then act on all of them.
type Postgres struct {
	server   *postgresServer
	database string
}

// postgresServer is the cluster itself.
type postgresServer struct {
	inst *instance
	bin  string
	port int
}

// StartPostgres makes a cluster (about a second) and starts it. Errors: ErrMissing (package postgresql).
func StartPostgres(ctx context.Context, o PostgresOptions) (*Postgres, error) {
	bin, err := postgresBin()
	if err != nil {
		return nil, err
	}
	as, err := serviceAccount("postgres", "nobody") // initdb refuses to run as root
	if err != nil {
		return nil, err
	}
	var p *Postgres
	err = retry(ctx, "postgresql", func(ctx context.Context) error {
		port, err := freePort()
		if err != nil {
			return err
		}
		inst, err := newInstance(o.Dir, "pg", "QUIT", as) // SIGQUIT removes the shared memory segment, SIGKILL would not
		if err != nil {
			return err
		}
		p = &Postgres{&postgresServer{inst, bin, port}, "postgres"}
		if err := p.server.initialise(ctx, o); err != nil {
			return closeAfter(err, p)
		}
		return closeAfter(p.Start(ctx), p)
	})
	if err != nil {
		return nil, err
	}
	return p, nil
}

// postgresBin is the bin directory of the newest PostgreSQL of Debian's layout, or of PATH.
func postgresBin() (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", fmt.Errorf("look for postgresql: %w", err)
	}
	if len(found) == 0 {
		path, err := findProgram("initdb", "postgresql")
		return filepath.Dir(path), err
	}
	sort.Slice(found, func(a, b int) bool { return postgresVersion(found[a]) < postgresVersion(found[b]) })
	return filepath.Dir(found[len(found)-1]), nil
}

// postgresVersion is 15 for /usr/lib/postgresql/15/bin/initdb, else 0.
func postgresVersion(path string) int {
	v, err := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	if err != nil {
		return 0
	}
	return v
}

// initialise makes the cluster's files.
func (s *postgresServer) initialise(ctx context.Context, o PostgresOptions) error {
	if err := s.inst.as.own(s.inst.dir); err != nil {
		return err
	}
	_, err := runTool(ctx, s.inst.as, filepath.Join(s.bin, "initdb"), "-D", s.data(), "-A", "trust", "-U", "postgres",
		"--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
	if err != nil {
		return err
	}
	settings := map[string]string{
		"max_connections": "200",
		"shared_buffers":  "'64MB'",
		"jit":             "off",
	}
	for k, v := range o.Settings {
		settings[k] = v
	}
	var b strings.Builder
	for k, v := range settings {
		fmt.Fprintf(&b, "%s = %s\n", k, v)
	}
	f, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("configure: %w", err)
	}
	if _, err := f.WriteString(b.String()); err != nil {
		_ = f.Close()
		return fmt.Errorf("configure: %w", err)
	}
	return f.Close()
}

func (s *postgresServer) data() string { return s.inst.path("data") }

// args are the connection arguments of PostgreSQL's own client programs.
func (s *postgresServer) args(more ...string) []string {
	return append([]string{"-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-U", "postgres"}, more...)
}

// URL is the database as pgx takes it.
func (p *Postgres) URL() string {
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Host: loopback(p.server.port), Path: p.database,
		RawQuery: "sslmode=disable"}
	return u.String()
}

// SocketURL is URL through the server's unix socket.
func (p *Postgres) SocketURL() string {
	query := url.Values{"host": {p.server.inst.dir}, "port": {strconv.Itoa(p.server.port)}}
	u := url.URL{Scheme: "postgres", User: url.User("postgres"), Path: "/" + p.database, RawQuery: query.Encode()}
	return u.String()
}

// Dir is the cluster's directory; out.log in it is the server's log.
func (p *Postgres) Dir() string { return p.server.inst.dir }

// Pid is the main process; the others are its children.
func (p *Postgres) Pid() int { return p.server.inst.pid() }

// Addr is host:port of the server.
func (p *Postgres) Addr() string { return loopback(p.server.port) }

// NewDatabase makes an empty database in the same cluster.
func (p *Postgres) NewDatabase(ctx context.Context, name string) (*Postgres, error) {
	args := p.server.args("-T", "template0", name)
	if _, err := runTool(ctx, p.server.inst.as, filepath.Join(p.server.bin, "createdb"), args...); err != nil {
		return nil, err
	}
	return &Postgres{p.server, name}, nil
}

// Drop removes the database, closing its connections.
func (p *Postgres) Drop(ctx context.Context) error {
	_, err := runTool(ctx, p.server.inst.as, filepath.Join(p.server.bin, "dropdb"), p.server.args("--force", p.database)...)
	return err
}

// Exec runs SQL text in the database through psql and returns its unaligned output, rows by line.
func (p *Postgres) Exec(ctx context.Context, sql string) (string, error) {
	args := p.server.args("-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", p.database, "-c", sql)
	return runTool(ctx, p.server.inst.as, filepath.Join(p.server.bin, "psql"), args...)
}

// Start brings a stopped server back on the same port, with its data.
func (p *Postgres) Start(ctx context.Context) error {
	s := p.server
	ready := func(ctx context.Context) error {
		_, err := runTool(ctx, s.inst.as, filepath.Join(s.bin, "pg_isready"), s.args("-q", "-d", "postgres")...)
		return err
	}
	return s.inst.run(ctx, ready, filepath.Join(s.bin, "postgres"), "-D", s.data(), "-p", strconv.Itoa(s.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+s.inst.dir)
}

// StopMode is a way to take PostgreSQL away; the names are pg_ctl's.
type StopMode string

const (
	// StopFast ends sessions and writes a checkpoint (SIGINT).
	StopFast StopMode = "fast"
	// StopImmediate ends without a checkpoint, as a crash does: the next start recovers from the log (SIGQUIT).
	StopImmediate StopMode = "immediate"
)

// Stop takes the server away and keeps its data.
func (p *Postgres) Stop(mode StopMode) {
	if mode == StopImmediate {
		p.server.inst.stop(syscall.SIGQUIT)
		return
	}
	p.server.inst.stop(syscall.SIGINT)
}

// Log is what the server has logged so far.
func (p *Postgres) Log() string { return readLog(p.server.inst.path("out.log")) }

// Close stops the server at once and removes the cluster.
func (p *Postgres) Close() error { return p.server.inst.close(syscall.SIGQUIT) }

// readLog is a whole log file, or what can be read of it.
func readLog(path string) string {
	text, err := os.ReadFile(path) // #nosec G304 -- our own file
	if err != nil {
		return ""
	}
	return string(text)
}

package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/internal/listen"
	"github.com/mairust/mairust/store/sqldb"
)

func checkCommand() *cobra.Command {
	return &cobra.Command{
		Use: "check", Short: "Check the installation: configuration, keyring, database, storage, encryption, disk, clock, rspamd, notices, listeners, certificates",
		Long: `Checks everything that the daemon needs and prints a line for each: PASS, WARN or FAIL, with what mends it. It may run
beside the daemon. The exit code is 1 when anything fails.`,
		Example: "  mairust check --config /etc/mairust/config.yaml", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c, src, err := loadConfig(cmd)
			r := &checkReport{w: cmd.OutOrStdout()}
			if err != nil {
				r.fail("configuration", err, "mairust config check")
				return errSilent
			}
			r.pass("configuration", src.String())
			r.dataDir(c)
			r.all(cmd.Context(), c)
			if r.failed {
				return errSilent
			}
			return nil
		},
	}
}

// checkReport prints the findings of mairust check.
type checkReport struct {
	w      io.Writer
	failed bool
}

func (r *checkReport) line(word, what, text string) {
	// A terminal that is gone has nobody to tell.
	_, _ = fmt.Fprintf(r.w, "%s  %-14s %s\n", word, what, text)
}

func (r *checkReport) pass(what, text string) { r.line("PASS", what, text) }

func (r *checkReport) warn(what, text, mend string) {
	r.line("WARN", what, text+"\n                     mend: "+mend)
}

func (r *checkReport) fail(what string, err error, mend string) {
	r.failed = true
	text := strings.ReplaceAll(err.Error(), "\n", "\n                     ")
	r.line("FAIL", what, text+"\n                     mend: "+mend)
}

func (r *checkReport) all(ctx context.Context, c *config.Config) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	running := daemonHealth(ctx, c)
	r.keyring(c)
	r.database(ctx, c, running)
	r.storage(ctx, c)
	r.previous(ctx, c)
	r.encryption(ctx, c, running)
	r.disk(c)
	r.clock()
	r.rspamd(ctx, c)
	r.outbound(c)
	r.geoip(c)
	r.bounces(c)
	r.redis(ctx, c)
	r.notices(ctx, c)
	r.listeners(ctx, c, running)
	r.alerts(running)
}

// daemonHealth asks the running daemon how it is; nil when none runs.
func daemonHealth(ctx context.Context, c *config.Config) *healthReport {
	_, answer, err := newSocketClient(c.AdminSocket()).do(ctx, http.MethodGet, "/health", nil)
	var report healthReport
	if err != nil || json.Unmarshal(answer, &report) != nil {
		return nil
	}
	return &report
}

// dataDir warns of one that is another with each directory in which a command is called.
func (r *checkReport) dataDir(c *config.Config) {
	if !filepath.IsAbs(c.DataDir) {
		r.warn("data_dir", c.DataDir+" is in the directory where a command is called", "set data_dir, and run_dir if other users' commands are to find the daemon")
	}
}

func (r *checkReport) keyring(c *config.Config) {
	ref := c.Secrets.Keyring
	switch _, err := keyring.Open(ref); {
	case err == nil:
		r.pass("keyring", ref)
	case errors.Is(err, fs.ErrNotExist):
		r.warn("keyring", ref+" does not exist yet", "mairust init, or the first mairust run, makes it")
	default:
		r.fail("keyring", err, "put back the keyring of this installation, readable by its user alone")
	}
}

func (r *checkReport) database(ctx context.Context, c *config.Config, running *healthReport) {
	log := slog.New(slog.DiscardHandler)
	if c.Database.Backend == sqldb.SQLite {
		if _, err := os.Stat(c.Database.Path); errors.Is(err, fs.ErrNotExist) {
			r.warn("database", c.Database.Path+" does not exist yet", "mairust init, or the first mairust run, makes it")
			return
		}
	}
	o := c.Database
	o.Log = log
	db, err := sqldb.Open(ctx, o)
	switch {
	case errors.Is(err, sqldb.ErrLocked) && running != nil:
		if p := running.Parts["database"]; p.Status != "ok" {
			r.fail("database", errors.New(p.Error), "see the daemon's log")
			return
		}
		r.pass("database", "SQLite, open in the running daemon")
		return
	case err != nil:
		r.fail("database", err, "start the database, or mend the section database of the configuration")
		return
	}
	defer db.Close() //nolint:errcheck // only read
	if err := db.CheckSchema(ctx); err != nil {
		r.fail("database", err, "mairust migrate")
		return
	}
	r.pass("database", db.Backend()+", schema is current")
	if ahead, err := db.Ahead(ctx); err == nil && ahead.Abs() > clocksDiffer {
		r.warn("clock", fmt.Sprintf("it differs by %s from that of the database's host", ahead.Abs().Round(time.Second)), "run chrony or another NTP client on both hosts")
	}
}

// clocksDiffer is more than hosts differ by whose clocks somebody keeps right.
const clocksDiffer = 5 * time.Second

func (r *checkReport) disk(c *config.Config) {
	space, err := spaceOf(c.DataDir)
	if err != nil {
		return // storage and database have said so
	}
	if space.isShort(c.Alert.WithDefaults()) {
		r.warn("disk", space.String(), "make space before deliveries are deferred")
		return
	}
	r.pass("disk", space.String())
}

func (r *checkReport) clock() {
	if err := checkClock(); err != nil {
		r.warn("clock", err.Error(), "run chrony or another NTP client on the host")
		return
	}
	r.pass("clock", "synchronised")
}

// alerts tells what the running daemon has told its administrators.
func (r *checkReport) alerts(running *healthReport) {
	if running == nil {
		return
	}
	for _, name := range slices.Sorted(maps.Keys(running.Parts)) {
		if p := running.Parts[name]; p.Since != nil {
			r.warn("alert", name+" since "+p.Since.UTC().Format(time.RFC3339)+": "+cmp.Or(p.Error, p.Cause), "see the line of that part, and the daemon's log")
		}
	}
}

// certificateWarnDays is how long before its end a certificate is named.
const certificateWarnDays = 14

// certificate looks at the certificate of a listener that has one.
func (r *checkReport) certificate(name string, o listen.Options) {
	if o.Cert == "" {
		return
	}
	leaf, err := readCertificate(o)
	if err != nil {
		r.fail(name, err, "put the PEM files in place, readable by the user of the service")
		return
	}
	text := describeCertificate(o, leaf)
	switch left := time.Until(leaf.NotAfter); {
	case left < 0 || time.Now().Before(leaf.NotBefore):
		r.fail(name, errors.New(text+": it is not valid today"), "renew the certificate; it is read again by itself")
	case left < certificateWarnDays*24*time.Hour:
		r.warn(name, text, "renew the certificate; it is read again by itself")
	default:
		r.pass(name, text)
	}
}

func readCertificate(o listen.Options) (*x509.Certificate, error) {
	pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate of %s: %w", o.Address, err)
	}
	leaf, err := x509.ParseCertificate(pair.Certificate[0])
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", o.Cert, err)
	}
	return leaf, nil
}

func describeCertificate(o listen.Options, leaf *x509.Certificate) string {
	return fmt.Sprintf("certificate %s of %s ends %s", o.Cert, strings.Join(leaf.DNSNames, ", "), leaf.NotAfter.UTC().Format(time.DateOnly))
}

func (r *checkReport) rspamd(ctx context.Context, c *config.Config) {
	if c.Milter.Rspamd.URL == "" {
		r.warn("rspamd", "milter.rspamd.url is not set: only your own rules judge mail", "set it to rspamd's normal worker, such as http://127.0.0.1:11333")
		return
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, strings.TrimSuffix(c.Milter.Rspamd.URL, "/")+"/ping", nil)
	if err == nil {
		var resp *http.Response
		if resp, err = (&http.Client{Timeout: 5 * time.Second}).Do(req); err == nil {
			err = resp.Body.Close()
			if resp.StatusCode != http.StatusOK {
				err = fmt.Errorf("ping answered %s", resp.Status)
			}
		}
	}
	if err != nil {
		r.fail("rspamd", err, "start rspamd, or correct milter.rspamd.url")
		return
	}
	r.pass("rspamd", c.Milter.Rspamd.URL)
}

// listeners tries to connect to each where a daemon runs, and to listen where none does.
func (r *checkReport) listeners(ctx context.Context, c *config.Config, running *healthReport) {
	sections := []struct {
		name string
		list []listen.Options
	}{
		{"milter", c.Milter.Listeners}, {"lmtp", c.LMTP.Listeners}, {"lookup", c.Lookup.Listeners},
		{"http", c.HTTP.Listeners}, {"imap", c.IMAP.Listeners}, {"ops", c.Ops.Listeners},
	}
	for _, s := range sections {
		for _, o := range s.list {
			r.certificate(s.name, o)
			err := tryListener(ctx, o, running != nil)
			switch {
			case err == nil && running != nil:
				r.pass(s.name, o.Address+" answers")
			case err == nil:
				r.pass(s.name, o.Address+" is free")
			case running != nil:
				r.fail(s.name, err, "restart the daemon, so that it has this listener")
			default:
				r.fail(s.name, err, listenerMend(err))
			}
		}
	}
}

// listenerMend is what mends an address that can't be listened on.
func listenerMend(err error) string {
	if errors.Is(err, fs.ErrPermission) {
		return "let the service have ports below 1024 (AmbientCapabilities=CAP_NET_BIND_SERVICE in its unit), or choose a port above"
	}
	return "stop what has the address, or choose another"
}

func tryListener(ctx context.Context, o listen.Options, running bool) error {
	if !running {
		if strings.HasPrefix(o.Address, "unix:") {
			return nil // made at the start; a stale one is replaced
		}
		l, err := listen.Open(ctx, o, listen.Limits{}, listen.Hooks{})
		if err != nil {
			return err
		}
		return l.Close()
	}
	network, address, _ := strings.Cut(o.Address, ":")
	if strings.HasSuffix(address, ":0") {
		return nil // another port at each start: the daemon's log tells which
	}
	if network != "unix" {
		network = "tcp"
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, network, address)
	if err != nil {
		return err
	}
	return conn.Close()
}

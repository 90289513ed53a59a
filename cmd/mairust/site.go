package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/internal/config"
	"github.com/mairust/mairust/internal/keyring"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/attachment"
	"github.com/mairust/mairust/store/blob/crypt"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/sqldb"
	"github.com/mairust/mairust/store/subject"
)

// site is an installation that is open: its keys, its database, its objects.
type site struct {
	config  *config.Config
	ring    *keyring.Ring
	db      *sqldb.DB
	store   *store.Store
	objects fsck.Bucket
	// keys are those of tenants.
	keys *crypt.Keyring
	// index is the store, with what it does not hold of messages read from their objects.
	index       *subject.Index
	attachments *attachment.Opener
	closers     []io.Closer
}

// openOptions say how to open a site.
type openOptions struct {
	log *slog.Logger
	// registerer takes the metrics; nil for none.
	registerer prometheus.Registerer
	// patience is how long to wait for a database server that cannot be reached.
	patience time.Duration
}

// databasePatience is how long a daemon waits at its start for a database server that is starting too.
const databasePatience = time.Minute

// openSite opens what the configuration names. On the embedded database it makes what is missing and migrates;
// on PostgreSQL, which others may use at the same time, migrating is an act of its own (mairust migrate).
func openSite(ctx context.Context, c *config.Config, o openOptions) (*site, error) {
	s := &site{config: c}
	if err := s.open(ctx, o); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *site) open(ctx context.Context, o openOptions) error {
	err := makeDirs(s.config)
	if err == nil {
		s.ring, err = openRing(s.config, o.log)
	}
	if err == nil {
		s.db, err = waitForDatabase(ctx, s.config, o)
	}
	if err != nil {
		return err
	}
	s.closers = append(s.closers, s.db)
	warnOfOwner(s.config.DataDir, o.log)
	s.store = store.New(store.Options{
		DB: s.db, Log: o.log.With("component", "store"), Registerer: o.registerer,
		OmitContent: !*s.config.Storage.Encryption.IndexContent,
		ShredWait:   crypt.RememberFor + s.config.LMTP.DeliverTimeout,
	})
	if _, err := s.store.Claim(ctx, s.ring.CheckValue()); err != nil {
		return explainClaim(s.config, err)
	}
	if s.db.Backend() == sqldb.SQLite {
		if err := s.store.EndLeases(ctx); err != nil { // as when the disk is full: they end by themselves
			o.log.Warn("end the leases of the process before", "err", err)
		}
	}
	backend, err := openObjects(ctx, s.config, o, s.store)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, backend)
	log := o.log.With("component", "storage")
	if err := s.encrypt(ctx, backend, log, o.registerer); err != nil {
		return err
	}
	s.index = subject.New(s.store, s.objects, log)
	s.attachments = attachment.New(attachment.Options{
		Index: s.store, Objects: s.objects, Mode: s.config.Storage.Options.Attachments, Log: log, Registerer: o.registerer,
	})
	return nil
}

// Close closes everything, last opened first.
func (s *site) Close() error {
	var errs []error
	for len(s.closers) > 0 {
		last := len(s.closers) - 1
		errs = append(errs, s.closers[last].Close())
		s.closers = s.closers[:last]
	}
	return errors.Join(errs...)
}

// makeDirs makes the data and run directories. Others may pass through them, since Postfix has to reach the
// sockets, but list neither.
func makeDirs(c *config.Config) error {
	for _, dir := range []string{c.DataDir, c.RunDir, spoolDir(c)} {
		if _, err := os.Stat(dir); err == nil {
			continue
		}
		if err := os.MkdirAll(dir, 0o711); err != nil { //nolint:gosec // see above: passing through is all that others can do
			return fmt.Errorf("make directory (data_dir is %s, run_dir is %s): %w", c.DataDir, c.RunDir, err)
		}
		mode := os.FileMode(0o711)
		if dir == spoolDir(c) {
			mode = 0o700
		}
		if err := os.Chmod(dir, mode); err != nil { // MkdirAll is under the umask
			return fmt.Errorf("make directory: %w", err)
		}
	}
	return nil
}

// warnOfOwner tells root that files made now in a data directory of another user will not be that user's. It is no
// error: in a container everything may run as root on a volume of somebody else.
func warnOfOwner(dir string, log *slog.Logger) {
	info, err := os.Stat(dir)
	if err != nil || os.Geteuid() != 0 {
		return
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok || st.Uid == 0 {
		return
	}
	owner := strconv.FormatUint(uint64(st.Uid), 10)
	if u, err := user.LookupId(owner); err == nil {
		owner = u.Username
	}
	log.Warn("data_dir belongs to another user, who cannot read the files that root makes in it: run it as the user of the service",
		"data_dir", dir, "owner", owner, "instead", "runuser -u "+owner+" -- mairust …")
}

// spoolDir is where messages too big for memory lie while they are judged or stored.
func spoolDir(c *config.Config) string { return filepath.Join(c.DataDir, "spool") }

// openRing makes the keyring on the first run.
func openRing(c *config.Config, log *slog.Logger) (*keyring.Ring, error) {
	ring, made, err := keyring.OpenOrCreate(c.Secrets.Keyring)
	if err != nil {
		return nil, fmt.Errorf("secrets.keyring: %w", err)
	}
	if made {
		log.Info("made a new keyring: keep a copy with your backups", "keyring", c.Secrets.Keyring)
	}
	return ring, nil
}

// waitForDatabase opens the database, and tries again while it cannot be reached, or has no space, as long as patience lasts.
func waitForDatabase(ctx context.Context, c *config.Config, o openOptions) (*sqldb.DB, error) {
	for deadline := time.Now().Add(o.patience); ; {
		db, err := openDatabase(ctx, c, o.log)
		mayPass := errors.Is(err, sqldb.ErrFull) || errors.Is(err, sqldb.ErrUnavailable) && !errors.Is(err, sqldb.ErrNotDurable)
		if err == nil || !mayPass || time.Now().After(deadline) {
			return db, err
		}
		o.log.Warn("waiting for the database", "err", err)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(2 * time.Second):
		}
	}
}

func openDatabase(ctx context.Context, c *config.Config, log *slog.Logger) (*sqldb.DB, error) {
	o := c.Database
	o.Log = log.With("component", "database")
	db, err := sqldb.Open(ctx, o)
	if err != nil {
		return nil, err
	}
	if db.Backend() == sqldb.SQLite {
		_, err = db.Migrate(ctx)
	} else {
		err = db.CheckSchema(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func explainClaim(c *config.Config, err error) error {
	if errors.Is(err, store.ErrKeyring) {
		return fmt.Errorf("%w: secrets.keyring is %s; put back the one that was used before", err, c.Secrets.Keyring)
	}
	return fmt.Errorf("open database: %w", err)
}

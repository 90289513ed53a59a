package imap

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/netip"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/internal/auth"
	"github.com/mairust/mairust/internal/listen"
	"github.com/mairust/mairust/store"
	"github.com/mairust/mairust/store/blob"
)

// Options of a Server, as in the configuration. Zero values mean the defaults.
type Options struct {
	// Listeners are where clients connect.
	Listeners []listen.Options `yaml:"listeners"`
	// MaxConnections at once on one listener; default 20,000.
	MaxConnections int `yaml:"max_connections"`
	// MaxPerClient at once from one address; default 200: a whole office may sit behind it.
	MaxPerClient int `yaml:"max_per_client"`
	// CacheBytes bounds what is kept of parsed messages and folders, for all connections together; default 128 MiB.
	CacheBytes int64 `yaml:"cache_bytes"`
}

func (o Options) withDefaults() Options {
	o.MaxConnections = cmp.Or(max(o.MaxConnections, 0), 20_000)
	o.MaxPerClient = cmp.Or(max(o.MaxPerClient, 0), 200)
	o.CacheBytes = cmp.Or(max(o.CacheBytes, 0), 128<<20)
	return o
}

// Limits are those of the listeners.
func (o Options) Limits() listen.Limits {
	o = o.withDefaults()
	return listen.Limits{
		MaxConnections: o.MaxConnections, MaxPerClient: o.MaxPerClient, Idle: idleTimeout + time.Minute,
		Refusal: "* BYE [UNAVAILABLE] Too many connections, try again later\r\n", // RFC 5530, 3
	}
}

// Logins checks credentials. Errors are those of auth.Authenticator.
type Logins interface {
	CheckLogin(ctx context.Context, login, password string, client netip.Addr) (auth.Principal, error)
	// Ended gives those of the credentials that open nothing any more.
	Ended(ctx context.Context, list []auth.Credential) ([]auth.Credential, error)
}

// Folders finds folders and what changes in them; package store says more of each.
type Folders interface {
	AccessibleFolders(ctx context.Context, sc store.Scope, limit int) ([]store.MailboxFolder, error)
	AccessGiven(ctx context.Context, list []store.Access) ([]store.Access, error)
	FolderCounters(ctx context.Context, ids []store.FolderID) ([]store.Folder, error)
	FolderFlags(ctx context.Context, sc store.Scope, folder store.FolderID, aboveUID uint32, aboveModSeq int64, row func(store.FlagRow)) error
	ExpungedSince(ctx context.Context, sc store.Scope, folder store.FolderID, modSeq int64) ([]uint32, error)
	FolderBytes(ctx context.Context, sc store.Scope, folder store.FolderID) (int64, error)
}

// Messages finds the objects of messages.
type Messages interface {
	FolderObjects(ctx context.Context, sc store.Scope, folder store.FolderID, first, last uint32, row func(store.ObjectRow)) error
	FolderSubjects(ctx context.Context, sc store.Scope, folder store.FolderID, first, last uint32, row func(uid uint32, subject string)) error
	FolderObjectsByUID(ctx context.Context, sc store.Scope, folder store.FolderID, uids []uint32, row func(store.ObjectRow)) error
}

// Index is what IMAP needs of package store.
type Index interface {
	Folders
	Messages
}

// Objects reads messages; blob.Bucket says more.
type Objects interface {
	Get(ctx context.Context, key string, offset, n int64) (io.ReadCloser, blob.Info, error)
}

// Deps are what a Server works with. Index, Objects and Logins are required.
type Deps struct {
	Index   Index
	Objects Objects
	Logins  Logins
	// Suspect is told what a message could not be read for, and does not wait; nil tells nobody.
	Suspect func(id store.MessageID, err error)
	// Log may be nil.
	Log *slog.Logger
	// Registerer takes the metrics; nil means none are kept.
	Registerer prometheus.Registerer
	// Version is told to clients that ask (RFC 2971).
	Version string
	// Timeouts bound what a client can make long.
	Timeouts Timeouts
}

func (d Deps) check() error {
	if d.Index == nil || d.Objects == nil || d.Logins == nil {
		return errors.New("imap: Deps.Index, Objects and Logins are required")
	}
	return nil
}

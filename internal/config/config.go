// Package config turns one YAML file into the Options of every package. It is strict: each unknown key, wrong
// type and impossible value is reported with its file, line and column, all of them in one run.
package config

import (
	"cmp"
	"os"
	"path/filepath"
	"reflect"
	"time"

	"github.com/mairust/mairust/api"
	"github.com/mairust/mairust/imap"
	"github.com/mairust/mairust/internal/alert"
	"github.com/mairust/mairust/internal/listen"
	"github.com/mairust/mairust/internal/mailer"
	"github.com/mairust/mairust/lmtp"
	"github.com/mairust/mairust/lmtp/lookup"
	"github.com/mairust/mairust/milter"
	"github.com/mairust/mairust/milter/rspamd"
	"github.com/mairust/mairust/policy"
	"github.com/mairust/mairust/policy/bounce"
	"github.com/mairust/mairust/policy/notify"
	"github.com/mairust/mairust/policy/outbound"
	"github.com/mairust/mairust/policy/redis"
	"github.com/mairust/mairust/policy/rule"
	"github.com/mairust/mairust/policy/upkeep"
	"github.com/mairust/mairust/store/blob/s3"
	"github.com/mairust/mairust/store/fsck"
	"github.com/mairust/mairust/store/sqldb"
)

// Config is the whole configuration. A field without a yaml tag in any of the Options below is wiring, not a key.
// A *Config that is printed with fmt or slog has its secrets covered.
type Config struct {
	// DataDir holds everything that must survive a restart: database, mail, keyring.
	DataDir string `yaml:"data_dir"`
	// RunDir holds sockets and other files that a restart makes anew.
	RunDir   string        `yaml:"run_dir"`
	Secrets  Secrets       `yaml:"secrets"`
	Database sqldb.Options `yaml:"database"`
	Storage  Storage       `yaml:"storage"`
	Milter   Milter        `yaml:"milter"`
	Outbound Outbound      `yaml:"outbound"`
	// OutboundWhitelist are the bulk senders.
	OutboundWhitelist []policy.Profile `yaml:"outbound_whitelist"`
	// Redis is what several nodes share; off without a URL.
	Redis    redis.Options  `yaml:"redis"`
	LMTP     lmtp.Options   `yaml:"lmtp"`
	Lookup   lookup.Options `yaml:"lookup"`
	HTTP     api.Options    `yaml:"http"`
	IMAP     imap.Options   `yaml:"imap"`
	Ops      Ops            `yaml:"ops"`
	Alert    alert.Options  `yaml:"alert"`
	Notify   Notify         `yaml:"notify"`
	Log      Log            `yaml:"log"`
	Shutdown Shutdown       `yaml:"shutdown"`
}

// Secrets says where the installation's own secrets are.
type Secrets struct {
	// Keyring is "file:PATH" or "env:NAME"; it is a reference, read by package keyring, never by this one.
	Keyring string `yaml:"keyring"`
}

// Storage chooses where message objects live.
type Storage struct {
	// Backend is "fs" or "s3".
	Backend string         `yaml:"backend"`
	Options StorageOptions `yaml:"options"`
	// Previous is where objects were kept before, and are still read from while they are moved; nil when nowhere else.
	Previous *PreviousStorage `yaml:"previous"`
	// Encryption is about the keys of client-side encryption.
	Encryption Encryption `yaml:"encryption"`
	// Sweep compares objects and database now and then.
	Sweep fsck.Options `yaml:"sweep"`
}

// PreviousStorage is a store that is being left.
type PreviousStorage struct {
	Backend string         `yaml:"backend"`
	Options StorageOptions `yaml:"options"`
}

// The backends of the store.
const (
	BackendFS = "fs"
	BackendS3 = "s3"
)

// StorageOptions are those of the chosen backend.
type StorageOptions struct {
	// BasePath is the folder of the fs backend.
	BasePath string `yaml:"base_path"`
	// Journal is "auto" or "off".
	Journal string `yaml:"journal"`
	// Encryption is none, client, sse-s3 or sse-kms; the last two are of the s3 backend.
	Encryption string `yaml:"encryption"`
	// Attachments is "lazy", "eager" or "never".
	Attachments string `yaml:"attachments"`
	// S3 are those of the s3 backend.
	S3 s3.Options `yaml:",inline"`
}

// Encryption says whose keys the keys of tenants are encrypted to.
type Encryption struct {
	// OperatorRecipients are the operator's public keys (age1…).
	OperatorRecipients []string `yaml:"operator_recipients"`
	// OperatorIdentity is "file:PATH" or "env:NAME"; it is a reference, read by package crypt, never by this one.
	OperatorIdentity string `yaml:"operator_identity"`
	// IndexContent says whether subject, preview and names of files of new messages are in the database.
	IndexContent *bool `yaml:"index_content"`
}

// The values of storage.options.encryption, beside those of package s3.
const (
	EncryptNone   = "none"
	EncryptClient = "client"
)

// Milter configures the inbound filter and its checks.
type Milter struct {
	milter.Options `yaml:",inline"`
	// Rules are the site's own, in order.
	Rules []rule.Options `yaml:"rules"`
}

// Outbound configures what accounts may send.
type Outbound struct {
	policy.Options `yaml:",inline"`
	Gate           outbound.Options `yaml:",inline"`
	// Bounces says where the log of the Postfix beside this process is.
	Bounces bounce.Options `yaml:"bounces"`
	// Retention says how long what was sent is known.
	Retention upkeep.Options `yaml:"retention"`
}

// Ops configures metrics and health.
type Ops struct {
	Listeners []listen.Options `yaml:"listeners"`
}

// Notify configures how administrators are told of what needs them.
type Notify struct {
	// Language of notices about accounts: en or ja.
	Language string                `yaml:"language"`
	SMTP     mailer.Options        `yaml:"smtp"`
	Webhook  notify.WebhookOptions `yaml:"webhook"`
	Monitor  notify.MonitorOptions `yaml:"monitor"`
}

// Log configures the daemon's log.
type Log struct {
	// Level is debug, info, warn or error.
	Level string `yaml:"level"`
	// Format is json or text.
	Format string `yaml:"format"`
}

// Shutdown bounds how long the daemon waits once it was told to stop.
type Shutdown struct {
	// TimeoutSeconds is for open sessions.
	TimeoutSeconds int `yaml:"timeout_seconds"`
	// DrainTimeoutSeconds is for what runs still after that: jobs, and deliveries that are not decided.
	DrainTimeoutSeconds int `yaml:"drain_timeout_seconds"`
}

// AdminSocket is the path of the unix socket through which root and the service user administer the daemon.
func (c *Config) AdminSocket() string { return filepath.Join(c.RunDir, "admin.sock") }

// BasePaths are the folders of the stores that are files.
func (c *Config) BasePaths() (list []string) {
	if c.Storage.Backend == BackendFS {
		list = append(list, c.Storage.Options.BasePath)
	}
	if p := c.Storage.Previous; p != nil && p.Backend == BackendFS {
		list = append(list, p.Options.BasePath)
	}
	return list
}

// Default returns the embedded defaults for the user that runs this process: under /var/lib and /run for root,
// under ./mairust-data for anyone else.
func Default() *Config { return newDefault(os.Geteuid() == 0) }

func newDefault(root bool) *Config {
	c := fixedDefaults()
	c.derive(root)
	return c
}

// fixedDefaults are the defaults that depend on no other key. Each package would put the same for a zero value;
// they are written out so that an admin sees them.
func fixedDefaults() *Config {
	return &Config{
		Database: sqldb.Options{Backend: sqldb.SQLite, MaxConnections: 20, MinConnections: 5},
		Storage: Storage{Backend: BackendFS, Options: defaultStorageOptions(), Encryption: Encryption{OperatorRecipients: []string{}}, Sweep: fsck.Options{
			Interval: time.Hour, MinAge: time.Hour, KeepOrphans: 30 * 24 * time.Hour, MassObjects: 100, MassPercent: 1,
		}},
		Milter: Milter{Options: milter.Options{
			TimeoutMS:        10_000,
			MaxConnections:   1000,
			SpoolMemoryBytes: 1 << 20,
			SpoolMaxBytes:    256 << 20,
			Quarantine:       milter.Quarantine{Elsewhere: "hold", Mailers: []string{"lmtp", "local"}},
			Rspamd: rspamd.Options{
				TimeoutMS: 8000, MaxBytes: 50 << 20, OnError: "allow", AddHeader: "tag", Greylist: "tempfail",
			},
		}, Rules: []rule.Options{}},
		Outbound: Outbound{Options: outboundDefaults(), Gate: outbound.Options{
			TrustedNetworks: []string{}, Tenants: []outbound.TenantOptions{}, MaxAccounts: 100_000, SpoolMaxBytes: 64 << 20,
		}, Bounces: bounce.Options{}.WithDefaults(), Retention: upkeep.Options{}.WithDefaults()},
		OutboundWhitelist: []policy.Profile{},
		Redis:             redis.Options{Prefix: "mairust", TimeoutMS: 250},
		LMTP: lmtp.Options{
			MaxConnections:        1000,
			RecipientDelimiter:    "+",
			MaxRecipients:         1000,
			SpoolMemoryBytes:      2 << 20,
			SpoolMemoryTotalBytes: 48 << 20,
			CommandTimeout:        5 * time.Minute,
			DataTimeout:           3 * time.Minute,
			MessageTimeout:        30 * time.Minute,
			ReplyTimeout:          time.Minute,
			ResolveTimeout:        30 * time.Second,
			DeliverTimeout:        5 * time.Minute,
		},
		HTTP:   api.Options{MaxConnections: 1000, MaxPerClient: 200},
		IMAP:   imap.Options{MaxConnections: 20_000, MaxPerClient: 200, CacheBytes: 128 << 20},
		Lookup: lookup.Options{MaxConnections: 1000, IdleTimeout: 5 * time.Minute, RequestTimeout: 10 * time.Second},
		Alert:  alert.Options{}.WithDefaults(),
		Notify: Notify{
			Language: "en", SMTP: mailer.Options{To: []string{}, TLS: mailer.TLSAuto}, Webhook: notify.DefaultWebhook(), Monitor: notify.DefaultMonitor(),
		},
		Log:      Log{Level: "info", Format: "json"},
		Shutdown: Shutdown{TimeoutSeconds: 60, DrainTimeoutSeconds: 30},
	}
}

func outboundDefaults() policy.Options {
	o := policy.Options{}.WithDefaults()
	o.Modes = []policy.ModeOptions{}
	return o
}

const (
	systemDataDir = "/var/lib/mairust"
	systemRunDir  = "/run/mairust"
	userDataDir   = "./mairust-data"
)

// derive fills the keys that the file left out and whose default follows from another key.
func (c *Config) derive(root bool) {
	if c.DataDir == "" {
		c.DataDir = userDataDir
		if root {
			c.DataDir = systemDataDir
		}
	}
	if c.RunDir == "" {
		c.RunDir = under(c.DataDir, "run")
		if root && filepath.Clean(c.DataDir) == systemDataDir {
			c.RunDir = systemRunDir
		}
	}
	fill(&c.Secrets.Keyring, "file:"+under(c.DataDir, "keyring"))
	if c.Database.Backend == sqldb.SQLite {
		fill(&c.Database.Path, under(c.DataDir, "mairust.db"))
	}
	c.Storage.Options.derive(cmp.Or(c.Storage.Backend, BackendFS), c.DataDir)
	if p := c.Storage.Previous; p != nil && reflect.ValueOf(*p).IsZero() {
		c.Storage.Previous = nil // a section without keys means its default, which is none
	} else if p != nil {
		p.Options.derive(p.Backend, c.DataDir)
	}
	if c.Storage.Encryption.IndexContent == nil {
		index := c.Storage.Options.Encryption != EncryptClient
		c.Storage.Encryption.IndexContent = &index
	}
	c.deriveListeners()
}

func defaultStorageOptions() StorageOptions {
	return StorageOptions{Journal: "auto", Attachments: "lazy", S3: s3.Options{}.WithDefaults()}
}

// derive gives the options of a backend what the file left out.
func (o *StorageOptions) derive(backend, dataDir string) {
	fill(&o.Journal, "auto")
	fill(&o.Attachments, "lazy")
	if backend == BackendFS {
		fill(&o.BasePath, under(dataDir, "mail"))
		fill(&o.Encryption, EncryptNone)
	}
	fill(&o.Encryption, s3.SSES3)
	o.S3.Encryption = o.Encryption
	o.S3 = o.S3.WithDefaults()
}

// deriveListeners gives each service its default listeners; an empty list in the file means none and stays.
func (c *Config) deriveListeners() {
	local := func(list *[]listen.Options, addresses ...string) {
		if *list != nil {
			return
		}
		for _, a := range addresses {
			*list = append(*list, listen.Options{Address: a})
		}
	}
	socket := func(name string) string { return "unix:" + under(c.RunDir, name) }
	local(&c.Milter.Listeners, socket("milter.sock"), "inet:127.0.0.1:8898")
	local(&c.LMTP.Listeners, socket("lmtp.sock"), "inet:127.0.0.1:2424")
	local(&c.Lookup.Listeners, socket("lookup.sock"), "inet:127.0.0.1:8899")
	local(&c.HTTP.Listeners, "inet:127.0.0.1:8080")
	local(&c.IMAP.Listeners, "inet:127.0.0.1:1143")
	local(&c.Ops.Listeners, "inet:127.0.0.1:9925")
}

func fill(s *string, value string) {
	if *s == "" {
		*s = value
	}
}

// under joins as the user would write it: a leading "./" is kept, because it says that the path is relative.
func under(dir, name string) string {
	p := filepath.Join(dir, name)
	if len(dir) > 1 && dir[:2] == "./" {
		return "./" + p
	}
	return p
}

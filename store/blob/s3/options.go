package s3

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/mairust/mairust/store/blob"
)

// Options say where the bucket is and how it is used. Bucket is required; zero values mean the defaults.
type Options struct {
	// Bucket exists already.
	Bucket string `yaml:"bucket"`
	// Prefix is put before every key: empty, or ending with a slash; at most 100 bytes.
	Prefix string `yaml:"prefix"`
	// Region is needed for AWS; servers with an Endpoint mostly take any. Default us-east-1 with an Endpoint.
	Region string `yaml:"region"`
	// Endpoint is the URL of a server that is not AWS.
	Endpoint string `yaml:"endpoint"`
	// PathStyle puts the bucket into the path, not into the name of the host.
	PathStyle bool `yaml:"path_style"`
	// AccessKeyID and SecretAccessKey log in. Without both the SDK looks where it always does: its environment
	// variables and files, the role of the machine.
	AccessKeyID     string `yaml:"access_key_id"`
	SecretAccessKey string `yaml:"secret_access_key"`
	// MultipartThresholdMB (MiB, 1 to 128, default 8) is the size above which an object is sent in parts of
	// MultipartChunkMB (the same). S3 itself takes no part below 5 MiB, but for the last one.
	MultipartThresholdMB int64 `yaml:"multipart_threshold_mb"`
	MultipartChunkMB     int64 `yaml:"multipart_chunk_mb"`
	// Checksums is auto (default), crc32 or off: whether uploads carry a checksum that the server keeps.
	Checksums string `yaml:"checksums"`
	// KMSKeyID is the key for sse-kms; empty means the bucket's or the account's own.
	KMSKeyID string `yaml:"kms_key_id"`
	// RequestTimeout bounds one request that carries nothing, default 20 seconds; a request gets a second more for
	// each 64 KiB that it carries.
	RequestTimeout time.Duration `yaml:"request_timeout"`
	// Attempts is how often a request is made that fails for a reason that may pass; default 3.
	Attempts int `yaml:"attempts"`
	// MaxConnections is how many requests run at once; default 256.
	MaxConnections int `yaml:"max_connections"`

	// Encryption is sse-s3 (default), sse-kms, client or none. With client nothing is asked of the server: who calls has
	// encrypted already.
	Encryption string
	// Keys gives the keys as they are now, where they may change while the program runs: it is called every minute, and when
	// the server refuses the ones before. It may be nil.
	Keys func() (id, secret string, err error)
	// Log and Registerer may be nil.
	Log        *slog.Logger
	Registerer prometheus.Registerer
}

// The kinds of encryption and checksums.
const (
	SSES3      = "sse-s3"
	SSEKMS     = "sse-kms"
	ClientSide = "client"
	None       = "none"

	ChecksumsAuto  = "auto"
	ChecksumsCRC32 = "crc32"
	ChecksumsOff   = "off"
)

// WithDefaults fills what is zero.
func (o Options) WithDefaults() Options {
	if o.Endpoint != "" {
		o.Region = cmp.Or(o.Region, "us-east-1")
	}
	o.MultipartThresholdMB = cmp.Or(o.MultipartThresholdMB, 8)
	o.MultipartChunkMB = cmp.Or(o.MultipartChunkMB, 8)
	o.Checksums = cmp.Or(o.Checksums, ChecksumsAuto)
	o.Encryption = cmp.Or(o.Encryption, SSES3)
	o.RequestTimeout = cmp.Or(o.RequestTimeout, 20*time.Second)
	o.Attempts = cmp.Or(o.Attempts, 3)
	o.MaxConnections = cmp.Or(o.MaxConnections, 256)
	return o
}

// bucketName is what old buckets of AWS and other servers may have; new ones have 63 at most, and no A-Z and _.
var bucketName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{2,254}$`)

const (
	maxPrefixBytes = 100
	maxPartMB      = 128
)

// Validate says what is wrong, without asking the server; names are those of the keys of the configuration.
func (o Options) Validate() error {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !bucketName.MatchString(o.Bucket) {
		wrong("bucket: want the name of a bucket: 3 to 255 of A-Z a-z 0-9 . _ -")
	}
	if o.Region == "" {
		wrong("region: required without an endpoint")
	}
	if u, err := url.Parse(o.Endpoint); o.Endpoint != "" && (err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil) {
		wrong("endpoint: want a URL such as https://s3.example.com")
	}
	if o.Prefix != "" && (len(o.Prefix) > maxPrefixBytes || !strings.HasSuffix(o.Prefix, "/") || blob.CheckPrefix(o.Prefix) != nil) {
		wrong("prefix: want folders of A-Z a-z 0-9 . _ - that end with a slash, %d bytes at most", maxPrefixBytes)
	}
	if (o.AccessKeyID == "") != (o.SecretAccessKey == "") {
		wrong("access_key_id and secret_access_key: want both, or none to use what the SDK finds by itself")
	}
	if min(o.MultipartThresholdMB, o.MultipartChunkMB) < 1 || max(o.MultipartThresholdMB, o.MultipartChunkMB) > maxPartMB {
		wrong("multipart_threshold_mb and multipart_chunk_mb: want 1 to %d", maxPartMB)
	}
	if o.KMSKeyID != "" && o.Encryption != SSEKMS {
		wrong("kms_key_id: only for encryption: %s", SSEKMS)
	}
	if o.RequestTimeout <= 0 || o.Attempts < 1 || o.MaxConnections < 1 {
		wrong("request_timeout, attempts and max_connections: want more than 0")
	}
	return errors.Join(errs...)
}

// Nested says that objects of one are among those of the other: one prefix begins with the other, in the same bucket.
func (o Options) Nested(other Options) bool {
	return o.Bucket == other.Bucket && o.server() == other.server() &&
		(strings.HasPrefix(o.Prefix, other.Prefix) || strings.HasPrefix(other.Prefix, o.Prefix))
}

// server is where the bucket is, for comparing: the names of AWS's buckets are unique over its regions.
func (o Options) server() string {
	u, err := url.Parse(strings.ToLower(o.Endpoint))
	if err != nil || u.Host == "" || u.Hostname() == "amazonaws.com" || strings.HasSuffix(u.Hostname(), ".amazonaws.com") {
		return ""
	}
	if u.Port() == "" && u.Scheme == "https" {
		return u.Hostname() + ":443"
	}
	return u.Hostname() + ":" + cmp.Or(u.Port(), "80")
}
